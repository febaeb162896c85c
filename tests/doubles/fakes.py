"""The product's own protocols on a clock you hold: sessions, a runtime module, connections."""

import contextlib
import json
import os
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from vitdeploy.catalog.spec import TensorSpec
from vitdeploy.errors import DeviceError
from vitdeploy.processes.connection import CommandResult, Connection
from vitdeploy.runtimes.session import Array, Arrays, SessionOptions

IMAGE = TensorSpec(name="image", shape=(1, 3, 8, 8), dtype="float32", layout="NCHW")
LOGITS = TensorSpec(name="logits", shape=(1, 4), dtype="float32", layout="NC")
SAMPLES = (999_999, *(1_000_000,) * 9) * 5
"""Of a trial, in nanoseconds. Were all equal, nothing would be known of the clock."""


class FakeClock:
    """A clock that moves only when told to."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, ns: int) -> None:
        self.now_ns += ns


class FakeSession:
    """A session whose n-th inference takes ``cost_ns(n)`` of the clock; putting and getting take their own time."""

    def __init__(
        self,
        clock: FakeClock,
        cost_ns: Callable[[int], int] = lambda n: 1_000_000,
        *,
        put_ns: int = 0,
        get_ns: int = 0,
        fail_at: int | None = None,
        output: float = 1.0,
    ) -> None:
        self.inputs: tuple[TensorSpec, ...] = (IMAGE,)
        self.outputs: tuple[TensorSpec, ...] = (LOGITS,)
        self.facts: Mapping[str, str] = {"runtime": "fake 1"}
        self.calls: list[str] = []
        self.fed: list[Arrays] = []
        self._clock, self._cost_ns, self._put_ns, self._get_ns = clock, cost_ns, put_ns, get_ns
        self._fail_at, self._output, self._count = fail_at, output, 0

    def __enter__(self) -> "FakeSession":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.calls.append("close")

    def put(self, feeds: Arrays) -> None:
        self.fed.append(feeds)
        self._clock.advance(self._put_ns)

    def run(self) -> None:
        if self._count == self._fail_at:
            raise RuntimeError("planted failure")
        self._clock.advance(self._cost_ns(self._count))
        self._count += 1

    def wait(self) -> None:
        self.calls.append("wait")

    def get(self) -> Arrays:
        self._clock.advance(self._get_ns)
        mean = float(np.mean(self.fed[-1]["image"])) if self.fed and "image" in self.fed[-1] else 0.0
        return {"logits": np.full(LOGITS.shape, self._output * mean if self.fed else 0.0, np.float32)}


def open_session(file: Path, manifest: Mapping[str, Any], options: SessionOptions) -> FakeSession:
    """This module is a `Runtime`: what it does is planted in ``manifest["fake"]``."""
    planted = manifest.get("fake", {})
    if planted.get("prints"):
        print("a framework says hello")
        os.write(1, b"and so does native code\n")
    if planted.get("kill"):
        os.kill(os.getpid(), planted["kill"])
    if planted.get("exit") is not None:
        sys.exit(planted["exit"])
    return FakeSession(FakeClock(), fail_at=planted.get("fail_at"), output=float("nan") if planted.get("nan") else 1.0)


class FakeConnection(Connection):
    """A device that answers by ``answer(job)``; None: with samples of 1 ms. What it was asked is in ``jobs``."""

    def __init__(self, answer: Callable[[dict[str, Any]], CommandResult | None] = lambda job: None) -> None:
        self.jobs: list[dict[str, Any]] = []
        self.facts: dict[str, Any] = {"cpu": "fake", "cores_physical": 2, "load_1min": 0.1}
        self.locked = False
        self.busy = False
        self._answer = answer

    def interpreter(self) -> tuple[str, ...]:
        return (sys.executable,)

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout_s: float) -> CommandResult:
        if argv[-1] == "vitdeploy.devices.computer_facts":
            return CommandResult(exit_code=0, stdout=json.dumps({"reply": self.facts}), stderr="")
        assert self.locked, "a trial without the device's lock"
        job = json.loads(stdin)
        self.jobs.append(job)
        return self._answer(job) or CommandResult(exit_code=0, stdout=json.dumps({"reply": fake_trial(job)}), stderr="")

    def push(self, path: Path, *, sha256: str) -> str:
        return str(path)

    def pull(self, remote: str, path: Path) -> None:
        path.write_bytes(Path(remote).read_bytes())

    @contextlib.contextmanager
    def lock(self, *, timeout_s: float) -> Generator[None]:
        if self.busy:
            raise DeviceError("fake is in use by process 1", "Wait for it.")
        self.locked = True
        try:
            yield
        finally:
            self.locked = False

    def close(self) -> None:
        return


def fake_trial(job: Mapping[str, Any], samples_ns: Sequence[int] = SAMPLES, **changes: Any) -> dict[str, Any]:
    """A worker's trial for ``job``."""
    return {
        **job["trial"],
        "started_utc": "2026-01-01T00:00:00.000+00:00",
        "artifact_sha256": job["digests"][job["file"]],
        "sample_kind": "inference",
        "samples_ns": list(samples_ns),
        "wall_ns": sum(samples_ns),
        "stages_ns": None,
        "load_ns": 1,
        "first_ns": 2,
        "warmup_ns": 3,
        "warmup_count": 4,
        "peak_memory_bytes": 5,
        "steady": "steady",
        "telemetry": [],
        "throttled": False,
        "facts": {"foreign_cores": "0.010"},
        **changes,
    }


def arrays(value: float) -> dict[str, Array]:
    """One input of a `FakeSession`."""
    return {"image": np.full(IMAGE.shape, value, np.float32)}
