"""Files that LiteRT's CompiledModel tool writes: figures of a block, and what a delegate took of the graph.

Both are protocol buffers, of which only the fields that are used are read: ``tflite.tools.benchmark.BenchmarkResult``
and ``tflite.profiling.ModelRuntimeDetails``.
Source: LiteRT, tflite/tools/benchmark/proto/benchmark_result.proto, tflite/profiling/proto/model_runtime_info.proto and
what fills it, tflite/profiling/model_runtime_info.cc.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from vitdeploy.devices.phone.tool_output import garbled

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_MOST_VARINT_BYTES = 10
_NODE_DELEGATE, _NODE_TAKEN = 8, 9
"""Fields of a node: that it is a delegate's, and the delegate's node that took it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockFigures:
    """Figures of one process; times in milliseconds, as the file has them."""

    avg_ms: float
    median_ms: float
    init_ms: float
    first_ms: float
    warmup_avg_ms: float
    runs: int
    warmup_runs: int
    memory_kb: int | None
    """Growth of the process from its start to its end; None: this system does not tell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delegation:
    """What delegates took of the graph's own nodes."""

    nodes: int
    delegated: int
    partitions: int

    @property
    def words(self) -> str:
        """``58 of 60 nodes in 2 partitions``."""
        if not self.delegated:
            return f"none of {self.nodes} nodes"
        ending = "" if self.partitions == 1 else "s"
        return f"{self.delegated} of {self.nodes} nodes in {self.partitions} partition{ending}"


def read_figures(data: bytes) -> BlockFigures:
    """The file of ``--result_file_path``.

    Raises:
        ToolchainFailed: it is not such a file, or lacks a figure.
    """
    message = dict(_fields(data))
    latency, memory, counts = (_message(message, number) for number in (2, 3, 4))
    memory_kb = memory.get(2)
    return BlockFigures(
        avg_ms=_float(latency, 1),
        median_ms=_float(latency, 5),
        init_ms=_float(latency, 8),
        first_ms=_float(latency, 9),
        warmup_avg_ms=_float(latency, 10),
        runs=_count(counts, 2),
        warmup_runs=_count(counts, 3),
        memory_kb=_signed(memory_kb) if isinstance(memory_kb, int) else None,
    )


def read_delegation(data: bytes) -> Delegation:
    """The file of ``--model_runtime_info_output_file``.

    Raises:
        ToolchainFailed: it is not such a file, or lists no node.
    """
    nodes = delegated = partitions = 0
    for number, subgraph in _fields(data):
        if number != 2 or not isinstance(subgraph, bytes):
            continue
        for field, node in _fields(subgraph):
            if field != 3 or not isinstance(node, bytes):
                continue
            said = {name for name, _ in _fields(node)}
            partitions += _NODE_DELEGATE in said
            nodes += _NODE_DELEGATE not in said
            delegated += _NODE_TAKEN in said
    if not nodes or bool(delegated) != bool(partitions):
        raise garbled(f"its runtime info lists {nodes} nodes, {delegated} of them delegated to {partitions} partitions")
    return Delegation(nodes=nodes, delegated=delegated, partitions=partitions)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and value of each field of a message, in its order.

    Source: https://protobuf.dev/programming-guides/encoding
    """
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            value, place = _varint(data, place)
            yield number, value
            continue
        if kind == _LENGTH:
            size, place = _varint(data, place)
        elif kind in (_FIXED32, _FIXED64):
            size = 4 if kind == _FIXED32 else 8
        else:
            raise garbled(f"a result file has a field of kind {kind} at byte {place}")
        if place + size > len(data):
            raise garbled(f"a result file ends within a field, at byte {len(data)}")
        yield number, data[place : place + size]
        place += size


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift, byte in enumerate(data[place : place + _MOST_VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * shift
        if byte < 0x80:
            return value, place + shift + 1
    raise garbled(f"a result file has no number at byte {place}")


def _message(fields: Mapping[int, int | bytes], number: int) -> dict[int, int | bytes]:
    value = fields.get(number, b"")
    if not isinstance(value, bytes):
        raise garbled(f"field {number} of a result file is no message")
    return dict(_fields(value))


def _float(fields: Mapping[int, int | bytes], number: int) -> float:
    value = fields.get(number)
    if not isinstance(value, bytes) or len(value) != struct.calcsize("<f"):
        raise garbled(f"its result file has no time {number}")
    time: float = struct.unpack("<f", value)[0]
    return time


def _count(fields: Mapping[int, int | bytes], number: int) -> int:
    value = fields.get(number)
    if not isinstance(value, int):
        raise garbled(f"its result file has no count {number}")
    return value


def _signed(value: int) -> int:
    """A 64-bit number: negative ones are written as their complement."""
    return value - 2**64 if value >= 2**63 else value
