"""Engines: deferred where no builder is, built ahead of time by TensorRT for RTX, refused with the reason elsewhere."""

import ctypes
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.doubles.rtx_builder import refusal
from vitdeploy import errors
from vitdeploy.api import export, listings
from vitdeploy.api.export_request import ExportRequest
from vitdeploy.artifacts import manifest
from vitdeploy.catalog import packages
from vitdeploy.cli.main import main
from vitdeploy.devices import gpu
from vitdeploy.errors import Impossible, MissingPackage, ToolchainFailed, UsageError

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

from tests.doubles.half_graph import graph_of
from vitdeploy.catalog import registry
from vitdeploy.exporters import to_trt
from vitdeploy.exporters.engines import build
from vitdeploy.exporters.job import StepJob
from vitdeploy.models.create import create

SMALL = ("--size", "64x64")
NO_BUILDER = pytest.mark.skipif(not packages.missing(["tensorrt"]), reason="TensorRT is installed here")


def manifest_below(folder: Path) -> dict[str, Any]:
    (path,) = folder.rglob(manifest.MANIFEST)
    return json.loads(path.read_text())


@NO_BUILDER
def test_an_engine_without_a_builder_is_a_checked_graph_that_the_device_has_to_build(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    command = ["export", "efficientvit_b0", "--target", "trt-fp16", *SMALL, "--out", str(tmp_path / "out")]
    assert main([*command, "--force"]) == 0  # other tests fill the store with the same engine
    found = manifest_below(tmp_path / "out")
    assert (found["state"], found["file"], found["parity"]["passed"]) == ("deferred", "model.onnx", True)
    assert found["rewrites"] == ["normalized-attention"]
    assert "one cast at each fp32 input and output; a layer norm is one operator with its statistics" in found["recipe"]
    assert "--stronglyTyped" in found["deferred"]
    assert found["bound_to"] == {}
    assert "the device has to build it" in capsys.readouterr().err
    folder = next((tmp_path / "out").rglob(manifest.MANIFEST)).parent
    assert main(["check", str(folder), "--trace"]) == 0
    assert "no node diverges" in capsys.readouterr().out
    assert main(["bench", str(folder), "--device", "local", "--out", str(tmp_path / "run.json")]) == 4
    assert main(["predict", str(folder), "sample:china"]) == 4
    assert "has still to be built" in capsys.readouterr().err


@pytest.mark.slow  # the graph alone is tested in contracts/test_exporters.py
@NO_BUILDER
def test_a_bf16_engine_is_deferred_with_a_graph_that_is_proven_in_bf16(tmp_path: Path):
    assert main(["export", "efficientvit_b0", "--target", "trt-bf16", *SMALL, "--out", str(tmp_path)]) == 0
    found = manifest_below(tmp_path)
    assert (found["state"], found["precision"], found["parity"]["passed"]) == ("deferred", "bf16", True)
    assert "every tensor rounded to bf16" in found["parity"]["reference"]
    assert found["rewrites"] == ["denominator-apart", "hard-swish-apart"]


@NO_BUILDER
def test_an_fp32_engine_is_planned_without_what_suits_a_cpu(tmp_path: Path):
    order = ExportRequest(target="trt-fp32", out=tmp_path)
    graph, engine, _ = export.export_plan(["efficientvit_seg_b0_cityscapes"], order)
    assert "onnx-fp32, rewritten where they apply by cubic-as-products, denominator-apart, checked" in graph
    assert "trt-fp32" in engine
    assert "the device builds the engine" in engine


class Builder:
    """A double of TensorRT's builder and of all that it makes: it notes what it is told."""

    def __init__(self, logger: Any) -> None:
        self.said: dict[str, Any] = {}
        Builder.last = self

    def create_network(self, flags: int) -> Any:
        self.said["flags"] = flags
        return "network"

    def create_builder_config(self) -> Any:
        def create_timing_cache(data: bytes) -> Any:
            self.said["offered"] = [*self.said.get("offered", []), data]
            return None if data == b"damaged" else SimpleNamespace(serialize=lambda: data + b"+")

        def set_timing_cache(cache: Any, *, ignore_mismatch: bool) -> bool:
            assert not ignore_mismatch
            self.cache = cache
            return True

        return SimpleNamespace(
            create_timing_cache=create_timing_cache,
            set_timing_cache=set_timing_cache,
            get_timing_cache=lambda: self.cache,
            clear_flag=lambda flag: self.said.update(cleared=flag),
            set_memory_pool_limit=lambda pool, size: self.said.update(pool=size),
        )

    def build_serialized_network(self, network: Any, config: Any) -> Any:
        return None if self.said.get("cleared") == "refuse" else memoryview(b"engine")

    cache: Any = None
    last: Any = None


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A double of the package ``tensorrt`` on a machine with an Orin's GPU."""
    logger = type("ILogger", (), {"Severity": SimpleNamespace(WARNING=2, ERROR=1)})
    parser = SimpleNamespace(parse_from_file=lambda path: Path(path).is_file(), num_errors=0)
    package = SimpleNamespace(
        __version__="10.3.0",
        ILogger=logger,
        Builder=Builder,
        OnnxParser=lambda network, logger: parser,
        NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=1),
        MemoryPoolType=SimpleNamespace(WORKSPACE="workspace"),
        BuilderFlag=SimpleNamespace(TF32="tf32"),
        parser=parser,
    )
    monkeypatch.setitem(sys.modules, "tensorrt", package)
    monkeypatch.setattr(gpu, "first_gpu", lambda: gpu.Gpu(name="Orin", compute_capability="8.7"))
    monkeypatch.setattr(to_trt.platformdirs, "user_cache_path", lambda name: tmp_path / "cache")
    return package


def built(graph: Path, folder: Path, target: str = "trt-fp16") -> Any:
    folder.mkdir(exist_ok=True)
    job = StepJob(
        variant=registry.variant_of(registry.find_model("efficientvit_b0"), target, size=(64, 64)),
        rewrites=(),
        folder=folder,
        parent=graph,
    )
    return to_trt.make(None, registry.find_model("efficientvit_b0"), job)  # pyright: ignore[reportArgumentType]


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("graph")
    assert main(["export", "efficientvit_b0", "--target", "onnx-fp16", "--size", "224x224", "--out", str(out)]) == 0
    return next(out.rglob(manifest.MANIFEST)).parent


def test_an_engine_is_strongly_typed_bound_to_its_gpu_and_keeps_its_timings(double: Any, graph: Path, tmp_path: Path):
    """The calls, on a double: TensorRT itself cannot be installed on a machine without CUDA."""
    first = built(graph, tmp_path / "first")
    assert (tmp_path / "first" / "model.engine").read_bytes() == b"engine"
    assert first.bound_to == {"compute_capability": ["8.7"], "tensorrt": "10.3.0", "gpu": "Orin"}
    assert first.timing_cache_sha256 == hashlib.sha256(b"+").hexdigest()
    assert first.unproven is None, "a GPU that builds an engine can run and prove it"
    assert Builder.last.said == {"flags": 2, "pool": build.WORKSPACE_BYTES, "offered": [b""]}
    built(graph, tmp_path / "second", "trt-fp32")
    assert Builder.last.said["offered"] == [b"+"]
    assert Builder.last.said["cleared"] == "tf32"
    (cache,) = (tmp_path / "cache").rglob("*.cache")
    assert cache.name == "tensorrt-10.3.0-Orin-sm87.cache"
    cache.write_bytes(b"damaged")
    built(graph, tmp_path / "third")
    assert Builder.last.said["offered"] == [b"damaged", b""]


def test_what_cannot_be_built_says_why(double: Any, graph: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    double.BuilderFlag.TF32 = "refuse"
    with pytest.raises(ToolchainFailed, match="built nothing"):
        built(graph, tmp_path, "trt-fp32")
    double.parser.parse_from_file = lambda path: False
    with pytest.raises(ToolchainFailed, match="refuses the graph"):
        built(graph, tmp_path)
    monkeypatch.setattr(gpu, "first_gpu", lambda: None)
    with pytest.raises(Impossible, match="no CUDA GPU"):
        built(graph, tmp_path)
    double.__version__ = "8.6.2.3"
    with pytest.raises(Impossible, match=r"8\.6\.2\.3 is older than 10\.3") as caught:
        built(graph, tmp_path)
    assert "JetPack 6.1" in caught.value.hint


def ordered(order: Any) -> tuple[int, Any]:
    """The exit code and the answer of the entry that boards run, in a process of its own."""
    command = [sys.executable, "-m", "vitdeploy.exporters.engines.build"]
    given = order if isinstance(order, str) else json.dumps(order)
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False, timeout=300)
    answer = json.loads(done.stdout)
    return done.returncode, answer.get("reply", answer)


@pytest.mark.parametrize(
    ("order", "kind", "said"),
    [
        ("no json", "UsageError", "no JSON"),
        ("[]", "UsageError", "list"),
        ({"graph": "a", "engine": "b"}, "UsageError", "engine"),
        ({"graph": "a", "engine": "b", "precision": "fp16", "more": 1}, "UsageError", "more"),
        ({"graph": "a", "engine": "b", "precision": 16}, "UsageError", "precision is 16"),
        ({"graph": "a", "engine": "b", "precision": "int8"}, "UsageError", "int8"),
        pytest.param(
            {"graph": "a", "engine": "b", "precision": "fp16"}, "MissingPackage", "tensorrt", marks=NO_BUILDER
        ),
    ],
)
def test_the_entry_of_boards_answers_with_the_reason(order: Any, kind: str, said: str):
    code, answer = ordered(order)
    assert answer["error"]["kind"] == kind
    assert said in answer["error"]["message"] + answer["error"]["hint"]
    assert code == getattr(errors, kind).exit_code


def test_the_entry_of_boards_imports_nothing_that_a_board_lacks():
    command = "import sys; import vitdeploy.exporters.engines.build; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout.split()
    loaded = {name.split(".")[0] for name in said}
    assert not loaded & {"torch", "onnx", "numpy", "msgspec", "platformdirs", "rich", "typer"}


class Driver:
    """A double of the NVIDIA driver's library with one Orin."""

    failing = ""

    def __getattr__(self, name: str) -> Any:
        def call(*given: Any) -> int:
            if name == "cuDeviceGetAttribute":
                # What ``byref`` wraps is reached by its private name only.
                given[0]._obj.value = {gpu.MAJOR: 8, gpu.MINOR: 7, gpu.MULTIPROCESSORS: 16}[given[1]]
            if name == "cuDeviceGetName":
                given[0].value = b"Orin"
            return 100 if name == self.failing else 0

        return call


def test_the_gpu_is_asked_of_its_driver(monkeypatch: pytest.MonkeyPatch):
    driver = Driver()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert gpu.first_gpu() == gpu.Gpu(name="Orin", compute_capability="8.7")
    driver.failing = "cuInit"
    assert gpu.first_gpu() is None

    def absent(name: str) -> Any:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert gpu.first_gpu() is None


@NO_BUILDER
def test_a_named_machine_without_a_builder_is_told_what_is_missing(tmp_path: Path):
    with pytest.raises(MissingPackage, match="tensorrt"):
        export.export(["efficientvit_b0"], ExportRequest(target="trt-fp16", device="local", out=tmp_path))


@pytest.mark.slow  # two exports
def test_a_half_precision_graph_that_fails_its_proof_is_no_engine(tmp_path: Path):
    """Without the rewrite these random weights divide 0 by 0 on a photograph: nothing is built on that."""
    command = ["export", "efficientvit_b1", "--target", "trt-fp16", "--size", "224x224"]
    assert main([*command, "--without", "normalized-attention", "--out", str(tmp_path)]) == 6
    assert not list(tmp_path.rglob("model.engine"))


@pytest.mark.skipif(bool(packages.missing(["tensorrt_rtx"])), reason="TensorRT for RTX is not installed")
@pytest.mark.parametrize("model", ["efficientvit_b0", pytest.param("efficientvit_l1", marks=pytest.mark.slow)])
def test_an_engine_is_built_ahead_of_time_and_says_what_that_does_not_prove(tmp_path: Path, model: str):
    # So small that a map has fewer pixels than a head has channels: in the other order of products the builder of 1.7.1
    # fails in a check of its own.
    command = ["export", model, "--target", "trt-rtx-fp16", *SMALL, "--compute-capability", "8.0,8.9"]
    assert main([*command, "--out", str(tmp_path)]) == 0
    found = manifest_below(tmp_path)
    assert found["bound_to"]["compute_capability"] == ["8.0", "8.9"]
    assert found["parity"] is None
    assert "not outputs or speed" in found["parity_skipped"]
    assert "not TensorRT proper" in found["parity_skipped"]
    assert len(found["parents"]) == 1
    (engine,) = tmp_path.rglob("model.engine")
    assert engine.stat().st_size == found["size_bytes"] > 100_000


@pytest.mark.skipif(bool(packages.missing(["tensorrt_rtx"])), reason="TensorRT for RTX is not installed")
def test_an_orin_is_not_among_what_it_builds_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    command = ["export", "efficientvit_b0", "--target", "trt-rtx-fp16", *SMALL, "--compute-capability", "8.7"]
    assert main([*command, "--out", str(tmp_path)]) == 4
    assert "a Jetson Orin's" in capsys.readouterr().err


@pytest.mark.skipif(bool(packages.missing(["tensorrt_rtx"])), reason="TensorRT for RTX is not installed")
def test_the_entry_of_boards_builds_in_a_process_without_torch(graph: Path, tmp_path: Path):
    order = {"graph": str(graph / "model.onnx"), "engine": str(tmp_path / "e"), "precision": "fp16"}
    order |= {"package": "tensorrt_rtx", "compute_capability": ["8.0"]}
    code, built = ordered(order)
    assert code == 0
    assert built["sha256"] == hashlib.sha256((tmp_path / "e").read_bytes()).hexdigest()
    assert built["bound_to"] == {"compute_capability": ["8.0"], "tensorrt_rtx": built["version"]}
    assert built["build_ns"] > 0
    assert built["timing_cache_sha256"] is None
    assert list(tmp_path.iterdir()) == [tmp_path / "e"]
    code, answer = ordered({**order, "graph": str(tmp_path / "none.onnx")})
    assert (code, answer["error"]["kind"]) == (5, "ToolchainFailed")
    code, answer = ordered({**order, "engine": str(tmp_path / "none" / "e")})
    assert (code, answer["error"]["kind"]) == (9, "UnreadableFile")


def test_what_a_device_does_not_run_is_told_before_it_is_reached():
    with pytest.raises(Impossible, match="trt-rtx-fp16 does not run on orin"):
        export.export_plan(["efficientvit_b0"], ExportRequest(target="trt-rtx-fp16", device="orin"))
    with pytest.raises(Impossible, match="a Jetson Orin's") as caught:
        export.export_plan(["efficientvit_b0"], ExportRequest(target="trt-rtx-fp16", compute_capability="8.0,8.7"))
    assert "trt-fp16" in caught.value.hint


def test_what_is_not_tensorrt_proper_is_listed_as_such():
    notes = {row.name: row.facts["note"] for row in listings.targets()}
    assert [name for name, note in notes.items() if "not TensorRT proper" in note] == ["trt-rtx-fp16"]


def test_the_plan_says_what_is_not_run():
    _, engine, _ = export.export_plan(["efficientvit_b0"], ExportRequest(target="trt-rtx-fp16"))
    assert engine.endswith("built ahead of time, not run")


def test_a_compute_capability_is_a_number_of_a_target_that_has_one():
    with pytest.raises(UsageError, match="'sm80' is not a valid value"):
        export.export_plan(["efficientvit_b0"], ExportRequest(target="trt-rtx-fp16", compute_capability="sm80"))
    with pytest.raises(Impossible, match="onnx-fp32 is not built ahead of time"):
        export.export_plan(["efficientvit_b0"], ExportRequest(target="onnx-fp32", compute_capability="8.0"))


@pytest.mark.skipif(bool(packages.missing(["tensorrt_rtx"])), reason="TensorRT for RTX is not installed")
def test_a_bf16_graph_is_taken_by_nvidias_parser_and_with_hard_swish_it_is_not():
    model, names = create(registry.find_model("efficientvit_b0")), registry.find_target("trt-bf16").rewrites
    assert refusal(graph_of(model, names, (224, 224), "bf16")) is None
    without = tuple(name for name in names if name != "hard-swish-apart")
    assert "HardSwish" in (refusal(graph_of(model, without, (224, 224), "bf16")) or "")


@pytest.mark.skipif(bool(packages.missing(["tensorrt_rtx"])), reason="TensorRT for RTX is not installed")
@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("efficientvit_l1", (64, 64)),
        ("segformer_b0_ade20k", (64, 64)),
    ],
)
def test_one_graph_of_each_kind_is_taken_by_nvidias_own_parser_and_builder(name: str, side: tuple[int, int]):
    """The quick part; `test_fp16_models` does the same for every model at its published size."""
    pytest.importorskip("transformers", reason="the rivals are built with transformers")
    names = registry.find_target("trt-fp16").rewrites
    assert refusal(graph_of(create(registry.find_model(name)), names, side)) is None


@pytest.mark.slow  # a second build by NVIDIA's builder
@pytest.mark.skipif(bool(packages.missing(["tensorrt_rtx"])), reason="TensorRT for RTX is not installed")
def test_a_cameras_bytes_in_and_labels_out_are_taken_by_it_too(tmp_path: Path):
    """The graph's inputs and outputs have types of their own: unsigned bytes, and whole numbers of an argmax."""
    command = ["export", "efficientvit_seg_b0_cityscapes", "--target", "trt-rtx-fp16", "--size", "64x128"]
    options = ["--io", "uint8", "--head", "labels", "--compute-capability", "8.0"]
    assert main([*command, *options, "--out", str(tmp_path)]) == 0
    found = manifest_below(tmp_path)
    assert [tensor["dtype"] for tensor in (*found["inputs"], *found["outputs"])] == ["uint8", "int32"]
    assert found["outputs"][0]["shape"] == [1, 64, 128], "as large as the picture"
