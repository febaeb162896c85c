"""Where a case computes: every verb that times or runs uses the GPU of a device that has one, and says so.

The device is a fake that keeps what it is told: nothing here says how fast a GPU is.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.doubles import artifacts, make_run
from tests.doubles.fakes import FakeConnection, fake_trial
from vitdeploy.api import attention, jobs, reproduce
from vitdeploy.api import bench as api
from vitdeploy.api import calibrate as calibrate_api
from vitdeploy.api import compare as compare_api
from vitdeploy.api import duel as duel_api
from vitdeploy.api.cases import BenchRequest
from vitdeploy.api.compare import CompareRequest
from vitdeploy.api.duel import DuelRequest
from vitdeploy.api.export import ExportResult
from vitdeploy.api.studies import StudyRequest
from vitdeploy.artifacts.manifest import Artifact, digest_of
from vitdeploy.artifacts.store import Store
from vitdeploy.benchmarks import attention as studies
from vitdeploy.benchmarks import calibrate, duel
from vitdeploy.benchmarks import reproduce as tables
from vitdeploy.benchmarks.trial.request import TrialSlot
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.cli.main import main
from vitdeploy.devices import device_facts, inventory
from vitdeploy.errors import Impossible
from vitdeploy.fleet import device_queue, messages, sweep_rows
from vitdeploy.fleet import plan as planning
from vitdeploy.inference import client
from vitdeploy.processes.connection import CommandResult
from vitdeploy.results import comparison, record, validity

FACTS = {"cpu": "made up", "cores_physical": 2, "compute_capability": "8.0", "gpu": "made up", "packages": {}}
NVML = "vitdeploy.devices.probe_nvml"
TRIAL = "vitdeploy.benchmarks.trial.worker"
TURNS = "vitdeploy.benchmarks.trial.turns"
PROFILE = "vitdeploy.benchmarks.profile.worker"
INFERENCE = "vitdeploy.inference.worker"


class Board(FakeConnection):
    """A device with a GPU; B of a duel takes twice as long. What its processes were told is kept by module."""

    def __init__(self, facts: dict[str, Any]) -> None:
        super().__init__(self._timed)
        self.facts = facts
        self.told: list[tuple[str, dict[str, Any]]] = []

    def _timed(self, job: dict[str, Any]) -> CommandResult:
        if "sides" in job:
            replies = [json.loads(self._timed(side).stdout)["reply"] for side in job["sides"]]
            reply = {"sides": [{"trial": trial} for trial in replies], "does_not_fit": None}
            return CommandResult(exit_code=0, stdout=json.dumps({"reply": reply}), stderr="")
        slow = job["trial"]["pair"] is not None and job["trial"]["id"].split("/")[1] == "1"
        taken = fake_trial(job, [2_000_000 + len(self.jobs) if slow else 1_000_000 + len(self.jobs)] * 20)
        return CommandResult(exit_code=0, stdout=json.dumps({"reply": taken}), stderr="")

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout_s: float) -> CommandResult:
        module = argv[-1]
        if stdin:
            job = json.loads(stdin)
            self.told += [(TRIAL, side) for side in job["sides"]] if module == TURNS else [(module, job)]
        if module == PROFILE:
            return CommandResult(exit_code=0, stdout=json.dumps({"reply": {"Conv": 1_000}}), stderr="")
        if module == INFERENCE or argv[0] == "rm":
            return CommandResult(exit_code=1, stdout="", stderr="this fake does not infer")
        return super().run(argv, stdin=stdin, timeout_s=timeout_s)

    def computed_on(self, module: str) -> set[str]:
        """Where processes of a module were told to compute."""
        return {job.get("device", "not said") for name, job in self.told if name == module}


Opened = Callable[..., Board]


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Makes the device ``board`` of these targets and facts, on which exports are files that nobody loads."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    made: list[str] = []

    def export(names: Sequence[str], order: Any, **options: Any) -> list[ExportResult]:
        made.append(f"{names[0]}:{order.target}")
        words = order.size.split("x")
        content = f"{names[0]} {order.attention} {order.size}".encode()
        artifact = artifacts.plain_file(
            tmp_path / "made" / str(len(made)), content, target=order.target, size=(int(words[0]), int(words[1]))
        )
        kept(artifact)
        return [
            ExportResult(model=names[0], target=order.target, artifact=artifact, error=None, reused=False, seconds=0.0)
        ]

    def opened(*targets: str, **facts: Any) -> Board:
        (tmp_path / "devices").mkdir(exist_ok=True)
        lines = ['name = "board"', 'title = "a fake"', 'link = "ssh"', 'host = "127.0.0.1"']
        (tmp_path / "devices/board.toml").write_text("\n".join([*lines, f"targets = {json.dumps(list(targets))}"]))
        double = Board({**FACTS, **facts})
        monkeypatch.setattr(inventory, "connect", lambda device: double)
        return double

    monkeypatch.setattr(jobs, "export", export)
    monkeypatch.setattr(duel, "PAIRS", {"turns": 4, "trials": 4})
    monkeypatch.setattr(duel, "MIN_TIME_S", {"turns": 0.1, "trials": 0.1})
    return opened


def kept(artifact: Artifact) -> str:
    """Put an artifact into the store; returns the digest of its file."""
    store, key = Store(), digest_of(artifact.folder / "manifest.json")
    place = store.workplace(key)
    for file in artifact.folder.iterdir():
        (place / file.name).write_bytes(file.read_bytes())
    store.add(key, place)
    return artifact.manifest.sha256


def on_the_gpu(run: record.Run, double: Board) -> None:
    """All of it was timed there, is recorded so, and was looked at by the GPU's probe."""
    assert {result.case.memory for result in run.results} == {"pinned"}
    jobs = [job for name, job in double.told if name == TRIAL]
    assert {job["device"] for job in jobs} == {"cuda"}
    assert {job["probe"] for job in jobs} == {NVML}


def test_bench_times_torch_on_the_gpu_and_onnx_on_the_cpu(board: Opened):
    double = board("onnx-fp32", "torch-fp32")
    order = BenchRequest(device="board", targets=("torch-fp32",), trials=1, out=Path("run.json"))
    on_the_gpu(api.bench(["efficientvit_b0"], order).run, double)
    order = BenchRequest(device="board", targets=("onnx-fp32",), trials=1, out=Path("cpu.json"))
    assert api.bench(["efficientvit_b0"], order).run.results[0].case.memory == "pageable"
    assert [side["device"] for side in double.jobs[-1]["sides"]] == ["cpu", "cpu"]  # the case and the yardstick


def test_duel_and_its_attribution_are_on_the_gpu(board: Opened):
    double = board("torch-fp32")
    sides = ("efficientvit_b0:torch-fp32@64x64", "efficientvit_b0:torch-fp32@96x96")
    outcome = duel_api.duel(*sides, DuelRequest(device="board", out=Path("duel.json")))
    on_the_gpu(outcome.run, double)
    assert outcome.run.duel is not None
    assert outcome.run.duel.attribution is not None
    assert double.computed_on(PROFILE) == {"cuda"}


def test_compare_confirm_is_on_the_gpu_and_of_the_case(board: Opened, tmp_path: Path):
    double = board("torch-fp32")
    case = {"device": "board", "memory": "pinned", "streams": 3, "graph": True, "boundary": "compute", "threads": 3}
    paths = runs_of(tmp_path, "torch-fp32", case)
    compared = compare_api.compare(paths, CompareRequest(confirm=True)).compared
    assert "was decided by a duel of the stored files" in compared.notes[-1]
    (path,) = Path("runs").glob("confirm-*.json")
    run = record.load(path)
    on_the_gpu(run, double)
    wanted = {"streams": 3, "graph": True, "boundary": "compute", "threads": 3}
    assert all({name: job[name] for name in wanted} == wanted for job in double.jobs)
    assert {result.case for result in run.results} == {record.load(paths[0]).results[0].case}


def test_a_case_that_would_compute_elsewhere_is_not_confirmed(board: Opened, tmp_path: Path):
    board("torch-fp32", compute_capability=None)
    paths = runs_of(tmp_path, "torch-fp32", {"device": "board", "memory": "pinned"})
    outcome = compare_api.compare(paths, CompareRequest(confirm=True))
    assert (outcome.exit_code, "would compute it on cpu now" in outcome.compared.notes[-1]) == (10, True)


def runs_of(tmp_path: Path, target: str, case: dict[str, Any]) -> list[Path]:
    """A base and a slower head of two stored files."""
    paths: list[Path] = []
    for name, median_ms in (("base", 7.4), ("head", 9.0)):
        sha256 = kept(artifacts.plain_file(tmp_path / name, name.encode(), target=target))
        row = make_run.row("efficientvit_b0", target, median_ms, seed=1 + len(paths), trials=8, count=100, **case)
        row = make_run.of_file(row, sha256)
        paths.append(tmp_path / f"{name}.json")
        record.save(make_run.run(row, name=name), paths[-1])
    return paths


def test_attention_and_what_ran_are_on_the_gpu(board: Opened, monkeypatch: pytest.MonkeyPatch):
    double = board("torch-fp32")
    monkeypatch.setattr(studies, "QUICK_MODULE_SIDES", (16, 24, 32, 48))
    monkeypatch.setattr(studies, "QUICK_NETWORK_SIDES", (128, 224))
    order = StudyRequest(device="board", target="torch-fp32", quick=True, trials=3, out=Path("attention.json"))
    attention.attention((), order)
    on_the_gpu(record.load(Path("attention.json")), double)
    assert double.computed_on(PROFILE) == {"cuda"}


def test_reproduce_is_on_the_gpu(board: Opened):
    double = board("torch-fp32")
    order = StudyRequest(device="board", target="torch-fp32", quick=True, trials=1, out=Path("reproduce.json"))
    reproduce.reproduce("imagenet", order)
    on_the_gpu(record.load(Path("reproduce.json")), double)


def test_calibrate_is_on_the_gpu_and_its_plan_says_so(board: Opened):
    double = board("onnx-fp32", "torch-fp16", "torch-fp32")
    order = DuelRequest(device="board", pairs=4, out=Path("calibration.json"))
    assert "torch-fp16" in calibrate_api.calibrate_plan(order)[0]
    made = calibrate_api.calibrate(order)
    on_the_gpu(record.load(Path("calibration.json")), double)
    assert made.calibration.case.startswith("efficientvit_b1 torch-fp16")


@pytest.mark.parametrize(
    ("link", "targets", "facts", "target"),
    [
        ("ssh", ("onnx-fp32", "trt-fp16", "torch-fp32"), {"compute_capability": "8.7"}, "trt-fp16"),
        ("local", ("tflite-fp32", "onnx-fp32", "torch-fp32"), {}, "onnx-fp32"),
        ("ssh", ("tflite-fp32", "torch-fp32"), {}, "tflite-fp32"),
        ("ssh", ("onnx-fp32",), {"compute_capability": "8.7"}, "onnx-fp32"),
        ("adb", ("tflite-fp32",), {}, "tflite-fp32"),
    ],
)
def test_a_device_is_calibrated_by_what_it_is_for(
    link: str, targets: tuple[str, ...], facts: dict[str, Any], target: str
):
    device = msgspec.structs.replace(inventory.find("local"), link=link, targets=targets)
    assert calibrate.target_of(device, DeviceFacts(facts)) == target
    with pytest.raises(Impossible, match="runs no target"):
        calibrate.target_of(msgspec.structs.replace(device, targets=()), DeviceFacts(facts))


def test_a_sweep_tells_its_worker_where_to_compute(board: Opened, tmp_path: Path):
    board("torch-fp32")
    (tmp_path / "lab.toml").write_text(
        'title = "Lab"\n[[rows]]\nmodels = ["efficientvit_b0"]\ntargets = ["torch-fp32"]\ndevices = ["board"]\n'
    )
    plan = planning.read(tmp_path / "lab.toml")
    (wanted,) = planning.expand(plan)
    device = inventory.find("board")
    surveyed = messages.DeviceSurvey(device=device, facts=device_facts.facts_of(device), threads=2, power_mode=None)
    row = sweep_rows.empty_row(wanted, None)
    protocol = make_run.run().protocol
    sweep_rows.fill_row(
        row, wanted, surveyed, protocol, artifacts.plain_file(tmp_path / "made", target="torch-fp32"), None
    )
    lane = device_queue.DeviceQueue(device="board", places=(0,), lock_wait_s=1.0, survey=surveyed)
    told = device_queue.trial_task(lane, TrialSlot(place=0, index=0, order=0, id="run/0/0"), row, protocol)
    assert (told.case.memory, told.compute) == ("pinned", "cuda")


@pytest.mark.parametrize(("target", "compute"), [("torch-fp32", "cuda"), ("trt-fp16", "cuda"), ("onnx-fp32", "cpu")])
def test_eval_answers_on_the_gpu(board: Opened, tmp_path: Path, target: str, compute: str):
    double = board(target)
    device = inventory.find("board")
    answers = client.inference_on(
        device, double, device_facts.read_facts(device, double), threads=2, log=tmp_path / "log"
    )
    made = artifacts.plain_file(tmp_path / "made", target=target)
    with pytest.raises(Exception, match="does not infer"):
        answers(made, [{"image": np.zeros((1, 3, 32, 32), np.float32)}])
    assert double.computed_on(INFERENCE) == {compute}


def test_a_table_that_is_timed_names_every_target_it_could(board: Opened):
    """The rule of `reproduce` and the one decision agree on what an NVIDIA GPU computes."""
    board("torch-fp32")
    device = inventory.find("board")
    table = tables.find("imagenet")
    assert device_facts.compute_of(tables.target_of(table, device, None), device, DeviceFacts(FACTS)) == "cuda"


@pytest.mark.parametrize(
    ("wide", "code", "verdict"),
    [
        pytest.param(False, 0, ("same", "inconclusive", "faster"), marks=pytest.mark.slow),
        (True, 10, ("slower",)),
    ],
)
def test_a_suspicion_is_confirmed_here_by_real_trials_of_the_very_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wide: bool, code: int, verdict: tuple[str, ...]
):
    """The head's figures are planted; its file is the base's or one of sixty-four times the arithmetic."""
    pytest.importorskip("onnxruntime", reason="the toy model runs in ONNX Runtime")
    pytest.importorskip("onnx", reason="the toy model is made with onnx")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(duel, "PAIRS", {"turns": 4, "trials": 4})
    monkeypatch.setattr(duel, "MIN_TIME_S", {"turns": 0.1, "trials": 0.1})
    monkeypatch.setattr(validity, "MOST_UNSTEADY", 1.0)  # whatever else this machine does meanwhile
    case = {"device": "local", "size": (32, 32), "streams": 2, "boundary": "compute", "threads": 2}
    paths: list[Path] = []
    for name, median_ms, channels in (("base", 7.4, 8), ("head", 9.0, 512 if wide else 8)):
        made = artifacts.conv_relu(tmp_path / name, channels=channels)
        row = make_run.row("efficientvit_b0", "onnx-fp32", median_ms, seed=len(paths) + 1, trials=8, count=100, **case)
        row = make_run.of_file(row, kept(made))
        paths.append(tmp_path / f"{name}.json")
        run = make_run.run(row, name=name)
        record.save(
            msgspec.structs.replace(run, protocol=msgspec.structs.replace(run.protocol, min_time_s=0.1)), paths[-1]
        )
    assert main(["compare", *map(str, paths)]) == 10
    assert main(["compare", *map(str, paths), "--confirm", "--max-slowdown", "50%"]) == 0, "nothing to confirm"
    assert main(["compare", *map(str, paths), "--confirm"]) == code
    (path,) = Path("runs").glob("confirm-*.json")
    confirmed = record.load(path)
    assert {(r.case.streams, r.case.boundary, r.case.threads) for r in confirmed.results} == {(2, "compute", 2)}
    assert all(taken.facts["threads"] == "1" for r in confirmed.results for taken in r.trials), "one a stream"
    compared = comparison.duel(confirmed)
    assert compared.comparisons[0].verdict in verdict
