"""A bench on a phone, end to end: push, run, parse, pull and parity, against a stand-in; and what spoils it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.doubles import artifacts, phone_folder
from tests.doubles.adb_daemon import AdbServer, PhoneDouble
from vitdeploy.api import bench as bench_api
from vitdeploy.api import cases as cases_api
from vitdeploy.api import doctor, duel
from vitdeploy.api import report as report_api
from vitdeploy.api.duel import DuelRequest
from vitdeploy.artifacts.manifest import digest_of
from vitdeploy.benchmarks import bench
from vitdeploy.benchmarks.profile import attribution
from vitdeploy.benchmarks.profile.phone import by_tool
from vitdeploy.benchmarks.trial import request as trial_request
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.catalog import registry
from vitdeploy.devices import device_facts, inventory, phone_state
from vitdeploy.devices.inventory import Device
from vitdeploy.devices.phone import prepared_phone, tool, tool_output
from vitdeploy.errors import DeviceError, Impossible, UnreadableFile
from vitdeploy.inference import client, local_reference
from vitdeploy.processes import local as local_processes
from vitdeploy.processes.connection import CommandResult
from vitdeploy.processes.local import LocalConnection
from vitdeploy.results import comparison, record, validity
from vitdeploy.results.record import Run

TOOL = Path(__file__).parents[1] / "doubles" / "benchmark_model_double.py"


@pytest.fixture
def device(phone: PhoneDouble) -> Device:
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert (extra tflite) is not installed")
    if registry.find_target("tflite-fp32").runtime is None:
        pytest.skip("tflite-fp32 has no runtime in this version")
    shipped = inventory.load([inventory.SHIPPED]).devices["snapdragon-855"]
    return msgspec.structs.replace(shipped, host=phone.serial, benchmark_model=str(TOOL))


@pytest.fixture
def whole() -> None:
    """Everything as users have it."""


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Short warm-ups; and but for the tests of all of it, what is expected is computed in this process."""
    monkeypatch.setattr(tool_output, "WARMUP_S", 0.05)
    if "whole" in request.fixturenames:
        return

    def run(self: LocalConnection, argv: Sequence[str], *, stdin: str = "", timeout_s: float) -> CommandResult:
        assert argv[-1] == "vitdeploy.inference.local_reference"
        reply = local_reference.run_job(local_reference.ReferenceJob(**json.loads(stdin)))
        return CommandResult(exit_code=0, stdout=json.dumps({"reply": reply}), stderr="")

    monkeypatch.setattr(local_processes.LocalConnection, "run", run)


def job_in(folder: Path, **changes: Any) -> Job:
    made = artifacts.conv_relu_tflite(folder / "artifact")
    return Job(
        case=artifacts.case_of(made, device="snapdragon-855", boundary="compute", **changes),
        compute="phone",
        artifact=made,
    )


def timed(folder: Path, device: Device, *, trials: int = 1, job: Job | None = None) -> Run:
    protocol = bench.make_protocol(trials=trials, min_time_s=0.05)
    return bench.run([job or job_in(folder)], device=device, protocol=protocol, out=folder / "run.json")


def plant(phone: PhoneDouble, fault: str, text: str = "") -> None:
    phone_folder.write(phone.root / "faults" / fault, text)


def codes(run: Run) -> list[str]:
    return [reason.code for reason in run.results[0].reasons]


@pytest.mark.usefixtures("whole")
def test_a_phone_is_timed_and_its_output_held_against_ours(tmp_path: Path, phone: PhoneDouble, device: Device):
    job = job_in(tmp_path, threads=4)
    run = timed(tmp_path, device, trials=3, job=job)
    (result,) = run.results
    assert (result.status, bench.exit_code_of(result)) == ("valid", 0)
    assert {reason.code for reason in result.reasons} <= {"noisy"}
    assert len(result.trials) == 3
    for taken in result.trials:
        assert taken.sample_kind == "block_median"
        assert taken.resolution_ns == 1000
        assert len(taken.samples_ns) == 1
        assert taken.inferences >= validity.FEWEST_SAMPLES
        assert taken.parity is not None
        assert taken.parity.passed
        assert taken.parity.reference.endswith("on this computer")
        assert taken.facts["fp16_arithmetic"] == "off"
        assert taken.facts["cores"] == "mask f0"
        assert taken.telemetry[0].temp_c == 39.5
        assert taken.telemetry[0].clock_hz == (3 * 2319200 + 2741600) * 1000 // 4
    assert result.summary is not None
    assert (result.summary.p90_ms, result.summary.p99_ms) == (None, None)
    assert result.summary.median_ci95_ms is not None
    assert 0.1 < result.summary.throughput_per_s * result.summary.median_ms / 1000 < 1.5
    assert run.device.facts["soc_model"] == "SM8150"
    assert run.protocol.inputs.startswith("one seeded synthetic image a trial")
    assert (phone.root / "taskset").read_text() == "f0\n"
    assert record.load(tmp_path / "run.json") == run
    assert "INFO: count=" in (tmp_path / "run.log").read_text()
    left = {path.name for path in (phone.root / "data/local/tmp/vitdeploy/files").iterdir()}
    assert left == {digest_of(TOOL), result.artifact_sha256}


def test_another_output_on_the_phone_makes_the_row_invalid(tmp_path: Path, phone: PhoneDouble, device: Device):
    plant(phone, "wrong_output")
    run = timed(tmp_path, device)
    assert (run.results[0].status, codes(run)) == ("invalid", ["parity-failed"])
    assert "outputs differ from this computer's in 1 of 1 trials" in run.results[0].reasons[0].message
    assert bench.exit_code_of(run.results[0]) != 0
    assert record.load(tmp_path / "run.json").results[0].status == "invalid"


def test_a_throttled_phone_makes_the_row_invalid(tmp_path: Path, phone: PhoneDouble, device: Device):
    plant(phone, "throttle")
    run = timed(tmp_path, device, job=job_in(tmp_path, threads=6))
    assert (run.results[0].status, codes(run)) == ("invalid", ["throttled"])
    assert (phone.root / "taskset").read_text() == "ff\n"  # four big cores are not enough for six threads


@pytest.mark.parametrize(
    ("fault", "text", "code", "words"),
    [
        ("garbage", "", "toolchain-failed", "output cannot be read"),
        ("exit", "1", "toolchain-failed", "exit code 1: ERROR: Failed to load model"),
        ("no_median", "", "impossible", "prints no median"),
    ],
)
def test_what_the_tool_does_wrong_fails_the_row(
    tmp_path: Path, phone: PhoneDouble, device: Device, fault: str, text: str, code: str, words: str
):
    plant(phone, fault, text)
    run = timed(tmp_path, device)
    assert (run.results[0].status, codes(run)[0]) == ("failed", code)
    assert words in run.results[0].reasons[0].message


def test_a_phone_that_hangs_loses_the_trial(
    tmp_path: Path, phone: PhoneDouble, device: Device, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(trial_request, "LIMIT_S", 3.0)
    plant(phone, "hang")
    run = timed(tmp_path, device)
    assert run.results[0].status == "failed"
    assert "was killed after" in " ".join(reason.message for reason in run.results[0].reasons)
    assert bench.exit_code_of(run.results[0]) == 7


def test_a_phone_unplugged_between_trials_keeps_what_was_measured(tmp_path: Path, phone: PhoneDouble, device: Device):
    job = job_in(tmp_path)

    def pull_the_plug(done: int, total: int, label: str) -> None:
        if done == 2:
            phone.unplug()

    run = bench.run(
        [job],
        device=device,
        protocol=bench.make_protocol(trials=5, min_time_s=0.05),
        out=tmp_path / "run.json",
        on_trial=pull_the_plug,
    )
    assert len(run.results[0].trials) == 2
    assert run.results[0].status == "failed"
    assert bench.exit_code_of(run.results[0]) == 7
    assert record.load(tmp_path / "run.json") == run


def test_a_phone_that_is_too_hot_is_an_error_of_the_device(
    tmp_path: Path, phone: PhoneDouble, device: Device, monkeypatch: pytest.MonkeyPatch
):
    cool = phone_state.wait_until_cool
    monkeypatch.setattr(phone_state, "wait_until_cool", lambda link: cool(link, wait_s=0.0))
    phone_folder.write(phone.root / "sys/class/thermal/thermal_zone1/temp", "71000\n")
    run = timed(tmp_path, device)
    assert "too hot: 71.0 °C" in " ".join(reason.message for reason in run.results[0].reasons)
    assert bench.exit_code_of(run.results[0]) == 7


def test_the_wrong_phone_is_refused_before_anything_is_pushed(tmp_path: Path, phone: PhoneDouble, device: Device):
    wrong = msgspec.structs.replace(device, facts={"soc_model": "SM8450"})
    with pytest.raises(DeviceError, match="wrong phone: Double Test Double"):
        timed(tmp_path, wrong)
    assert phone.pushed_bytes == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target": "onnx-fp32"}, "does not run on a phone"),
        ({"boundary": "host-to-host"}, "without its copies"),
        ({"streams": 2}, "one inference at a time"),
    ],
)
def test_what_a_phone_cannot_do_is_exit_4(tmp_path: Path, device: Device, changes: dict[str, Any], words: str):
    job = job_in(tmp_path)
    other = Job(case=msgspec.structs.replace(job.case, **changes), compute="phone", artifact=job.artifact)
    run = timed(tmp_path, device, job=other)
    assert words in run.results[0].reasons[0].message
    assert bench.exit_code_of(run.results[0]) == 4


def test_the_verb_times_an_artifact_on_the_phone_with_its_big_cores(
    tmp_path: Path, phone: PhoneDouble, device: Device, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inventory, "devices", lambda: {"snapdragon-855": device})
    made = artifacts.conv_relu_tflite(tmp_path / "artifact")
    order = cases_api.BenchRequest(device="snapdragon-855", trials=1, min_time_s=0.05, out=tmp_path / "run.json")
    line, time = bench_api.bench_plan([str(made.folder)], order)
    assert time.startswith("time:")
    assert "tflite-fp32 32x32 on snapdragon-855" in line
    outcome = bench_api.bench([str(made.folder)], order)
    assert outcome.exit_code == 0
    (result,) = outcome.run.results
    assert (result.case.boundary, result.case.threads) == ("compute", 4)
    report = report_api.report([outcome.path])
    assert "snapdragon-855" in report.text


def test_the_doctor_looks_at_the_phone(phone: PhoneDouble, device: Device, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inventory, "devices", lambda: {"snapdragon-855": device})
    assert device_facts.facts_of(device)["cores_big"] == 4
    found = {finding.what: finding.found for finding in doctor.doctor("snapdragon-855")}
    assert (found["cpu"], found["battery"]) == ("SM8150 (4+3+1 cores)", "87 %, charging")
    assert found["temperature"] == "39.5 °C, thermal status 0"
    phone_folder.write(phone.root / "settings/low_power", "1\n")
    assert [f.what for f in doctor.doctor("snapdragon-855") if f.state == "problem"] == ["power mode"]
    phone.unplug()
    *_, lost = doctor.doctor("snapdragon-855")
    assert lost.state == "problem"


def test_a_duel_on_a_phone_is_one_of_pairs_of_blocks(
    tmp_path: Path, phone: PhoneDouble, device: Device, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(inventory, "devices", lambda: {"snapdragon-855": device})
    folder = str(artifacts.conv_relu_tflite(tmp_path / "artifact").folder)
    order = DuelRequest(device="snapdragon-855", pairs=3, min_time_s=0.02, out=tmp_path / "duel.json", early=False)
    outcome = duel.duel(folder, folder, order)
    assert outcome.exit_code == 0
    assert {result.case.boundary for result in outcome.run.results} == {"compute"}
    assert [len(result.trials) for result in outcome.run.results] == [3, 3]
    assert outcome.compared.comparisons[0].ratio is not None


def test_the_operators_on_a_phone_are_told_by_the_tool(tmp_path: Path, phone: PhoneDouble, device: Device):
    side = job_in(tmp_path).artifact
    assert side is not None
    with inventory.connect(device) as link:
        ready = prepared_phone.prepare_phone(device, link, phone_state.phone_facts(link))
        found = attribution.attribute(side, side, lambda one: by_tool(one, ready, threads=1))
        assert found.said is None
        times = by_tool(side, ready, threads=1)
        assert list(times) == ["Convolution (NHWC, F32) GEMM"]
        plant(phone, "no_profiler")
        found = attribution.attribute(side, side, lambda one: by_tool(one, ready, threads=1))
        assert found.said == "tflite-fp32: no operator times"
        plant(phone, "exit", "3")
        found = attribution.attribute(side, side, lambda one: by_tool(one, ready, threads=1))
        assert found.said is not None
        assert "exit code 3 while it profiled" in found.said


def test_a_tool_that_is_not_there_or_another_one_is_said(tmp_path: Path, device: Device):
    with pytest.raises(DeviceError, match="there is no benchmark_model at"):
        tool.find_tool(msgspec.structs.replace(device, benchmark_model=str(tmp_path / "none")))
    with pytest.raises(UnreadableFile, match="is not the benchmark_model of snapdragon-855"):
        tool.find_tool(msgspec.structs.replace(device, benchmark_model_sha256="0" * 64))
    with pytest.raises(DeviceError, match="names no benchmark_model"):
        tool.find_tool(msgspec.structs.replace(device, benchmark_model=""))


def test_a_url_is_fetched_once_and_only_as_what_was_meant(
    tmp_path: Path, device: Device, monkeypatch: pytest.MonkeyPatch
):
    opened: list[str] = []

    def open_url(url: str, timeout: float) -> Any:
        opened.append(url)
        return TOOL.open("rb")

    monkeypatch.setattr(tool.urllib.request, "urlopen", open_url)
    named = msgspec.structs.replace(
        device, benchmark_model="https://example.org/tool", benchmark_model_sha256=digest_of(TOOL)
    )
    path, _ = tool.find_tool(named)
    assert path.read_bytes() == TOOL.read_bytes()
    assert tool.find_tool(named)[0] == path
    assert opened == ["https://example.org/tool"]
    with pytest.raises(UnreadableFile, match="is another file"):
        tool.find_tool(msgspec.structs.replace(named, benchmark_model_sha256="1" * 64))
    with pytest.raises(DeviceError, match="cannot fetch ftp"):
        tool.find_tool(msgspec.structs.replace(named, benchmark_model="ftp://x/y", benchmark_model_sha256="2" * 64))


def test_a_url_without_a_digest_is_no_device_file(tmp_path: Path):
    text = 'name = "mine"\ntitle = "-"\nlink = "adb"\ntargets = ["tflite-fp32"]\nbenchmark_model = "https://x/y"\n'
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(UnreadableFile, match="URL without `benchmark_model_sha256`"):
        inventory.load([tmp_path])


def test_a_server_of_the_user_is_never_touched(adb_server: AdbServer):
    assert adb_server.port != 5037


@pytest.fixture
def compiled(device: Device) -> Device:
    """The device with LiteRT's CompiledModel tool."""
    return msgspec.structs.replace(device, benchmark_model=str(TOOL.with_name("compiled_model_double.py")))


def test_the_compiled_model_tool_is_timed_and_the_row_says_what_it_cannot_show(
    tmp_path: Path, phone: PhoneDouble, compiled: Device
):
    job = job_in(tmp_path, threads=4)
    run = timed(tmp_path, compiled, trials=3, job=job)
    (result,) = run.results
    assert (result.status, bench.exit_code_of(result)) == ("valid", 0)
    assert job.artifact is not None
    assert result.parity == job.artifact.manifest.parity
    (remark,) = [reason for reason in result.reasons if reason.code == "not-compared"]
    assert remark.message.startswith(
        "not compared on the device: LiteRT's CompiledModel benchmark_model takes no input"
    )
    for taken in result.trials:
        assert (taken.sample_kind, len(taken.samples_ns), taken.parity) == ("block_median", 1, None)
        assert taken.facts["runtime"].startswith("CompiledModel benchmark_model ")
        assert "nodes in 1 partition" in taken.facts["provider"]
        assert (taken.facts["threads"], taken.facts["cores"]) == ("4", "mask f0")
        assert "no switch" in taken.facts["fp16_arithmetic"]
        assert taken.peak_memory_bytes == 7240 * 1024
    assert run.protocol.inputs == "random numbers of LiteRT's CompiledModel tool"
    assert record.load(tmp_path / "run.json") == run
    left = {path.name for path in (phone.root / "data/local/tmp/vitdeploy/files").iterdir()}
    assert left == {digest_of(Path(compiled.benchmark_model)), result.artifact_sha256}
    with_inputs = msgspec.structs.replace(compiled, benchmark_model=str(TOOL))
    (tmp_path / "run.json").unlink()
    other = timed(tmp_path, with_inputs, trials=3, job=job)
    assert comparison.differences(run, other) == ["inputs", "own_inputs"]  # two tools are no comparison
    swept = msgspec.structs.replace(run, protocol=other.protocol)  # one protocol stands for many devices
    assert comparison.differences(swept, other) == ["own_inputs"]


@pytest.mark.parametrize(
    ("fault", "code", "words"),
    [
        ("no_result", "unreadable-file", "cannot copy"),
        ("other_result", "toolchain-failed", "in its result file and"),
    ],
)
def test_a_compiled_model_tool_that_contradicts_itself_fails_the_row(
    tmp_path: Path, phone: PhoneDouble, compiled: Device, fault: str, code: str, words: str
):
    plant(phone, fault)
    run = timed(tmp_path, compiled)
    assert (run.results[0].status, codes(run)[0]) == ("failed", code)
    assert words in run.results[0].reasons[0].message


def test_outputs_are_not_asked_of_the_compiled_model_tool(tmp_path: Path, phone: PhoneDouble, compiled: Device):
    plant(phone, "none")
    with inventory.connect(compiled) as link:
        facts = phone_state.phone_facts(link)
        with pytest.raises(Impossible, match="takes no input and gives no output"):
            client.inference_on(compiled, link, facts, threads=1, log=tmp_path / "log")
        ready = prepared_phone.prepare_phone(compiled, link, facts)
        side = job_in(tmp_path).artifact
        assert side is not None
        assert list(by_tool(side, ready, threads=1)) == ["Convolution (NHWC, F32) GEMM"]
        plant(phone, "old")
        with pytest.raises(Impossible, match=r"older than 2\.1\.3"):
            prepared_phone.prepare_phone(compiled, link, facts)
