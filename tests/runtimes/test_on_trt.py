"""The runtime of engines on test doubles that keep CUDA's rules: what is queued where, what is page-locked, what waits.

No GPU has run this. The doubles (tests/board_double) fail where CUDA would answer with wrong numbers or a crash.
"""

import sys
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from tests.doubles import board
from tests.doubles.engine import BOUND, engine_in, expected, opened
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks.trial import loop
from vitdeploy.devices import gpu
from vitdeploy.errors import DeviceError, Impossible, MissingPackage, ToolchainFailed, UsageError
from vitdeploy.images import inputs
from vitdeploy.runtimes import cuda, on_trt, profiled_trt
from vitdeploy.runtimes.session import DeviceSession, ProfiledSession, infer

pytest.importorskip("onnxruntime", reason="ONNX Runtime plays the engine")
pytest.importorskip("onnx", reason="onnx makes the graph")


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Any:
    return board.here(monkeypatch)


@pytest.fixture
def engine(tmp_path: Path) -> Artifact:
    return engine_in(tmp_path / "artifact")


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("boundary", ["host-to-host", "compute"])
def test_a_round_trip_returns_what_the_engine_computes(double: Any, engine: Artifact, graph: bool, boundary: Any):
    with opened(engine, graph=graph, boundary=boundary) as session:
        assert isinstance(session, DeviceSession)
        first, second = inputs.make_pool(session.inputs, seed=3)[:2]
        placed = session.place(second)
        for feeds in (first, placed, first):
            assert np.array_equal(infer(session, feeds)["logits"], expected(engine, feeds))
        assert session.facts["graph"] == ("on" if graph else "off")
        assert session.facts["memory"] == "pinned"
        assert "has not run on hardware" in session.facts["unverified"]
    state = double.STATE
    left = [state.memory, state.pages, state.queues, state.marks, state.graphs]
    assert not any(left), "something was not freed"


@pytest.mark.parametrize("graph", [False, True])
def test_nothing_is_made_in_the_timed_loop_and_a_round_trip_waits_once(double: Any, engine: Artifact, graph: bool):
    with opened(engine, graph=graph) as session:
        placed = cast("DeviceSession", session).place(inputs.make_pool(session.inputs, seed=3)[0])
        double.STATE.frozen = True
        for _ in range(3):
            double.STATE.calls.clear()
            session.put(placed)
            session.run()
            session.wait()
            session.get()
            assert double.STATE.calls.count("cudaStreamSynchronize") == 1
            assert double.STATE.calls.count("cudaMemcpyAsync") == 2
            assert double.STATE.calls.count("cudaGraphLaunch") == int(graph)
        double.STATE.frozen = False


def test_the_double_notices_what_must_not_be(double: Any, engine: Artifact):
    """Planted: a copy from pageable memory and an allocation in the loop fail."""
    with opened(engine) as session:
        assert isinstance(session, on_trt.TrtSession)
        address = session.addresses["image"]
        with pytest.raises(AssertionError, match="page-locked"):
            session._api.copy_in(address, np.zeros((1, 3, 32, 32), np.float32), session.stream)
        double.STATE.frozen = True
        with pytest.raises(AssertionError, match="inside the timed loop"):
            session._api.event()
        double.STATE.frozen = False


def test_the_stages_are_the_events_and_copies_outside_the_boundary_are_none(double: Any, engine: Artifact):
    feeds = 1 * 3 * 32 * 32 * 4
    for boundary, stages in (
        ("host-to-host", (round(feeds * 0.1), 1_500_000, round(32 * 32 * 8 * 4 * 0.1))),
        ("compute", (0, 1_500_000, 0)),
    ):
        with opened(engine, boundary=boundary) as session:
            infer(session, inputs.make_pool(session.inputs, seed=3)[0])
            found = cast("DeviceSession", session).stages_ns()
            assert found == pytest.approx(stages, abs=1)


def test_the_loop_keeps_the_stages_beside_the_samples_and_streams_share_the_engine(double: Any, engine: Artifact):
    with opened(engine) as first, opened(engine) as second:
        assert isinstance(first, on_trt.TrtSession)
        assert isinstance(second, on_trt.TrtSession)
        assert first.stream != second.stream
        assert first._loaded is second._loaded
        lanes = [
            loop.Stream(session=s, pool=[s.place(f) for f in inputs.make_pool(s.inputs, seed=3)[:2]])
            for s in (first, second)
        ]
        plan = loop.SamplingPlan(boundary="host-to-host", min_time_ns=1, min_count=10, warmup_limit_ns=1)
        sampled = loop.measure(lanes[:1], plan)
        assert sampled.stages_ns is not None
        assert {name: len(times) for name, times in sampled.stages_ns.items()} == {
            name: len(sampled.samples_ns) for name in loop.STAGES
        }
        assert set(sampled.stages_ns["compute"]) == {1_500_000}
    assert not on_trt._LOADED


def test_another_shape_or_type_is_refused_before_it_is_read(double: Any, engine: Artifact):
    with opened(engine) as session:
        with pytest.raises(UsageError, match="expected"):
            session.put({"other": np.zeros(1)})
        with pytest.raises(UsageError, match="float64"):
            session.put({"image": np.zeros((1, 3, 32, 32))})


def test_what_cannot_be_run_says_why(double: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for bound, words in (
        ({**BOUND, "compute_capability": ["8.0"]}, "bound to compute capability 8.0"),
        ({**BOUND, "tensorrt": "10.13.0"}, r"bound to tensorrt 10\.13\.0, and here is 10\.3\.0"),
    ):
        with pytest.raises(Impossible, match=words):
            opened(engine_in(tmp_path / "a", bound_to=bound))
    broken = engine_in(tmp_path / "b")
    broken.file.write_bytes(b"no engine")
    with pytest.raises(ToolchainFailed, match="magic tag"):
        opened(broken)
    other = engine_in(tmp_path / "c", outputs=())
    with pytest.raises(ToolchainFailed, match="its manifest says"):
        opened(other)
    assert not on_trt._LOADED
    double.STATE.no_gpu = True
    with pytest.raises(DeviceError, match="cudaErrorNoDevice"):
        opened(engine_in(tmp_path / "d"))
    monkeypatch.setattr(gpu, "first_gpu", lambda: None)
    with pytest.raises(DeviceError, match="no NVIDIA GPU answers"):
        opened(engine_in(tmp_path / "e"))


def test_without_tensorrt_or_cuda_it_is_a_missing_package(engine: Artifact, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingPackage, match="missing here: tensorrt"):
        opened(engine)
    with pytest.raises(MissingPackage, match="nothing here speaks CUDA"):
        cuda.open_cuda(ways=("vitdeploy.runtimes.on_pycuda",))


def test_a_graph_is_asked_of_who_can_capture_one(monkeypatch: pytest.MonkeyPatch):
    class Plain:
        name, graphs = "pycuda 2024.1", False

    monkeypatch.setitem(sys.modules, "plain", cast("Any", type(sys)("plain")))
    sys.modules["plain"].open_cuda = Plain  # type: ignore[attr-defined]
    assert cuda.open_cuda(ways=("plain",)).name == "pycuda 2024.1"
    with pytest.raises(MissingPackage, match="cannot capture graphs"):
        cuda.open_cuda(graph=True, ways=("plain",))


def test_the_profiler_of_tensorrt_tells_layers_by_their_kind(double: Any, engine: Artifact):
    with opened(engine, profile=True) as session:
        assert isinstance(session, ProfiledSession)
        feeds = inputs.make_input(session.inputs, seed=0)
        for _ in range(3):
            infer(session, feeds)
        assert session.operator_ns() == {"node_conv2d + node_relu": 750_000, "__myl_Fc_myl": 750_000}
    with opened(engine) as session:
        assert isinstance(session, ProfiledSession)
        assert session.operator_ns() == {}, "a timed session has no profiler"


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        ("node_conv2d_12 + node_gelu", "node_conv2d + node_gelu"),
        ("{ForeignNode[node_matmul_1...node_add_27]}", "{ForeignNode[node_matmul...node_add]}"),
        ("stages.0.blocks.11.conv2d", "stages.blocks.conv2d"),
        ("x" * 200, "x" * 79 + "…"),
    ],
)
def test_layers_that_differ_by_numbers_are_of_one_kind(layer: str, kind: str):
    assert profiled_trt.kind_of(layer) == kind
