"""Google's Interpreter tool on a phone: the command that runs it, and a strict reader of what every version prints.

It is ``tflite/tools/benchmark:benchmark_model``: it takes input files and writes its outputs. It times ``Invoke`` only
and keeps no single times, so one process is one block, and the block's median is its figure.

Source: LiteRT, tflite/tools/benchmark/{benchmark_model,benchmark_tflite_model}.cc; the formats of older versions
are in ``peers.md``, D.3, and in tests/data/benchmark_model.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from vitdeploy.catalog.spec import TensorSpec
from vitdeploy.devices.phone import tool_output
from vitdeploy.devices.phone.tool_output import FEWEST_RUNS, MOST_S, NUMBER, ROUNDING, BenchmarkOutput
from vitdeploy.errors import ToolchainFailed

_HARMLESS = frozenset({"xnnpack_force_fp16"})
"""Flags that an older build may not know: what they switch off is then not there."""

_SUMMARY = re.compile(
    rf"^Inference timings in us: Init: (?P<init>{NUMBER}), First inference: (?P<first>{NUMBER}), "
    rf"Warmup \(avg\): (?P<warmup>{NUMBER}), Inference \(avg\): (?P<inference>{NUMBER})\s*$"
)
_OLD_SUMMARY = re.compile(
    rf"^Average inference timings in us: Warmup: (?P<warmup>{NUMBER}), Init: (?P<init>{NUMBER}), "
    rf"no stats: (?P<inference>{NUMBER})\s*$"
)
_MEMORY = re.compile(
    rf"^(?:Memory footprint delta from the start of the tool|Peak memory footprint) \(MB\): "
    rf"init=(?P<init>{NUMBER}) overall=(?P<overall>{NUMBER})\s*$"
)
_DELEGATE = re.compile(
    r"^Explicitly applied XNNPACK delegate, and the model graph will be (?P<how>completely|partially) executed by the "
    r"delegate(?: w/ (?P<kernels>[0-9]+) delegate kernels)?\.\s*$"
)
_NO_DELEGATE = re.compile(r"^Though XNNPACK delegate is explicitly applied, the model graph will not be")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRequest:
    """What the tool runs, and where on the phone everything lies. No path holds a ``:`` or a ``,``."""

    tool: str
    graph: str
    threads: int
    mask: str
    """The cores, as ``taskset`` takes them."""
    inputs: Sequence[TensorSpec]
    input_files: Sequence[str]
    """Their raw bytes, in the graph's order."""
    output_file: str


def timing_command(
    request: ToolRequest,
    *,
    min_time_s: float,
    runs: int = FEWEST_RUNS,
    warmup_s: float | None = None,
    profile: bool = False,
) -> list[str]:
    """The words that run one block of a graph with real inputs, and keep its outputs.

    ``profile`` prints the times of operators too, which takes time itself: never for a figure. fp16 arithmetic is
    off in words, whatever a build's default.
    """
    # The names are the manifest's; the tool warns where the file has others, and goes by the order.
    names = [re.sub(r"[^A-Za-z0-9_]", "_", spec.name) for spec in request.inputs]
    return [
        "taskset",
        request.mask,
        request.tool,
        f"--graph={request.graph}",
        f"--num_threads={request.threads}",
        "--use_xnnpack=true",
        "--xnnpack_force_fp16=false",
        f"--num_runs={runs}",
        f"--min_secs={min_time_s:g}",
        f"--max_secs={MOST_S:g}",
        "--warmup_runs=1",
        f"--warmup_min_secs={tool_output.WARMUP_S if warmup_s is None else warmup_s:g}",
        f"--input_layer={','.join(names)}",
        f"--input_layer_shape={':'.join(','.join(map(str, spec.shape)) for spec in request.inputs)}",
        f"--input_layer_value_files={','.join(map(':'.join, zip(names, request.input_files, strict=True)))}",
        f"--output_filepath={request.output_file}",
        *(["--enable_op_profiling=true"] if profile else []),
    ]


def parse_output(text: str) -> BenchmarkOutput:
    """Read what a process printed, on both of its streams together.

    Raises:
        ToolchainFailed: it is not what any version prints, contradicts itself, or an option was not understood.
    """
    lines = tool_output.lines_of(text)
    _check_flags(lines)
    matches = [_SUMMARY.match(line) or _OLD_SUMMARY.match(line) for line in lines]
    summaries = [(place, match) for place, match in enumerate(matches) if match]
    if len(summaries) != 1:
        raise tool_output.garbled(f"{len(summaries)} summaries, 1 expected")
    # After the summary a profile may follow, with count= lines of its own.
    ((place, summary),) = summaries
    warmup, block = tool_output.blocks_of(lines[:place])
    times_us = summary.groupdict()
    # Old versions cut the mean to whole microseconds.
    for which, key, timed in (("warm-up", "warmup", warmup), ("inference", "inference", block)):
        if abs(float(times_us[key]) - timed.avg_us) > max(1.0, ROUNDING * timed.avg_us):
            raise tool_output.garbled(
                f"the {which}'s mean is {times_us[key]} in the summary and {timed.avg_us:g} in its block"
            )
    memory = [match for line in lines if (match := _MEMORY.match(line))]
    return BenchmarkOutput(
        init_us=float(times_us["init"]),
        first_us=float(times_us.get("first", warmup.first_us)),
        warmup=warmup,
        block=block,
        memory_mb=float(memory[-1]["overall"]) if memory else None,
        delegate=_delegate(lines),
    )


def _check_flags(lines: Sequence[str]) -> None:
    needed = [f"--{name}" for name in sorted(tool_output.unknown_flags(lines) - _HARMLESS)]
    if needed:
        raise ToolchainFailed(
            f"this build of benchmark_model does not know {', '.join(needed)}",
            "Use a newer build of the Interpreter tool; docs/phones.md says where it is from.",
        )


def _delegate(lines: Sequence[str]) -> str | None:
    for line in lines:
        if match := _DELEGATE.match(line):
            kernels = match["kernels"] or "?"
            return "all" if match["how"] == "completely" else f"{kernels} part{'' if kernels == '1' else 's'}"
        if _NO_DELEGATE.match(line):
            return "nothing"
    return None
