"""`export --tune`: each form is timed against the best so far, and what is clearly faster is kept and recorded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from tests.doubles import artifacts
from vitdeploy.api import export as exporting
from vitdeploy.api import tune
from vitdeploy.api.export_request import ExportRequest
from vitdeploy.artifacts import manifest as artifact
from vitdeploy.artifacts.manifest import Artifact, open_artifact
from vitdeploy.artifacts.store import Store
from vitdeploy.catalog import registry
from vitdeploy.devices import computer_facts
from vitdeploy.errors import ParityFailed, UsageError
from vitdeploy.exporters import pipeline, planning
from vitdeploy.exporters.job import StepJob
from vitdeploy.exporters.planning import ArtifactRequest, Plan
from vitdeploy.processes.stages import Stage
from vitdeploy.results.verdict import Comparison, Verdict

LAYERS = {"64-256-56x56": 4, "128-512-14x14": 2}


@pytest.fixture(autouse=True)
def an_avx512_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(computer_facts, "vector_instructions", lambda: "avx512")


def planned(out: Path, **changes: object) -> Plan:
    variant = registry.variant_of(registry.find_model("efficientvit_b0"), "onnx-fp32", size=(64, 64))
    return planning.plans([ArtifactRequest(variant=variant, weights=None, out=out, **changes)])[0]  # pyright: ignore[reportArgumentType]


def tile_of(layer: str, tile: int, left_out: tuple[str, ...]) -> int:
    if layer in left_out:
        return 1
    if f"{layer}:{tile}" in left_out:
        return tile // 2
    return tile


@dataclass
class Bench:
    """Makes files of a few bytes, and knows how long each form takes."""

    folder: Path
    costs: Mapping[str, float]
    """Word → factor on the time of a file that has it: a rewrite that is applied, or ``LAYER:TILE``."""
    fails: str = ""
    made: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])
    timed: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])

    def make(self, plan: Plan) -> Artifact:
        step = plan.steps[-1]
        self.made.append(plan.variant.without)
        if self.fails and self.fails in plan.variant.without:
            raise ParityFailed("another function", "Leave it.")
        tiles = {layer: tile_of(layer, tile, step.left_out) for layer, tile in LAYERS.items()}
        words = [*step.rewrites, *(f"{layer}:{tile}" for layer, tile in tiles.items())]
        place = self.folder / str(len(self.made))
        file = artifacts.plain_file(place, content=" ".join(words).encode())
        rewrites = tuple(name for name in step.rewrites if name != "cubic-as-products")
        return artifact.write(place, msgspec.structs.replace(file.manifest, rewrites=rewrites, winograd_rows=tiles))

    def time_of(self, file: Artifact) -> float:
        cost = 1.0
        for word in file.file.read_text().split():
            cost *= self.costs.get(word, 1.0)
        return cost

    def timer(self, best: Artifact, other: Artifact) -> Comparison:
        ratio = self.time_of(other) / self.time_of(best)
        verdict: Verdict = "faster" if ratio < 0.99 else "slower" if ratio > 1.01 else "same"
        self.timed.append((best.manifest.sha256, other.manifest.sha256))
        return Comparison(
            case=artifacts.case_of(best),
            verdict=verdict,
            ratio=ratio,
            interval=(0.99 * ratio, 1.01 * ratio),
            alpha=0.05,
            historical=False,
            reason="",
        )


def tuned(bench: Bench, plan: Plan) -> tuple[Plan, dict[str, bool]]:
    best, tuning = tune.tuned(plan, bench.make, bench.timer, device="local", progress=lambda line: None)
    assert tuning is not None
    return best, {choice.what: choice.taken for choice in tuning.choices}


def test_only_what_is_faster_is_left_out(tmp_path: Path):
    bench = Bench(tmp_path, {"padded-stem": 1.2, "denominator-apart": 0.9})
    best, choices = tuned(bench, planned(tmp_path))
    assert best.variant.without == ("padded-stem",)
    assert best.steps[-1].rewrites == tuple(
        name for name in registry.find_target("onnx-fp32").rewrites if name != "padded-stem"
    )
    assert choices == {
        "without denominator-apart": False,
        "without padded-stem": True,
        "without winograd-rows:64-256-56x56:4": False,
        "without winograd-rows:64-256-56x56": False,
        "without winograd-rows:128-512-14x14": False,
    }


@pytest.mark.parametrize(
    ("costs", "without"),
    [
        ({"64-256-56x56:4": 1.3, "64-256-56x56:2": 1.1}, ("winograd-rows:64-256-56x56",)),
        ({"64-256-56x56:4": 1.3, "64-256-56x56:2": 0.9}, ("winograd-rows:64-256-56x56:4",)),
        ({"64-256-56x56:4": 0.7, "128-512-14x14:2": 1.1}, ("winograd-rows:128-512-14x14",)),
    ],
)
def test_each_layer_has_the_tile_that_is_fastest_there(
    tmp_path: Path, costs: dict[str, float], without: tuple[str, ...]
):
    best, _ = tuned(Bench(tmp_path, costs), planned(tmp_path))
    assert best.variant.without == without


def test_each_is_compared_with_the_best_so_far(tmp_path: Path):
    bench = Bench(tmp_path, {"padded-stem": 1.2, "denominator-apart": 1.2})
    tuned(bench, planned(tmp_path))
    first, second, third = bench.timed[:3]
    assert second[0] == first[1]
    assert third[0] == second[1]


def test_a_rewrite_for_another_cpu_is_tried_and_kept_if_it_pays(tmp_path: Path):
    plan = planned(tmp_path, cpu="avx2")
    best, choices = tuned(Bench(tmp_path, {"padded-stem": 0.8}), plan)
    assert choices["with padded-stem"]
    assert "padded-stem" in best.steps[-1].rewrites
    assert best.cpu == "avx2"
    assert best.key == planned(tmp_path).key, "the same rewrites are the same file"


def test_a_form_that_fails_its_proof_is_left(tmp_path: Path):
    bench = Bench(tmp_path, {"padded-stem": 1.2}, fails="padded-stem")
    best, choices = tuned(bench, planned(tmp_path))
    assert best.variant.without == ()
    assert "without padded-stem" not in choices


def test_a_file_that_is_wrong_from_the_start_is_not_tuned(tmp_path: Path):
    """Its own export says what is wrong with it."""
    plan = planned_without(tmp_path, "padded-stem")
    bench = Bench(tmp_path, {}, fails="padded-stem")
    assert tune.tuned(plan, bench.make, bench.timer, device="local", progress=lambda line: None) == (plan, None)
    assert not bench.timed


def test_the_same_choice_is_the_same_file(tmp_path: Path):
    best, _ = tuned(Bench(tmp_path, {"64-256-56x56:4": 1.3, "64-256-56x56:2": 0.9}), planned(tmp_path))
    by_hand = registry.variant_of(
        registry.find_model("efficientvit_b0"),
        "onnx-fp32",
        size=(64, 64),
        without=("winograd-rows:64-256-56x56:4",),
    )
    again = planning.plans([ArtifactRequest(variant=by_hand, weights=None, out=tmp_path)])[0]
    assert (again.key, again.options) == (best.key, best.options)
    assert again.key != planned(tmp_path).key


def test_the_choice_is_in_the_manifest_that_is_handed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    costs = {"padded-stem": 1.2}
    bench = Bench(tmp_path / "made", costs)

    def run(job: StepJob, _: Callable[[str], None]) -> tuple[Stage, ...]:
        made = artifacts.plain_file(job.folder, content=" ".join(job.rewrites).encode())
        changed = msgspec.structs.replace(made.manifest, **job.variant.recorded, rewrites=job.rewrites)
        artifact.write(job.folder, changed)
        return ()

    monkeypatch.setattr(pipeline, "_run", run)
    monkeypatch.setattr(tune, "_compared", lambda best, other, device, folder, progress: bench.timer(best, other))
    request = ExportRequest(target="onnx-fp32", size="64x64", tune=True, out=tmp_path / "out")
    (row,) = exporting.export(["efficientvit_b0"], request)
    assert row.artifact is not None
    assert row.artifact.folder.parts[-3] == "efficientvit_b0+without-padded-stem"
    tuning = open_artifact(row.artifact.folder).manifest.tuning
    assert tuning is not None
    assert tuning.device == "local"
    assert [choice.what for choice in tuning.choices if choice.taken] == ["without padded-stem"]
    assert all(choice.ratio for choice in tuning.choices)


def test_a_dry_run_says_how_many_forms_and_how_long(tmp_path: Path):
    request = ExportRequest(target="onnx-fp32", size="64x64", tune=True, out=tmp_path / "out")
    lines = exporting.export_plan(["efficientvit_b0"], request)
    (line,) = [line for line in lines if "tune" in line]
    assert "at most 3 forms" in line
    assert "16 s" in line
    assert not (tmp_path / "out").exists()


def test_a_target_without_a_choice_refuses_it():
    with pytest.raises(UsageError, match="tflite-fp32"):
        exporting.export_plan(["efficientvit_b0"], ExportRequest(target="tflite-fp32", tune=True))


def test_a_layer_is_named_as_the_manifest_has_it(tmp_path: Path):
    for wrong in ("winograd-rows:64", "padded-stem:64-256-56x56", "winograd-rows:64-256-56x56:x"):
        with pytest.raises(UsageError) as caught:
            planned_without(tmp_path, wrong)
        assert wrong in caught.value.message
    assert planned_without(tmp_path, "winograd-rows:64-256-56x56").steps[-1].left_out == ("64-256-56x56",)


def planned_without(out: Path, name: str) -> Plan:
    spec = registry.find_model("efficientvit_b0")
    variant = registry.variant_of(spec, "onnx-fp32", size=(64, 64), without=(name,))
    return planning.plans([ArtifactRequest(variant=variant, weights=None, out=out)])[0]


def test_what_is_timed_is_found_in_the_store(tmp_path: Path):
    plan = planned(tmp_path)
    line = tune.plan_words(plan, Store(tmp_path / "store"))
    assert "two for each layer" in line
