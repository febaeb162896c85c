"""A run that goes on: its rows so far, the file that holds them, and trials alone or by turns that add to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from vitdeploy.benchmarks.trial.case_trials import CaseTrials, add_trial, run_of
from vitdeploy.benchmarks.trial.prepared_device import PreparedDevice
from vitdeploy.benchmarks.trial.request import TrialRequest, TrialSlot
from vitdeploy.benchmarks.trial.turns_trial import DoesNotFit, Outcome
from vitdeploy.benchmarks.yardstick.files import Yardsticks
from vitdeploy.errors import VitdeployError
from vitdeploy.results import record
from vitdeploy.results.record import Run


@dataclass(slots=True, kw_only=True)
class OpenRun:
    """A run that goes on: its frame without results, its rows, the file that holds both, and the device."""

    frame: Run
    rows: Sequence[CaseTrials]
    out: Path
    device: PreparedDevice
    protocol: record.Protocol
    """As planned: a duel that ends early has fewer trials in its frame."""
    yardsticks: Yardsticks | None = None
    """They take turns with the rows that are run alone; None: no row has one."""

    def row(self, slot: TrialSlot) -> CaseTrials:
        """The row that a slot is of."""
        return self.rows[slot.place]

    def request(self, slot: TrialSlot) -> TrialRequest:
        """What is asked of the device for a slot."""
        job = self.row(slot).job
        assert job.artifact is not None
        return TrialRequest(
            slot=slot,
            case=job.case,
            artifact=job.artifact,
            compute=job.compute,
            protocol=self.protocol,
            log=self.out.with_suffix(".log"),
        )

    def save(self) -> Run:
        """Write the run file; returns what it holds."""
        if self.yardsticks is not None:
            self.frame = msgspec.structs.replace(self.frame, yardstick=self.yardsticks.recorded)
        run = run_of(self.frame, self.rows)
        record.save(run, self.out)
        return run


def run_trial(current: OpenRun, slot: TrialSlot) -> None:
    """Run one whole trial, add it, or its error, to its row, and save."""
    row = current.row(slot)
    try:
        add_trial(row, slot.id, current.device.run_trial(current.request(slot), current.yardsticks), current.protocol)
    except VitdeployError as error:
        row.error = error
    current.save()


def run_pair(current: OpenRun, pair: Sequence[TrialSlot], turn_s: float) -> str | None:
    """Run both sides of a duel by turns: an error ends it. Says why where memory is too small, and nothing was run."""
    if any(current.row(slot).error for slot in pair):
        return None
    outcomes = _outcomes(current, pair, turn_s)
    if isinstance(outcomes, DoesNotFit):
        return outcomes.words
    for slot, outcome in zip(pair, outcomes, strict=True):
        if isinstance(outcome, VitdeployError):
            current.row(slot).error = outcome
    _add(current, pair, outcomes)
    return None


def run_group(current: OpenRun, slots: Sequence[TrialSlot], turn_s: float) -> str | None:
    """Run the trials of a group by turns; says why where they cannot, and nothing was added then.

    A row that fails beside the others is run alone: where it fails again it has that error, and the others begin anew
    without it; where it does not, the group does not take turns. The last row that is left is run alone.
    """
    while len(able := [slot for slot in slots if current.row(slot).error is None]) > 1:
        outcomes = _outcomes(current, able, turn_s)
        if isinstance(outcomes, DoesNotFit):
            return outcomes.words
        failed = [
            (slot, outcome) for slot, outcome in zip(able, outcomes, strict=True) if isinstance(outcome, VitdeployError)
        ]
        if not failed:
            _add(current, able, outcomes)
            return None
        for slot, error in failed:
            run_trial(current, slot)
            if current.row(slot).error is None:
                return f"{current.row(slot).job.case.name} fails beside the others, and not alone: {error.message}"
    for slot in able:
        run_trial(current, slot)
    return None


def _outcomes(current: OpenRun, slots: Sequence[TrialSlot], turn_s: float) -> Sequence[Outcome] | DoesNotFit:
    """What became of each trial; an error of the driver itself is that of all."""
    try:
        return current.device.run_turns([current.request(slot) for slot in slots], turn_s)
    except VitdeployError as error:
        return [error] * len(slots)


def _add(current: OpenRun, slots: Sequence[TrialSlot], outcomes: Sequence[Outcome]) -> None:
    for slot, outcome in zip(slots, outcomes, strict=True):
        if outcome is not None and not isinstance(outcome, VitdeployError):
            add_trial(current.row(slot), slot.id, outcome, current.protocol)
    current.save()
