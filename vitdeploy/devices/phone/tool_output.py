"""Output that both of Google's tools share: blocks of inferences in ``count=`` lines, and flags that a build ignored.

Times are in microseconds, with six digits and an exponent beyond a million.
Source: LiteRT, tflite/tools/benchmark/benchmark_model.cc, which is the base of both.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from vitdeploy.errors import Impossible, ToolchainFailed

WARMUP_S = 0.5
"""Warm-up of a block, seconds. Source: the tools' own default."""

FEWEST_RUNS = 10
"""Inferences of a block, at least."""

MOST_S = 600.0
"""A tool ends a block after this long, whatever was asked."""

NUMBER = r"[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?"
ROUNDING = 1e-4
"""Six digits of one number, of another one the whole: they may differ by this share."""

_PREFIX = re.compile(
    r"^(?:(?:INFO|WARN|WARNING|ERROR|VERBOSE): |[IWEV] tflite\s*: )?(?:\[[^\]\s]+\.(?:cc|h):[0-9]+\] ?)?"
)
_BLOCK = re.compile(
    rf"^count=(?P<count>[0-9]+)(?: first=(?P<first>{NUMBER}))?(?: curr=(?P<curr>{NUMBER})(?P<same>\(all same\))?)?"
    rf"(?: min=(?P<min>{NUMBER}) max=(?P<max>{NUMBER}) avg=(?P<avg>{NUMBER}) std=(?P<std>{NUMBER}))?"
    rf"(?: p5=(?P<p5>{NUMBER}) median=(?P<median>{NUMBER}) p95=(?P<p95>{NUMBER}))?\s*$"
)
_UNKNOWN_FLAGS = re.compile(r"Unconsumed cmdline flags:(?P<flags>.*)$")


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
    """What XNNPACK took: ``all``, ``12 parts``, ``58 of 60 nodes in 2 partitions``, ``nothing``; None: not said."""


def lines_of(text: str) -> list[str]:
    """The lines of a process without what a log puts before them."""
    return [_PREFIX.sub("", line.strip()) for line in text.replace("\r", "").splitlines()]


def blocks_of(lines: Sequence[str]) -> tuple[InferenceBlock, InferenceBlock]:
    """The warm-up and the inferences.

    Raises:
        ToolchainFailed: there are not two blocks, or one contradicts itself.
    """
    blocks = [line for line in lines if line.startswith("count=")]
    if len(blocks) != 2:
        raise garbled(f"{len(blocks)} blocks before the summary, 2 expected: warm-up and inferences")
    warmup, block = (_block(line) for line in blocks)
    return warmup, block


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


def unknown_flags(lines: Sequence[str]) -> set[str]:
    """Names of the flags that the build warned about, and ignored."""
    unknown = [match["flags"] for line in lines if (match := _UNKNOWN_FLAGS.search(line))]
    return {word.lstrip("-").partition("=")[0] for flags in unknown for word in flags.split()}


def garbled(what: str) -> ToolchainFailed:
    """The error for output that no version prints."""
    return ToolchainFailed(f"benchmark_model's output cannot be read: {what}", "Read the log beside the run file.")


def _block(line: str) -> InferenceBlock:
    match = _BLOCK.match(line)
    if match is None or int(match["count"]) < 1 or match["curr"] is None:
        raise garbled(f"no block: {line[:120]!r}")
    count, current = int(match["count"]), float(match["curr"])
    median = float(match["median"]) if match["median"] is not None else None
    if match["avg"] is None:  # all values are the same one
        if count > 1 and not match["same"]:
            raise garbled(f"a block of {count} inferences without a mean: {line[:120]!r}")
        if median not in (None, current):
            raise garbled(f"a median that is not the only value: {line[:120]!r}")
        first = avg = smallest = largest = median = current
    else:
        first, avg = float(match["first"] or "nan"), float(match["avg"])
        smallest, largest = float(match["min"]), float(match["max"])
    slack = 1 + ROUNDING
    values = (first, avg, avg if median is None else median)
    if not all(math.isfinite(value) and smallest / slack <= value <= largest * slack for value in values):
        raise garbled(f"values outside their own range: {line[:120]!r}")
    if smallest <= 0:
        raise garbled(f"times that are not positive: {line[:120]!r}")
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
