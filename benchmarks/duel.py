"""Two artifacts against each other: interleaved pairs of fresh processes, ended early when the answer is clear.

The error is spent over the looks at the data by a plain union bound: whatever is claimed at a look is claimed at
that look's share of it, so all looks together err at most as often as was asked for, with no asymptotics. Two early
looks cost a fifth of the error; the verdict at the end has the rest.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vitdeploy.benchmarks import bench
from vitdeploy.benchmarks.trial.rows import Job
from vitdeploy.devices import inventory
from vitdeploy.errors import UsageError
from vitdeploy.processes.connection import Connection
from vitdeploy.processes.progress import OnTrial
from vitdeploy.results import record, verdict
from vitdeploy.results.record import Run

PAIRS = 10
"""Default. Source: peers.md C.5: ten for a claim at 2 %, twenty for one at 1 %."""

FEWEST_PAIRS = verdict.FEWEST_UNITS

EARLY_LOOKS = ((0.4, 0.1), (0.7, 0.1))
"""Share of the pairs after which the data are looked at, and the share of the error that the look may spend."""

_SIDES: tuple[record.Side, record.Side] = ("A", "B")


def looks(most_pairs: int) -> dict[int, float]:
    """Number of pairs → share of the error that a verdict after so many may spend; they sum to 1."""
    shares: dict[int, float] = {}
    for part, share in EARLY_LOOKS:
        pairs = math.ceil(part * most_pairs)
        if FEWEST_PAIRS < pairs < most_pairs and pairs not in shares:
            shares[pairs] = share
    shares[most_pairs] = 1 - sum(shares.values())
    return shares


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """How two sides are timed against each other."""

    names: tuple[str, str]
    """What side A, the base, and side B, the head, are called."""
    pairs: int = PAIRS
    """At most so many."""
    alpha: float
    """Chance of each kind of false claim, over all looks together."""
    max_slowdown: float
    """Changes up to this share do not matter."""
    min_time_s: float
    """Sampling time of a trial."""
    seed: int = 0
    """Of the order and the inputs."""
    early: bool = True
    """Look at the data before the end; without, all pairs are run."""


def run(
    jobs: Sequence[Job],
    request: Request,
    *,
    device: inventory.Device,
    out: Path,
    progress: Callable[[str], None],
    on_trial: OnTrial,
    connection: Connection | None = None,
) -> Run:
    """Time A and B in pairs until their difference is clear, or all pairs were run.

    Args:
        jobs: side A, the base, and side B, the head.
        request: how they are timed.
        device: where it is run.
        out: the run file.
        progress: told what happens.
        on_trial: called after each trial.
        connection: to the device; opened from ``device`` when none is given.

    Raises:
        UsageError: too few pairs to tell a spread, or ``out`` exists.
        DeviceError: the device is not reachable, busy, or another one than its file says.
    """
    most = request.pairs
    if most < FEWEST_PAIRS:
        raise UsageError(f"{most} pairs cannot tell a spread", f"Ask for at least {FEWEST_PAIRS}.")
    shares = looks(most) if request.early else {most: 1.0}
    bound, alpha = request.max_slowdown, request.alpha

    def enough(done: Run, pairs: int) -> record.Duel:
        share = shares.get(pairs)
        stopped = None
        by_side = {result.side: result for result in done.results}
        if any(result.status == "failed" for result in done.results):
            stopped = "a side failed"
        elif share is not None and pairs < most:
            found = verdict.versus(by_side["A"], by_side["B"], max_slowdown=bound, alpha=alpha * share)
            if found.verdict != "inconclusive":
                stopped = f"{found.verdict} was clear at a tenth of the error"
        return record.Duel(
            names=request.names,
            pairs=pairs,
            most_pairs=most,
            alpha=alpha * (share if share is not None else shares[most]),
            max_slowdown=bound,
            stopped=stopped,
        )

    return bench.run(
        [replace(job, side=side) for job, side in zip(jobs, _SIDES, strict=True)],
        device=device,
        protocol=bench.make_protocol(
            trials=most, min_time_s=request.min_time_s, seed=request.seed, order=bench.PAIRED_ORDER
        ),
        out=out,
        enough=enough,
        connection=connection,
        progress=progress,
        on_trial=on_trial,
    )
