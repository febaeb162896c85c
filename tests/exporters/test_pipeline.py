"""From a request to an artifact: what is wrong is found before the work, and what was made is not made again."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import torch

from tests.doubles import artifacts
from vitdeploy.api import export as export_api
from vitdeploy.api.export_request import ExportRequest
from vitdeploy.artifacts import manifest as artifact
from vitdeploy.artifacts.manifest import MANIFEST, Metric, Parity
from vitdeploy.artifacts.store import Store
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import Target
from vitdeploy.devices import gpu
from vitdeploy.errors import Impossible, MissingPackage, ParityFailed, ToolchainFailed, UnreadableFile, UsageError
from vitdeploy.exporters import pipeline, planning, step
from vitdeploy.exporters.job import StepJob
from vitdeploy.exporters.pipeline import ExportedArtifact
from vitdeploy.exporters.planning import ArtifactRequest
from vitdeploy.models.create import create
from vitdeploy.processes.stages import Stage

PROVEN = Parity(
    passed=True,
    reference="torch fp32, as published",
    samples=5,
    max_abs=0.0,
    mean_abs=0.0,
    cosine=1.0,
    finite=True,
    metric=Metric(name="top-1 agreement", value=1.0, floor=0.999),
)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def wanted(out: Path, model: str = "efficientvit_b0", target: str = "onnx-fp32", **changes: Any) -> ArtifactRequest:
    given = {name: changes.pop(name) for name in ("weights", "force", "device") if name in changes}
    variant = registry.variant_of(registry.find_model(model), target, **{"size": (64, 64), **changes})
    return ArtifactRequest(variant=variant, out=out, **{"weights": None, **given})


class FakeStep:
    """Stands in for the step's process: writes an artifact of a few bytes and counts how often it was asked."""

    def __init__(self, parity: Parity = PROVEN) -> None:
        self.jobs: list[StepJob] = []
        self.parity = parity

    def __call__(self, job: StepJob, on_stage: Callable[[str], None]) -> tuple[Stage, ...]:
        self.jobs.append(job)
        for name in ("start", "trace"):
            on_stage(name)
        made = artifacts.plain_file(job.folder, content=repr(job.rewrites).encode())
        manifest = msgspec.structs.replace(made.manifest, **job.variant.recorded, parity=self.parity)
        artifact.write(job.folder, manifest)
        return Stage(name="start", seconds=2.0), Stage(name="trace", seconds=3.0)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeStep:
    step = FakeStep()
    monkeypatch.setattr(pipeline, "_run", step)
    return step


def export(request: ArtifactRequest, store: Store) -> ExportedArtifact:
    return pipeline.export(planning.plans([request])[0], store, progress=lambda line: None)


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if ".part" in path.name]


# Before any work.


def test_an_unknown_rewrite_is_answered_with_the_nearest(tmp_path: Path):
    with pytest.raises(UsageError) as caught:
        planning.plans([wanted(tmp_path, without=("cubic-as-product",))])
    assert "cubic-as-products" in caught.value.hint


@pytest.mark.parametrize(
    ("model", "target", "changes"),
    [
        ("efficientvit_b0", "onnx-fp32", {"size": (100, 64)}),
        ("efficientvit_b0", "torch-fp16", {"io": "fp16"}),
        ("efficientvit_b0", "onnx-fp32", {"io": "fp16"}),
        ("efficientvit_b0", "torch-fp32", {"head": "labels"}),
        ("efficientvit_b0", "torch-fp32", {"io": "uint8"}),
    ],
)
def test_a_combination_that_cannot_work_is_refused(tmp_path: Path, model: str, target: str, changes: dict[str, Any]):
    with pytest.raises(Impossible) as caught:
        planning.plans([wanted(tmp_path, model, target, **changes)])
    assert caught.value.exit_code == 4


def test_a_wrong_size_is_answered_with_the_nearest(tmp_path: Path):
    with pytest.raises(Impossible) as caught:
        planning.plans([wanted(tmp_path, size=(100, 70))])
    assert "96x64" in caught.value.hint
    assert "128x96" in caught.value.hint


def test_missing_packages_are_found_before_the_work(tmp_path: Path, fake: FakeStep, monkeypatch: pytest.MonkeyPatch):
    target = replace(registry.find_target("onnx-fp32"), export_packages=("no_such_a", "no_such_b"))
    monkeypatch.setitem(cast("dict[str, Target]", registry.targets()), "onnx-fp32", target)
    with pytest.raises(MissingPackage) as caught:
        planning.prepare(planning.plans([wanted(tmp_path / "out")]), Store(tmp_path / "store"))
    assert "no_such_a" in caught.value.message
    assert "no_such_b" in caught.value.message
    assert not fake.jobs


def test_a_place_that_cannot_be_written_is_found_before_the_work(tmp_path: Path, fake: FakeStep):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnreadableFile) as caught:
        planning.prepare(planning.plans([wanted(tmp_path / "file" / "out")]), Store(tmp_path / "store"))
    assert caught.value.exit_code == 9
    assert not fake.jobs


def test_the_plan_says_what_would_be_done_and_touches_nothing(tmp_path: Path):
    lines = planning.describe(planning.plans([wanted(tmp_path / "out", without=("padded-stem",))])[0])
    assert len(lines) == 1
    assert "random weights (seed 0)" in lines[0]
    assert "rewritten where they apply by cubic-as-products" in lines[0], "a plan has not seen the graph"
    assert "padded-stem" not in lines[0]
    assert not (tmp_path / "out").exists()


# The key.


def test_whatever_changes_the_bytes_changes_the_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    weights, other = tmp_path / "a.pt", tmp_path / "b.pt"
    weights.write_bytes(b"a")
    other.write_bytes(b"b")
    changes: list[dict[str, Any]] = [
        {},
        {"model": "efficientvit_b1"},
        {"target": "torch-fp32"},
        {"size": (64, 96)},
        {"batch": 2},
        {"attention": "softmax"},
        {"weights": weights},
        {"weights": other},
        {"head": "labels"},
        {"io": "uint8"},
        {"without": ("padded-stem",)},
    ]
    keys = [planning.plans([wanted(tmp_path, **change)])[0].key for change in changes]
    monkeypatch.setattr(planning.jobs, "tool_versions", lambda target: {"torch": "99"})
    keys.append(planning.plans([wanted(tmp_path)])[0].key)
    monkeypatch.undo()
    monkeypatch.setattr(planning, "_source_digest", lambda spec, target: "other code")
    keys.append(planning.plans([wanted(tmp_path)])[0].key)
    assert len(set(keys)) == len(keys)


def test_what_does_not_change_the_bytes_does_not_change_the_key(tmp_path: Path):
    weights, copy = tmp_path / "a.pt", tmp_path / "elsewhere.pt"
    weights.write_bytes(b"a")
    copy.write_bytes(b"a")
    first = planning.plans([wanted(tmp_path / "here", weights=weights, force=True)])[0]
    assert first.key == planning.plans([wanted(tmp_path / "there", weights=copy)])[0].key


# The checkpoint.


class Reads:
    """Counts how often a file's digest is taken."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        self.path = path
        self.count = 0
        self._digest_of = artifact.digest_of
        monkeypatch.setattr(artifact, "digest_of", self)

    def __call__(self, path: Path) -> str:
        self.count += path.resolve() == self.path.resolve()
        return self._digest_of(path)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    weights = tmp_path / "b0.pt"
    torch.save(create(registry.find_model("efficientvit_b0")).state_dict(), weights)
    return weights


@pytest.mark.parametrize("target", ["onnx-fp32", "trt-fp16"])
def test_a_dry_run_takes_a_checkpoints_digest_once(checkpoint: Path, target: str, monkeypatch: pytest.MonkeyPatch):
    reads = Reads(monkeypatch, checkpoint)
    export_api.export_plan(["efficientvit_b0"], ExportRequest(target=target, size="64x64", weights=checkpoint))
    assert reads.count == 1


@pytest.mark.parametrize("target", ["onnx-fp32", pytest.param("trt-fp16", marks=pytest.mark.slow)])
def test_an_export_takes_a_checkpoints_digest_once(
    tmp_path: Path, checkpoint: Path, target: str, monkeypatch: pytest.MonkeyPatch
):
    def run_here(job: StepJob, on_stage: Callable[[str], None]) -> tuple[Stage, ...]:  # where digests are counted
        step.run(job)
        return ()

    monkeypatch.setattr(pipeline, "_run", run_here)
    monkeypatch.setattr(gpu, "first_gpu", lambda: None)
    reads = Reads(monkeypatch, checkpoint)
    order = ExportRequest(target=target, size="64x64", weights=checkpoint, out=tmp_path / "out")
    made = export_api.export(["efficientvit_b0"], order)[0].artifact
    assert reads.count == 1
    assert made is not None
    plain = registry.variant_of(registry.find_model("efficientvit_b0"), target, size=(64, 64))
    assert made.manifest.variant == replace(plain, weights=f"sha256:{reads(checkpoint)}")
    assert made.manifest.state == ("deferred" if target == "trt-fp16" else "ready")


def test_two_parts_take_their_checkpoints_digest_once(checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    reads = Reads(monkeypatch, checkpoint)
    lines = export_api.export_plan(["efficientvit_sam_l0"], ExportRequest(target="onnx-fp32", weights=checkpoint))
    assert len(lines) == 2 + 1, "a part a line, and the time"
    assert reads.count == 1


def test_what_cannot_be_is_refused_before_the_checkpoint_is_read(checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    reads = Reads(monkeypatch, checkpoint)
    with pytest.raises(Impossible):
        export_api.export_plan(
            ["efficientvit_b0"], ExportRequest(target="onnx-fp32", size="100x70", weights=checkpoint)
        )
    assert reads.count == 0


def test_a_digest_that_the_caller_knows_is_not_taken_again(checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    reads = Reads(monkeypatch, checkpoint)
    order = ExportRequest(target="onnx-fp32", size="64x64", weights=checkpoint)
    known = replace(order, weights_sha256=reads(checkpoint))
    assert export_api.export_plan(["efficientvit_b0"], known) == export_api.export_plan(["efficientvit_b0"], order)
    assert reads.count == 2  # the one above and that of the order without it


# The work.


def test_a_second_export_makes_nothing(tmp_path: Path, fake: FakeStep):
    store = Store(tmp_path / "store")
    first, second = (export(wanted(tmp_path / "out"), store) for _ in range(2))
    assert (first.reused, second.reused) == (False, True)
    assert len(fake.jobs) == 1
    artifact.check_digests(second.artifact)
    assert second.artifact.folder == tmp_path / "out" / "efficientvit_b0" / "64x64" / "onnx-fp32"
    assert not leftovers(tmp_path)


def test_each_stage_is_told_and_its_seconds_stand_in_the_last_line(tmp_path: Path, fake: FakeStep):
    store, lines = Store(tmp_path / "store"), list[str]()
    plan = planning.plans([wanted(tmp_path / "out")])[0]
    first, second = (pipeline.export(plan, store, progress=lines.append) for _ in range(2))
    words = "efficientvit_b0 onnx-fp32 64x64"
    assert lines[:2] == [f"{words}: start …", f"{words}: trace …"]
    assert re.fullmatch(rf"{words}: exported, parity passed in \d+\.\d s \(start 2\.0, trace 3\.0\)", lines[2])
    assert [(step.file, [stage.name for stage in step.stages]) for step in first.steps] == [(words, ["start", "trace"])]
    assert len(lines) == 3
    assert second.steps == ()


def test_force_makes_it_again(tmp_path: Path, fake: FakeStep):
    store = Store(tmp_path / "store")
    export(wanted(tmp_path / "out"), store)
    assert not export(wanted(tmp_path / "out", force=True), store).reused
    assert len(fake.jobs) == 2


@pytest.mark.parametrize("place", ["store", "out"])
def test_a_file_that_was_changed_is_never_handed_out(tmp_path: Path, fake: FakeStep, place: str):
    store = Store(tmp_path / "store")
    made = export(wanted(tmp_path / "out"), store).artifact
    for path in (tmp_path / place).rglob("model.onnx"):
        content = path.read_bytes()
        path.unlink()  # not in place: both folders may share the file
        path.write_bytes(content[:-1] + b"?")
    again = export(wanted(tmp_path / "out"), store)
    artifact.check_digests(again.artifact)
    assert again.artifact.folder == made.folder


def test_options_are_in_the_folders_name(tmp_path: Path, fake: FakeStep):
    weights = tmp_path / "some.pt"
    weights.write_bytes(b"weights")
    request = wanted(tmp_path / "out", head="labels", io="uint8", weights=weights, without=("padded-stem",))
    folder = export(request, Store(tmp_path / "store")).artifact.folder
    word = f"w{artifact.digest_of(weights)[:8]}"
    assert folder.parts[-3] == f"efficientvit_b0+{word}+labels+uint8+without-padded-stem"
    assert fake.jobs[0].rewrites == tuple(n for n in request.target.rewrites if n != "padded-stem")


def test_a_failed_proof_is_an_error_every_time_and_stays_in_the_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    fake = FakeStep(msgspec.structs.replace(PROVEN, passed=False, reason="pixel agreement 0.1 is below 0.999"))
    monkeypatch.setattr(pipeline, "_run", fake)
    store = Store(tmp_path / "store")
    for _ in range(2):
        outcome = export(wanted(tmp_path / "out"), store)
        assert isinstance(outcome.error, ParityFailed)
        assert "pixel agreement 0.1" in outcome.error.message
        kept = artifact.open_artifact(outcome.artifact.folder).manifest.parity
        assert kept is not None
        assert not kept.passed
    assert len(fake.jobs) == 1


# The process of a step.


def executable(tmp_path: Path, script: str) -> str:
    path = tmp_path / "python"
    path.write_text(f"#!{sys.executable}\n{script}")
    path.chmod(0o755)
    return str(path)


def test_a_crash_names_the_log_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    script = "import os, sys\nprint('converter: out of luck', file=sys.stderr, flush=True)\nos.abort()"
    monkeypatch.setattr(sys, "executable", executable(tmp_path, script))
    store = Store(tmp_path / "store")
    with pytest.raises(ToolchainFailed) as caught:
        export(wanted(tmp_path / "out"), store)
    assert "out of luck" in caught.value.message
    log = Path(caught.value.hint.removeprefix("Read ").rstrip("."))
    assert "out of luck" in log.read_text()
    assert not leftovers(tmp_path)
    assert not store.entries()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("UnreadableFile", UnreadableFile), ("Impossible", Impossible), ("Nonsense", ToolchainFailed)],
)
def test_an_error_of_the_step_is_raised_as_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, expected: type[Exception]
):
    answer = f'{{"error": {{"kind": "{kind}", "message": "what", "hint": "Do."}}}}'
    monkeypatch.setattr(sys, "executable", executable(tmp_path, f"print({answer!r})"))
    with pytest.raises(expected, match="what"):
        export(wanted(tmp_path / "out"), Store(tmp_path / "store"))
    assert not leftovers(tmp_path)


def test_an_interrupt_kills_the_step_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    note = tmp_path / "pid"
    script = f"import os, time\nopen({str(note)!r}, 'w').write(str(os.getpid()))\ntime.sleep(120)"
    monkeypatch.setattr(sys, "executable", executable(tmp_path, script))

    def interrupt(*_: object) -> None:
        if note.exists() and note.read_text():
            raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            export(wanted(tmp_path / "out"), Store(tmp_path / "store"))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)
    assert not leftovers(tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def large(job: StepJob, on_stage: Callable[[str], None]) -> tuple[Stage, ...]:
    """A step whose model does not fit the small disk."""
    made = artifacts.plain_file(job.folder, content=b"x" * 2**20)
    artifact.write(job.folder, msgspec.structs.replace(made.manifest, model=job.variant.model, parity=PROVEN))
    return ()


def test_a_full_disk_at_the_output_leaves_nothing_half_written(
    tmp_path: Path, small_disk: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(pipeline, "_run", large)
    with pytest.raises(UnreadableFile) as caught:
        export(wanted(small_disk / "out"), Store(tmp_path / "store"))
    assert "cannot write" in caught.value.message
    assert not [path for path in small_disk.rglob("*") if path.is_file()]


def test_a_full_disk_at_the_store_leaves_nothing_half_written(tmp_path: Path, small_disk: Path):
    for package in ("torch", "skimage"):
        pytest.importorskip(package, reason="a real step writes the file")
    store = Store(small_disk / "store")
    with pytest.raises(UnreadableFile) as caught:
        export(wanted(tmp_path / "out", target="torch-fp32"), store)
    assert "cannot write" in caught.value.message
    assert not store.entries()
    assert not [path for path in small_disk.rglob("*") if path.is_file()]


def test_a_checkpoint_of_another_model_is_refused_through_the_pipe(tmp_path: Path):
    torch: Any = pytest.importorskip("torch", reason="a real step reads the checkpoint")
    weights = tmp_path / "wrong.pt"
    torch.save({"some.key": torch.zeros(3)}, weights)
    with pytest.raises(UnreadableFile, match="does not fit efficientvit_b0"):
        export(wanted(tmp_path / "out", weights=weights), Store(tmp_path / "store"))
    assert not leftovers(tmp_path)
    assert not list((tmp_path / "out").rglob("manifest.json"))


def test_looking_up_an_artifact_imports_no_framework():
    code = (
        "import sys\nfrom vitdeploy import api\nfrom vitdeploy.exporters import pipeline\n"
        "print(sorted({'torch', 'onnx', 'onnxruntime', 'skimage', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_artifact_is_proven_again_on_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    made = artifacts.plain_file(tmp_path / "made")
    before = (made.folder / MANIFEST).read_bytes()
    failed = msgspec.structs.replace(PROVEN, passed=False, reason="the output holds NaN or Inf")

    def reprove(job: StepJob, on_stage: Callable[[str], None]) -> tuple[Stage, ...]:
        assert job.only_prove
        found = artifact.open_artifact(job.folder).manifest
        artifact.write(job.folder, msgspec.structs.replace(found, parity=failed))
        return ()

    monkeypatch.setattr(pipeline, "_run", reprove)
    monkeypatch.setattr(pipeline.packages, "require", lambda names: None)
    parity, error = pipeline.prove(made, weights=None, images=None)
    assert not parity.passed
    assert isinstance(error, ParityFailed)
    assert (made.folder / MANIFEST).read_bytes() == before, "a check changes nothing"


def test_the_limit_of_a_step_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "executable", executable(tmp_path, "import time\ntime.sleep(60)"))
    monkeypatch.setattr(pipeline, "STEP_LIMIT_S", 0.3)
    begin = time.monotonic()
    with pytest.raises(ToolchainFailed, match=r"more than 0\.3 s"):
        export(wanted(tmp_path / "out"), Store(tmp_path / "store"))
    assert time.monotonic() - begin < 30
    assert not leftovers(tmp_path)
