"""Comparison of two runs, or of the two sides of a duel: the verdict on every case, and the exit code.

Environments that differ are refused by field. Source of the exit codes: contract, "Exit codes".
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vitdeploy.catalog.fact_table import DeviceFacts, TrialFacts
from vitdeploy.errors import Inconclusive, NothingToCompare, Regression, UnreadableFile
from vitdeploy.results import consistency, verdict
from vitdeploy.results.record import Attribution, Run
from vitdeploy.results.verdict import Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """Every case's verdict, and what a reader must know of how it came about."""

    base: str
    head: str
    """The sides in words."""
    historical: bool
    max_slowdown: float
    alpha: float
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...]
    attribution: Attribution | None = None

    def exit_code(self, *, strict: bool) -> int:
        """10 where a case is slower, 11 where no case can be compared, with ``strict`` 12 where one is inconclusive."""
        verdicts = {comparison.verdict for comparison in self.comparisons}
        if "slower" in verdicts:
            return Regression.exit_code
        if not any(comparison.ratio for comparison in self.comparisons):
            return NothingToCompare.exit_code
        if strict and verdicts & {"inconclusive", "unpaired"}:
            return Inconclusive.exit_code
        return 0


def runs(
    base: Run, head: Run, *, max_slowdown: float, alpha: float, drift: float = 0.0, notes: Sequence[str] = ()
) -> Compared:
    """The comparison of two stored runs; ``drift`` is the machine's, from its calibration.

    Raises:
        NothingToCompare: they were measured on unlike devices, by unlike software or protocols, and all fields are
            named; or one of them is a duel.
        UnreadableFile: one run is a copy of the other under another id.
    """
    for run in (base, head):
        if run.duel is not None:
            raise NothingToCompare(f"run {run.id} is a duel", "Name it alone: its sides are compared with each other.")
    refuse_itself(base, head)
    for run in (base, head):
        if not DeviceFacts(run.device.facts).known():
            raise NothingToCompare(
                f"run {run.id} says nothing of its machine, so it may have been measured on any other",
                "Measure again.",
            )
    if fields := differences(head, base):
        before, after = _deciding(base), _deciding(head)
        values = ", ".join(f"{name} ({before.get(name)!r} → {after.get(name)!r})" for name in fields)
        raise NothingToCompare(
            f"runs {base.id} and {head.id} were measured under other conditions: {values}",
            "Measure both in one session with `vitdeploy duel`.",
        )
    if (trial := consistency.shared_trial(head, base)) is not None:
        raise UnreadableFile(
            f"run {head.id} holds samples of run {base.id}, at `{trial}`: one is a copy of the other",
            "Take the runs as they were measured, or measure again.",
        )
    noted = DeviceFacts(base.device.facts).noted(DeviceFacts(head.device.facts))
    comparisons = verdict.compare(
        base.results,
        head.results,
        max_slowdown=max_slowdown,
        alpha=alpha,
        historical=True,
        drift=drift,
        clocked=has_own_clock(head),
        yardsticks=shared_yardsticks(head, base),
    )
    return Compared(
        base=f"run {base.id}",
        head=f"run {head.id}",
        comparisons=tuple(comparisons),
        max_slowdown=max_slowdown,
        alpha=alpha,
        historical=True,
        notes=(
            "Historical: the sides were measured at different times, so drift of the machine is not controlled.",
            *([f"Differs without deciding: {'; '.join(noted)}."] if noted else ()),
            *_yardstick_notes(base, head, comparisons),
            *notes,
        ),
    )


def shared_yardsticks(run: Run, other: Run) -> frozenset[str]:
    """Targets whose cases took turns with the same yardstick in both runs."""
    mine, theirs = _networks(run), _networks(other)
    return frozenset(target for target, sha256 in mine.items() if theirs.get(target) == sha256)


def _networks(run: Run) -> Mapping[str, str]:
    """Target → digest of its yardstick."""
    return run.yardstick.networks if run.yardstick is not None else {}


def _yardstick_notes(base: Run, head: Run, comparisons: Sequence[Comparison]) -> Iterator[str]:
    """How many cases the yardstick decided, and where it is another one."""
    by_ratio = sum(compared.by == "yardstick" for compared in comparisons)
    if by_ratio:
        yield (
            f"{by_ratio} of {len(comparisons)} cases are compared as ratios to the yardstick, the small network that "
            "took turns with them in both runs: what the machine did to both cancels."
        )
    mine, theirs = _networks(head), _networks(base)
    if other := sorted(target for target in mine.keys() & theirs.keys() if mine[target] != theirs[target]):
        yield f"The runs have unlike yardsticks of {' and '.join(other)}: times are compared."


def refuse_itself(base: Run, head: Run) -> None:
    """Refuse a comparison of a run with itself, under whatever names its files are.

    Raises:
        NothingToCompare: both have one id.
    """
    if base.id == head.id:
        raise NothingToCompare(
            f"both sides are the run {base.id}: a run compared with itself shows nothing",
            "Measure again, or time a file against itself with `vitdeploy calibrate`.",
        )


def duel(run: Run, *, max_slowdown: float | None = None, alpha: float | None = None) -> Compared:
    """The comparison of a duel's sides: B is the head. Its own error and bound hold unless others are given.

    Raises:
        NothingToCompare: the run is no duel.
    """
    if run.duel is None or not run.couples:
        raise NothingToCompare(f"run {run.id} is no duel", "Name the run to compare it with before it.")
    bound = run.duel.max_slowdown if max_slowdown is None else max_slowdown
    level = run.duel.alpha if alpha is None else alpha
    planned = f"{run.duel.pairs} of at most {run.duel.most_pairs} pairs"
    return Compared(
        base=f"A: {run.duel.names[0]}",
        head=f"B: {run.duel.names[1]}",
        comparisons=tuple(verdict.of_couples(run.couples, max_slowdown=bound, alpha=level, clocked=has_own_clock(run))),
        max_slowdown=bound,
        alpha=level,
        historical=False,
        notes=(f"{planned} were run{_turns(run)}" + (f": {run.duel.stopped}." if run.duel.stopped else "."),),
        attribution=run.duel.attribution,
    )


def _turns(run: Run) -> str:
    """How the processes of a duel took turns, in words; empty where they did not."""
    if run.duel is None or run.duel.turn_s is None:
        return ""
    turns = [trial.turns for result in run.results for trial in result.trials if trial.turns is not None]
    first, counted = (sum(len(turn.first_ns) for turn in turns), sum(sum(turn.counts) for turn in turns))
    share = f", {first / (first + counted):.0%} of all" if turns else ""
    return f" by turns of {1000 * run.duel.turn_s:g} ms (the first inference of each{share}, is no sample)"


def differences(run: Run, other: Run) -> list[str]:
    """Names of what differs between the two runs' devices and protocols and makes their figures incomparable."""
    mine, theirs = _protocol(run), _protocol(other)
    facts = DeviceFacts(run.device.facts).differing(DeviceFacts(other.device.facts))
    return sorted({*facts, *(name for name in mine if mine[name] != theirs[name])})


def has_own_clock(run: Run) -> bool:
    """Whether the telemetry shows the clock of what computes: phones and boards, not a workstation's mean of cores."""
    return DeviceFacts(run.device.facts).link not in (None, "local")


def _deciding(run: Run) -> dict[str, Any]:
    return {**DeviceFacts(run.device.facts).deciding(), **_protocol(run)}


def _protocol(run: Run) -> dict[str, Any]:
    return {
        "device": run.device.name,
        "min_time_s": run.protocol.min_time_s,
        "inputs": run.protocol.inputs,
        # A phone's tool with inputs of its own: the protocol of a sweep, which is that of all devices, does not say it.
        "own_inputs": any(
            TrialFacts(trial.facts).outputs_not_compared is not None
            for result in run.results
            for trial in result.trials
        ),
        "sustained_s": run.protocol.sustained_s,
        "priority": run.protocol.priority,
        # Threads that stop spinning between turns, and caches that others have used, make other figures.
        "by": "turns" if any(group.turn_s is not None for group in run.groups) else "trials",
    }
