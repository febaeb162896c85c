"""A duel of two artifacts: interleaved pairs of fresh processes, ended early when the answer is clear.

The error is spent over the looks at the data by a plain union bound: a verdict at a look may err with that look's share
of it, so all looks together err at most as often as was set, without asymptotics. Two early
looks cost a fifth of the error; the verdict at the end has the rest.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import msgspec

from vitdeploy.benchmarks import bench
from vitdeploy.benchmarks.trial import order
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.devices import inventory
from vitdeploy.errors import UsageError
from vitdeploy.processes.connection import Connection
from vitdeploy.processes.progress import OnTrial, Progress
from vitdeploy.results import effects, record, verdict
from vitdeploy.results.record import Run

PAIRS: Mapping[record.By, int] = {"turns": 12, "trials": 10}
"""Default. Source: of whole trials, peers.md C.5: ten for a claim at 2 %, twenty for one at 1 %; of turns, six tell 3 %
on a quiet machine (benchmarks/studies/shared_machine.py), and as many again are left for a busy one."""

MIN_TIME_S: Mapping[record.By, float] = {"turns": 2.5, "trials": 1.0}
"""Sampling time of a side in each pair, by default."""

FEWEST_PAIRS = effects.FEWEST_UNITS

FEWEST_PAIRS_BY_TURNS = 6
"""Before so many pairs a duel by turns is not looked at: its processes are long. Source: issue "Shared machines"."""

EARLY_LOOKS = ((0.4, 0.1), (0.7, 0.1))
"""Share of the pairs after which the data are looked at, and the share of the error that the look may spend."""

_SIDES: tuple[record.Side, record.Side] = ("A", "B")


def looks(most_pairs: int, by: record.By = "trials") -> dict[int, float]:
    """Number of pairs → share of the error that a verdict after so many may spend; they sum to 1."""
    shares: dict[int, float] = {}
    for part, share in EARLY_LOOKS:
        pairs = math.ceil(part * most_pairs)
        if by == "turns":
            pairs = max(pairs, FEWEST_PAIRS_BY_TURNS)
        if FEWEST_PAIRS < pairs < most_pairs and pairs not in shares:
            shares[pairs] = share
    shares[most_pairs] = 1 - sum(shares.values())
    return shares


def run(
    jobs: Sequence[Job],
    planned: record.Duel,
    *,
    min_time_s: float,
    early: bool,
    priority: str | None = None,
    device: inventory.Device,
    out: Path,
    progress: Progress,
    on_trial: OnTrial,
    connection: Connection | None = None,
) -> Run:
    """Time side A, the base, and side B, the head, in pairs until their difference is clear or all pairs were run.

    Args:
        jobs: A and B of the first case, A and B of the second, ….
        planned: the duel with all its pairs; ``alpha`` is the probability of each kind of false claim, over all looks
            together.
        min_time_s: sampling time of a trial.
        priority: as of `bench.make_protocol`.
        early: look at the data before the end; False: all pairs are run.

    Raises:
        UsageError: too few pairs to estimate a spread, or ``out`` exists.
        DeviceError: the device is not reachable, busy, or another one than its file says.
    """
    if planned.pairs < FEWEST_PAIRS:
        raise UsageError(f"{planned.pairs} pairs are too few to estimate the spread", f"Use at least {FEWEST_PAIRS}.")
    for side in (0, 1):
        bench.check_distinct(jobs[side::2])
    protocol = bench.make_protocol(trials=planned.pairs, min_time_s=min_time_s, order=order.PAIRS, priority=priority)
    return bench.run(
        [replace(job, side=_SIDES[place % 2]) for place, job in enumerate(jobs)],
        device=device,
        protocol=protocol,
        out=out,
        stop_rule=_stop_rule(planned, early=early),
        turn_s=planned.turn_s,
        connection=connection,
        progress=progress,
        on_trial=on_trial,
    )


def _stop_rule(planned: record.Duel, *, early: bool) -> bench.StopRule:
    """The rule that ends a duel at a look whose verdict is not ``inconclusive``, or when a side failed."""
    most, alpha = planned.pairs, planned.alpha
    shares = looks(most, planned.by) if early else {most: 1.0}

    def duel_after(run: Run, pairs: int, turn_s: float | None) -> record.Duel:
        share = shares.get(pairs)
        stopped = None
        whole = [couple for couple in run.couples if all(result.status != "failed" for result in couple)]
        if not whole:
            stopped = "a side failed"
        elif share is not None and pairs < most:
            effects = verdict.of_couples(whole, max_slowdown=planned.max_slowdown, alpha=alpha * share)
            verdicts = list(dict.fromkeys(effect.verdict for effect in effects))
            if "inconclusive" not in verdicts:
                stopped = f"{' and '.join(verdicts)} with a tenth of the allowed error"
        look_alpha = alpha * (share if share is not None else shares[most])
        by: record.By = "trials" if turn_s is None else "turns"
        return msgspec.structs.replace(planned, pairs=pairs, alpha=look_alpha, stopped=stopped, by=by, turn_s=turn_s)

    return duel_after
