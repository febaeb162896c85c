"""A session whose work is queued on one CUDA stream: page-locked buffers, copies, marks, and a graph if asked.

`on_trt` says what is queued between the copies. Standard library and numpy only: the worker carries it.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vitdeploy.catalog.spec import TensorSpec
from vitdeploy.runtimes.cuda import Address, Cuda
from vitdeploy.runtimes.loaded_session import LoadedSession
from vitdeploy.runtimes.session import Array, Arrays, SessionOptions


class QueuedSession(LoadedSession):
    """Everything of a `Session` and a `DeviceSession` but what `enqueue` queues."""

    def __init__(
        self,
        api: Cuda,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        options: SessionOptions,
        *,
        facts: Mapping[str, str],
    ) -> None:
        self._api = api
        super().__init__(inputs, outputs)
        self._whole = options.boundary == "host-to-host"
        self._graph_asked = options.graph
        self._graph: Any = None
        self.stream = api.stream()
        self._events = tuple(api.event() for _ in range(5))
        self.addresses: dict[str, Address] = {t.name: api.device(_bytes(t)) for t in (*inputs, *outputs)}
        self._staging = {t.name: api.host(t.shape, t.dtype) for t in inputs}
        self._results: dict[str, Array] = {t.name: api.host(t.shape, t.dtype) for t in outputs}
        self._placed: dict[int, Array] = {id(array): array for array in self._staging.values()}
        self._fetched = True
        self.facts: Mapping[str, str] = {
            **facts,
            "cuda": api.name,
            "graph": "on" if options.graph else "off",
            "memory": "pinned",
            "wait": api.waits,
        }

    def close(self) -> None:
        """Release the stream, events, buffers and graph."""
        api = self._api
        api.synchronize(self.stream)  # nothing is given back that is still read
        api.free(streams=(self.stream,), events=self._events, graphs=() if self._graph is None else (self._graph,))
        for address in self.addresses.values():
            api.free_device(address)
        for array in (*self._placed.values(), *self._results.values()):
            api.free_host(array)
        self.addresses, self._placed, self._results = {}, {}, {}

    def enqueue(self) -> None:
        """Queue one inference on `stream`, from and to `addresses`."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Run once, which makes whatever is made late, and capture the graph if one was asked for."""
        for name, array in self._staging.items():
            array.fill(0)
            self._api.copy_in(self.addresses[name], array, self.stream)
        self.enqueue()
        self._api.synchronize(self.stream)
        if self._graph_asked:
            self._graph = self._api.capture(self.stream, self.enqueue)

    def place(self, feeds: Arrays) -> Arrays:
        """The same inputs, page-locked."""
        self.check(feeds)
        placed: dict[str, Array] = {}
        for name, (shape, dtype) in self._expected.items():
            array = self._api.host(shape, dtype.name)
            array[...] = feeds[name]
            self._placed[id(array)] = placed[name] = array
        return placed

    def put(self, feeds: Arrays) -> None:
        """Queue the copies to the GPU; what was not placed is copied into page-locked memory first.

        Raises:
            UsageError: a name, shape or type is not the engine's (its memory would be misread).
        """
        self.check(feeds)
        api, stream = self._api, self.stream
        api.enter()
        api.record(self._events[0], stream)
        for name in self._expected:
            array = feeds[name]
            if id(array) not in self._placed:
                api.synchronize(stream)  # the staging buffer may still be read
                self._staging[name][...] = array
                array = self._staging[name]
            api.copy_in(self.addresses[name], array, stream)
        api.record(self._events[1], stream)
        if not self._whole:
            api.synchronize(stream)

    def run(self) -> None:
        """Queue one inference, and for a whole round trip the copies back behind it."""
        api, stream = self._api, self.stream
        api.record(self._events[2], stream)
        if self._graph is None:
            self.enqueue()
        else:
            api.launch(self._graph, stream)
        api.record(self._events[3], stream)
        self._fetched = False
        if self._whole:
            self._fetch()

    def wait(self) -> None:
        """Return when everything queued is done."""
        self._api.synchronize(self.stream)

    def get(self) -> Arrays:
        """The page-locked outputs; the next `run` overwrites them."""
        if not self._fetched:
            self._fetch()
            self._api.synchronize(self.stream)
        return self._results

    def stages_ns(self) -> tuple[int, int, int]:
        """H2D, compute and D2H of the last round trip, by events."""
        begun, copied, started, ended, fetched = self._events
        elapsed = self._api.elapsed_ns
        if not self._whole:
            return 0, elapsed(started, ended), 0
        return elapsed(begun, copied), elapsed(started, ended), elapsed(ended, fetched)

    def _fetch(self) -> None:
        for name, array in self._results.items():
            self._api.copy_out(array, self.addresses[name], self.stream)
        self._api.record(self._events[4], self.stream)
        self._fetched = True


def _bytes(tensor: TensorSpec) -> int:
    return int(np.prod(tensor.shape)) * np.dtype(tensor.dtype).itemsize
