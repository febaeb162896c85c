"""What each rewrite assumes of a CPU: known for all, shown in docs/rewrites.md, and heeded by every plan."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.doubles import artifacts
from vitdeploy.api import cases, jobs
from vitdeploy.api import export as exporting
from vitdeploy.api.export_request import ExportRequest
from vitdeploy.artifacts import manifest as artifact
from vitdeploy.artifacts.store import Store
from vitdeploy.catalog import registry, rewrite_table
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.catalog.spec import Cpu
from vitdeploy.devices import computer_facts, device_facts, inventory
from vitdeploy.errors import Impossible, UsageError
from vitdeploy.exporters import pipeline, planning
from vitdeploy.exporters.job import StepJob
from vitdeploy.exporters.planning import ArtifactRequest, Plan
from vitdeploy.processes.stages import Stage

PAGE = Path(__file__).parents[2] / "docs" / "rewrites.md"


@pytest.fixture(autouse=True)
def an_avx512_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(computer_facts, "vector_instructions", lambda: "avx512")


def planned(out: Path, cpu: Cpu | None = None, model: str = "efficientvit_b0", target: str = "onnx-fp32") -> Plan:
    variant = registry.variant_of(registry.find_model(model), target, size=(64, 64))
    return planning.plans([ArtifactRequest(variant=variant, weights=None, out=out, cpu=cpu)])[0]


def test_every_rewrite_says_what_it_assumes_and_the_page_shows_it():
    table = pytest.importorskip("vitdeploy.exporters.rewrites.table", reason="rewrites work on torch modules")
    assert [facts.name for facts in rewrite_table.REWRITES] == list(table.REWRITES)
    page = PAGE.read_text(encoding="utf-8")
    for facts in rewrite_table.REWRITES:
        cpus = ", ".join(facts.cpus) or "all"
        assert f"| `{facts.name}` | {cpus} | {facts.assumes} | {facts.measured} |" in page


@pytest.mark.parametrize(
    ("cpu", "left_out"),
    [("avx512", set[str]()), ("avx2", {"padded-stem"}), ("neon", {"padded-stem", "winograd-rows"})],
)
def test_a_rewrite_is_for_the_cpus_that_it_suits(tmp_path: Path, cpu: Cpu, left_out: set[str]):
    """A stem of 16 channels is only more work where a runtime computes 8 or 4 at a time."""
    names = registry.find_target("onnx-fp32").rewrites
    assert set(names) - set(planned(tmp_path, cpu).steps[-1].rewrites) == left_out


def test_a_cpu_that_is_not_known_gets_nothing_that_assumes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(computer_facts, "vector_instructions", lambda: None)
    plan = planned(tmp_path)
    assert not {"padded-stem", "winograd-rows"} & set(plan.steps[-1].rewrites)
    assert plan.cpu is None


def test_the_cpu_is_in_key_and_folder_only_where_the_file_is_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    here, same, other = planned(tmp_path), planned(tmp_path, "avx512"), planned(tmp_path, "avx2")
    assert here.key == same.key != other.key
    assert (here.options, same.options, other.options) == ("", "", "cpu-avx2")
    assert "for avx2, rewritten" in planning.describe(other)[0]
    engine = planned(tmp_path, target="trt-fp16")
    assert engine.cpu is None
    monkeypatch.setattr(computer_facts, "vector_instructions", lambda: "neon")
    assert planned(tmp_path, target="trt-fp16").key == engine.key
    assert planned(tmp_path).options == ""


@pytest.mark.parametrize("target", ["tflite-fp32", "trt-fp16", "onnx-fp16", "torch-fp32"])
def test_a_cpu_means_nothing_where_no_rewrite_depends_on_it(target: str):
    with pytest.raises(UsageError) as caught:
        exporting.export_plan(["efficientvit_b0"], ExportRequest(target=target, cpu="avx2"))
    assert target in caught.value.message


def test_an_unknown_cpu_is_refused():
    with pytest.raises(UsageError, match="avx10"):
        exporting.export_plan(["efficientvit_b0"], ExportRequest(target="onnx-fp32", cpu="avx10"))


def test_the_manifest_says_for_which_cpu_also_where_the_file_was_made_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    steps: list[StepJob] = []

    def run(job: StepJob, _: Callable[[str], None]) -> tuple[Stage, ...]:
        steps.append(job)
        made = artifacts.plain_file(job.folder, content=repr(job.rewrites).encode())
        artifact.write(job.folder, msgspec.structs.replace(made.manifest, **job.variant.recorded))
        return ()

    monkeypatch.setattr(pipeline, "_run", run)
    monkeypatch.setattr(rewrite_table, "_CPUS", {"padded-stem": ("avx512",)})
    store = Store(tmp_path / "store")
    manifests = [
        pipeline.export(planned(tmp_path / "out", cpu), store, progress=lambda line: None).artifact.manifest
        for cpu in ("avx512", "avx2", "neon")
    ]
    assert [manifest.cpu for manifest in manifests] == ["avx512", "avx2", "neon"]
    assert len(steps) == 2, "one file suits avx2 and neon"


class Asked:
    """Facts of a device, and how often it was asked for them."""

    def __init__(self, facts: dict[str, Any]) -> None:
        self.facts = facts
        self.count = 0

    def __call__(self, device: object) -> DeviceFacts:
        self.count += 1
        return DeviceFacts(self.facts)


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Asked:
    asked = Asked({"machine": "aarch64"})
    board = msgspec.structs.replace(inventory.find("local"), name="board", link="ssh", host="192.0.2.7")
    for module in (exporting.inventory, exporting):
        name = "find" if module is exporting.inventory else "reachable"
        monkeypatch.setattr(module, name, lambda name: board)
    monkeypatch.setattr(device_facts, "facts_of", asked)
    return asked


def test_a_device_is_asked_for_its_cpu_when_the_file_is_made(remote: Asked):
    request = ExportRequest(target="onnx-fp32", device="board")
    assert any("board is asked for its CPU" in line for line in exporting.export_plan(["efficientvit_b0"], request))
    assert remote.count == 0, "a dry run touches nothing"
    assert exporting._cpu(request) == "neon"
    assert exporting._cpu(replace(request, cpu="avx2")) == "avx2"
    assert exporting._cpu(replace(request, target="tflite-fp32")) is None
    assert remote.count == 1


def test_a_device_that_does_not_show_its_cpu_needs_the_option(remote: Asked):
    remote.facts = {"machine": "riscv64"}
    with pytest.raises(UsageError) as caught:
        exporting._cpu(ExportRequest(target="onnx-fp32", device="board"))
    assert "--cpu" in caught.value.hint


@pytest.mark.parametrize(("target", "cpu"), [("onnx-fp32", "neon"), ("torch-fp32", None)])
def test_what_is_timed_on_a_device_is_made_for_its_cpu(target: str, cpu: str | None, monkeypatch: pytest.MonkeyPatch):
    requests: list[ExportRequest] = []

    def export(names: Sequence[str], request: ExportRequest, **_: Any) -> list[exporting.ExportResult]:
        requests.append(request)
        error = Impossible("not made here", "")
        return [
            exporting.ExportResult(model=names[0], target=target, artifact=None, error=error, reused=False, seconds=0.0)
        ]

    monkeypatch.setattr(jobs, "export", export)
    board = msgspec.structs.replace(inventory.find("orin"), host="192.0.2.7")
    request = cases.BenchRequest(device="orin", targets=(target,))
    planned_cases = cases.plan(["efficientvit_b0"], request)
    facts = DeviceFacts({"machine": "aarch64", "cores_physical": 4})
    (job,) = jobs.jobs_for(planned_cases, request, board, facts, progress=lambda line: None)
    assert job.error is not None
    assert [made.cpu for made in requests] == [cpu]
