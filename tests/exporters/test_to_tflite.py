"""``tflite-fp32``: built-in operators only, one part for the delegate, no network, a fair duel of converters."""

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

for package in ("torch", "onnx", "onnxscript", "onnxruntime", "ai_edge_litert", "skimage"):
    pytest.importorskip(package, reason=f"TFLite files are made and looked at with {package}")

import onnx
import onnxruntime
import torch
from ai_edge_litert.interpreter import Interpreter

from tests.doubles import artifacts
from tests.doubles.fakes import FakeClock, FakeSession
from vitdeploy.api.check import CheckOutcome
from vitdeploy.artifacts.manifest import Artifact, Manifest, as_json, open_artifact
from vitdeploy.artifacts.store import Store
from vitdeploy.catalog import registry
from vitdeploy.cli import console, export
from vitdeploy.errors import Impossible, MissingPackage, ToolchainFailed
from vitdeploy.exporters import pipeline, planning, step, to_onnx, to_tflite
from vitdeploy.exporters.job import StepJob
from vitdeploy.exporters.tflite import convert, inspect_file, pick_faster
from vitdeploy.exporters.tflite import litert_torch_env as interpreters
from vitdeploy.exporters.tflite.convert import SingleConverter
from vitdeploy.exporters.tflite.pick_faster import ConvertedFile
from vitdeploy.images import inputs, postprocess
from vitdeploy.models.create import create

SIZE = (32, 64)
TRAP = """
import os, socket
def refuse(*words, **options):
    with open(os.environ["VITDEPLOY_TEST_CALLS"], "a") as stream:
        stream.write(f"{words[1:]}\\n")
    raise OSError("the test has no network")
socket.socket.connect = socket.socket.connect_ex = socket.getaddrinfo = refuse
"""


def job_for(
    folder: Path,
    model: str = "efficientvit_seg_b0_cityscapes",
    rewrites: tuple[str, ...] | None = None,
    **changes: Any,
) -> StepJob:
    return StepJob(
        variant=registry.variant_of(registry.find_model(model), "tflite-fp32", **{"size": SIZE, **changes}),
        rewrites=registry.find_target("tflite-fp32").rewrites if rewrites is None else rewrites,
        folder=folder,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """One export where every attempt to reach a network is refused and written down."""
    for name in ("tensorflow", "onnx2tf"):
        pytest.importorskip(name, reason=f"the default converter needs {name}")
    trap, folder = tmp_path_factory.mktemp("trap"), tmp_path_factory.mktemp("export")
    (trap / "sitecustomize.py").write_text(TRAP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", [str(trap), *sys.path])  # the converter's process gets this one's path
        patch.setenv("VITDEPLOY_TEST_CALLS", str(trap / "calls"))
        step.run(job_for(folder))
    assert not (trap / "calls").exists(), f"a network was asked for: {(trap / 'calls').read_text()}"
    return open_artifact(folder)


def test_a_file_is_proven_without_a_network_and_loads_outside_tensorflow(made: Artifact):
    parity = made.manifest.parity
    assert parity is not None
    assert parity.passed
    assert (parity.error_std or 0) < 1e-4
    interpreter = Interpreter(model_path=str(made.file))
    interpreter.allocate_tensors()  # pyright: ignore[reportUnknownMemberType]
    assert made.manifest.size_bytes < 3.2e6, "0.7 million parameters in fp32"


def test_only_its_own_operators_in_one_partition_are_listed_in_the_manifest(made: Artifact):
    manifest, found = made.manifest, made.manifest.delegation
    assert found is not None
    assert not inspect_file.foreign(manifest.operators)
    assert not {"PADV2", "GATHER", "RESIZE_BILINEAR"} & set(manifest.operators)
    assert (found.delegate, found.partitions, dict(found.left)) == ("XNNPACK", 1, {})
    assert dict(found.taken) == dict(manifest.operators)
    assert found.nodes == sum(manifest.operators.values())
    assert found.transposes == manifest.operators["TRANSPOSE"]
    assert manifest.rewrites == ("cubic-channels-last", "attention-apart")
    assert {"onnx2tf", "tensorflow"} <= set(manifest.tools)


def test_layout_is_known_to_check_predict_and_bench(made: Artifact, capsys: pytest.CaptureFixture[str]):
    manifest = made.manifest
    assert [t.layout for t in (*manifest.inputs, *manifest.outputs)] == ["NHWC", "NHWC"]
    assert manifest.outputs[0].shape == (1, 4, 8, 19)
    photo = np.zeros((40, 60, 3), np.uint8)
    feed = postprocess.model_inputs(photo, manifest, registry.find_model(manifest.model))
    assert feed["image"].shape == (1, *SIZE, 3)
    session = registry.load("vitdeploy.runtimes.on_tflite").open_session(
        made.file, as_json(manifest), registry.load("vitdeploy.runtimes.session:SessionOptions")(threads=1)
    )
    with session:
        assert inputs.make_pool(session.inputs, seed=0)[0]["image"].shape == (1, *SIZE, 3)
        assert session.facts["fp16_arithmetic"] == "off"
        assert session.facts["delegate_partitions"] == "1"
        session.put(feed)
        session.run()
        logits = postprocess.first_output(session.get()["logits"], manifest.outputs[0].layout)
    assert logits.shape == (19, 4, 8)
    assert manifest.parity is not None
    checked = CheckOutcome(
        folder=made.folder, manifest=manifest, weights="", inputs="", parity=manifest.parity, error=None
    )
    console.show(export.check_output(checked), None)
    shown = capsys.readouterr().out
    assert re.search(r"delegate +XNNPACK takes \d+ of \d+ nodes in 1 partition", shown)
    assert re.search(r"transposes +\d+", shown)
    assert "model.tflite, 2." in shown


def test_an_operator_of_tensorflow_is_refused_by_name(tmp_path: Path):
    plain = artifacts.conv_relu_tflite(tmp_path / "plain")
    inspect_file.refuse_foreign(plain.file)
    assert inspect_file.operators(plain.file) == {"CONV_2D": 1}
    flex = artifacts.conv_relu_tflite(tmp_path / "flex", custom="FlexResizeBicubic")
    with pytest.raises(ToolchainFailed, match="FlexResizeBicubic"):
        inspect_file.refuse_foreign(flex.file)
    with pytest.raises(ToolchainFailed, match="refuses"):
        inspect_file.delegation(flex.file)


@pytest.mark.parametrize("content", [b"", b"no model at all", b"\x99\x99\x99\x00TFL3 but nothing of what it says"])
def test_what_is_no_tflite_file_is_said_to_be_none(tmp_path: Path, content: bytes):
    (tmp_path / "model.tflite").write_bytes(content)
    with pytest.raises(ToolchainFailed):
        inspect_file.operators(tmp_path / "model.tflite")


def test_a_cubic_resize_that_is_left_in_is_refused_before_the_work(tmp_path: Path):
    job = job_for(tmp_path, rewrites=("attention-apart",))
    with pytest.raises(Impossible, match="FlexResizeBicubic") as caught:
        to_tflite.make(create(job.spec), job.spec, job)
    assert "cubic-channels-last" in caught.value.hint
    assert caught.value.exit_code == 4


def test_a_manifest_from_before_delegations_is_still_read(tmp_path: Path):
    old = artifacts.plain_file(tmp_path)
    assert "delegation" not in {k for k, v in as_json(old.manifest).items() if v is not None}
    assert isinstance(open_artifact(tmp_path).manifest, Manifest)


# The converters.


def request_for(out: Path, converter: str | None) -> planning.ArtifactRequest:
    return planning.ArtifactRequest(
        variant=registry.variant_of(
            registry.find_model("efficientvit_b0"), "tflite-fp32", size=(64, 64), converter=converter
        ),
        weights=None,
        out=out,
    )


def test_the_converter_makes_another_key_but_the_default_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(interpreters, "litert_torch_version", lambda: "0.10.0")
    keys = {name: planning.plans([request_for(tmp_path, name)])[0].key for name in ("onnx2tf", "litert-torch", "best")}
    assert len(set(keys.values())) == 3
    assert planning.plans([request_for(tmp_path, None)])[0].key == keys["onnx2tf"]
    assert "by best" in planning.describe(planning.plans([request_for(tmp_path, "best")])[0])[0]


def test_a_missing_litert_torch_is_found_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pipeline.packages, "require", lambda names: None)
    monkeypatch.setenv(interpreters.LITERT_TORCH_PYTHON, str(tmp_path / "nowhere"))
    with pytest.raises(MissingPackage, match="nowhere") as caught:
        planning.prepare(planning.plans([request_for(tmp_path / "out", "litert-torch")]), Store(tmp_path / "store"))
    assert caught.value.exit_code == 3
    bare = tmp_path / "python"
    bare.write_text("#!/bin/sh\necho \"ModuleNotFoundError: No module named 'litert_torch'\" >&2; exit 1\n")
    bare.chmod(0o755)
    monkeypatch.setenv(interpreters.LITERT_TORCH_PYTHON, str(bare))
    with pytest.raises(MissingPackage, match="No module named"):
        planning.prepare(planning.plans([request_for(tmp_path / "out", "best")]), Store(tmp_path / "store"))


def converted(name: SingleConverter, rejection: str | None = None) -> ConvertedFile:
    return ConvertedFile(converter=name, file=Path(name), rejection=rejection)


@pytest.mark.parametrize(
    ("said", "medians", "winner"),
    [
        (None, {"onnx2tf": 2.0, "litert-torch": 1.0}, "litert-torch"),
        (None, {"onnx2tf": 1.0, "litert-torch": 2.0}, "onnx2tf"),
        ("failed parity: all wrong", {"onnx2tf": 2.0}, "onnx2tf"),
    ],
)
def test_the_faster_of_those_that_are_right_is_kept(said: str | None, medians: Mapping[str, float], winner: str):
    found = pick_faster.choose([converted("onnx2tf"), converted("litert-torch", said)], medians, threads=2)
    assert found.winner.converter == winner
    assert found.words.startswith(f"{winner} ")
    assert "2 threads" in found.words
    assert said is None or said in found.words


def test_without_a_right_file_there_is_no_winner():
    with pytest.raises(ToolchainFailed, match="all wrong"):
        pick_faster.choose([converted("onnx2tf", "failed parity: all wrong")], {}, threads=2)


def test_a_duel_takes_turns(monkeypatch: pytest.MonkeyPatch):
    clock = FakeClock()
    monkeypatch.setattr(pick_faster.time, "perf_counter_ns", clock)
    sessions = {"slow": FakeSession(clock, lambda n: 60_000_000), "fast": FakeSession(clock, lambda n: 30_000_000)}
    found = pick_faster.timed(sessions, {})
    assert found == {"slow": 60.0, "fast": 30.0}
    assert all("close" in session.calls for session in sessions.values())


class NormedMap(torch.nn.Module):
    """Two layer norms of a map, which leaves the second, and what depends on no input and is not folded by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.LayerNorm(8, eps=0.1)
        self.norm = torch.nn.LayerNorm(8)
        torch.nn.init.normal_(self.first.weight)
        torch.nn.init.normal_(self.first.bias)
        self.register_buffer("places", torch.rand(64, 128, 8))

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        places = torch.sin(self.get_buffer("places") @ torch.ones(8, 80))
        image = torch.relu(self.first(image.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        return self.norm(image.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), image.mean() + places.mean()


def test_a_graph_for_onnx2tf_computes_nothing_beforehand_and_turns_no_map_but_the_output():
    model = NormedMap().eval()
    image = torch.randn(1, 8, 4, 6)
    graph = to_onnx.exported(model, {"image": image}, ["map", "number"])
    assert "Sin" in [node.op_type for node in graph.graph.node]
    made = convert.suited(graph)
    kinds = [node.op_type for node in made.graph.node]
    assert "Sin" not in kinds
    assert kinds.count("LayerNormalization") == 1, "only the last one is left, whose two transpositions cancel"
    shapes = [[side.dim_value for side in one.type.tensor_type.shape.dim] for one in made.graph.output]
    assert shapes == [[1, 4, 6, 8], []]
    assert [one.name for one in made.graph.output] == ["map", "number"]
    onnx.checker.check_model(made)
    session: Any = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(["map", "number"], {"image": image.numpy()})
    for got, wanted in zip(found, (model(image)[0].permute(0, 2, 3, 1), model(image)[1]), strict=True):
        np.testing.assert_allclose(got, wanted.detach().numpy(), atol=1e-5)


def test_a_converter_that_fails_says_what_may_do_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(convert.sys, "executable", shutil.which("false"))
    with pytest.raises(ToolchainFailed, match="onnx2tf ended with exit code 1") as caught:
        convert.run_onnx2tf(tmp_path / "model.onnx", tmp_path / "model.tflite", tmp_path)
    assert "Try --converter litert-torch" in caught.value.hint


@pytest.mark.slow
@pytest.mark.parametrize("converter", ["onnx2tf", "litert-torch"])
@pytest.mark.parametrize("part", ["encoder", "decoder"])
def test_segment_anything_is_right_on_a_phone(tmp_path: Path, part: str, converter: str):
    if converter == "litert-torch" and interpreters.litert_torch_version() is None:
        pytest.skip(f"litert-torch is not here and {interpreters.LITERT_TORCH_PYTHON} names no interpreter with it")
    step.run(job_for(tmp_path, f"efficientvit_sam_l0.{part}", size=(128, 128), batch=1, converter=converter))
    manifest = open_artifact(tmp_path).manifest
    assert manifest.parity is not None
    assert manifest.parity.passed, manifest.parity.reason
    assert not inspect_file.foreign(manifest.operators)
    assert manifest.delegation is not None
    if converter == "onnx2tf":
        assert (manifest.delegation.partitions, dict(manifest.delegation.left)) == (1, {})


@pytest.mark.slow
@pytest.mark.parametrize("converter", ["litert-torch", "best"])
def test_the_other_converter_makes_a_right_file_too(tmp_path: Path, converter: str):
    if not os.environ.get(interpreters.LITERT_TORCH_PYTHON) and interpreters.litert_torch_version() is None:
        pytest.skip(f"litert-torch is not here and {interpreters.LITERT_TORCH_PYTHON} names no interpreter with it")
    step.run(job_for(tmp_path, converter=converter))
    manifest = open_artifact(tmp_path).manifest
    assert manifest.parity is not None
    assert manifest.parity.passed
    assert not inspect_file.foreign(manifest.operators)
    assert manifest.delegation is not None
    assert manifest.delegation.partitions == 1
    assert ("ms" in manifest.recipe) == (converter == "best")


@pytest.mark.slow
def test_bytes_go_in_and_labels_come_out(tmp_path: Path):
    step.run(job_for(tmp_path, head="labels", io="uint8"))
    manifest = open_artifact(tmp_path).manifest
    assert manifest.parity is not None
    assert manifest.parity.passed
    assert (manifest.inputs[0].dtype, manifest.outputs[0].shape) == ("uint8", (1, *SIZE))


def test_a_file_that_onnx2tf_got_wrong_is_told_with_what_may_do_instead(made: Artifact):
    parity = made.manifest.parity
    assert parity is not None
    wrong = msgspec.structs.replace(parity, passed=False, reason="the largest error is 5")
    failed = pipeline.parity_error(Artifact(made.folder, msgspec.structs.replace(made.manifest, parity=wrong)))
    assert failed is not None
    assert "Try another size or --converter litert-torch" in failed.hint


def test_a_described_map_has_its_channels_last():
    found = to_tflite.described("logits", torch.zeros(1, 19, 4, 8))
    assert (found.shape, found.layout) == ((1, 4, 8, 19), "NHWC")
    assert to_tflite.described("labels", torch.zeros(1, 4, 8, dtype=torch.int32)).layout == "other"


@pytest.mark.parametrize("kind", ["float64", "float16", "int16"])
def test_answers_of_types_that_no_file_has_are_refused_by_their_type(kind: str):
    with pytest.raises(Impossible, match=f"logits is of {kind}"):
        to_tflite.described("logits", torch.zeros(1, 5, dtype=getattr(torch, kind)))
