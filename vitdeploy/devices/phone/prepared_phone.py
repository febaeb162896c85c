"""A phone ready for work: the measuring tool and the inputs on it, and what is removed afterwards."""

import contextlib
import itertools
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitdeploy.artifacts.manifest import digest_of
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.catalog.spec import TensorSpec
from vitdeploy.devices import phone_cores
from vitdeploy.devices.inventory import Device
from vitdeploy.devices.phone import compiled_model_tool, tool_kind
from vitdeploy.devices.phone.benchmark_model import ToolRequest
from vitdeploy.devices.phone.compiled_model_tool import CompiledModelRequest
from vitdeploy.devices.phone.tool import find_tool
from vitdeploy.devices.phone.tool_kind import ToolKind
from vitdeploy.errors import DeviceError, Impossible, ToolchainFailed
from vitdeploy.processes.connection import CommandResult, Connection

REMOVE_LIMIT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedPhone:
    """A phone that is ready to be timed."""

    link: Connection
    tool: str
    """Where ``benchmark_model`` lies on it."""
    tool_sha256: str
    kind: ToolKind
    """Which of Google's two tools of this name it is."""
    big: tuple[int, ...]
    every: tuple[int, ...]
    """Its cores."""

    @property
    def runtime(self) -> str:
        """The tool in the words of a trial's facts."""
        which = "" if self.kind == "interpreter" else "CompiledModel "
        return f"{which}benchmark_model {self.tool_sha256[:12]}"

    def cores(self, threads: int) -> tuple[int, ...]:
        """The cores for so many threads: the big ones, as long as they suffice."""
        return self.big if threads <= len(self.big) else self.every


def prepare_phone(device: Device, link: Connection, facts: DeviceFacts) -> PreparedPhone:
    """Put the tool on the phone, and ask it which one it is.

    Raises:
        DeviceError: no tool is configured, or the phone was lost.
        Impossible: it is a version of which no figure can be had.
    """
    assert facts.big_mask is not None, "a phone tells its cores"
    assert facts.cores_logical is not None, "a phone tells its cores"
    path, sha256 = find_tool(device)
    big = tuple(core for core in range(64) if int(facts.big_mask, 16) >> core & 1)
    tool = link.push(path, sha256=sha256)
    usage = merged_streams(link.run(tool_kind.usage_command(tool), timeout_s=tool_kind.LIMIT_S))
    return PreparedPhone(
        link=link,
        tool=tool,
        tool_sha256=sha256,
        kind=tool_kind.kind_of(usage.stderr),
        big=big,
        every=tuple(range(facts.cores_logical)),
    )


def write_inputs(specs: Sequence[TensorSpec], feed: Mapping[str, NDArray[Any]], folder: Path) -> list[Path]:
    """One input, a file of raw bytes a tensor, in the graph's order."""
    paths = [folder / f"input{place}" for place in range(len(specs))]
    for spec, path in zip(specs, paths, strict=True):
        path.write_bytes(np.ascontiguousarray(feed[spec.name]).tobytes())
    return paths


@contextlib.contextmanager
def inputs_on(
    phone: PreparedPhone, graph: str, specs: Sequence[TensorSpec], files: Sequence[Path], *, threads: int
) -> Generator[ToolRequest]:
    """Put one input on the phone for the tool; it and the output are removed with the block.

    Raises:
        DeviceError: the phone was lost.
    """
    input_files: list[str] = []
    request = ToolRequest(
        tool=phone.tool,
        graph=graph,
        threads=threads,
        mask=phone_cores.core_mask(phone.cores(threads)),
        inputs=specs,
        input_files=input_files,
        output_file=f"{graph}.output",
    )
    try:
        for path in files:
            input_files.append(phone.link.push(path, sha256=digest_of(path)))  # noqa: PERF401 (the ones so far go)
        yield request
    finally:
        remove_files(phone.link, [*input_files, request.output_file])


@contextlib.contextmanager
def result_files_on(phone: PreparedPhone, graph: str, *, threads: int) -> Generator[CompiledModelRequest]:
    """A request to the CompiledModel tool; what it writes on the phone is removed with the block."""
    request = CompiledModelRequest(
        tool=phone.tool,
        graph=graph,
        threads=threads,
        mask=phone_cores.core_mask(phone.cores(threads)),
        result_file=f"{graph}.result",
        runtime_info_file=f"{graph}.runtime_info",
    )
    try:
        yield request
    finally:
        remove_files(phone.link, request.written)


def check_gives_outputs(phone: PreparedPhone) -> None:
    """What computes outputs on a phone needs the Interpreter tool.

    Raises:
        Impossible: it is the other one.
    """
    if phone.kind != "interpreter":
        raise Impossible(compiled_model_tool.NO_OUTPUTS, compiled_model_tool.NO_OUTPUTS_HINT)


def read_outputs(file: Path, specs: Sequence[TensorSpec]) -> list[NDArray[Any]]:
    """The graph's outputs, which lie one after the other in the one file that the tool writes.

    Raises:
        ToolchainFailed: the file has another size.
    """
    data = file.read_bytes()
    sizes = [int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize for spec in specs]
    if sum(sizes) != len(data):
        raise ToolchainFailed(
            f"benchmark_model wrote {len(data)} bytes of output, the graph's outputs have {sum(sizes)}",
            "Use a newer build.",
        )
    ends = list(itertools.accumulate(sizes))
    parts = [data[end - size : end] for end, size in zip(ends, sizes, strict=True)]
    return [np.frombuffer(part, spec.dtype).reshape(spec.shape) for part, spec in zip(parts, specs, strict=True)]


def merged_streams(result: CommandResult) -> CommandResult:
    """Both streams as one: versions differ in which one they use."""
    return CommandResult(exit_code=result.exit_code, stdout="", stderr=f"{result.stdout}\n{result.stderr}".strip())


def remove_files(link: Connection, paths: Sequence[str]) -> None:
    """Inputs and outputs of a trial are no good to the next one, and large."""
    try:
        link.run(["rm", "-f", *paths], timeout_s=REMOVE_LIMIT_S)
    except DeviceError:
        return  # `cache gc` finds them; what was lost is told by what raised first


TARGET = "tflite-fp32"
"""The only format that ``benchmark_model`` runs."""
