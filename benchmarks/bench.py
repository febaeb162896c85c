"""A bench: trials of all jobs interleaved on one device, the run file rewritten whole after each.

Whatever ends the bench (a crash, ``kill -9``, a full disk, Ctrl-C), the run file holds every trial
that was finished, and ``resume`` goes on with the ones that are missing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

import msgspec

from vitdeploy import errors
from vitdeploy.benchmarks.trial import hub_trial, open_run, order, phone_trial, prepared_device
from vitdeploy.benchmarks.trial.case_trials import CaseTrials, Job, manifest_digest, refusal, result_of, run_of
from vitdeploy.benchmarks.trial.open_run import OpenRun
from vitdeploy.benchmarks.trial.request import TrialSlot
from vitdeploy.benchmarks.trial.resume import check_same
from vitdeploy.benchmarks.yardstick.files import Yardsticks
from vitdeploy.devices import computer_facts, device_facts, inventory
from vitdeploy.errors import NoValidMeasurement, UsageError
from vitdeploy.processes.connection import Connection
from vitdeploy.processes.progress import OnTrial, Progress, silent, silent_trial
from vitdeploy.results import record, stats
from vitdeploy.results.provenance import check_out, new_run
from vitdeploy.results.record import Case, Run

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


MOST_TRIALS = 1_000_000
"""Of a case. Source: a choice; at a second each they take eleven days."""

SHORTEST_S = 1e-6
"""A run with a shorter time could not be read again. Source: `quantities.SamplingTime`."""


def make_protocol(
    *,
    suite: str | None = None,
    trials: int = TRIALS,
    min_time_s: float = 1.0,
    warmup_limit_s: float = WARMUP_LIMIT_S,
    seed: int = 0,
    sustained_s: float | None = None,
    order: str = order.ROUNDS,
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
    if trials > MOST_TRIALS:
        raise UsageError(f"--trials {trials} is beyond {MOST_TRIALS}", "Choose fewer, or a longer --min-time.")
    if priority not in (None, "realtime"):
        raise UsageError(f"--priority {priority!r} is not a valid value", "Use --priority realtime, or leave it out.")
    if until is not None and not 0 < until < 1:
        raise UsageError(f"--until {until:g} is not a share between 0 and 1", "Use --until 5% or 0.05.")
    for option, value in (
        ("--min-time", min_time_s),
        ("--sustained", sustained_s),
        ("--time-budget", time_budget_s),
    ):
        if value is not None and not SHORTEST_S <= value <= 24 * 3600:
            raise UsageError(
                f"{option} {value} is not a time in seconds", "Choose at least a microsecond and at most a day."
            )
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
    groups: Sequence[record.Group] = (),
    yardsticks: Yardsticks | None = None,
    connection: Connection | None = None,
    progress: Progress = silent,
    on_trial: OnTrial = silent_trial,
) -> Run:
    """Time all jobs and keep ``out`` up to date; `exit_code_of` gives the exit code of each row.

    ``connection`` is opened from ``device`` when none is given. One failing job does not stop the others.
    ``groups`` are jobs whose ratios are wanted: their processes of a round take turns where memory holds them together.
    With ``stop_rule`` the jobs are the sides of a duel, A and B of each case; each such pair is a group that takes
    turns of ``turn_s``, and the rule ends it. ``yardsticks``, of which none was planned yet, take turns with the cases
    that are alone.

    Raises:
        UsageError: ``out`` exists and is not resumed, or belongs to another protocol, device or set of cases.
        UnreadableFile: ``out`` cannot be written, or is no run.
        DeviceError: the device is not reachable, busy, or another one than its file says.
    """
    check_out(out, resume=resume)
    if stop_rule is None:
        check_distinct(jobs)
    with connection or inventory.connect(device) as link, link.lock(timeout_s=LOCK_WAIT_S):
        facts = device_facts.read_facts(device, link)
        for name, words in getattr(link, "power", {}).items():
            progress(f"{device.name}, {name.replace('_', ' ')}: {words}")
        if device.power_mode is not None:  # what is set now counts, not what was before the lock
            mode = facts.get("power_mode")
            jobs = [replace(job, case=msgspec.structs.replace(job.case, power_mode=mode)) for job in jobs]
        prepared = prepared_device.prepare(device, link, facts)
        if prepared.phone is not None:
            protocol = phone_trial.as_run(protocol, prepared.phone)
        if device.link == "hub":
            protocol = hub_trial.as_run(protocol)
        earlier = record.load(out) if resume and out.exists() else None
        described = record.RunDevice(name=device.name, facts=device_facts.stable_facts(device, facts))
        frame = new_run(described, protocol, datetime.now(timezone.utc), host=computer_facts.read_facts())
        if stop_rule is None:
            frame = msgspec.structs.replace(frame, groups=tuple(groups))
        rows = [_row(job, device, protocol) for job in jobs]
        current = OpenRun(frame=frame, rows=rows, out=out, device=prepared, protocol=protocol)
        if earlier is not None:
            _resume(current, earlier)
            progress(f"going on with {out}: {sum(len(row.trials) for row in current.rows)} trials are there")
        if yardsticks is not None:
            _plan_yardsticks(current, yardsticks, earlier, progress)
        current.save()
        if stop_rule is not None:
            return _time_pairs(current, stop_rule, turn_s, progress, on_trial)
        return _time_all(current, progress, on_trial)


def _plan_yardsticks(current: OpenRun, yardsticks: Yardsticks, earlier: Run | None, progress: Progress) -> None:
    """Make the yardsticks of the rows that can be tried.

    Raises:
        UsageError: the run that is resumed has another one.
    """
    current.yardsticks = yardsticks
    sustained = current.protocol.sustained_s is not None
    for row in current.rows:
        case = row.job.case
        if row.error is None:
            obstacle = prepared_device.no_turns(current.device.device, targets=[case.target], streams=case.streams)
            yardsticks.plan(case, row.job.compute, "a sustained load has no pauses" if sustained else obstacle)
    if earlier is not None:
        yardsticks.follow(earlier.yardstick)
    for target, why in yardsticks.refused.items():
        progress(f"{target} is timed without a yardstick: {why}")


def _time_all(current: OpenRun, progress: Progress, on_trial: OnTrial) -> Run:
    """Run the trials that are missing, and more of the cases whose interval is still wide."""
    protocol = current.protocol
    units = order.schedule(
        len(current.rows), current.frame.id, protocol, [group.rows for group in current.frame.groups]
    )
    for slots in units:
        _time_round(current, slots, progress)
        last = slots[-1]
        on_trial(last.order + 1, len(current.rows) * protocol.trials, current.row(last).job.case.name)
    if protocol.until is not None:
        _add_trials(current, protocol.until, progress, on_trial)
    return current.save()


def _time_round(current: OpenRun, slots: Sequence[TrialSlot], progress: Progress) -> None:
    """Run what is missing of the trials of a round that belong together: by turns all of them, else one by one."""
    missing = [slot for slot in slots if current.row(slot).error is None and slot.id not in current.row(slot).trials]
    groups = current.frame.groups
    place = next((place for place, group in enumerate(groups) if slots[0].place in group.rows), None)
    if missing and place is not None and (turn_s := groups[place].turn_s) is not None and groups[place].whole is None:
        words = open_run.run_group(current, slots, turn_s)
        if words is None:
            return
        names = ", ".join(current.rows[row].job.case.name for row in groups[place].rows)
        progress(f"whole trials, without turns, of {names}: {words}")
        group = msgspec.structs.replace(groups[place], whole=words)
        current.frame = msgspec.structs.replace(current.frame, groups=(*groups[:place], group, *groups[place + 1 :]))
    for slot in missing:
        if current.row(slot).error is None and slot.id not in current.row(slot).trials:
            open_run.run_trial(current, slot)


def is_unfinished(run: Run) -> bool:
    """Whether a run was interrupted: trials are missing, or more would be added to cases whose interval is wide."""
    rows = [row for row in run.results if row.status != "failed"]
    if any(len(row.trials) < run.protocol.trials for row in rows):
        return True
    if run.protocol.until is None or run.duel is not None:
        return False
    trials = [trial for row in run.results for trial in row.trials]
    wide = [row for row in rows if not _within(row.summary, run.protocol.until)]
    rounds = max((trial.order // len(run.results) for trial in trials), default=0)
    is_spent = _sampling_s(trials) >= _budget_s(run.protocol, len(run.results), trials)
    return bool(wide) and not is_spent and rounds < MOST_ROUNDS - 1


def _add_trials(current: OpenRun, until: float, progress: Progress, on_trial: OnTrial) -> None:
    """Add rounds of the cases whose interval is wider than ``until``, while the time budget lasts."""
    protocol, rows = current.protocol, current.rows
    for index in range(protocol.trials, MOST_ROUNDS):
        wide = [
            place
            for place, row in enumerate(rows)
            if row.error is None and not _within(result_of(row, protocol).summary, until)
        ]
        trials = [trial for row in rows for trial in row.trials.values()]
        if not wide or _sampling_s(trials) >= _budget_s(protocol, len(rows), trials):
            return
        if index == protocol.trials:
            progress(f"{len(wide)} of {len(rows)} cases are not within ±{until:.0%}: more trials of them")
        for (slot,) in order.round_of(len(rows), current.frame.id, protocol, index):
            row = rows[slot.place]
            if slot.place in wide and slot.id not in row.trials:
                open_run.run_trial(current, slot)
                on_trial(slot.order + 1, slot.order + len(wide), row.job.case.name)


def _within(summary: record.Summary | None, share: float) -> bool:
    """Whether the ends of the interval are at most this share from its middle."""
    return (
        summary is not None and summary.median_ci95_ms is not None and stats.half_share(summary.median_ci95_ms) <= share
    )


def _budget_s(protocol: record.Protocol, rows: int, trials: Sequence[record.Trial]) -> float:
    """Time that all trials may take; the first ``protocol.trials`` of each of the ``rows`` are taken whatever it is."""
    first = [trial for trial in trials if trial.order // rows < protocol.trials]
    return protocol.time_budget_s or BUDGET_FACTOR * _sampling_s(first)


def _sampling_s(trials: Iterable[record.Trial]) -> float:
    """Time that trials took to load, warm up and sample."""
    return sum(t.load_ns + t.first_ns + t.warmup_ns + t.wall_ns + sum(t.yardstick_ns or ()) for t in trials) / 1e9


def _time_pairs(
    current: OpenRun, stop_rule: StopRule, turn_s: float | None, progress: Progress, on_trial: OnTrial
) -> Run:
    """Run pairs of trials until all were run or the rule ends the duel."""
    planned, count = current.protocol, len(current.rows)
    couples = [(place, place + 1) for place in range(0, count, 2)]
    for index in range(planned.trials):
        for pair in order.round_of(count, current.frame.id, planned, index, groups=couples):
            if turn_s is not None and (words := open_run.run_pair(current, pair, turn_s)):
                progress(f"pairs of whole trials are run, without turns: {words}")
                turn_s = None
            if turn_s is None:
                for slot in pair:
                    if all(current.row(other).error is None for other in pair):
                        open_run.run_trial(current, slot)
            on_trial(pair[-1].order + 1, count * planned.trials, current.row(pair[0]).job.case.name)
        duel = stop_rule(run_of(current.frame, current.rows), index + 1, turn_s)
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


def _resume(current: OpenRun, earlier: Run) -> None:
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
        groups=current.frame.groups,
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
