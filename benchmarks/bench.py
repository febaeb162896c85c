"""A bench: trials of all jobs interleaved on one device, the run file rewritten whole after each.

Whatever ends the bench (a crash, ``kill -9``, a full disk, Ctrl-C), the run file holds every trial
that was finished, and ``resume`` goes on with the ones that are missing.
"""

import random
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

import msgspec

from vitdeploy import errors
from vitdeploy.benchmarks.trial import phone_trial, prepared_device
from vitdeploy.benchmarks.trial.case_trials import (
    CaseTrials,
    Job,
    add_trial,
    manifest_digest,
    refusal,
    result_of,
    run_of,
)
from vitdeploy.benchmarks.trial.prepared_device import PreparedDevice
from vitdeploy.benchmarks.trial.request import TrialRequest, TrialSlot
from vitdeploy.benchmarks.trial.resume import check_same
from vitdeploy.benchmarks.trial.turns_trial import DoesNotFit
from vitdeploy.devices import computer_facts, device_facts, inventory
from vitdeploy.errors import NoValidMeasurement, UsageError, VitdeployError
from vitdeploy.processes.connection import Connection
from vitdeploy.processes.progress import OnTrial, Progress, silent, silent_trial
from vitdeploy.results import record, stats
from vitdeploy.results.provenance import check_out, new_run
from vitdeploy.results.record import Case, Run

ORDER = "round-robin, shuffled anew each round"
PAIRED_ORDER = "interleaved pairs; random order, reversed in every second pair"
INPUTS = "seeded synthetic images, distinct within a trial's pool, rotated"

WARMUP_LIMIT_S = 3.0
"""Warm-up ends after this long even if it is not steady: the samples' own class then says so."""

TRIALS = 5
"""Fresh processes of a case, at least, where their number is not given. Source: contract, "Commands"."""

UNTIL = 0.05
"""Trials are added until the interval's ends are this share from the median. Source: contract, "Commands"."""

BUDGET_FACTOR = 3.0
"""Trials are added until all take this multiple of what the first ones took. Source: contract, "Commands"."""

MOST_ROUNDS = 100
"""Trials of a case, whatever the time budget."""

LOCK_WAIT_S = 5.0
"""A device that is busy for longer is reported as busy."""


class StopRule(Protocol):
    """Called after each pair of a duel, and at its end."""

    def __call__(self, run: Run, pairs: int, turn_s: float | None) -> record.Duel:
        """The record of the duel after so many pairs, taken in turns or not; ``stopped`` ends it."""
        ...


@dataclass(slots=True, kw_only=True)
class _OpenRun:
    """A run that goes on: its frame without results, its rows, and the file that holds both."""

    frame: Run
    rows: Sequence[CaseTrials]
    out: Path

    def request(self, slot: TrialSlot, protocol: record.Protocol) -> TrialRequest:
        """What is asked of the device for a slot."""
        job = self.rows[slot.place].job
        assert job.artifact is not None
        return TrialRequest(
            slot=slot,
            case=job.case,
            artifact=job.artifact,
            compute=job.compute,
            protocol=protocol,
            log=self.out.with_suffix(".log"),
        )

    def save(self) -> Run:
        run = run_of(self.frame, self.rows)
        record.save(run, self.out)
        return run


def make_protocol(
    *,
    suite: str | None = None,
    trials: int = TRIALS,
    min_time_s: float = 1.0,
    warmup_limit_s: float = WARMUP_LIMIT_S,
    seed: int = 0,
    sustained_s: float | None = None,
    order: str = ORDER,
    until: float | None = None,
    time_budget_s: float | None = None,
    priority: str | None = None,
) -> record.Protocol:
    """The protocol of a run, with the fields that are the same for all runs.

    Raises:
        UsageError: a number out of range.
    """
    if trials < 1:
        raise UsageError(f"--trials {trials} is less than 1", "Choose at least 1; an interval needs 3.")
    if priority not in (None, "realtime"):
        raise UsageError(f"--priority {priority!r} is not a valid value", "Use --priority realtime, or leave it out.")
    if until is not None and not 0 < until < 1:
        raise UsageError(f"--until {until:g} is not a share between 0 and 1", "Use --until 5% or 0.05.")
    for option, value in (
        ("--min-time", min_time_s),
        ("--sustained", sustained_s),
        ("--time-budget", time_budget_s),
    ):
        if value is not None and not 0 < value <= 24 * 3600:
            raise UsageError(f"{option} {value} is not a time in seconds", "Choose more than 0 and at most a day.")
    return record.Protocol(
        suite=suite,
        trials=trials,
        min_time_s=min_time_s,
        warmup_limit_s=warmup_limit_s,
        order=order,
        seed=seed,
        inputs=INPUTS,
        sustained_s=sustained_s,
        until=until,
        time_budget_s=time_budget_s,
        priority="realtime" if priority else None,
    )


def run(
    jobs: Sequence[Job],
    *,
    device: inventory.Device,
    protocol: record.Protocol,
    out: Path,
    resume: bool = False,
    stop_rule: StopRule | None = None,
    turn_s: float | None = None,
    connection: Connection | None = None,
    progress: Progress = silent,
    on_trial: OnTrial = silent_trial,
) -> Run:
    """Time all jobs and keep ``out`` up to date; `exit_code_of` gives the exit code of each row.

    ``connection`` is opened from ``device`` when none is given. One failing job does not stop the others.
    With ``stop_rule`` the jobs are the sides of a duel, A and B of each case: trials are pairs, the rule ends it. With
    ``turn_s`` the two processes of a pair take turns of that length, where memory holds both.

    Raises:
        UsageError: ``out`` exists and is not resumed, or belongs to another protocol, device or set of cases.
        UnreadableFile: ``out`` cannot be written, or is no run.
        DeviceError: the device is not reachable, busy, or another one than its file says.
    """
    check_out(out, resume=resume)
    if stop_rule is None:
        check_distinct(jobs)
    if device.link == "adb":
        protocol = phone_trial.as_run(protocol)
    with connection or inventory.connect(device) as link, link.lock(timeout_s=LOCK_WAIT_S):
        facts = device_facts.read_facts(device, link)
        for name, words in getattr(link, "power", {}).items():
            progress(f"{device.name}, {name.replace('_', ' ')}: {words}")
        if device.power_mode is not None:  # what is set now counts, not what was before the lock
            mode = facts.get("power_mode")
            jobs = [replace(job, case=msgspec.structs.replace(job.case, power_mode=mode)) for job in jobs]
        prepared = prepared_device.prepare(device, link, facts)
        earlier = record.load(out) if resume and out.exists() else None
        described = record.RunDevice(name=device.name, facts=device_facts.stable_facts(device, facts))
        frame = new_run(described, protocol, datetime.now(timezone.utc), host=computer_facts.read_facts())
        current = _OpenRun(frame=frame, rows=[_row(job, device, protocol) for job in jobs], out=out)
        if earlier is not None:
            _resume(current, earlier)
            progress(f"going on with {out}: {sum(len(row.trials) for row in current.rows)} trials are there")
        current.save()
        if stop_rule is not None:
            return _time_pairs(current, prepared, stop_rule, turn_s, progress, on_trial)
        return _time_all(current, prepared, progress, on_trial)


def _time_all(current: _OpenRun, prepared: PreparedDevice, progress: Progress, on_trial: OnTrial) -> Run:
    """Run the trials that are missing, and more of the cases whose interval is still wide."""
    slots = schedule(len(current.rows), current.frame.id, current.frame.protocol)
    for done, slot in enumerate(slots, 1):
        row = current.rows[slot.place]
        if row.error is None and slot.id not in row.trials:
            _run_trial(current, slot, prepared)
        on_trial(done, len(slots), row.job.case.name)
    if current.frame.protocol.until is not None:
        _add_trials(current, prepared, current.frame.protocol.until, progress, on_trial)
    return current.save()


def _add_trials(
    current: _OpenRun, prepared: PreparedDevice, until: float, progress: Progress, on_trial: OnTrial
) -> None:
    """Add rounds of the cases whose interval is wider than ``until``, while the time budget lasts."""
    protocol, rows = current.frame.protocol, current.rows
    first_s = _sampling_s(rows, range(protocol.trials))
    budget_s = protocol.time_budget_s or BUDGET_FACTOR * first_s
    for index in range(protocol.trials, MOST_ROUNDS):
        wide = [
            place
            for place, row in enumerate(rows)
            if row.error is None and not _within(result_of(row, protocol).summary, until)
        ]
        if not wide or _sampling_s(rows, range(MOST_ROUNDS)) >= budget_s:
            return
        if index == protocol.trials:
            progress(f"{len(wide)} of {len(rows)} cases are not within ±{until:.0%}: more trials of them")
        for slot in round_of(len(rows), current.frame.id, protocol, index):
            row = rows[slot.place]
            if slot.place in wide and slot.id not in row.trials:
                _run_trial(current, slot, prepared)
                on_trial(slot.order + 1, slot.order + len(wide), row.job.case.name)


def _within(summary: record.Summary | None, share: float) -> bool:
    """Whether the ends of the interval are at most this share from its middle."""
    return (
        summary is not None and summary.median_ci95_ms is not None and stats.half_share(summary.median_ci95_ms) <= share
    )


def _sampling_s(rows: Sequence[CaseTrials], rounds: Container[int]) -> float:
    """Time that the trials of these rounds took to load, warm up and sample."""
    trials = [trial for row in rows for trial in row.trials.values() if trial.order // len(rows) in rounds]
    return sum(t.load_ns + t.first_ns + t.warmup_ns + t.wall_ns for t in trials) / 1e9


def _time_pairs(
    current: _OpenRun,
    prepared: PreparedDevice,
    stop_rule: StopRule,
    turn_s: float | None,
    progress: Progress,
    on_trial: OnTrial,
) -> Run:
    """Run pairs of trials until all were run or the rule ends the duel."""
    planned = current.frame.protocol
    slots = schedule(len(current.rows), current.frame.id, planned)
    round_length = len(current.rows)
    for begin in range(0, len(slots), round_length):
        for start in range(begin, begin + round_length, 2):
            pair = slots[start : start + 2]
            if turn_s is not None and (words := _run_turns(current, pair, prepared, planned, turn_s)):
                progress(f"pairs of whole trials are run, without turns: {words}")
                turn_s = None
            if turn_s is None:
                for slot in pair:
                    if all(current.rows[other.place].error is None for other in pair):
                        _run_trial(current, slot, prepared, planned)
            on_trial(start + 2, len(slots), current.rows[pair[0].place].job.case.name)
        duel = stop_rule(run_of(current.frame, current.rows), slots[begin].index + 1, turn_s)
        # As many trials as there are pairs were planned after all, so that none counts as missing.
        protocol = msgspec.structs.replace(planned, trials=duel.pairs)
        current.frame = msgspec.structs.replace(current.frame, duel=duel, protocol=protocol)
        current.save()
        if duel.stopped:
            break
    return current.save()


def _row(job: Job, device: inventory.Device, protocol: record.Protocol) -> CaseTrials:
    error = job.error or refusal(job, device, protocol)
    return CaseTrials(job=job, error=error, manifest_sha256=manifest_digest(job.artifact))


def schedule(rows: int, run_id: str, protocol: record.Protocol) -> list[TrialSlot]:
    """All trials in the order they are run: every row once a round, in an order drawn anew for each.

    In a duel a round is a pair, and every second pair turns the order of the one before round (ABBA or BAAB), so
    that a steady drift cancels. The order depends on the protocol's seed and the number of rows alone, so a resumed
    run has the same. Source: randomized interleaving keeps a slow drift of the machine out of the differences,
    peers.md C.1.
    """
    return [slot for index in range(protocol.trials) for slot in round_of(rows, run_id, protocol, index)]


def round_of(rows: int, run_id: str, protocol: record.Protocol, index: int) -> list[TrialSlot]:
    """The ``index``-th trial of every row, in the order of `schedule`."""
    paired = protocol.order == PAIRED_ORDER
    drawn = index - index % 2 if paired else index
    generator = random.Random(f"{protocol.seed}:{drawn}")  # noqa: S311 (an order, not a secret)
    places = list(range(rows))
    if paired:  # the two sides of a case stay together
        cases = list(range(rows // 2))
        generator.shuffle(cases)
        places = [2 * case + side for case in cases for side in generator.sample((0, 1), 2)]
    else:
        generator.shuffle(places)
    if paired and index % 2:
        places.reverse()
    return [
        TrialSlot(
            place=place,
            index=index,
            order=rows * index + offset,
            id=f"{run_id}/{place}/{index}",
            pair=index if paired else None,
        )
        for offset, place in enumerate(places)
    ]


def exit_code_of(result: record.Result) -> int:
    """The exit code of a row: 0, its error's code, or 8 where a figure may not be quoted."""
    if result.status == "valid":
        return 0
    codes = {errors.reason_code(kind): kind.exit_code for kind in errors.error_classes()}
    if result.status == "failed":
        return next((codes[reason.code] for reason in result.reasons if reason.code in codes), 1)
    return (
        errors.worst_exit_code(codes.get(reason.code, NoValidMeasurement.exit_code) for reason in result.reasons) or 8
    )


def _run_trial(
    current: _OpenRun, slot: TrialSlot, prepared: PreparedDevice, protocol: record.Protocol | None = None
) -> None:
    """Run one trial, add it, or its error, to its row, and save."""
    row, protocol = current.rows[slot.place], protocol or current.frame.protocol
    try:
        add_trial(row, slot.id, prepared.run_trial(current.request(slot, protocol)), protocol)
    except VitdeployError as error:
        row.error = error
    current.save()


def _run_turns(
    current: _OpenRun, pair: Sequence[TrialSlot], prepared: PreparedDevice, protocol: record.Protocol, turn_s: float
) -> str | None:
    """Run one pair by turns, add its trials or errors to their rows, and save; says why where memory is too small."""
    rows = [current.rows[slot.place] for slot in pair]
    if any(row.error for row in rows):
        return None
    try:
        outcomes = prepared.run_turns([current.request(slot, protocol) for slot in pair], turn_s)
    except VitdeployError as error:
        for row in rows:
            row.error = error
        outcomes = []
    if isinstance(outcomes, DoesNotFit):
        return outcomes.words
    for row, slot, outcome in zip(rows, pair, outcomes, strict=False):
        if isinstance(outcome, VitdeployError):
            row.error = outcome
        elif outcome is not None:
            add_trial(row, slot.id, outcome, protocol)
    current.save()
    return None


def _resume(current: _OpenRun, earlier: Run) -> None:
    """Go on with an interrupted run: its trials are kept; what failed or was lost is tried again.

    Raises:
        UsageError: it was measured in another way, on another machine, or of other things.
    """
    jobs = [row.job for row in current.rows]
    check_same(
        earlier,
        protocol=current.frame.protocol,
        device=current.frame.device,
        cases=[job.case for job in jobs],
        digests=[job.artifact.manifest.sha256 if job.artifact else None for job in jobs],
        out=current.out,
    )
    current.frame = msgspec.structs.replace(earlier, results=())
    for row, result in zip(current.rows, earlier.results, strict=True):
        row.trials = {trial.id: trial for trial in result.trials}


def check_distinct(jobs: Sequence[Job]) -> None:
    """Refuse a case that is named twice.

    Raises:
        UsageError: it is.
    """
    by_case: dict[Case, Job] = {}
    for job in jobs:
        if job.case in by_case:
            raise UsageError(f"{job.case.name} is named twice", "Time two files of one case with `vitdeploy duel`.")
        by_case[job.case] = job
