"""`selftest`: its document names nobody, and each fault that it looks for fails its check when it is planted."""

import contextlib
import getpass
import json
import shutil
import socket
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.doubles import artifacts, board, board_server, make_run
from tests.doubles.ssh_server import SshServer
from vitdeploy.api import selftest
from vitdeploy.api.selftest import SelfTestRequest
from vitdeploy.api.selftest_checks import files, gpu, noise, private_words, reach, state, timing
from vitdeploy.api.selftest_checks import subject as subjects
from vitdeploy.api.selftest_checks.subject import Amount, Answer, Subject, failed, not_possible, passed
from vitdeploy.api.selftest_checks.table import CHECKS, Check
from vitdeploy.artifacts.manifest import Artifact, digest_of, open_artifact, write
from vitdeploy.benchmarks import bench
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.cli.main import main
from vitdeploy.devices import device_facts, inventory
from vitdeploy.errors import DeviceError, Impossible, ToolchainFailed, VitdeployError
from vitdeploy.processes.local import LocalConnection
from vitdeploy.processes.machine_lock import machine_lock
from vitdeploy.processes.progress import silent
from vitdeploy.results.record import Run, Stages, Trial
from vitdeploy.results.selftest import SelfTest, load
from vitdeploy.runtimes import cuda_bindings

SMALL = Amount(model="efficientvit_b0", size=(64, 64), rounds=2, trial_s=0.1, pairs=4)


def subject_of(folder: Path, *, device: str = "local", artifact: Artifact | None = None, **changes: Any) -> Subject:
    """A subject with one file that is built already."""
    entry = inventory.find(device)
    facts = DeviceFacts({**device_facts.facts_of(entry), **changes})
    made = Subject(device=entry, facts=facts, amount=SMALL, folder=folder, progress=silent)
    if artifact is not None:
        case = artifacts.case_of(artifact, device=device)
        made.jobs["onnx-fp32"] = Job(case=case, compute="cpu", artifact=artifact)
    return made


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Have `selftest` make these checks alone."""

    def choose(*checks: Check) -> None:
        monkeypatch.setattr(selftest, "CHECKS", checks)

    return choose


def check_that(answer: Answer | Exception, name: str = "planted", *, with_file: bool = False) -> Check:
    def run(_: Subject) -> Answer:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Check(name=name, proves="a fault is seen", run=run, with_file=with_file)


def test_the_table_names_each_check_once_and_what_needs_a_file_comes_after_it_is_built():
    names = [check.name for check in CHECKS]
    assert len(set(names)) == len(names)
    assert not any(check.with_file for check in CHECKS[: names.index("build") + 1])


def test_the_targets_are_those_of_the_gpu_where_there_is_one():
    orin, phone = inventory.find("orin"), inventory.find("snapdragon-855")
    packages = {"torch": "2.6", "onnxruntime": "1.20"}
    gpu_facts = DeviceFacts({"compute_capability": "8.7", "packages": packages})
    assert subjects.targets_of(orin, gpu_facts) == ("torch-fp16", "torch-fp32")
    with_trtexec = msgspec.structs.replace(orin, trtexec="/usr/src/tensorrt/bin/trtexec")
    assert subjects.targets_of(with_trtexec, gpu_facts)[0] == "trt-fp16"
    assert subjects.targets_of(orin, DeviceFacts({"packages": packages})) == ("onnx-fp32",)
    assert subjects.targets_of(phone, DeviceFacts({})) == ("tflite-fp32",)
    with pytest.raises(Impossible, match="has none of tensorrt, torch"):
        subjects.targets_of(orin, DeviceFacts({"compute_capability": "8.7"}))


def test_a_target_that_fails_leaves_the_others_to_be_tested(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    subject = subject_of(tmp_path, compute_capability="8.7", packages={"torch": "2.6"})
    file = artifacts.plain_file(tmp_path / "file")

    def build(subject: Subject, target: str) -> Job:
        if target == "torch-fp16":
            raise ToolchainFailed("torch failed", "Read its log.")
        subject.jobs[target] = Job(case=artifacts.case_of(file), compute="cuda", artifact=file)
        return subject.jobs[target]

    monkeypatch.setattr(subjects, "build", build)
    answer = files.build(subject)
    assert answer.state == "failed"
    assert "torch-fp16 failed: torch failed" in answer.seen
    assert subject.on_gpu == ("torch-fp32",)


def test_no_name_of_a_machine_or_of_a_person_is_in_the_files(
    only: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(socket, "gethostname", lambda: "secret-host.example.org")
    monkeypatch.setattr(getpass, "getuser", lambda: "secretuser")
    number = "GPU-8f2c5d9e-1111-2222-3333-444455556666"
    words = f"ssh secretuser@secret-host: {Path.home()}/log, {number}, secret-host.example.org"
    only(check_that(failed(words, words)), check_that(DeviceError(words, words), "other"))
    outcome = selftest.selftest(SelfTestRequest(out=tmp_path / "out.json"))
    for path in (outcome.path, outcome.page, outcome.block):
        text = path.read_text()
        assert "HOST" in text, path
        for secret in ("secretuser", "secret-host", "8f2c5d9e", f"{Path.home()}/log"):
            assert secret not in text, (path, secret)
        assert socket.gethostname() not in text


def test_a_device_of_the_users_own_has_no_name_and_a_phone_no_serial_number(tmp_path: Path, monkeypatch: Any):
    device = msgspec.structs.replace(inventory.find("snapdragon-855"), host="R58M1234", name="annas-phone")

    class Phone(LocalConnection):
        def run(self, argv: Any, *, stdin: str = "", timeout_s: float) -> Any:
            raise DeviceError("no phone", "")

    words = private_words.of_device(device, Phone())
    assert private_words.without("annas R58M1234 R58M12345", words) == "annas SERIAL R58M12345"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "annas-machine.toml").write_text(
        'title = "Anna\'s own"\nlink = "local"\ntargets = ["onnx-fp32"]\n'
    )
    monkeypatch.setattr(selftest, "CHECKS", (check_that(passed("computed on annas-machine")),))
    outcome = selftest.selftest(SelfTestRequest(device="annas-machine", out=tmp_path / "out.json"))
    assert outcome.document.device == "own"
    for path in (outcome.path, outcome.page, outcome.block):
        assert "nna" not in path.read_text().replace("annas-machine.toml", "")


def test_a_device_whose_name_is_what_stands_in_its_place_leaves_the_sentences_alone(tmp_path: Path, monkeypatch: Any):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "own.toml").write_text('title = "a board"\nlink = "local"\ntargets = ["onnx-fp32"]\n')
    monkeypatch.setattr(selftest, "CHECKS", (check_that(not_possible("a processor has no clock of its own")),))
    outcome = selftest.selftest(SelfTestRequest(device="own", out=tmp_path / "out.json"))
    assert outcome.document.checks[0].seen == "a processor has no clock of its own"


def test_what_failed_ends_in_8_and_what_is_not_possible_in_0(
    only: Callable[..., None], say: Callable[..., tuple[int, str, str]]
):
    only(check_that(passed("fine")), check_that(Impossible("no GPU", "Get one."), "gpu"))
    code, out, _ = say("selftest", "--out", "a.json")
    assert code == 0
    assert "1 passed, 0 failed, 1 not possible" in out
    only(check_that(failed("a clock stands", "Wind it.")), check_that(passed("fine"), "later", with_file=True))
    code, out, err = say("selftest", "--out", "b.json")
    assert code == 8
    assert "error: 1 of 2 checks failed: planted: a clock stands" in err
    assert "no file was built for this device" in out
    assert [check.state for check in load(Path("b.json")).checks] == ["failed", "not possible"]
    assert say("selftest", "--out", "b.json")[0] == 2
    assert say("selftest", "--device", "orin", "--out", "c.json")[0] == 7
    assert say("selftest", "--device", "orni")[0] == 2
    assert not Path("c.json").exists()


def test_a_device_that_somebody_else_uses_has_not_failed(
    only: Callable[..., None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(selftest, "LOCK_WAIT_S", 0.0)
    only(
        Check(name="planted", proves="nothing", run=check_that(ZeroDivisionError("it was made")).run, alone=True),
        check_that(passed("fine"), "other"),
    )
    with machine_lock("local", timeout_s=1):
        outcome = selftest.selftest(SelfTestRequest(out=tmp_path / "out.json"))
    assert outcome.error is None
    assert [check.state for check in outcome.document.checks] == ["not possible", "passed"]
    assert "in use by process" in outcome.document.checks[0].seen


def test_a_bug_in_a_check_is_not_taken_for_an_answer(only: Callable[..., None], tmp_path: Path):
    only(check_that(ZeroDivisionError("a bug")))
    with pytest.raises(ZeroDivisionError):
        selftest.selftest(SelfTestRequest(out=tmp_path / "out.json"))
    assert not (tmp_path / "out.json").exists()


def test_text_of_a_device_is_no_markup(only: Callable[..., None], tmp_path: Path):
    only(check_that(failed("<script>alert(1)</script> | @someone [a](b)\n## heading", "")))
    outcome = selftest.selftest(SelfTestRequest(out=tmp_path / "out.json"))
    assert b"<script>alert" not in outcome.page.read_bytes()
    block = outcome.block.read_text()
    assert "\\<script\\>" in block
    assert "\n## heading" not in block
    assert " @someone" not in block


def with_a_wrong_weight(folder: Path, place: Path) -> Artifact:
    """The artifact with one matrix of another sign, and a manifest that knows its bytes."""
    import onnx
    from onnx import numpy_helper

    shutil.copytree(folder, place)
    model = onnx.load(str(place / "model.onnx"))
    weight = max(model.graph.initializer, key=lambda tensor: int(np.prod(tensor.dims)))
    weight.CopyFrom(numpy_helper.from_array(-numpy_helper.to_array(weight), weight.name))
    onnx.save(model, str(place / "model.onnx"))
    manifest = open_artifact(place, check_bytes=False).manifest
    return write(place, msgspec.structs.replace(manifest, sha256=digest_of(place / "model.onnx")))


def test_a_wrong_weight_fails_parity(tmp_path: Path):
    pytest.importorskip("torch", reason="the reference is torch")
    pytest.importorskip("onnx", reason="the file is ONNX")
    subject = subject_of(tmp_path)
    job = subjects.build(subject, "onnx-fp32")
    assert files.parity(subject).state == "passed"
    assert job.artifact is not None
    wrong = with_a_wrong_weight(job.artifact.folder, tmp_path / "wrong")
    subject.jobs["onnx-fp32"] = Job(case=job.case, compute="cpu", artifact=wrong)
    answer = files.parity(subject)
    assert answer.state == "failed"
    assert "onnx-fp32" in answer.seen


def planted_trials(monkeypatch: pytest.MonkeyPatch, *ways: Trial) -> None:
    """Every round of a check has these trials."""

    def timed(subject: Subject, job: Job, asked: Any, *, rounds: int | None = None) -> list[tuple[Trial, ...]]:
        assert len(asked) == len(ways)
        return [ways] * (rounds or subject.amount.rounds)

    monkeypatch.setattr(subjects, "timed", timed)


def test_a_host_to_host_time_below_compute_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    subject = subject_of(tmp_path, artifact=artifacts.plain_file(tmp_path / "file"))
    planted_trials(monkeypatch, make_run.trial(1, 9.0), make_run.trial(2, 10.0))
    answer = timing.boundaries(subject)
    assert answer.state == "failed"
    assert "0.894 times without" in answer.seen
    planted_trials(monkeypatch, make_run.trial(1, 10.5), make_run.trial(2, 10.0))
    assert timing.boundaries(subject).state == "passed"
    assert len(subject.all_trials) == 2 * SMALL.rounds


def test_rounds_that_contradict_each_other_prove_nothing():
    judged: Any = timing._judged
    assert judged([1.01, 0.97, 1.02])[0] == "passed"
    assert judged([0.94, 1.35, 1.02])[0] == "not possible"
    assert judged([0.7, 0.95, 0.9])[0] == "failed"


def test_a_phone_is_timed_without_copies_so_that_its_heat_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    subject = subject_of(tmp_path, artifact=artifacts.plain_file(tmp_path / "file"))
    subject.device = msgspec.structs.replace(subject.device, link="adb")
    planted_trials(monkeypatch, make_run.trial(1, 9.0))
    assert timing.boundaries(subject).state == "not possible"
    assert {boundary for _, boundary in subject.trials} == {"compute"}
    assert timing.streams(subject).state == "not possible"
    assert timing.other_loop(subject).state == "not possible"


def test_streams_that_slow_each_other_down_fail(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    subject = subject_of(tmp_path, artifact=artifacts.plain_file(tmp_path / "file"))
    one = make_run.trial(1, 10.0)
    for wall_ns, expected in ((one.wall_ns, "passed"), (2 * one.wall_ns, "failed")):
        planted_trials(monkeypatch, one, msgspec.structs.replace(one, wall_ns=wall_ns))
        assert timing.streams(subject).state == expected


@pytest.mark.parametrize(
    ("share", "state_of_it"), [(0.9, "passed"), (1.2, "failed"), (0.2, "failed")], ids=["true", "beyond", "unexplained"]
)
def test_events_that_contradict_the_host_fail(tmp_path: Path, share: float, state_of_it: str):
    subject = subject_of(tmp_path, artifact=artifacts.plain_file(tmp_path / "file"))
    assert timing.events(subject).state == "not possible"
    job = subject.job
    subject.jobs["onnx-fp32"] = Job(case=job.case, compute="cuda", artifact=job.artifact)
    plain = make_run.trial(1, 10.0)
    parts = tuple(round(share * sample / 3) for sample in plain.samples_ns)
    subject.trials["onnx-fp32", "host-to-host"] = [
        msgspec.structs.replace(plain, stages_ns=Stages(h2d=parts, compute=parts, d2h=parts))
    ]
    assert timing.events(subject).state == state_of_it


def test_another_loop_that_disagrees_fails():
    agree: Any = timing._agree
    assert agree([1.01, 0.99, 1.04]).state == "passed"
    assert agree([1.2, 1.25]).state == "failed"


def test_a_graph_that_is_not_captured_or_slower_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    subject = subject_of(tmp_path, artifact=artifacts.plain_file(tmp_path / "file"))
    assert gpu.graphs(subject).state == "not possible"
    subject.jobs["onnx-fp32"] = Job(case=subject.job.case, compute="cuda", artifact=subject.job.artifact)
    plain = make_run.trial(1, 10.0)
    for median_ms, mark, expected in ((8.0, "on", "passed"), (8.0, "off", "failed"), (14.0, "on", "failed")):
        planted_trials(monkeypatch, plain, make_run.trial(2, median_ms, facts={"graph": mark}))
        assert gpu.graphs(subject).state == expected, (median_ms, mark)


def test_a_trial_that_was_slowed_down_by_heat_fails(tmp_path: Path):
    subject = subject_of(tmp_path)
    assert state.heat(subject).state == "not possible"
    subject.trials["onnx-fp32", "compute"] = [make_run.trial(1, 10.0, facts={"throttle": "0 events"})]
    assert state.heat(subject).state == "passed"
    subject.trials["onnx-fp32", "compute"] += [make_run.trial(2, 10.0, throttled=True)]
    assert state.heat(subject).state == "failed"


@pytest.fixture
def governor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A clock setting of this machine."""
    setting = tmp_path / "scaling_governor"
    setting.write_text("schedutil\n")
    monkeypatch.setattr(state, "SETTINGS", (str(tmp_path / "scaling_*"),))
    monkeypatch.setattr(state, "PUT_BACK_S", 0.0)
    return setting


def held_by_the_lock(monkeypatch: pytest.MonkeyPatch, setting: Path, *, put_back: bool) -> None:
    """The lock of this machine sets the clock; a faulty one leaves it so."""

    @contextlib.contextmanager
    def lock(self: LocalConnection, *, timeout_s: float) -> Generator[None]:
        setting.write_text("performance\n")
        yield
        if put_back:
            setting.write_text("schedutil\n")

    monkeypatch.setattr(LocalConnection, "lock", lock)


def test_a_clock_that_is_not_put_back_fails(monkeypatch: pytest.MonkeyPatch, governor: Path, tmp_path: Path):
    subject = subject_of(tmp_path)
    held_by_the_lock(monkeypatch, governor, put_back=True)
    answer = state.clocks(subject)
    assert answer.state == "passed"
    assert "1 were held meanwhile" in answer.seen
    held_by_the_lock(monkeypatch, governor, put_back=False)
    answer = state.clocks(subject)
    assert answer.state == "failed"
    assert "scaling_governor was schedutil, is performance" in answer.seen


def test_what_the_device_file_asks_for_and_is_not_held_fails(
    monkeypatch: pytest.MonkeyPatch, governor: Path, tmp_path: Path
):
    monkeypatch.setattr(LocalConnection, "power", {"clocks": "not held: sudo: a password is required"}, raising=False)
    answer = state.clocks(subject_of(tmp_path))
    assert answer.state == "failed"
    assert "a password is required" in answer.seen


def test_nothing_to_hold_is_not_called_passed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(state, "SETTINGS", (str(tmp_path / "nothing"),))
    if DeviceFacts(device_facts.facts_of(inventory.find("local"))).power_mode:
        pytest.skip("this machine shows a power mode")
    assert state.clocks(subject_of(tmp_path)).state == "not possible"


def test_a_file_that_comes_back_with_other_bytes_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    subject = subject_of(tmp_path)
    assert reach.link(subject).state == "passed"
    monkeypatch.setattr(LocalConnection, "pull", lambda self, remote, path: path.write_bytes(b"other"))
    assert reach.link(subject).state == "failed"


def test_facts_that_change_fail(tmp_path: Path):
    assert reach.facts(subject_of(tmp_path)).state == "passed"
    answer = reach.facts(subject_of(tmp_path, cores_physical=77))
    assert answer.state == "failed"
    assert "cores_physical was 77" in answer.seen


def test_an_agent_of_another_version_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    subject = subject_of(tmp_path)
    assert reach.agent(subject).state == "passed"
    monkeypatch.setattr(reach, "__version__", "9.9")
    assert reach.agent(subject).state == "failed"


def bindings_answer(monkeypatch: pytest.MonkeyPatch, *answers: Mapping[str, Any]) -> None:
    decoded = [msgspec.convert(answer, gpu.BindingAnswer) for answer in answers]
    monkeypatch.setattr(gpu, "_ask", lambda subject: decoded)


def test_every_cuda_binding_is_held_against_its_bytes_and_the_hosts_clock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    board.here(monkeypatch)
    job = cuda_bindings.BindingsJob(
        bindings=("vitdeploy.runtimes.on_cuda_python", "vitdeploy.runtimes.on_nothing"), size_bytes=4096, repeats=3
    )
    for name in job.bindings:
        monkeypatch.delitem(sys.modules, name, raising=False)
    there, missing = cuda_bindings.run_job(job)
    assert there["same_bytes"]
    assert "on_nothing" in missing["missing"]
    subject = subject_of(tmp_path, compute_capability="8.7")
    fine = {**there, "pinned_ns": 1000, "pageable_ns": 1500, "event_ns": 900}
    bindings_answer(monkeypatch, fine, missing)
    assert gpu.bindings(subject).state == "passed"
    assert gpu.memory(subject).state == "passed"
    for planted in ({"same_bytes": False}, {"event_ns": 2000}, {"error": "no CUDA GPU answers"}):
        bindings_answer(monkeypatch, {**fine, **planted})
        assert gpu.bindings(subject).state == "failed", planted
    bindings_answer(monkeypatch, {**fine, "pageable_ns": 500})
    assert gpu.memory(subject).state == "failed"
    bindings_answer(monkeypatch, missing)
    assert gpu.bindings(subject).state == "not possible"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    yield from board_server.serving(tmp_path, monkeypatch, "onnx-fp32")


@pytest.mark.slow  # real trials, cut
def test_a_run_whose_link_is_cut_goes_on(server: SshServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime runs the file")
    subject = subject_of(tmp_path, device="board", artifact=artifacts.conv_relu(tmp_path / "file"))
    answer = noise.cut_and_resume(subject)
    assert answer.state == "passed", answer
    assert "the link was cut in the second trial; 1 of 3 trials were kept, 2 were added" in answer.seen


@pytest.mark.slow  # half a minute of real trials
def test_a_trial_that_is_lost_by_a_cut_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime runs the file")
    subject = subject_of(tmp_path, artifact=artifacts.conv_relu(tmp_path / "file"))
    run: Any = bench.run

    def forgetful(*jobs: Any, resume: bool, **options: Any) -> Run:
        if resume:
            options["out"].unlink()
        return run(*jobs, resume=False, **options)

    assert noise.cut_and_resume(subject).state == "passed"
    (tmp_path / "cut.json").unlink()
    monkeypatch.setattr(bench, "run", forgetful)
    answer = noise.cut_and_resume(subject)
    assert answer.state == "failed"
    assert "finished trials are lost" in answer.hint


def test_the_schema_takes_what_is_written(only: Callable[..., None], tmp_path: Path):
    only(check_that(passed("fine", some_ms=1.5)))
    outcome = selftest.selftest(SelfTestRequest(out=tmp_path / "out.json"))
    assert load(outcome.path) == msgspec.json.decode(outcome.path.read_bytes(), type=SelfTest)
    assert json.loads(outcome.path.read_text())["checks"][0]["figures"] == {"some_ms": 1.5}


@pytest.mark.slow
def test_this_machine_is_measured_rightly(tmp_path: Path):
    outcome = selftest.selftest(SelfTestRequest(out=tmp_path / "out.json"), amount=SMALL)
    assert not outcome.document.in_state("failed"), [check.seen for check in outcome.document.in_state("failed")]
    assert {"link", "facts", "agent", "build", "parity"} <= {
        check.name for check in outcome.document.in_state("passed")
    }
    assert issubclass(type(outcome.error), VitdeployError) or outcome.error is None


def test_the_plan_touches_nothing(say: Callable[..., tuple[int, str, str]]):
    code, out, _ = say("selftest", "--dry-run")
    assert code == 0
    assert len(out.splitlines()) == len(CHECKS)
    assert not list(Path().iterdir())
    assert main(["selftest", "--help"]) == 0
