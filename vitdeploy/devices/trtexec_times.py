"""trtexec's ``--exportTimes``: the duration of each inference, and how finely the file resolves it.

The moments of the file are absolute: milliseconds since the process began, held as float32 and printed with six
digits, so after 10 s they lie on a grid of 0.1 ms. Its durations (``h2dMs``, ``computeMs``, ``d2hMs``, ``latencyMs``)
are differences taken before printing, on the grid of float32 only. The durations are read, and what the moments still
tell is the mean gap between the stages. Standard library only.

Source: sampleReporting.h and .cpp of TensorRT 8.6 to 11.1 (``InferenceTrace`` has float fields; ``exportJSONTrace``
prints them by a stream of the default precision).
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from vitdeploy.errors import ToolchainFailed

MOMENTS = ("startH2dMs", "endH2dMs", "startComputeMs", "endComputeMs", "startD2hMs", "endD2hMs")
DURATIONS = ("h2dMs", "computeMs", "d2hMs", "latencyMs")

MANTISSA_BITS = 23
"""Of float32. Source: IEEE 754."""
PRINTED_DIGITS = 6
"""Source: the default precision of a C++ stream."""

FINEST_SHARE = 0.001
"""A grid of this share of the latency is fine enough: a twentieth of the slowdown that is tolerated by default."""

FIRST_BLOCK_S = 16.384
"""Up to here the grid of float32 is below 1 µs; the first block ends there, while the latency is still unknown."""

NS_PER_MS = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class TrtexecTimes:
    """Each inference, in nanoseconds, in the order run; warm-up is excluded by the tool."""

    round_trip_ns: tuple[int, ...]
    """From the start of the copy to the GPU to the end of the copy back: the boundary host-to-host."""
    h2d_ns: tuple[int, ...]
    compute_ns: tuple[int, ...]
    d2h_ns: tuple[int, ...]
    resolution_ns: int
    """The samples lie on a grid of about this width, or are known only this well."""
    gap_ns: int | None
    """Mean time between the stages that was added to each latency; None: the moments do not resolve it, or the round
    trips come from the moments themselves.
    """


@dataclass(frozen=True, slots=True)
class _Row:
    """One inference as the file has it, in milliseconds."""

    moments: tuple[float, ...]
    durations: tuple[float, ...] | None


def read_times(text: str) -> TrtexecTimes:
    """What ``--exportTimes`` wrote.

    Raises:
        ToolchainFailed: it is no such file, empty, out of order, or too coarse for what was timed.
    """
    try:
        document: Any = json.loads(text)
    except ValueError as error:
        raise ToolchainFailed(f"trtexec wrote no JSON: {error}", "Read its transcript.") from error
    entries = cast("list[Any]", document) if isinstance(document, list) else []
    if not entries:
        raise ToolchainFailed("trtexec wrote no times", "Raise --min-time: its warm-up is excluded.")
    rows = [_row(entry, place) for place, entry in enumerate(entries)]
    times = _from_durations(rows) if all(row.durations for row in rows) else _from_moments(rows)
    if min(*times.round_trip_ns, *times.compute_ns) < 1:
        raise ToolchainFailed(
            f"trtexec's times do not resolve this model: one is 0, on a grid of {times.resolution_ns / NS_PER_MS:g} ms",
            "Lower --min-time: its times become coarser the longer it runs.",
        )
    return times


def joined(blocks: Sequence[TrtexecTimes]) -> TrtexecTimes:
    """Blocks that were timed one after another, as one; it resolves as well as the coarsest of them."""
    gaps = [block.gap_ns for block in blocks if block.gap_ns is not None]
    return TrtexecTimes(
        round_trip_ns=tuple(value for block in blocks for value in block.round_trip_ns),
        h2d_ns=tuple(value for block in blocks for value in block.h2d_ns),
        compute_ns=tuple(value for block in blocks for value in block.compute_ns),
        d2h_ns=tuple(value for block in blocks for value in block.d2h_ns),
        resolution_ns=max(block.resolution_ns for block in blocks),
        gap_ns=round(math.fsum(gaps) / len(gaps)) if len(gaps) == len(blocks) else None,
    )


def longest_run_s(latency_ns: float) -> float:
    """How long a process of trtexec may run, its warm-up included, until float32 is too coarse for this latency."""
    grid_ms = FINEST_SHARE * latency_ns / NS_PER_MS
    return max(FIRST_BLOCK_S, math.ldexp(1.0, math.frexp(grid_ms)[1] + MANTISSA_BITS) / 1000)


def float32_grid_ms(moment_ms: float) -> float:
    """Distance of neighboring float32 numbers there."""
    return math.ldexp(1.0, math.frexp(moment_ms)[1] - 1 - MANTISSA_BITS) if moment_ms > 0 else 0.0


def printed_grid_ms(value_ms: float) -> float:
    """Distance of neighboring numbers of six digits there."""
    return 10.0 ** (math.floor(math.log10(value_ms)) + 1 - PRINTED_DIGITS) if value_ms > 0 else 0.0


def _row(entry: Any, place: int) -> _Row:
    try:
        moments = tuple(float(entry[name]) for name in MOMENTS)
        durations = tuple(float(entry[name]) for name in DURATIONS) if {*DURATIONS} <= entry.keys() else None
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ToolchainFailed(
            f"trtexec's time {place} has not the fields that are read: {error!r}", "Report it."
        ) from error
    if not all(math.isfinite(value) and value >= 0 for value in (*moments, *(durations or ()))):
        raise ToolchainFailed(f"trtexec's time {place} is no time: {entry}", "Report it: its format changed.")
    if list(moments) != sorted(moments):
        raise ToolchainFailed(
            f"trtexec's times are not increasing at {place}: {entry}", "Report it: its format changed."
        )
    return _Row(moments, durations)


def _from_durations(rows: Sequence[_Row]) -> TrtexecTimes:
    """The file's own durations; the mean gap between stages is added to each round trip where it is resolved."""
    h2d, compute, d2h, latency = zip(*(row.durations or () for row in rows), strict=True)
    typical = sorted(latency)[len(latency) // 2]
    resolution = max(float32_grid_ms(max(row.moments[-1] for row in rows)), printed_grid_ms(max(latency)))
    gap, error = _mean_gap_ms(rows)
    resolved = error <= max(resolution, FINEST_SHARE * typical)
    added = gap if resolved else 0.0
    return TrtexecTimes(
        round_trip_ns=_in_ns([value + added for value in latency]),
        h2d_ns=_in_ns(h2d),
        compute_ns=_in_ns(compute),
        d2h_ns=_in_ns(d2h),
        resolution_ns=max(1, round(NS_PER_MS * max(resolution, 2 * error if resolved else 0.0))),
        gap_ns=round(NS_PER_MS * gap) if resolved else None,
    )


def _mean_gap_ms(rows: Sequence[_Row]) -> tuple[float, float]:
    """Mean time of a round trip outside its three stages, and its standard error by the rounding of the moments.

    Only rows whose moments are printed most finely count: in a long file those are the first ones.
    """
    finest = min(printed_grid_ms(row.moments[-1]) for row in rows)
    sharp = [row for row in rows if printed_grid_ms(row.moments[-1]) <= finest]
    gaps = [row.moments[-1] - row.moments[0] - math.fsum((row.durations or ())[:3]) for row in sharp]
    # The difference of two values that are rounded to a grid g has the variance g²/6.
    return max(0.0, math.fsum(gaps) / len(gaps)), finest / math.sqrt(6 * len(gaps))


def _from_moments(rows: Sequence[_Row]) -> TrtexecTimes:
    """Differences of moments, for files without durations: on the grid of the last moment as it is printed."""
    columns = list(zip(*(row.moments for row in rows), strict=True))

    def between(begin: int, end: int) -> tuple[int, ...]:
        return _in_ns([last - first for first, last in zip(columns[begin], columns[end], strict=True)])

    grid = printed_grid_ms(max(columns[5]))
    return TrtexecTimes(
        round_trip_ns=between(0, 5),
        h2d_ns=between(0, 1),
        compute_ns=between(2, 3),
        d2h_ns=between(4, 5),
        resolution_ns=max(1, round(NS_PER_MS * grid)),
        gap_ns=None,
    )


def _in_ns(values_ms: Sequence[float]) -> tuple[int, ...]:
    return tuple(round(NS_PER_MS * value) for value in values_ms)
