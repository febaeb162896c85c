"""Two artifacts against each other: interleaved pairs of fresh processes, ended early when the answer is clear.

The error is spent over the looks at the data by a plain union bound: whatever is claimed at a look is claimed at
that look's share of it, so all looks together err at most as often as was asked for, with no asymptotics. Two early
looks cost a fifth of the error; the verdict at the end has the rest.
"""

import math
from collections.abc import Callable
from pathlib import Path

from vitdeploy import record, verdict
from vitdeploy.benchmarks import bench
from vitdeploy.benchmarks.bench import Job, OnTrial
from vitdeploy.devices import inventory
from vitdeploy.devices.connection import Connection
from vitdeploy.errors import UsageError
from vitdeploy.record import Run

PAIRS = 10
"""Default. Source: peers.md C.5: ten for a claim at 2 %, twenty for one at 1 %."""

FEWEST_PAIRS = verdict.FEWEST_UNITS

EARLY_LOOKS = ((0.4, 0.1), (0.7, 0.1))
"""Share of the pairs after which the data are looked at, and the share of the error that the look may spend."""


def looks(most_pairs: int) -> dict[int, float]:
    """Number of pairs → share of the error that a verdict after so many may spend; they sum to 1."""
    shares: dict[int, float] = {}
    for part, share in EARLY_LOOKS:
        pairs = math.ceil(part * most_pairs)
        if FEWEST_PAIRS < pairs < most_pairs and pairs not in shares:
            shares[pairs] = share
    shares[most_pairs] = 1 - sum(shares.values())
    return shares


def run(
    a: Job,
    b: Job,
    *,
    names: tuple[str, str],
    pairs: int,
    alpha: float,
    max_slowdown: float,
    device: inventory.Device,
    out: Path,
    min_time_s: float,
    seed: int = 0,
    progress: Callable[[str], None],
    on_trial: OnTrial,
    early: bool = True,
    connection: Connection | None = None,
) -> Run:
    """Time A and B in pairs until their difference is clear, or ``pairs`` were run.

    Args:
        a: side A, the base.
        b: side B, the head.
        names: what the sides are called.
        pairs: at most so many.
        alpha: chance of each kind of false claim, over all looks together.
        max_slowdown: changes up to this share do not matter.
        device: where it is run.
        out: the run file.
        min_time_s: sampling time of a trial, seconds.
        seed: of the order and the inputs.
        progress: told what happens.
        on_trial: called after each trial.
        early: look before the end; without, all pairs are run.
        connection: to the device; opened from ``device`` when none is given.

    Raises:
        UsageError: too few pairs to tell a spread, or ``out`` exists.
        DeviceError: the device is not reachable, busy, or another one than its file says.
    """
    if pairs < FEWEST_PAIRS:
        raise UsageError(f"{pairs} pairs cannot tell a spread", f"Ask for at least {FEWEST_PAIRS}.")
    most = pairs
    shares = looks(pairs) if early else {pairs: 1.0}

    def enough(done: Run, pairs: int) -> record.Duel:
        share = shares.get(pairs)
        stopped = None
        by_side = {result.side: result for result in done.results}
        if any(result.status == "failed" for result in done.results):
            stopped = "a side failed"
        elif share is not None and pairs < most:
            found = verdict.versus(by_side["A"], by_side["B"], max_slowdown=max_slowdown, alpha=alpha * share)
            if found.verdict != "inconclusive":
                stopped = f"{found.verdict} was clear at a tenth of the error"
        return record.Duel(
            names=names,
            pairs=pairs,
            most_pairs=most,
            alpha=alpha * (share if share is not None else shares[most]),
            max_slowdown=max_slowdown,
            stopped=stopped,
        )

    return bench.run(
        [_side(a, "A"), _side(b, "B")],
        device=device,
        protocol=bench.make_protocol(trials=most, min_time_s=min_time_s, seed=seed, order=bench.PAIRED_ORDER),
        out=out,
        enough=enough,
        connection=connection,
        progress=progress,
        on_trial=on_trial,
    )


def _side(job: Job, side: record.Side) -> Job:
    return Job(case=job.case, artifact=job.artifact, error=job.error, side=side)
