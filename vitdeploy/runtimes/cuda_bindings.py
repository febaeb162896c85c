"""Test each CUDA binding of a device in one fresh process: bytes there and back, events, and copies from both memories.

    python -m vitdeploy.runtimes.cuda_bindings < job.json

Standard library and numpy only: the agent carries it.
"""

import importlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitdeploy.errors import VitdeployError
from vitdeploy.processes import child_process
from vitdeploy.runtimes.cuda import BINDINGS, Cuda

SIZE_BYTES = 16 * 2**20
"""Source: a choice; a copy of it takes 1 ms over PCIe, far more than starting it."""

REPEATS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingsJob:
    """The bindings to test."""

    bindings: Sequence[str] = BINDINGS
    size_bytes: int = SIZE_BYTES
    repeats: int = REPEATS


def run_job(job: BindingsJob) -> list[dict[str, Any]]:
    """One answer for each binding; ``missing`` or ``error`` say why there is nothing else."""
    return [_answer(name, job) for name in job.bindings]


def _answer(name: str, job: BindingsJob) -> dict[str, Any]:
    words = {"binding": name.rpartition(".")[2]}
    try:
        api: Cuda = importlib.import_module(name).open_cuda()
    except ImportError as error:
        return {**words, "missing": str(error)}
    except VitdeployError as error:
        return {**words, "error": error.message}
    try:
        return {**words, "name": api.name, **_measured(api, job)}
    except VitdeployError as error:
        return {**words, "error": error.message}


def _measured(api: Cuda, job: BindingsJob) -> dict[str, Any]:
    shape, dtype = (job.size_bytes,), "uint8"
    placed, staging, back = (api.host(shape, dtype) for _ in range(3))
    plain = np.random.default_rng(0).integers(0, 256, job.size_bytes, dtype=np.uint8)
    address, stream, begin, end = api.device(job.size_bytes), api.stream(), api.event(), api.event()
    try:
        placed[...], back[...] = plain, 0

        def copy(source: np.ndarray[Any, Any]) -> tuple[int, int]:
            """Time of one copy by the host's clock, and by the device's."""
            before = time.perf_counter_ns()
            if source is plain:
                staging[...] = plain
            api.record(begin, stream)
            api.copy_in(address, staging if source is plain else source, stream)
            api.record(end, stream)
            api.synchronize(stream)
            return time.perf_counter_ns() - before, api.elapsed_ns(begin, end)

        pinned, pageable = _medians(lambda: copy(placed), job.repeats), _medians(lambda: copy(plain), job.repeats)
        api.copy_out(back, address, stream)
        api.synchronize(stream)
        same = bool(np.array_equal(back, plain))
    finally:
        api.free(streams=[stream], events=[begin, end])
        api.free_device(address)
        for array in (placed, staging, back):
            api.free_host(array)
    return {
        "same_bytes": same,
        "pinned_ns": pinned[0],
        "pageable_ns": pageable[0],
        "event_ns": pinned[1],
        "size_bytes": job.size_bytes,
    }


def _medians(copy: Callable[[], tuple[int, int]], repeats: int) -> tuple[int, int]:
    """Host's and device's time; the first copy is left out."""
    copy()
    times = [copy() for _ in range(repeats)]
    host, device = (int(np.median([pair[place] for pair in times])) for place in (0, 1))
    return host, device


if __name__ == "__main__":
    sys.exit(child_process.answer(run_job, BindingsJob))
