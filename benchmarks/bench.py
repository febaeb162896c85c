"""Jobs → workers → a run: trials of all jobs interleaved, the run file rewritten whole after each.

Whatever ends the bench (a crash, ``kill -9``, a full disk, Ctrl-C), the run file holds every trial
that was finished, and ``resume`` goes on with the ones that are missing.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Protocol

import msgspec

from vitdeploy import errors
from vitdeploy.benchmarks import phone_trial
from vitdeploy.benchmarks.trial import prepared_device
from vitdeploy.benchmarks.trial.launch import TrialSlot
from vitdeploy.benchmarks.trial.resume import check_same
from vitdeploy.benchmarks.trial.rows import CaseTrials, Job, code_of, manifest_digest, note, present, refusal
from vitdeploy.devices import device_facts, host, inventory
from vitdeploy.errors import NoValidMeasurement, UsageError, VitdeployError
from vitdeploy.processes.connection import Connection
from vitdeploy.processes.progress import OnTrial
from vitdeploy.results import record
from vitdeploy.results.provenance import check_out, new_run
from vitdeploy.results.record import Case, Run

ORDER = "round-robin, shuffled anew each round"
PAIRED_ORDER = "interleaved pairs, the order within a pair drawn for every other one and turned round for the next"
INPUTS = "seeded synthetic images, distinct within a trial's pool, rotated"

WARMUP_LIMIT_S = 3.0
"""Warm-up ends after this long even if it was not seen to end: the samples' own class then says so."""

LOCK_WAIT_S = 5.0
"""A device that is busy for longer is reported as busy."""


class Enough(Protocol):
    """Asked after each pair of a duel, and at its end."""

    def __call__(self, done: Run, pairs: int) -> record.Duel:
        """What is to be written down of the duel after so many pairs; ``stopped`` ends it."""
        ...


def _silent(done: int, total: int, label: str) -> None:
    del done, total, label


def make_protocol(
    *,
    suite: str | None = None,
    trials: int = 5,
    min_time_s: float = 1.0,
    warmup_limit_s: float = WARMUP_LIMIT_S,
    seed: int = 0,
    sustained_s: float | None = None,
    order: str = ORDER,
) -> record.Protocol:
    """The protocol of a run, with what is the same for all of them filled in.

    Raises:
        UsageError: a number that means nothing.
    """
    if trials < 1:
        raise UsageError(f"{trials} trials are none", "Ask for at least 1; an interval needs 3.")
    for option, value in (("--min-time", min_time_s), ("--sustained", sustained_s)):
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
    )


def run(
    jobs: Sequence[Job],
    *,
    device: inventory.Device,
    protocol: record.Protocol,
    out: Path,
    resume: bool = False,
    enough: Enough | None = None,
    connection: Connection | None = None,
    progress: Callable[[str], None] = lambda _: None,
    on_trial: OnTrial = _silent,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> Run:
    """Time all jobs and keep ``out`` up to date; `exit_code_of` says what each row asks the command to end with.

    ``connection`` is opened from ``device`` when none is given. One failing job does not stop the others.
    With ``enough`` the two jobs are the sides of a duel: their trials are pairs, and it says when to end.

    Raises:
        UsageError: ``out`` exists and is not resumed, or belongs to another protocol, device or set of cases.
        UnreadableFile: ``out`` cannot be written, or is no run.
        DeviceError: the device is not reachable, busy, or another one than its file says.
    """
    check_out(out, resume=resume)
    if enough is None:
        check_distinct(jobs)
    if device.link == "adb":
        protocol = phone_trial.as_run(protocol)
    with connection or inventory.connect(device) as link, link.lock(timeout_s=LOCK_WAIT_S):
        found = device_facts.found(device, link)
        for name, words in getattr(link, "power", {}).items():
            progress(f"{device.name}, {name.replace('_', ' ')}: {words}")
        if device.power_mode is not None:  # what is set now counts, not what was before the lock
            mode = found.get("power_mode")
            jobs = [replace(job, case=msgspec.structs.replace(job.case, power_mode=mode)) for job in jobs]
        described = record.RunDevice(name=device.name, facts=device_facts.stable(device, found))
        ready = prepared_device.prepare(device, link, found)
        earlier = record.load(out) if resume and out.exists() else None
        frame = new_run(described, protocol, now(), host=host.facts())
        rows = [
            CaseTrials(
                job=job,
                error=job.error or refusal(job, device, protocol),
                manifest_sha256=manifest_digest(job.artifact),
            )
            for job in jobs
        ]
        if earlier is not None:
            digests = [job.artifact.manifest.sha256 if job.artifact else None for job in jobs]
            cases = [job.case for job in jobs]
            check_same(earlier, protocol=protocol, device=described, cases=cases, digests=digests, out=out)
            frame = msgspec.structs.replace(earlier, results=())
            _take_over(rows, earlier)
            progress(f"going on with {out}: {sum(len(row.trials) for row in rows)} trials are there")
        _save(frame, rows, out)
        turns = schedule(len(rows), frame.id, protocol)
        for done, turn in enumerate(turns, 1):
            row = rows[turn.place]
            if row.error is None and turn.id not in row.trials:
                _fill(row, turn, ready, protocol, out.with_suffix(".log"))
                _save(frame, rows, out)
            on_trial(done, len(turns), row.job.case.name)
            if enough is not None and done % len(rows) == 0:
                duel = enough(present(frame, rows), turn.index + 1)
                # As many trials as there are pairs were planned after all, so that none counts as missing.
                frame = msgspec.structs.replace(
                    frame, duel=duel, protocol=msgspec.structs.replace(protocol, trials=duel.pairs)
                )
                _save(frame, rows, out)
                if duel.stopped:
                    break
        return _save(frame, rows, out)


def schedule(rows: int, run_id: str, protocol: record.Protocol) -> list[TrialSlot]:
    """All trials in the order they are run: every row once a round, in an order drawn anew for each.

    In a duel a round is a pair, and every second pair turns the order of the one before round (ABBA or BAAB), so
    that a steady drift cancels. The order depends on the protocol's seed and the number of rows alone, so a resumed
    run has the same. Source: randomized interleaving keeps a slow drift of the machine out of the differences,
    peers.md C.1.
    """
    paired = protocol.order == PAIRED_ORDER
    turns: list[TrialSlot] = []
    for index in range(protocol.trials):
        places = list(range(rows))
        drawn = index - index % 2 if paired else index
        random.Random(f"{protocol.seed}:{drawn}").shuffle(places)  # noqa: S311 (an order, not a secret)
        if paired and index % 2:
            places.reverse()
        turns += [
            TrialSlot(
                place=place,
                index=index,
                order=len(turns) + offset,
                id=f"{run_id}/{place}/{index}",
                pair=index if paired else None,
            )
            for offset, place in enumerate(places)
        ]
    return turns


def exit_code_of(result: record.Result) -> int:
    """What a row asks the command to exit with: 0, its error's code, or 8 where a figure may not be quoted."""
    if result.status == "valid":
        return 0
    codes = {code_of(kind): kind.exit_code for kind in errors.kinds()}
    if result.status == "failed":
        return next((codes[reason.code] for reason in result.reasons if reason.code in codes), 1)
    return (
        errors.worst_exit_code(codes.get(reason.code, NoValidMeasurement.exit_code) for reason in result.reasons) or 8
    )


def _fill(
    row: CaseTrials, turn: TrialSlot, ready: prepared_device.PreparedDevice, protocol: record.Protocol, log: Path
) -> None:
    """Run one trial and write down in its row what became of it."""
    assert row.job.artifact is not None
    try:
        taken = prepared_device.take(
            ready, turn, row.job.case, row.job.artifact, compute=row.job.compute, protocol=protocol, log=log
        )
    except VitdeployError as error:
        row.error = error
        return
    note(row, turn.id, taken, protocol)


def _save(frame: Run, rows: Sequence[CaseTrials], out: Path) -> Run:
    saved = present(frame, rows)
    record.save(saved, out)
    return saved


def _take_over(rows: Sequence[CaseTrials], earlier: Run) -> None:
    """Give each row the trials that an earlier, interrupted run has of it; what failed or was lost is tried again."""
    for row, result in zip(rows, earlier.results, strict=True):
        row.trials = {taken.id: taken for taken in result.trials}


def check_distinct(jobs: Sequence[Job]) -> None:
    """Refuse a case that is named twice.

    Raises:
        UsageError: it is.
    """
    seen: dict[Case, Job] = {}
    for job in jobs:
        if job.case in seen:
            raise UsageError(f"{job.case.name} is named twice", "Time two files of one case with `vitdeploy duel`.")
        seen[job.case] = job
