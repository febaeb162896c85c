"""Sweeps: plans, trials that are kept, and real Dask schedulers, workers and clients that are killed in the middle."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.doubles import edited, make_run
from tests.doubles.fleet_lab import Lab, told, wait_until
from vitdeploy.cli.main import main
from vitdeploy.errors import DeviceError, MissingPackage, UnreadableFile, UsageError
from vitdeploy.fleet import plan as planning
from vitdeploy.fleet.trial_files import TrialFiles
from vitdeploy.results import record

PLAN = """title = "Two boards"
trials = 3
[[rows]]
models = ["efficientvit_b0", "efficientvit_b1"]
targets = ["onnx-fp32"]
sizes = ["64x64", "96x96"]
devices = ["one", "two"]
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    pytest.importorskip("distributed", reason="Dask (extra fleet) is not installed")
    pytest.importorskip("onnxruntime", reason="the trials are taken by ONNX Runtime")
    made = Lab(tmp_path / "lab")
    yield made
    made.end()


def read(folder: Path, text: str) -> planning.SweepPlan:
    (folder / "lab.toml").write_text(text)
    return planning.read(folder / "lab.toml")


def busy(lab: Lab) -> dict[str, list[tuple[float, float]]]:
    """Device → from when to when each of its trials was measured, in seconds, in time."""
    found: dict[str, list[tuple[float, float]]] = {}
    for result in record.load(lab.folder / "run.json").results:
        for trial in result.trials:
            start_s = datetime.fromisoformat(trial.started_utc).timestamp()
            took_s = (trial.load_ns + trial.first_ns + trial.warmup_ns + trial.wall_ns) / 1e9
            found.setdefault(result.case.device, []).append((start_s, start_s + took_s))
    return {name: sorted(spans) for name, spans in found.items()}


def test_a_plan_is_every_model_at_every_target_and_size_on_every_device(tmp_path: Path):
    wanted = planning.expand(read(tmp_path, PLAN))
    assert [one.place for one in wanted] == list(range(8))
    assert wanted[0].words == "efficientvit_b0 onnx-fp32 64x64 on one"
    assert planning.devices(wanted) == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("title = 1", "not a valid plan"),
        (PLAN + "surprise = 1\n", "surprise"),
        (PLAN.replace("trials = 3", "trials = 0"), "trials"),
        (PLAN.replace('["one", "two"]', '["../etc"]'), "devices"),
        ("[" * 5000, "not a valid plan"),
    ],
)
def test_a_plan_that_is_none_names_what_is_wrong(tmp_path: Path, text: str, words: str):
    with pytest.raises(UnreadableFile, match=words):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ('"efficientvit_b1"', '"efficientvit_b9"', "rows 1: .*efficientvit_b9"),
        ('"96x96"', '"64x64"', "both name efficientvit_b0 onnx-fp32 64x64 on one"),
        ('"96x96"', '"ninety"', "rows 1: "),
    ],
)
def test_what_a_plan_names_must_be_there_and_once(tmp_path: Path, before: str, after: str, words: str):
    with pytest.raises(UsageError, match=words):
        planning.expand(read(tmp_path, PLAN.replace(before, after)))


def test_the_first_trial_of_an_id_stays_and_a_damaged_file_is_none(tmp_path: Path):
    row = make_run.row("efficientvit_b1", "onnx-fp32", 7.0, seed=1, trials=2, count=10)
    first = row.trials[0]
    journal = TrialFiles(tmp_path / "run.trials")
    trial = record.Trial(**{**{name: getattr(first, name) for name in first.__struct_fields__}, "id": "run-1/0/0"})
    assert journal.keep(trial)
    assert not journal.keep(trial)
    assert journal.find("run-1/0/0") == trial
    assert list(journal.trials("run-1")) == [trial]
    assert list(journal.trials("run-2")) == []
    (tmp_path / "run.trials" / "0-0.json").write_text("{")
    assert journal.find("run-1/0/0") is None
    assert not list((tmp_path / "run.trials").glob("*.part"))


def test_the_plan_is_printed_and_nothing_is_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "lab.toml").write_text(PLAN)
    assert main(["sweep", str(tmp_path / "lab.toml"), "--scheduler", "tcp://nowhere:1", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "24 trials on 2 devices, by tcp://nowhere:1" in said
    assert [path.name for path in tmp_path.iterdir()] == ["lab.toml"]


def test_without_a_scheduler_this_machine_does_it_all(lab: Lab):
    said = told(lab.sweep(lab.plan(trials=2), there=False))
    assert "4 trials were taken" in said, said
    run = record.load(lab.folder / "run.json")
    assert sorted({result.case.device for result in run.results}) == ["one", "two"]
    assert len(lab.trials()) == len(set(lab.trials())) == 4
    assert not (lab.folder / "run.trials").exists()


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_a_trial_which_is_taken_again(lab: Lab):
    lab.scheduler()
    workers = [lab.worker(f"device:{name}=1") for name in ("one", "one", "two", "two")]
    client = lab.sweep(lab.plan(trials=6))
    wait_until(lambda: len(lab.trials()) >= 2)
    os.killpg(workers[0].pid, signal.SIGKILL)
    said = told(client)
    assert len(lab.trials()) == len(set(lab.trials())) == 12, said
    for name, spans in busy(lab).items():
        assert len(spans) == 6
        ends = [end for _, end in spans]
        starts = [start for start, _ in spans[1:]]
        assert all(end <= start for end, start in zip(ends, starts, strict=False)), f"two trials at once on {name}"


@pytest.mark.slow  # real trials of two devices, twice
def test_a_client_that_is_killed_goes_on_where_it_was(lab: Lab):
    lab.scheduler()
    for name in ("one", "one", "two", "two"):
        lab.worker(f"device:{name}=1")
    plan = lab.plan(trials=6)
    client = lab.sweep(plan)
    wait_until(lambda: len(lab.trials()) >= 3)
    os.killpg(client.pid, signal.SIGKILL)
    client.communicate()
    before = set(lab.trials())
    assert len(before) < 12
    said = told(lab.sweep(plan, "--resume"))
    after = lab.trials()
    assert len(after) == len(set(after)) == 12, said
    assert before < set(after)
    assert "trials are there" in said


@pytest.mark.slow
def test_two_hundred_trials_on_three_workers_are_kept_once_each(lab: Lab):
    lab.scheduler()
    for _ in range(3):
        lab.worker("device:one=1", "--preload", "tests.doubles.fast_trials")
    client = lab.sweep(lab.plan(devices=("one",), trials=TRIALS, wait_s=60))
    peaks: list[int] = []
    wait_until(lambda: client.poll() is not None or peaks.append(peak_bytes(client.pid)), 170.0)
    said = told(client)
    assert client.returncode == 0, said
    assert f"{TRIALS} trials were taken" in said
    assert len(lab.trials()) == len(set(lab.trials())) == TRIALS, said
    (result,) = record.load(lab.folder / "run.json").results
    assert sorted(trial.order for trial in result.trials) == list(range(TRIALS))
    assert not (lab.folder / "run.trials").exists()
    print(f"peak of the client: {max(peaks) / 2**20:.0f} MiB")
    assert max(peaks) < 2**30


TRIALS = 200


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had resident so far; 0: it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), 0)


def test_a_file_that_is_no_trial_is_replaced_by_the_next_trial_of_its_id(tmp_path: Path):
    """Planted: a cut file of a trial kept its name, and the trial was in memory only."""
    row = make_run.row("efficientvit_b1", "onnx-fp32", 7.0, seed=1, trials=1, count=10)
    trial = record.Trial(
        **{**{name: getattr(row.trials[0], name) for name in row.trials[0].__struct_fields__}, "id": "run-1/0/0"}
    )
    files = TrialFiles(tmp_path)
    for broken in edited.BROKEN:
        (tmp_path / "0-0.json").write_bytes(broken)
        assert files.keep(trial)
        assert files.find("run-1/0/0") == trial


@pytest.mark.slow
def test_a_scheduler_that_comes_back_loses_nothing(lab: Lab):
    scheduler = lab.scheduler()
    port = int(lab.address.rpartition(":")[2])
    for name in ("one", "two"):
        lab.worker(f"device:{name}=1")
    client = lab.sweep(lab.plan(trials=6, wait_s=90))
    wait_until(lambda: len(lab.trials()) >= 2)
    os.killpg(scheduler.pid, signal.SIGKILL)
    scheduler.communicate()
    lab.scheduler(port)
    for name in ("one", "two"):
        lab.worker(f"device:{name}=1")
    said = told(client)
    assert "the scheduler is there again" in said
    assert len(lab.trials()) == len(set(lab.trials())) == 12, said


def test_a_device_that_no_worker_serves_ends_with_exit_7_and_the_others_go_on(lab: Lab):
    lab.scheduler()
    lab.worker("device:one=1")
    client = lab.sweep(lab.plan(trials=2, wait_s=6))
    said = told(client)
    assert client.returncode == 7, said
    assert "no worker served device:two for 6 s" in said
    assert len(lab.trials()) == 2


@pytest.mark.slow  # a worker is given half a minute
def test_a_worker_that_falls_silent_is_said_and_its_trials_go_to_another_or_are_given_up(lab: Lab):
    """Planted: a stopped process keeps its connections open and says nothing, as behind a cut network."""
    lab.scheduler()
    lab.environment["VITDEPLOY_LOCK_DIR"] = str(lab.folder / "conv")  # the one that stops is another machine
    lost = lab.worker("device:one=1")
    alone = lab.worker("device:two=1")
    lab.environment["VITDEPLOY_LOCK_DIR"] = str(lab.folder)
    client = lab.sweep(lab.plan(trials=40, wait_s=8))
    wait_until(lambda: len(lab.trials()) >= 2)
    for worker in (lost, alone):
        os.killpg(worker.pid, signal.SIGSTOP)
    lab.worker("device:one=1")
    said = told(client, 200.0)
    assert said.count("has not reported for 30 s") == 2, said
    assert client.returncode == 7, said
    assert "no worker served device:two for 8 s" in said
    trials = lab.trials()
    assert len(trials) == len(set(trials))
    assert len([trial for trial in trials if "/0/" in trial]) == 40, said


@pytest.mark.slow  # waits for an address that never answers
def test_an_address_that_is_none_is_said(lab: Lab):
    lab.address = "tcp://127.0.0.1:9"
    client = lab.sweep(lab.plan())
    said = told(client)
    assert client.returncode == 7, said
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in said
    with contextlib.suppress(FileNotFoundError):
        assert not (lab.folder / "run.json").read_text()


@pytest.mark.parametrize(
    "address", ["lab", "tcp://lab", "tcp://lab:port", "tcp://lab:8786/x", "", "two words:1", "ftp://lab:1"]
)
def test_what_cannot_be_an_address_is_refused_at_once(tmp_path: Path, address: str):
    pytest.importorskip("distributed", reason="Dask (extra fleet) is not installed")
    from vitdeploy.fleet import on_dask

    started = time.monotonic()
    with pytest.raises(UsageError, match="no address of a Dask scheduler"):
        on_dask.open_pool(address, ())
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("address", "kind", "words"),
    [
        ("tls://127.0.0.1:9", UsageError, "needs certificates"),
        ("wss://127.0.0.1:9", UsageError, "needs certificates"),
        ("ucx://127.0.0.1:9", MissingPackage, "needs the package distributed-ucxx"),
    ],
)
def test_a_protocol_that_is_not_set_up_here_is_said_at_once(address: str, kind: type[Exception], words: str):
    pytest.importorskip("distributed", reason="Dask (extra fleet) is not installed")
    from vitdeploy.fleet import on_dask

    with pytest.raises(kind, match=words):
        on_dask.open_pool(address, ())


@pytest.mark.parametrize(
    "error", [TypeError("unexpected keyword argument"), ImportError("1"), KeyError("op"), EOFError()]
)
def test_a_scheduler_of_another_version_is_a_device_error(error: Exception, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("distributed", reason="Dask (extra fleet) is not installed")
    from vitdeploy.fleet import on_dask

    def client(*words: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(on_dask, "_Client", client)
    with pytest.raises(DeviceError, match="does not work with this client") as refused:
        on_dask.open_pool("tcp://127.0.0.1:9", ())
    assert "pip install distributed==" in refused.value.hint
