"""Eager PyTorch on a GPU, on a TEST DOUBLE of ``torch.cuda`` that lets work happen when it is waited for.

No GPU has run this: the double shows order, waits and copies, not speed.
"""

from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest

from tests.doubles import artifacts
from vitdeploy.cli.main import main
from vitdeploy.errors import DeviceError, UsageError
from vitdeploy.images import inputs
from vitdeploy.runtimes.session import DeviceSession, SessionOptions, infer

torch = pytest.importorskip("torch", reason="torch is not installed")
on_torch: Any = pytest.importorskip("vitdeploy.runtimes.on_torch")
on_torch_cuda: Any = pytest.importorskip("vitdeploy.runtimes.on_torch_cuda")


class Stream:
    """Counts what is waited for; on the double everything is done at once."""

    waits = 0

    def synchronize(self) -> None:
        Stream.waits += 1


class Event:
    clock = 0

    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing
        self.at = -1

    def record(self, stream: Stream) -> None:
        Event.clock += 1
        self.at = Event.clock

    def elapsed_time(self, end: "Event") -> float:
        assert 0 < self.at < end.at, "a mark that was not reached, or marks out of order"
        return float(end.at - self.at)


class Graph:
    """Replays the work that was captured into it."""

    work: Callable[[], Any]

    def replay(self) -> None:
        self.work()


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> None:
    entered: list[Any] = []

    @contextmanager
    def stream(one: Stream) -> Any:
        entered.append(one)
        yield
        entered.pop()

    @contextmanager
    def graph(one: Graph, *, stream: Stream) -> Any:
        yield
        session = found[-1]

        def again() -> None:
            with torch.inference_mode():
                for old, new in zip(session._results, session._infer(), strict=True):
                    old.copy_(new)

        one.work = again

    found: list[Any] = []
    begin = on_torch_cuda.CudaTorchSession.__init__

    def noted(self: Any, *given: Any, **options: Any) -> None:
        found.append(self)
        begin(self, *given, **{**options, "device": "cpu"})

    def pinned(tensor: Any) -> Any:
        return torch.zeros(tensor.shape, dtype=getattr(torch, tensor.dtype))

    monkeypatch.setattr(on_torch_cuda.CudaTorchSession, "__init__", noted)
    monkeypatch.setattr(on_torch_cuda, "_pinned", pinned)
    for name, value in {
        "is_available": lambda: True,
        "get_device_name": lambda: "a test double",
        "Stream": Stream,
        "Event": Event,
        "stream": stream,
        "CUDAGraph": Graph,
        "graph": graph,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)


def opened(folder: Path, **options: Any) -> Any:
    made = artifacts.state_dict(folder / "artifact")
    settings = SessionOptions(threads=1, device="cuda", **options)
    return on_torch.open_session(made.file, msgspec.to_builtins(made.manifest), settings), made


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("boundary", ["host-to-host", "compute"])
def test_a_round_trip_returns_what_the_module_computes(double: None, tmp_path: Path, graph: bool, boundary: Any):
    session, made = opened(tmp_path, graph=graph, boundary=boundary)
    with session:
        assert isinstance(cast("object", session), DeviceSession)
        first, second = inputs.make_pool(session.inputs, seed=3)[:2]
        plain = on_torch.open_session(made.file, msgspec.to_builtins(made.manifest), SessionOptions(threads=1))
        for feeds in (first, session.place(second), first):
            expected = infer(plain, feeds)["logits"].copy()
            assert np.allclose(infer(session, feeds)["logits"], expected, rtol=1e-4, atol=1e-5)
        stages = session.stages_ns()
        assert stages == ((1_000_000,) * 3 if boundary == "host-to-host" else (0, 1_000_000, 0))
        assert session.facts["graph"] == ("on" if graph else "off")


def test_a_whole_round_trip_of_placed_inputs_waits_once(double: None, tmp_path: Path):
    session, _ = opened(tmp_path)
    with session:
        placed = session.place(inputs.make_pool(session.inputs, seed=3)[0])
        before = Stream.waits
        session.put(placed)
        session.run()
        session.wait()
        session.get()
        assert Stream.waits - before == 1
        with pytest.raises(UsageError, match="float64"):
            session.put({"image": np.zeros((1, 3, 64, 64))})


def test_without_a_gpu_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match="finds no CUDA GPU"):
        opened(tmp_path)


def test_torch_fp16_is_exported_proven_and_timed(tmp_path: Path):
    where = str(tmp_path / "out")
    assert main(["export", "efficientvit_b0", "--target", "torch-fp16", "--size", "64x64", "--out", where]) == 0
    (file,) = (tmp_path / "out").rglob("model.pt")
    state = cast("dict[str, Any]", torch.load(file, weights_only=True))
    assert {value.dtype for value in state.values() if value.is_floating_point()} == {torch.float16}
