"""The fastest of the converters' files: those that passed parity are timed in turns."""

import contextlib
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitdeploy.errors import ToolchainFailed
from vitdeploy.exporters.tflite.convert import SingleConverter
from vitdeploy.runtimes.session import Session

PAIRS = 12
"""Rounds of a duel; each starts with the file that ended the last one, so that a drift meets both alike."""

VISIT_S = 0.05
"""Sampling time of one visit; at least one inference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedFile:
    """One converter's file."""

    converter: SingleConverter
    file: Path
    rejection: str | None = None
    """Why it cannot be chosen; None: it passed parity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FasterFile:
    """The file that is kept, and the comparison in one line for the manifest."""

    winner: ConvertedFile
    words: str


def choose(files: Sequence[ConvertedFile], medians_ms: Mapping[str, float], threads: int) -> FasterFile:
    """The fastest of the files that passed parity.

    Args:
        medians_ms: of those, by converter.

    Raises:
        ToolchainFailed: none passed.
    """
    passed = [file for file in files if file.rejection is None]
    if not passed:
        reasons = "; ".join(f"{file.converter} {file.rejection}" for file in files)
        raise ToolchainFailed(f"no converter's file passed parity: {reasons}", "Read the logs that are named.")
    winner = min(passed, key=lambda file: medians_ms[file.converter])
    results = ", ".join(
        f"{file.converter} {file.rejection or f'{medians_ms[file.converter]:.3g} ms'}"
        for file in sorted(files, key=lambda file: file is not winner)
    )
    return FasterFile(winner=winner, words=f"{results} (medians of {PAIRS} interleaved rounds, {threads} threads)")


def timed(sessions: Mapping[str, Session], feeds: Mapping[str, Any]) -> dict[str, float]:
    """Median milliseconds of one inference of each session, visited in turns; the sessions are closed."""
    with contextlib.ExitStack() as opened:
        for session in sessions.values():
            opened.enter_context(session)
            session.put(feeds)
            session.run()
        visits: dict[str, list[float]] = {name: [] for name in sessions}
        for turn in range(PAIRS):
            for name in list(sessions) if turn % 2 else reversed(list(sessions)):
                visits[name].append(_visit(sessions[name]))
    return {name: statistics.median(medians) for name, medians in visits.items()}


def _visit(session: Session) -> float:
    samples: list[int] = []
    while not samples or sum(samples) < VISIT_S * 1e9:
        begin = time.perf_counter_ns()
        session.run()
        session.wait()
        samples.append(time.perf_counter_ns() - begin)
    return statistics.median(samples) / 1e6
