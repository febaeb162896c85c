"""The yardstick: its bytes, its turns beside a case, what a run records of it, and what turns it off."""

import hashlib
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.doubles import artifacts
from tests.doubles.fakes import FakeConnection, fake_trial
from tests.doubles.turns_driver import drive
from tests.doubles.worker_job import job_of
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks import bench
from vitdeploy.benchmarks.trial import turn_worker, turns
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.benchmarks.yardstick import files
from vitdeploy.benchmarks.yardstick.files import YardstickFile, Yardsticks
from vitdeploy.devices import inventory
from vitdeploy.errors import UsageError
from vitdeploy.processes.connection import CommandResult
from vitdeploy.processes.local import LocalConnection
from vitdeploy.results import consistency, record
from vitdeploy.results.record import Run, Trial
from vitdeploy.runtimes.session import SessionOptions, infer

ORT, TFLITE = "vitdeploy.runtimes.on_ort", "vitdeploy.runtimes.on_tflite"


@pytest.fixture
def toy(tmp_path: Path) -> Artifact:
    pytest.importorskip("onnx", reason="the toy model is made with onnx")
    pytest.importorskip("onnxruntime", reason="the toy model runs in ONNX Runtime")
    return artifacts.conv_relu(tmp_path / "toy")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_both_formats_hold_one_network_and_are_the_same_bytes_each_time():
    pytest.importorskip("onnxruntime", reason="ONNX Runtime runs the network")
    pytest.importorskip("ai_edge_litert", reason="TFLite runs the network")
    from vitdeploy.runtimes import on_ort, on_tflite

    image = np.random.Generator(np.random.PCG64(0)).normal(size=(1, 3, 128, 128)).astype(np.float32)
    outputs: list[Any] = []
    for module, name, feed in ((on_ort, ORT, image), (on_tflite, TFLITE, image.transpose(0, 2, 3, 1).copy())):
        file = files.written(name)
        assert file == files.written(name)
        assert file.sha256 == hashlib.sha256(file.path.read_bytes()).hexdigest()
        with module.open_session(file.path, file.manifest, SessionOptions(threads=1)) as session:
            outputs.append(infer(session, {"image": feed})["logits"])
    assert np.isfinite(outputs[0]).all()
    assert np.abs(outputs[0] - outputs[1]).max() < 1e-4 * outputs[0].std()


def test_a_damaged_file_in_the_cache_is_written_anew(toy: Artifact):
    del toy
    file = files.written(ORT)
    file.path.write_bytes(b"damaged")
    assert hashlib.sha256(files.written(ORT).path.read_bytes()).hexdigest() == file.sha256


def test_a_yardstick_takes_a_turn_beside_each_of_the_case(toy: Artifact):
    reply = drive([job_of(toy), {**job_of(toy), "warmup_limit_s": 0.01}], yardstick_turn_ns=1_000_000)
    case, yardstick = (msgspec.convert(side["trial"], Trial) for side in reply["sides"])
    assert case.turns is not None
    assert yardstick.turns is not None
    assert len(case.turns.counts) == len(yardstick.turns.counts)
    assert sorted((*case.turns.places, *yardstick.turns.places)) == list(range(2 * len(case.turns.counts)))
    assert case.wall_ns >= 40_000_000
    assert min(yardstick.turns.counts) >= turn_worker.FEWEST_A_TURN
    assert case.facts["spinning"] == "on"
    beside = msgspec.structs.replace(case, yardstick_ns=yardstick.samples_ns, yardstick_turns=yardstick.turns)
    assert not list(consistency.trial_faults(beside, artifacts.case_of(toy), toy.manifest.sha256))
    assert not beside.in_pair


def test_a_turn_of_the_case_is_so_long_that_a_yardstick_takes_a_fifth_at_most():
    """Three inferences of 2 ms, or 12 ms and one inference: the case has four times as long."""
    assert turns.turn_beside_ns(12_000_000, 2_000_000) == 56_000_000
    assert turns.turn_beside_ns(12_000_000, 30_000_000) == 360_000_000


def run_beside(
    tmp_path: Path, artifact: Artifact, yardsticks: Yardsticks | None, link: Any, **options: Any
) -> tuple[Run, list[str]]:
    words: list[str] = []
    protocol = {"trials": options.pop("trials", 3), "sustained_s": options.pop("sustained_s", None)}
    job = Job(case=artifacts.case_of(artifact), compute="cpu", artifact=artifact)
    run = bench.run(
        [job],
        device=inventory.find("local"),
        protocol=bench.make_protocol(min_time_s=0.02, **protocol),
        out=tmp_path / "run.json",
        yardsticks=yardsticks,
        connection=link,
        progress=words.append,
        **options,
    )
    return run, words


def test_a_run_keeps_the_samples_of_the_yardstick_and_its_digest(tmp_path: Path, toy: Artifact):
    run, _ = run_beside(tmp_path, toy, Yardsticks("on"), LocalConnection(lock_folder=tmp_path))
    assert run.yardstick == record.Yardstick(networks={"onnx-fp32": files.written(ORT).sha256}, off={})
    (result,) = run.results
    assert len(result.trials) == 3
    for trial in result.trials:
        assert trial.yardstick_ns
        assert trial.yardstick_turns is not None
        assert trial.facts["spinning"] == "on"
    assert record.load(tmp_path / "run.json") == run


def answered(job: dict[str, Any], yardstick: Any = None, case: Any = None) -> CommandResult | None:
    """A driver's reply: both sides with their trials, or what is planted."""
    if "sides" not in job:
        return None
    recorded = {"counts": [25, 25], "first_ns": [1, 1]}
    sides = [
        {"trial": fake_trial(side, turns={**recorded, "places": [place, 3 - place]}, samples_ns=SAMPLES[place])}
        for place, side in enumerate(job["sides"])
    ]
    reply = {"sides": [case or sides[0], yardstick or sides[1]], "does_not_fit": None}
    if yardstick:
        reply["sides"][0] = {}
    if case:
        reply["sides"][1] = {}
    return CommandResult(exit_code=0, stdout=json.dumps({"reply": reply}), stderr="")


SAMPLES = [(999_999, *(1_000_000,) * 9) * 5, (499_999, *(500_000,) * 9) * 5]


def test_a_yardstick_that_fails_is_off_and_the_case_is_timed_without(tmp_path: Path, toy: Artifact):
    error = {"kind": "MissingPackage", "message": "onnxruntime refuses it", "hint": "None."}
    link = FakeConnection(lambda job: answered(job, yardstick={"error": error}))
    run, _ = run_beside(tmp_path, toy, Yardsticks("on"), link)
    assert run.yardstick is not None
    assert run.yardstick.off == {"onnx-fp32": "it could not be timed: onnxruntime refuses it"}
    assert [trial.yardstick_ns for trial in run.results[0].trials] == [None] * 3
    assert ["sides" in job for job in link.jobs] == [True, False, False, False]
    assert record.load(tmp_path / "run.json") == run


def test_a_case_that_does_not_fit_beside_the_yardstick_is_timed_alone(tmp_path: Path, toy: Artifact):
    def answer(job: dict[str, Any]) -> CommandResult | None:
        if "sides" not in job:
            return None
        reply = {"sides": [{}, {}], "does_not_fit": "a process was killed, as for want of memory"}
        return CommandResult(exit_code=0, stdout=json.dumps({"reply": reply}), stderr="")

    run, _ = run_beside(tmp_path, toy, Yardsticks("on"), FakeConnection(answer))
    (result,) = run.results
    assert (result.status, len(result.trials)) == ("valid", 3)
    assert run.yardstick is not None
    assert "for want of memory" in run.yardstick.off["onnx-fp32"]


def test_a_cases_own_error_is_raised_as_it_is(tmp_path: Path, toy: Artifact):
    error = {"kind": "ParityFailed", "message": "holds NaN", "hint": "None."}
    run, _ = run_beside(
        tmp_path, toy, Yardsticks("on"), FakeConnection(lambda job: answered(job, case={"error": error}))
    )
    assert run.results[0].status == "failed"
    assert run.results[0].reasons[0].message == "holds NaN"


def test_without_the_writers_package_the_run_says_so(tmp_path: Path, toy: Artifact, monkeypatch: pytest.MonkeyPatch):
    def missing(runtime: str) -> YardstickFile:
        raise ImportError("No module named 'onnx'")

    monkeypatch.setattr(files, "written", missing)
    run, words = run_beside(tmp_path, toy, Yardsticks("on"), FakeConnection())
    assert run.yardstick is not None
    assert "No module named 'onnx'" in run.yardstick.off["onnx-fp32"]
    assert any("without a yardstick" in line for line in words)


@pytest.mark.parametrize(
    ("compute", "target", "device", "words"),
    [
        ("cuda", "torch-fp32", "local", "for the CPU"),
        ("cpu", "torch-fp32", "local", "no network in the format"),
        ("phone", "tflite-fp32", "snapdragon-855", "benchmark_model"),
    ],
)
def test_where_there_is_none_the_run_says_why(tmp_path: Path, compute: Any, target: str, device: str, words: str):
    case = msgspec.structs.replace(artifacts.case_of(artifacts.plain_file(tmp_path / "a")), target=target)
    yardsticks = Yardsticks("on")
    obstacle = bench.prepared_device.no_turns(inventory.find(device), targets=[target], streams=1)
    yardsticks.plan(case, compute, obstacle)
    assert yardsticks.of(case) is None
    assert words in yardsticks.recorded.off[target]


def test_a_sustained_load_and_a_refusal_are_timed_without(tmp_path: Path, toy: Artifact):
    run, _ = run_beside(tmp_path, toy, Yardsticks("on"), FakeConnection(), sustained_s=0.02)
    assert run.yardstick is not None
    assert "pauses" in run.yardstick.off["onnx-fp32"]
    off = Yardsticks("off")
    off.plan(artifacts.case_of(toy), "cpu", None)
    assert off.recorded == record.Yardstick(networks={}, off={"onnx-fp32": "--yardstick off"})


@pytest.mark.parametrize("order", [(1, 2), (2, 1)])
def test_a_case_of_several_streams_leaves_the_others_of_its_target_their_yardstick(
    toy: Artifact, order: tuple[int, int]
):
    cases = {streams: msgspec.structs.replace(artifacts.case_of(toy), streams=streams) for streams in order}
    yardsticks = Yardsticks("on")
    for streams in order:
        yardsticks.plan(cases[streams], "cpu", "several streams run at once" if streams > 1 else None)
    assert yardsticks.of(cases[1]) is not None
    assert yardsticks.of(cases[2]) is None
    assert yardsticks.recorded.off == {}


@pytest.mark.parametrize("default", [True, False])
def test_each_runtime_has_its_default(toy: Artifact, monkeypatch: pytest.MonkeyPatch, default: bool):
    monkeypatch.setattr(files, "ON_BY_DEFAULT", {ORT: default, TFLITE: not default})
    yardsticks = Yardsticks()
    yardsticks.plan(artifacts.case_of(toy), "cpu", None)
    assert bool(yardsticks.recorded.networks) == default
    assert not yardsticks.refused


def test_a_run_is_resumed_with_the_yardstick_it_began_with(tmp_path: Path, toy: Artifact):
    case = artifacts.case_of(toy)
    yardsticks = Yardsticks("on")
    yardsticks.plan(case, "cpu", None)
    began = yardsticks.recorded
    yardsticks.follow(began)
    assert yardsticks.of(case) is not None
    with pytest.raises(UsageError, match="cannot be resumed"):
        yardsticks.follow(record.Yardstick(networks={"onnx-fp32": "0" * 64}, off={}))
    yardsticks.follow(None)
    assert yardsticks.of(case) is None


def beside(tmp_path: Path, toy: Artifact) -> Run:
    run, _ = run_beside(tmp_path, toy, Yardsticks("on"), FakeConnection(answered))
    return run


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"yardstick_ns": None}, "yardstick_ns"),
        ({"yardstick_turns": None}, "yardstick_ns"),
        ({"turns": None}, "yardstick_ns"),
        ({"yardstick_ns": (500_000,)}, "yardstick_turns.counts"),
        ({"yardstick_ns": SAMPLES[0]}, "yardstick_ns"),
        ({"yardstick_turns": record.Turns(counts=(50,), places=(7,), first_ns=(1,))}, "yardstick_turns.counts"),
        ({"yardstick_turns": record.Turns(counts=(25, 25), places=(0, 1), first_ns=(1, 1))}, "yardstick_turns.places"),
    ],
)
def test_what_cannot_be_true_of_a_yardstick_is_refused(
    tmp_path: Path, toy: Artifact, changes: dict[str, Any], field: str
):
    run = beside(tmp_path, toy)
    assert not list(consistency.faults(run))
    trial = msgspec.structs.replace(run.results[0].trials[0], **changes)
    faults = consistency.trial_faults(trial, run.results[0].case, toy.manifest.sha256)
    assert field in [name for name, _ in faults]


def test_samples_of_a_yardstick_that_the_run_does_not_name_are_refused(tmp_path: Path, toy: Artifact):
    run = msgspec.structs.replace(beside(tmp_path, toy), yardstick=None)
    assert ("$.results[0].trials[0].yardstick_ns", "the run names no yardstick of onnx-fp32") in consistency.faults(run)
