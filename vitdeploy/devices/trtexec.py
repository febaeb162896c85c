"""trtexec: its command line, explicit for each version, its raw times (never its summary) and its transcript.

Its defaults changed their meaning between TensorRT 10 and 11 (data transfers, CUDA graphs, spinning), so none is relied
on. Its "Latency" is a sum of three durations and leaves the gaps between them out; `--exportTimes` has the moments,
from which `TrtexecTimes` gives the round trip too. Standard library only. No trtexec was run by us yet.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from vitdeploy.errors import Impossible, ToolchainFailed

OLDEST, NEWEST = (8, 6), (11, 99)
"""Versions whose ``--exportTimes`` has the fields that are read.

Source: sampleReporting.cpp of TensorRT 8.6 to 11.1.
"""

EXPLICIT_SINCE = 11
"""From this version on transfers, graphs and spinning are switched off by flags of their own.

Source: docs.nvidia.com/deeplearning/tensorrt/11.0.0/api/migration/tensorrt-10x-to-11x.html
"""

FIELDS = ("startH2dMs", "endH2dMs", "startComputeMs", "endComputeMs", "startD2hMs", "endD2hMs")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrtexecRequest:
    """What is to be timed."""

    engine: str
    times: str
    """Path of the JSON that it writes."""
    warmup_s: float
    duration_s: float
    graph: bool = False
    spin: bool = True
    """Poll instead of sleeping while waiting."""
    transfers: bool = True
    """Copies to and from the GPU belong to it."""
    streams: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrtexecTimes:
    """Each inference, in nanoseconds, in the order run; warm-up is excluded by the tool."""

    round_trip_ns: tuple[int, ...]
    """From the start of the copy to the GPU to the end of the copy back: the boundary host-to-host."""
    h2d_ns: tuple[int, ...]
    compute_ns: tuple[int, ...]
    d2h_ns: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrtexecOutput:
    """What a transcript says of itself."""

    version: tuple[int, int, int] | None
    passed: bool
    device: str | None
    compute_capability: str | None
    warnings: tuple[str, ...]
    errors: tuple[str, ...]


def version_of(text: str) -> tuple[int, int, int] | None:
    """The version in a transcript's first line, ``[TensorRT v100300]``; 8.x wrote four digits, ``v8601``.

    Source: ``NV_TENSORRT_VERSION`` is major·1000 + minor·100 + patch up to 8, and from 10 on major·10000 instead.
    """
    match = re.search(r"\[TensorRT v(\d+)\]", text)
    if match is None:
        return None
    number = int(match[1])
    return (
        number // (10_000 if number >= 100_000 else 1000),
        number // 100 % (100 if number >= 100_000 else 10),
        number % 100,
    )


def timing_command(request: TrtexecRequest, version: tuple[int, int, int], program: str = "trtexec") -> list[str]:
    """The words that time an engine by this version.

    Raises:
        Impossible: the flags of this version are not known.
    """
    if not OLDEST <= version[:2] <= NEWEST:
        raise Impossible(
            f"trtexec {'.'.join(map(str, version))} is not between {OLDEST[0]}.{OLDEST[1]} and {NEWEST[0]}",
            "Use the Python package of TensorRT instead.",
        )
    words = [
        program,
        f"--loadEngine={request.engine}",
        f"--warmUp={round(1000 * request.warmup_s)}",
        f"--duration={max(1, round(request.duration_s))}",
        "--iterations=10",
        "--avgRuns=10",
        "--percentile=50,90,95,99",
        f"--exportTimes={request.times}",
    ]
    # One query is otherwise queued ahead of the one that runs, and its copy hides behind it: no round trip any more.
    words += ["--exposeDMA"] if request.streams == 1 and request.transfers else []
    explicit = version[0] >= EXPLICIT_SINCE
    words += ["--useCudaGraph"] if request.graph else ["--noCudaGraph"] if explicit else []
    words += ["--useSpinWait"] if request.spin else ["--noSpinWait"] if explicit else []
    if not request.transfers:
        words += ["--noDataTransfers"]
    elif explicit:
        words += ["--includeDataTransfers"]
    return [*words, f"--infStreams={request.streams}"]


def read_times(text: str) -> TrtexecTimes:
    """What ``--exportTimes`` wrote.

    Raises:
        ToolchainFailed: it is no such file, empty, or its moments are out of order.
    """
    try:
        document: Any = json.loads(text)
    except ValueError as error:
        raise ToolchainFailed(f"trtexec wrote no JSON: {error}", "Read its transcript.") from error
    rows = cast("list[Any]", document) if isinstance(document, list) else []
    if not rows:
        raise ToolchainFailed("trtexec wrote no times", "Raise --min-time: its warm-up is excluded.")
    columns: tuple[list[int], ...] = ([], [], [], [])
    for place, row in enumerate(rows):
        h2d, uploaded, begun, ended, d2h, done = _moments(row, place)
        for column, value in zip(columns, (done - h2d, uploaded - h2d, ended - begun, done - d2h), strict=True):
            column.append(value)
    return TrtexecTimes(
        round_trip_ns=tuple(columns[0]),
        h2d_ns=tuple(columns[1]),
        compute_ns=tuple(columns[2]),
        d2h_ns=tuple(columns[3]),
    )


def read_transcript(transcript: str) -> TrtexecOutput:
    """What a transcript says of itself, of any version."""
    lines = transcript.splitlines()
    return TrtexecOutput(
        version=version_of(transcript),
        passed=any(line.startswith("&&&& PASSED") for line in lines),
        device=_first_match(r"Selected Device: (.+)", lines),
        compute_capability=_first_match(r"Compute Capability: ([\d.]+)", lines),
        warnings=tuple(_marked_lines("W", lines)),
        errors=tuple(_marked_lines("E", lines)),
    )


def refusal(output: TrtexecOutput) -> ToolchainFailed | None:
    """The error of a transcript that did not pass; None for one that did."""
    if output.passed:
        return None
    return ToolchainFailed(
        f"trtexec failed: {output.errors[-1] if output.errors else 'it says no reason'}",
        "Read its transcript in the log.",
    )


def _moments(row: Any, place: int) -> list[int]:
    try:
        moments_ns = [round(1e6 * float(row[name])) for name in FIELDS]
    except (KeyError, TypeError, ValueError) as error:
        raise ToolchainFailed(
            f"trtexec's time {place} has not the fields that are read: {error!r}", "Report it."
        ) from error
    if moments_ns != sorted(moments_ns):
        raise ToolchainFailed(f"trtexec's times are not increasing at {place}: {row}", "Report it: its format changed.")
    return moments_ns


def _first_match(pattern: str, lines: Sequence[str]) -> str | None:
    matches = [re.search(pattern, line) for line in lines]
    return next((match[1].strip() for match in matches if match is not None), None)


def _marked_lines(mark: str, lines: Sequence[str]) -> list[str]:
    matches = [re.match(rf"\[[\d/:-]+\] \[{mark}\] (.*)", line) for line in lines]
    return [match[1] for match in matches if match is not None and match[1].strip()]
