"""Google's ``benchmark_model`` on a phone: the command that runs it, and a strict reader of what every version prints.

It times ``Invoke`` only and keeps no single times, so one process is one block, and the block's median is its
figure. Its times are in microseconds, with six digits and an exponent beyond a million.

Source: LiteRT, tflite/tools/benchmark/{benchmark_model,benchmark_tflite_model}.cc; the formats of older versions
are in ``peers.md``, D.3, and in tests/data/benchmark_model.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from vitdeploy.catalog.spec import TensorSpec
from vitdeploy.errors import Impossible, ToolchainFailed

WARMUP_S = 0.5
"""Warm-up of a block, seconds. Source: the tool's own default."""

FEWEST_RUNS = 10
"""Inferences of a block, at least."""

MOST_S = 600.0
"""The tool ends a block after this long, whatever was asked."""

_HARMLESS = frozenset({"xnnpack_force_fp16"})
"""Flags that an older build may not know: what they switch off is then not there."""

_PREFIX = re.compile(r"^(?:(?:INFO|WARN|WARNING|ERROR|VERBOSE): |[IWEV] tflite\s*: )?")
_NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?"
_BLOCK = re.compile(
    rf"^count=(?P<count>[0-9]+)(?: first=(?P<first>{_NUMBER}))?(?: curr=(?P<curr>{_NUMBER})(?P<same>\(all same\))?)?"
    rf"(?: min=(?P<min>{_NUMBER}) max=(?P<max>{_NUMBER}) avg=(?P<avg>{_NUMBER}) std=(?P<std>{_NUMBER}))?"
    rf"(?: p5=(?P<p5>{_NUMBER}) median=(?P<median>{_NUMBER}) p95=(?P<p95>{_NUMBER}))?\s*$"
)
_SUMMARY = re.compile(
    rf"^Inference timings in us: Init: (?P<init>{_NUMBER}), First inference: (?P<first>{_NUMBER}), "
    rf"Warmup \(avg\): (?P<warmup>{_NUMBER}), Inference \(avg\): (?P<inference>{_NUMBER})\s*$"
)
_OLD_SUMMARY = re.compile(
    rf"^Average inference timings in us: Warmup: (?P<warmup>{_NUMBER}), Init: (?P<init>{_NUMBER}), "
    rf"no stats: (?P<inference>{_NUMBER})\s*$"
)
_MEMORY = re.compile(
    rf"^(?:Memory footprint delta from the start of the tool|Peak memory footprint) \(MB\): "
    rf"init=(?P<init>{_NUMBER}) overall=(?P<overall>{_NUMBER})\s*$"
)
_DELEGATE = re.compile(
    r"^Explicitly applied XNNPACK delegate, and the model graph will be (?P<how>completely|partially) executed by the "
    r"delegate(?: w/ (?P<kernels>[0-9]+) delegate kernels)?\.\s*$"
)
_NO_DELEGATE = re.compile(r"^Though XNNPACK delegate is explicitly applied, the model graph will not be")
_UNKNOWN_FLAGS = re.compile(r"Unconsumed cmdline flags:(?P<flags>.*)$")
_ROUNDING = 1e-4
"""Six digits of one number, of another one the whole: they may differ by this share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceBlock:
    """One ``count=`` line: times of a number of inferences, in microseconds."""

    count: int
    first_us: float
    avg_us: float
    min_us: float
    max_us: float
    median_us: float | None
    """None: this build prints no percentiles."""
    step_us: float = 1.0
    """In which the median is told: the clock's microsecond, or the last of the six digits that were printed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkOutput:
    """What one process said."""

    init_us: float
    first_us: float
    """The very first inference, during warm-up."""
    warmup: InferenceBlock
    block: InferenceBlock
    memory_mb: float | None
    """Growth of the process from its start to its end, MiB."""
    delegate: str | None
    """What XNNPACK took: ``all``, ``12 parts``, ``nothing``; None: not said."""


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
    warmup_s: float = WARMUP_S,
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
        f"--warmup_min_secs={warmup_s:g}",
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
    lines = [_PREFIX.sub("", line.strip()) for line in text.replace("\r", "").splitlines()]
    _check_flags(lines)
    matches = [_SUMMARY.match(line) or _OLD_SUMMARY.match(line) for line in lines]
    summaries = [(place, match) for place, match in enumerate(matches) if match]
    if len(summaries) != 1:
        raise _garbled(f"{len(summaries)} summaries, 1 expected")
    # After the summary a profile may follow, with count= lines of its own.
    ((place, summary),) = summaries
    blocks = [line for line in lines[:place] if line.startswith("count=")]
    if len(blocks) != 2:
        raise _garbled(f"{len(blocks)} blocks before the summary, 2 expected: warm-up and inferences")
    warmup, block = (_block(line) for line in blocks)
    times_us = summary.groupdict()
    # Old versions cut the mean to whole microseconds.
    for which, key, timed in (("warm-up", "warmup", warmup), ("inference", "inference", block)):
        if abs(float(times_us[key]) - timed.avg_us) > max(1.0, _ROUNDING * timed.avg_us):
            raise _garbled(f"the {which}'s mean is {times_us[key]} in the summary and {timed.avg_us:g} in its block")
    memory = [match for line in lines if (match := _MEMORY.match(line))]
    return BenchmarkOutput(
        init_us=float(times_us["init"]),
        first_us=float(times_us.get("first", warmup.first_us)),
        warmup=warmup,
        block=block,
        memory_mb=float(memory[-1]["overall"]) if memory else None,
        delegate=_delegate(lines),
    )


def median_us(output: BenchmarkOutput) -> float:
    """The median of the block.

    Raises:
        Impossible: this build prints none; its mean is no substitute: one descheduling can double it.
    """
    if output.block.median_us is None:
        raise Impossible(
            "this build of benchmark_model prints no median, only a mean, which single outliers move",
            "Use a newer build, whose `count=` line has `median=`.",
        )
    return output.block.median_us


def _block(line: str) -> InferenceBlock:
    match = _BLOCK.match(line)
    if match is None or int(match["count"]) < 1 or match["curr"] is None:
        raise _garbled(f"no block: {line[:120]!r}")
    count, current = int(match["count"]), float(match["curr"])
    median = float(match["median"]) if match["median"] is not None else None
    if match["avg"] is None:  # all values are the same one
        if count > 1 and not match["same"]:
            raise _garbled(f"a block of {count} inferences without a mean: {line[:120]!r}")
        if median not in (None, current):
            raise _garbled(f"a median that is not the only value: {line[:120]!r}")
        first = avg = smallest = largest = median = current
    else:
        first, avg = float(match["first"] or "nan"), float(match["avg"])
        smallest, largest = float(match["min"]), float(match["max"])
    slack = 1 + _ROUNDING
    values = (first, avg, avg if median is None else median)
    if not all(math.isfinite(value) and smallest / slack <= value <= largest * slack for value in values):
        raise _garbled(f"values outside their own range: {line[:120]!r}")
    if smallest <= 0:
        raise _garbled(f"times that are not positive: {line[:120]!r}")
    return InferenceBlock(
        count=count,
        first_us=first,
        avg_us=avg,
        min_us=smallest,
        max_us=largest,
        median_us=median,
        step_us=_step_us(match["median"] or match["curr"]),
    )


def _step_us(printed: str) -> float:
    """The step of a printed time. Source: `profiling::time::NowMicros`, and C++ streams, which print six digits."""
    if "e" not in printed:
        return 1.0
    return max(1.0, 10.0 ** (math.floor(math.log10(float(printed))) - 5))


def _check_flags(lines: Sequence[str]) -> None:
    unknown = [match["flags"] for line in lines if (match := _UNKNOWN_FLAGS.search(line))]
    names = {word.lstrip("-").partition("=")[0] for flags in unknown for word in flags.split()}
    needed = [f"--{name}" for name in sorted(names - _HARMLESS)]
    if needed:
        raise ToolchainFailed(f"this build of benchmark_model does not know {', '.join(needed)}", "Use a newer build.")


def _delegate(lines: Sequence[str]) -> str | None:
    for line in lines:
        if match := _DELEGATE.match(line):
            kernels = match["kernels"] or "?"
            return "all" if match["how"] == "completely" else f"{kernels} part{'' if kernels == '1' else 's'}"
        if _NO_DELEGATE.match(line):
            return "nothing"
    return None


def _garbled(what: str) -> ToolchainFailed:
    return ToolchainFailed(f"benchmark_model's output cannot be read: {what}", "Read the log beside the run file.")
