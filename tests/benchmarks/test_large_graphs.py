"""Graphs beyond 2 GiB keep their tensors beside them: tried at a lowered limit, and once for real."""

import collections
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="models are torch modules")
onnx = pytest.importorskip("onnx", reason="graphs are made here")
pytest.importorskip("onnxscript", reason="graphs are made here")

from tests.doubles import golden
from vitdeploy.api import export
from vitdeploy.api.export_request import ExportRequest
from vitdeploy.artifacts import manifest
from vitdeploy.exporters import to_onnx
from vitdeploy.exporters.half import on_rounded
from vitdeploy.exporters.half.graph import halved
from vitdeploy.models import sam_vit
from vitdeploy.models.efficientvit_sam import Encoder
from vitdeploy.models.sam_vit import VitConfig
from vitdeploy.runtimes import on_ort
from vitdeploy.runtimes.session import SessionOptions, infer

SMALL = VitConfig(width=64, depth=2, heads=4, everywhere=(1,), side=320)
MOST_BYTES = 16 * 2**30
"""What exporting and checking the largest model may take. Source: issue 5, "Speed and memory"."""


@pytest.fixture(scope="module")
def encoder() -> Any:
    """A vision transformer as SAM's, 64 wide: windows that are filled up, then the whole map."""
    with torch.device("meta"):
        made = sam_vit.named_as_transformers(Encoder(sam_vit.ImageEncoder(SMALL))).eval()
    made.load_state_dict(golden.filled(made), assign=True)
    return made.requires_grad_(False)


@pytest.fixture(scope="module")
def graph(encoder: Any) -> Any:
    made = to_onnx.exported(encoder, {"image": torch.zeros(1, 3, SMALL.side, SMALL.side)}, ["image_embeddings"])
    to_onnx.strip(made)
    return made


def copied(graph: Any) -> Any:
    made: Any = onnx.ModelProto()
    made.CopyFrom(graph)
    return made


def ran(session: Any, image: Any) -> Any:
    with session as opened:
        return infer(opened, {"image": image.numpy()})["image_embeddings"]


def described(graph: Any) -> dict[str, Any]:
    graph_io = {"inputs": graph.graph.input, "outputs": graph.graph.output}
    return {
        name: [
            {"name": one.name, "shape": list(one.shape), "dtype": one.dtype, "layout": one.layout}
            for one in map(to_onnx.tensor, values)
        ]
        for name, values in graph_io.items()
    }


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensors_beside_the_graph_give_the_same_outputs(
    encoder: Any, graph: Any, precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    image = golden.image([1, 3, SMALL.side, SMALL.side])
    whole = copied(graph) if precision == "fp32" else halved(graph, half_io=False)
    described_whole = described(whole)
    assert to_onnx.save(copied(whole), tmp_path) == ()
    opener = on_ort.open_session if precision == "fp32" else on_rounded.open_session
    expected = ran(opener(tmp_path / to_onnx.FILE, described_whole, SessionOptions(threads=1)), image)
    apart = tmp_path / "apart"
    apart.mkdir()
    monkeypatch.setattr(to_onnx, "LARGEST_SINGLE_FILE_BYTES", 2**14)
    (beside,) = to_onnx.save(copied(whole), apart)
    assert beside.file == to_onnx.DATA
    assert beside.size_bytes == (apart / to_onnx.DATA).stat().st_size > 0.9 * to_onnx.tensor_bytes(whole)
    assert beside.sha256 == manifest.digest_of(apart / to_onnx.DATA)
    assert (apart / to_onnx.FILE).stat().st_size < 0.5 * beside.size_bytes
    onnx.checker.check_model(str(apart / to_onnx.FILE), full_check=True)
    found = ran(opener(apart / to_onnx.FILE, described_whole, SessionOptions(threads=1)), image)
    np.testing.assert_array_equal(found, expected)
    with torch.no_grad():
        reference = encoder(image).numpy()
    limit = 1e-4 if precision == "fp32" else 0.1
    assert np.abs(found - reference).max() / reference.std() < limit


def test_a_vision_transformer_is_static_and_has_few_kinds_of_operators(graph: Any):
    kinds = collections.Counter(str(node.op_type) for node in graph.graph.node)
    assert not set(kinds) & {"OneHot", "Tile", "ScatterND", "Range", "Where", "Loop", "Shape"}


@pytest.mark.slow
def test_the_largest_model_exports_within_16_gib(tmp_path: Path):
    """``sam_vit_h``'s encoder, 637 M parameters: run it alone."""
    import resource

    order = ExportRequest(target="onnx-fp32", out=tmp_path)
    (row,) = export.export(["sam_vit_h.encoder"], order)
    assert row.error is None
    assert row.artifact is not None
    (beside,) = row.artifact.manifest.beside
    assert beside.size_bytes > 2**31
    peak_bytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    assert peak_bytes < MOST_BYTES
