"""The bench: interleaving, the run file after every trial, resuming, and rows that fail alone."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.doubles import artifacts
from tests.doubles.fakes import FakeConnection, fake_trial
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks import bench
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.devices import inventory
from vitdeploy.errors import DeviceError, Impossible, ToolchainFailed, UnreadableFile, UsageError
from vitdeploy.processes.connection import CommandResult, Connection
from vitdeploy.processes.local import LocalConnection
from vitdeploy.results import record
from vitdeploy.results.record import Run

ROOT = Path(__file__).parents[2]
LOCAL = inventory.find("local")


def jobs_in(folder: Path, count: int = 3) -> list[Job]:
    made = [artifacts.plain_file(folder / str(n), f"model {n}".encode()) for n in range(count)]
    return [Job(case=artifacts.case_of(m, batch=n + 1), compute="cpu", artifact=m) for n, m in enumerate(made)]


def timed(
    jobs: Sequence[Job], out: Path, link: Connection, *, trials: int = 3, resume: bool = False, **options: Any
) -> Run:
    protocol = bench.make_protocol(trials=trials, min_time_s=options.pop("min_time_s", 0.05), warmup_limit_s=0.2)
    return bench.run(jobs, device=LOCAL, protocol=protocol, out=out, resume=resume, connection=link, **options)


def ids(run: Run) -> list[str]:
    return [trial.id for result in run.results for trial in result.trials]


def test_trials_are_interleaved_round_by_round(tmp_path: Path):
    link = FakeConnection()
    run = timed(jobs_in(tmp_path), tmp_path / "run.json", link)
    places = [int(job["trial"]["id"].split("/")[1]) for job in link.jobs]
    assert [sorted(places[i : i + 3]) for i in (0, 3, 6)] == [[0, 1, 2]] * 3
    assert len({tuple(places[i : i + 3]) for i in (0, 3, 6)}) > 1
    assert sorted(t.order for r in run.results for t in r.trials) == list(range(9))
    assert all(result.status == "valid" for result in run.results)


def test_the_run_file_is_what_is_returned_and_names_its_machine(tmp_path: Path):
    run = timed(jobs_in(tmp_path), tmp_path / "run.json", FakeConnection())
    assert record.load(tmp_path / "run.json") == run
    assert run.device.facts["cpu"] == "fake"
    assert "load_1min" not in run.device.facts
    assert run.host["python"]


def test_each_trial_has_inputs_of_its_own(tmp_path: Path):
    link = FakeConnection()
    timed(jobs_in(tmp_path, 1), tmp_path / "run.json", link)
    assert len({job["seed"] for job in link.jobs}) == 3


def test_an_existing_file_is_refused_before_any_work(tmp_path: Path):
    (tmp_path / "run.json").write_text("precious")
    link = FakeConnection()
    with pytest.raises(UsageError, match="exists") as refused:
        timed(jobs_in(tmp_path), tmp_path / "run.json", link)
    assert "--resume" in refused.value.hint
    assert not link.jobs
    assert (tmp_path / "run.json").read_text() == "precious"


def test_a_place_that_cannot_be_written_is_refused_before_any_work(tmp_path: Path):
    (tmp_path / "file").write_text("")
    link = FakeConnection()
    with pytest.raises(UnreadableFile, match="cannot write"):
        timed(jobs_in(tmp_path), tmp_path / "file" / "run.json", link)
    assert not link.jobs


def test_a_busy_device_is_refused(tmp_path: Path):
    link = FakeConnection()
    link.busy = True
    with pytest.raises(DeviceError, match="in use"):
        timed(jobs_in(tmp_path), tmp_path / "run.json", link)


def test_the_wrong_machine_is_refused(tmp_path: Path):
    device = msgspec.structs.replace(LOCAL, facts={"compute_capability": "8.7"})
    with pytest.raises(DeviceError, match="compute_capability None"):
        bench.run(
            jobs_in(tmp_path),
            device=device,
            protocol=bench.make_protocol(),
            out=tmp_path / "r",
            connection=FakeConnection(),
        )


def test_one_failing_row_does_not_stop_the_others(tmp_path: Path):
    jobs = jobs_in(tmp_path)

    def answer(job: dict[str, Any]) -> CommandResult | None:
        if job["manifest"]["sha256"] != jobs[1].artifact.manifest.sha256:  # pyright: ignore[reportOptionalMemberAccess]
            return None
        error = {"kind": "ToolchainFailed", "message": "the runtime refuses it", "hint": "Export it again."}
        return CommandResult(exit_code=5, stdout=json.dumps({"error": error}), stderr="a long story")

    link = FakeConnection(answer)
    run = timed(jobs, tmp_path / "run.json", link)
    assert [r.status for r in run.results] == ["valid", "failed", "valid"]
    assert [r.code for r in run.results[1].reasons] == ["toolchain-failed"]
    assert run.results[1].summary is None
    assert [bench.exit_code_of(r) for r in run.results] == [0, 5, 0]
    assert len(link.jobs) == 7, "a row that failed for good is not tried again"
    assert "a long story" in (tmp_path / "run.log").read_text()


def test_a_job_without_an_artifact_is_a_failed_row_with_its_error(tmp_path: Path):
    jobs = jobs_in(tmp_path, 2)
    jobs[0] = Job(case=jobs[0].case, compute="cpu", error=Impossible("no softmax here", "Use relu."))
    run = timed(jobs, tmp_path / "run.json", FakeConnection())
    assert run.results[0].reasons[0].message == "no softmax here"
    assert [bench.exit_code_of(r) for r in run.results] == [4, 0]


def test_a_deferred_artifact_is_a_failed_row(tmp_path: Path):
    made = artifacts.plain_file(tmp_path / "deferred", state="deferred", deferred="to be built on orin")
    run = timed(
        [Job(case=artifacts.case_of(made), compute="cpu", artifact=made)], tmp_path / "run.json", FakeConnection()
    )
    assert "to be built on orin" in run.results[0].reasons[0].message


def test_one_case_twice_is_refused(tmp_path: Path):
    (job,) = jobs_in(tmp_path, 1)
    with pytest.raises(UsageError, match="named twice"):
        timed([job, job], tmp_path / "run.json", FakeConnection())


def failing_at(*numbers: int, result: CommandResult | None = None, error: BaseException | None = None):
    calls: list[int] = []

    def answer(job: dict[str, Any]) -> CommandResult | None:
        calls.append(1)
        if len(calls) not in numbers:
            return None
        if error is not None:
            raise error
        return result

    return answer


KILLED = CommandResult(exit_code=-9, stdout="", stderr="")


def test_a_worker_that_is_killed_costs_its_trial_only_and_the_row_says_so(tmp_path: Path):
    run = timed(jobs_in(tmp_path, 1), tmp_path / "run.json", FakeConnection(failing_at(2, result=KILLED)), trials=5)
    (result,) = run.results
    assert (result.status, len(result.trials)) == ("valid", 4)
    assert [r.code for r in result.reasons] == ["trial-lost"]
    assert "trial 2 was killed by SIGKILL" in result.reasons[0].message


def test_a_worker_that_takes_too_long_costs_its_trial_only(tmp_path: Path):
    link = FakeConnection(failing_at(3, error=DeviceError("killed after 900 s", "Choose a smaller case.")))
    (result,) = timed(jobs_in(tmp_path, 1), tmp_path / "run.json", link, trials=5).results
    assert (result.status, len(result.trials)) == ("valid", 4)
    assert "killed after 900 s" in result.reasons[0].message


def test_a_case_that_is_killed_again_and_again_fails(tmp_path: Path):
    link = FakeConnection(lambda job: KILLED)
    (result,) = timed(jobs_in(tmp_path, 1), tmp_path / "run.json", link, trials=5).results
    assert result.status == "failed"
    assert len(link.jobs) == 2
    assert bench.exit_code_of(result) == 7


def test_a_worker_that_ends_without_a_word_fails_its_row_with_its_last_line(tmp_path: Path):
    gone = CommandResult(exit_code=1, stdout="", stderr="Traceback …\nKeyError: 'x'\n")
    (result,) = timed(jobs_in(tmp_path, 1), tmp_path / "run.json", FakeConnection(lambda job: gone)).results
    assert "KeyError: 'x'" in result.reasons[0].message
    assert bench.exit_code_of(result) == ToolchainFailed.exit_code


def test_foreign_load_is_a_reason_on_a_valid_row(tmp_path: Path):
    def answer(job: dict[str, Any]) -> CommandResult:
        trial = fake_trial(job, facts={"foreign_cores": "0.870" if job["trial"]["order"] == 1 else "not visible"})
        return CommandResult(exit_code=0, stdout=json.dumps({"reply": trial}), stderr="")

    (result,) = timed(jobs_in(tmp_path, 1), tmp_path / "run.json", FakeConnection(answer)).results
    assert result.status == "valid"
    assert [r.code for r in result.reasons] == ["foreign-load"]
    assert "0.9 cores during 1 of 3 trials" in result.reasons[0].message


def test_a_shared_gpu_is_a_reason_on_a_valid_row(tmp_path: Path):
    def answer(job: dict[str, Any]) -> CommandResult:
        others = {0: "0", 1: "2", 2: "not visible"}[job["trial"]["order"]]
        trial = fake_trial(job, facts={"foreign_gpu_processes": others})
        return CommandResult(exit_code=0, stdout=json.dumps({"reply": trial}), stderr="")

    (result,) = timed(jobs_in(tmp_path, 1), tmp_path / "run.json", FakeConnection(answer)).results
    assert result.status == "valid"
    assert [r.code for r in result.reasons] == ["foreign-load"]
    assert "2 other processes used the GPU during 1 of 3 trials" in result.reasons[0].message


def test_a_cuda_graph_of_what_computes_on_a_cpu_is_refused(tmp_path: Path):
    """Recorded as a graph it would be a figure of something else."""
    (job,) = jobs_in(tmp_path, 1)
    asked = dataclasses.replace(job, case=msgspec.structs.replace(job.case, graph=True))
    (result,) = timed([asked], tmp_path / "run.json", FakeConnection()).results
    assert (result.status, result.trials) == ("failed", ())
    assert "a CUDA graph needs a GPU" in result.reasons[0].message
    on_a_gpu = dataclasses.replace(asked, compute="cuda")
    (result,) = timed([on_a_gpu], tmp_path / "gpu.json", FakeConnection()).results
    assert result.trials


def test_an_invalid_row_asks_for_exit_8(tmp_path: Path):
    def answer(job: dict[str, Any]) -> CommandResult:
        return CommandResult(
            exit_code=0,
            stdout=json.dumps({"reply": fake_trial(job, range(10**6, 2 * 10**6, 10**4), steady="drifting")}),
            stderr="",
        )

    (result,) = timed(jobs_in(tmp_path, 1), tmp_path / "run.json", FakeConnection(answer)).results
    assert (result.status, bench.exit_code_of(result)) == ("invalid", 8)


def test_there_is_no_p99_of_too_few_samples(tmp_path: Path):
    (result,) = timed(jobs_in(tmp_path, 1), tmp_path / "run.json", FakeConnection()).results
    assert result.summary is not None
    assert result.summary.p90_ms == 1.0
    assert result.summary.p99_ms is None


# Interruption and resuming


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("a bug")])
def test_whatever_ends_the_bench_loses_at_most_the_running_trial_and_resume_goes_on(
    tmp_path: Path, error: BaseException
):
    out, jobs = tmp_path / "run.json", jobs_in(tmp_path)
    with pytest.raises(type(error)):
        timed(jobs, out, FakeConnection(failing_at(6, error=error)))
    interrupted = record.load(out)
    assert len(ids(interrupted)) == 5
    assert any(reason.code == "incomplete" for result in interrupted.results for reason in result.reasons)

    link = FakeConnection()
    run = timed(jobs, out, link, resume=True)
    assert len(link.jobs) == 4
    assert len(ids(run)) == len(set(ids(run))) == 9
    assert set(ids(interrupted)) < set(ids(run))
    assert run.id == interrupted.id
    assert sorted(t.order for r in run.results for t in r.trials) == list(range(9))
    assert all(result.status == "valid" and not result.reasons for result in run.results)


def test_resuming_a_finished_run_runs_nothing(tmp_path: Path):
    out, jobs = tmp_path / "run.json", jobs_in(tmp_path)
    finished = timed(jobs, out, FakeConnection())
    link = FakeConnection()
    assert timed(jobs, out, link, resume=True) == finished
    assert not link.jobs


def test_resume_tries_lost_trials_and_failed_rows_again(tmp_path: Path):
    out, jobs = tmp_path / "run.json", jobs_in(tmp_path, 1)
    assert timed(jobs, out, FakeConnection(lambda job: KILLED), trials=5).results[0].status == "failed"
    (result,) = timed(jobs, out, FakeConnection(), trials=5, resume=True).results
    assert (result.status, len(result.trials), result.reasons) == ("valid", 5, ())


def test_resume_without_a_file_begins(tmp_path: Path):
    assert len(ids(timed(jobs_in(tmp_path), tmp_path / "run.json", FakeConnection(), resume=True))) == 9


def test_resume_names_the_field_that_differs(tmp_path: Path):
    out, jobs = tmp_path / "run.json", jobs_in(tmp_path)
    timed(jobs, out, FakeConnection())
    before = out.read_bytes()
    with pytest.raises(UsageError, match=r"protocol\.min_time_s is 0.05 there and 2.0 now"):
        timed(jobs, out, FakeConnection(), resume=True, min_time_s=2.0)
    changed = Job(case=msgspec.structs.replace(jobs[0].case, threads=4), compute="cpu", artifact=jobs[0].artifact)
    with pytest.raises(UsageError, match=r"results\[0\]\.case\.threads is 1 there and 4 now"):
        timed([changed, *jobs[1:]], out, FakeConnection(), resume=True)
    with pytest.raises(UsageError, match="the number of cases is 3 there and 2 now"):
        timed(jobs[:2], out, FakeConnection(), resume=True)
    other = Job(case=jobs[0].case, compute="cpu", artifact=artifacts.plain_file(tmp_path / "other", b"other bytes"))
    with pytest.raises(UsageError, match=r"results\[0\]\.artifact_sha256"):
        timed([other, *jobs[1:]], out, FakeConnection(), resume=True)
    elsewhere = FakeConnection()
    elsewhere.facts["cpu"] = "another"
    with pytest.raises(UsageError, match=r"device\.facts\.cpu is 'fake' there and 'another' now"):
        timed(jobs, out, elsewhere, resume=True)
    assert out.read_bytes() == before


def test_a_truncated_file_is_not_resumed(tmp_path: Path):
    out, jobs = tmp_path / "run.json", jobs_in(tmp_path)
    timed(jobs, out, FakeConnection())
    out.write_bytes(out.read_bytes()[:-100])
    with pytest.raises(UnreadableFile):
        timed(jobs, out, FakeConnection(), resume=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", place], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=False)


def test_a_disk_that_fills_up_keeps_the_finished_trials(tmp_path: Path, small_disk: Path):
    def answer(job: dict[str, Any]) -> CommandResult:
        trial = fake_trial(job, samples_ns=[1_000_000 + place * (3 + job["trial"]["order"]) for place in range(2000)])
        return CommandResult(exit_code=0, stdout=json.dumps({"reply": trial}), stderr="")

    out = small_disk / "run.json"
    with pytest.raises(UnreadableFile, match="No space left"):
        timed(jobs_in(tmp_path, 2), out, FakeConnection(answer), trials=20)
    kept = record.load(out)
    assert 1 <= len(ids(kept)) < 40
    assert [path.name for path in small_disk.iterdir()] == ["run.json"]


# Real processes

MARK = "VITDEPLOY_TEST_RUN"

PARENT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job starts with it ignored
import sys
from pathlib import Path
from tests.doubles import artifacts
from vitdeploy.artifacts import manifest as artifact
from vitdeploy.benchmarks import bench
from vitdeploy.devices import inventory
made = artifact.open_artifact(Path(sys.argv[1]))
bench.run(
    [bench.Job(case=artifacts.case_of(made), compute="cpu", artifact=made)],
    device=inventory.find("local"), resume=True,
    protocol=bench.make_protocol(trials=5, min_time_s=0.4, warmup_limit_s=0.2), out=Path(sys.argv[2]),
    on_trial=lambda done, total, label: print(done, flush=True),
)
"""


@pytest.fixture
def toy(tmp_path: Path) -> Artifact:
    pytest.importorskip("onnx", reason="the toy model is made with onnx")
    pytest.importorskip("onnxruntime", reason="the toy model runs in ONNX Runtime")
    return artifacts.conv_relu(tmp_path / "toy")


def parent(toy: Artifact, out: Path) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), MARK: str(out)}
    command = [sys.executable, "-c", PARENT, str(toy.folder), str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def workers_of(out: Path) -> list[str]:
    """Process ids of the workers that the bench writing ``out`` has started, told by the environment they inherit."""
    mark = f"{MARK}={out}".encode()
    return [folder.name for folder in Path("/proc").glob("[0-9]*") if mark in _bytes(folder / "environ").split(b"\0")]


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:  # it ended, or is another user's
        return b""


@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT])
def test_a_bench_that_is_killed_leaves_no_worker_and_is_resumed_to_exactly_its_trials(
    toy: Artifact, tmp_path: Path, ending: signal.Signals
):
    out = tmp_path / "run.json"
    with parent(toy, out) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "1"
        time.sleep(0.3)  # into the second trial
        process.send_signal(ending)
        process.wait(timeout=30)
    deadline = time.monotonic() + 10
    while workers_of(out) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not workers_of(out)
    interrupted = record.load(out)
    assert 1 <= len(ids(interrupted)) < 5
    with parent(toy, out) as process:
        _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    run = record.load(out)
    assert len(ids(run)) == len(set(ids(run))) == 5
    assert set(ids(interrupted)) < set(ids(run))
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


class Murderous(LocalConnection):
    """Its second worker kills itself."""

    calls = 0

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout_s: float) -> CommandResult:
        self.calls += argv[-1].endswith("worker")
        suicide = ["sh", "-c", "kill -9 $$"] if self.calls == 2 else argv
        return super().run(suicide if argv[-1].endswith("worker") else argv, stdin=stdin, timeout_s=timeout_s)


def test_a_really_killed_worker_is_told_by_its_signal(toy: Artifact, tmp_path: Path):
    job = Job(case=artifacts.case_of(toy), compute="cpu", artifact=toy)
    run = timed([job], tmp_path / "run.json", Murderous(lock_folder=tmp_path), trials=5)
    assert len(run.results[0].trials) == 4
    assert any("killed by SIGKILL" in reason.message for reason in run.results[0].reasons)


def test_a_changed_artifact_is_refused_by_the_worker(toy: Artifact, tmp_path: Path):
    toy.file.write_bytes(toy.file.read_bytes() + b"\0")
    job = Job(case=artifacts.case_of(toy), compute="cpu", artifact=toy)
    (result,) = timed([job], tmp_path / "run.json", LocalConnection(lock_folder=tmp_path)).results
    assert result.status == "failed"
    assert "was changed" in result.reasons[0].message
    assert bench.exit_code_of(result) == 9


@pytest.mark.parametrize("options", [{"trials": 0}, {"min_time_s": 0.0}, {"sustained_s": -1.0}])
def test_a_protocol_that_measures_nothing_is_refused(options: dict[str, Any]):
    with pytest.raises(UsageError):
        bench.make_protocol(**options)
