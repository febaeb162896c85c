"""Which converter's file to keep: those that are right are timed in turns, and the fastest stays."""

import contextlib
import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitdeploy.errors import ToolchainFailed
from vitdeploy.runtimes.session import Session

PAIRS = 12
"""Rounds of a duel; each starts with the file that ended the last one, so that a drift meets both alike."""

VISIT_S = 0.05
"""Sampling time of one visit; at least one inference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvertedFile:
    """One converter's file."""

    converter: str
    file: Path
    said: str | None = None
    """Why it is out; None when it is right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FasterFile:
    """The file that is kept, and the duel in one line for the manifest."""

    winner: ConvertedFile
    words: str


def choose(contenders: Sequence[ConvertedFile], medians_ms: Mapping[str, float], threads: int) -> FasterFile:
    """The fastest of those that are right.

    Args:
        medians_ms: of those, by converter.

    Raises:
        ToolchainFailed: none is right.
    """
    right = [one for one in contenders if one.said is None]
    if not right:
        reasons = "; ".join(f"{one.converter} {one.said}" for one in contenders)
        raise ToolchainFailed(f"no converter made a right file: {reasons}", "Read the logs that are named.")
    winner = min(right, key=lambda one: medians_ms[one.converter])
    told = ", ".join(
        f"{one.converter} {one.said or f'{medians_ms[one.converter]:.3g} ms'}"
        for one in sorted(contenders, key=lambda one: one is not winner)
    )
    return FasterFile(winner=winner, words=f"{told} (medians of {PAIRS} interleaved rounds, {threads} threads)")


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
    return {name: statistics.median(found) for name, found in visits.items()}


def _visit(session: Session) -> float:
    samples: list[int] = []
    while not samples or sum(samples) < VISIT_S * 1e9:
        begin = time.perf_counter_ns()
        session.run()
        session.wait()
        samples.append(time.perf_counter_ns() - begin)
    return statistics.median(samples) / 1e6
