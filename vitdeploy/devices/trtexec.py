"""trtexec: its command line, explicit for each version, and its transcript; its times are read by `trtexec_times`.

Its defaults changed their meaning between TensorRT 10 and 11 (data transfers, CUDA graphs, spinning), so none is relied
on. Its summary is never read. Standard library only. No trtexec was run by us yet.
"""

import re
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vitdeploy.errors import Impossible, ToolchainFailed

OLDEST, NEWEST = (8, 6), (11, 99)
"""Versions whose ``--exportTimes`` has the fields that are read.

Source: sampleReporting.cpp of TensorRT 8.6 to 11.1.
"""

EXPLICIT_SINCE = 11
"""From this version on transfers, graphs and spinning are switched off by flags of their own.

Source: docs.nvidia.com/deeplearning/tensorrt/11.0.0/api/migration/tensorrt-10x-to-11x.html
"""


LONGEST_LINE = 300
"""Characters of a line that is quoted; the log has it whole. Source: a choice; TensorRT's longest errors are paths."""

MOST_LINES = 20
"""Warnings, and errors, that are kept of a process. Source: a choice; a run keeps them with every trial."""

SIGNALED = 128
"""A shell's exit code for a program that a signal killed is this plus the signal. Source: POSIX, ``sh``, 2.8.2."""


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
class TrtexecOutput:
    """What a transcript says of itself."""

    version: tuple[int, int, int] | None
    passed: bool
    device: str | None
    compute_capability: str | None
    warnings: tuple[str, ...]
    errors: tuple[str, ...]
    last_line: str | None
    """Of stderr, where nothing is marked as an error: the loader's, the shell's."""


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


def read_transcript(stdout: str, stderr: str = "") -> TrtexecOutput:
    """What it printed, of any version: facts and its last word on stdout, warnings and errors on stderr.

    Source: samples/common/logging.h of TensorRT 8 to 11, ``severityOstream``: what is worse than ``[I]`` is on stderr.
    """
    lines, errors = stdout.splitlines(), stderr.splitlines()
    return TrtexecOutput(
        version=version_of(stdout),
        passed=any(line.startswith("&&&& PASSED") for line in (*lines, *errors)),
        device=_first_match(r"Selected Device: (.+)", lines),
        compute_capability=_first_match(r"Compute Capability: ([\d.]+)", lines),
        warnings=_marked_lines("W", (*lines, *errors)),
        errors=_marked_lines("EF", (*lines, *errors)),
        last_line=next((line for line in map(readable, reversed(errors)) if line), None),
    )


def refusal(output: TrtexecOutput, exit_code: int, log: Path) -> ToolchainFailed | None:
    """The error of a process that failed, by its exit code or by its own words; None for one that did not."""
    if output.passed and exit_code == 0:
        return None
    if output.errors:  # the first is the cause, the last is what could not be done for it
        reason = "; ".join(dict.fromkeys((output.errors[0], output.errors[-1])))
    else:
        reason = output.last_line or "it says no reason"
    if exit_code < 0 or exit_code > SIGNALED:
        number = -exit_code if exit_code < 0 else exit_code - SIGNALED
        reason = f"it was killed by {_signal_name(number)}; {reason}"
    return ToolchainFailed(f"trtexec failed with exit code {exit_code}: {reason}", f"Read its transcript in {log}.")


def readable(text: str) -> str:
    """Other programs' words in one line of bounded length, without control characters."""
    plain = re.sub(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(\x07|\x1b\\)?", "", text)  # colors and titles
    plain = " ".join("".join(character if character.isprintable() else " " for character in plain).split())
    return plain if len(plain) <= LONGEST_LINE else f"{plain[: LONGEST_LINE - 1]}…"


def _first_match(pattern: str, lines: Sequence[str]) -> str | None:
    matches = [re.search(pattern, line) for line in lines]
    return next((match[1].strip() for match in matches if match is not None), None)


def _marked_lines(marks: str, lines: Sequence[str]) -> tuple[str, ...]:
    """Lines of these severities, each once: the first ones, and how many more there are."""
    matches = [re.match(rf"\s*\[[\d/:-]+\] \[[{marks}]\] (.*)", line) for line in lines]
    words = list(dict.fromkeys(readable(match[1]) for match in matches if match is not None and match[1].strip()))
    more = len(words) - MOST_LINES
    return (*words[:MOST_LINES], *([f"{more} more in its transcript"] if more > 0 else []))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
