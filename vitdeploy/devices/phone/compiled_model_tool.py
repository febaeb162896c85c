"""LiteRT's CompiledModel tool on a phone: the command that runs it, and a strict reader of what it prints and writes.

It is ``litert/tools:benchmark_model``, of which Google publishes a binary a version. It fills the inputs with random
numbers of its own and writes no output, so nothing can be compared on the device. One process is one block, as of the
Interpreter tool. Its threads are set; its arithmetic on the CPU is the file's own: no flag changes it.

Source: LiteRT v2.1.6 and v2.2.0, litert/tools/benchmark_litert_model.{h,cc}.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from vitdeploy.devices.phone import result_files, tool_output
from vitdeploy.devices.phone.tool_output import FEWEST_RUNS, MOST_S, ROUNDING, BenchmarkOutput, InferenceBlock
from vitdeploy.errors import ToolchainFailed

NO_OUTPUTS = "LiteRT's CompiledModel benchmark_model takes no input and gives no output"
NO_OUTPUTS_HINT = "Name the Interpreter tool as `benchmark_model`; docs/phones.md says where it is from."

_HEAD = "========== BENCHMARK RESULTS =========="
"""The two blocks stand before it; a profile may follow, with ``count=`` of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CompiledModelRequest:
    """What the tool runs, and where on the phone everything lies."""

    tool: str
    graph: str
    threads: int
    mask: str
    """The cores, as ``taskset`` takes them."""
    result_file: str
    runtime_info_file: str

    @property
    def written(self) -> tuple[str, str]:
        """The files that the tool writes."""
        return self.result_file, self.runtime_info_file


def timing_command(request: CompiledModelRequest, *, min_time_s: float, profile: bool = False) -> list[str]:
    """The words that run one block of a graph on the CPU.

    ``profile`` prints the times of operators too, which takes time itself: never for a figure.
    """
    return [
        "taskset",
        request.mask,
        request.tool,
        f"--graph={request.graph}",
        f"--num_threads={request.threads}",
        "--use_cpu=true",
        "--use_gpu=false",
        "--use_npu=false",
        f"--num_runs={FEWEST_RUNS}",
        f"--min_secs={min_time_s:g}",
        f"--max_secs={MOST_S:g}",
        "--warmup_runs=1",
        f"--warmup_min_secs={tool_output.WARMUP_S:g}",
        f"--result_file_path={request.result_file}",
        f"--model_runtime_info_output_file={request.runtime_info_file}",
        *(["--use_profiler=true"] if profile else []),
    ]


def parse_output(text: str, result: bytes, runtime_info: bytes) -> BenchmarkOutput:
    """Read what a process printed, on both of its streams together, and what it wrote.

    Args:
        text: what it printed.
        result: its file of figures; they must be those that it printed.
        runtime_info: its file of the graph as it ran.

    Raises:
        ToolchainFailed: it is not what any version prints, contradicts itself, or an option was not understood.
    """
    lines = tool_output.lines_of(text)
    if unknown := sorted(tool_output.unknown_flags(lines)):
        raise ToolchainFailed(
            f"this build of LiteRT's CompiledModel benchmark_model does not know --{', --'.join(unknown)}",
            "Use version 2.1.3 or later; docs/phones.md says where it is from.",
        )
    warmup, block = tool_output.blocks_of(_before_results(lines))
    figures = result_files.read_figures(result)
    _check(warmup, figures.warmup_runs, figures.warmup_avg_ms, None, "warm-up")
    _check(block, figures.runs, figures.avg_ms, figures.median_ms, "inference")
    return BenchmarkOutput(
        init_us=1000 * figures.init_ms,
        first_us=1000 * figures.first_ms,
        warmup=warmup,
        block=block,
        memory_mb=None if figures.memory_kb is None else max(0, figures.memory_kb) / 1024,
        delegate=result_files.read_delegation(runtime_info).words,
    )


def _before_results(lines: Sequence[str]) -> Sequence[str]:
    places = [place for place, line in enumerate(lines) if line == _HEAD]
    if len(places) > 1:
        raise tool_output.garbled(f"{len(places)} summaries, 1 expected")
    return lines[: places[0]] if places else lines


def _check(block: InferenceBlock, count: int, avg_ms: float, median_ms: float | None, which: str) -> None:
    """The printed block and the file are of the same process.

    Raises:
        ToolchainFailed: they are not.
    """
    if count != block.count:
        raise tool_output.garbled(f"its result file has {count} {which} runs, its output {block.count}")
    pairs = [("mean", avg_ms, block.avg_us), ("median", median_ms, block.median_us)]
    for name, written_ms, printed_us in pairs:
        if written_ms is None or printed_us is None:
            continue
        if not abs(1000 * written_ms - printed_us) <= max(1.0, ROUNDING * printed_us):
            raise tool_output.garbled(
                f"the {which}'s {name} is {1000 * written_ms:g} µs in its result file and {printed_us:g} in its output"
            )
