"""Checks of whole measurements: a file against itself, and a run whose link is cut in the middle and that goes on."""

import contextlib
import threading
from pathlib import Path

from vitdeploy.api import duel
from vitdeploy.api.duel import DuelRequest
from vitdeploy.api.selftest_checks.subject import Answer, Subject, failed, not_possible, passed
from vitdeploy.benchmarks import bench
from vitdeploy.devices import inventory
from vitdeploy.errors import DeviceError
from vitdeploy.processes.connection import Connection
from vitdeploy.processes.progress import OnTrial, silent_trial
from vitdeploy.results import record, stats
from vitdeploy.results.record import Run

WIDEST = 0.25
"""An interval whose ends are further than this share from its middle proves nothing. Source: a choice."""

TRIALS = 3
CUT_AFTER_S = 0.5
"""After the first trial: the second one runs then."""


class _StoppedError(Exception):
    """Ends a run between two trials; it is not Ctrl-C, which ends the self-test."""


def against_itself(subject: Subject) -> Answer:
    """A file against itself is neither slower nor faster."""
    artifact = subject.job.artifact
    assert artifact is not None, "what was built is there"
    request = DuelRequest(
        device=subject.device.name,
        pairs=subject.amount.pairs,
        min_time_s=subject.amount.trial_s,
        early=False,
        out=subject.folder / "duel.json",
        artifacts=subject.folder / "artifacts",
    )
    name = str(artifact.folder)
    outcome = duel.duel(name, name, request, progress=subject.progress)
    (compared,) = outcome.compared.comparisons
    if outcome.exit_code or compared.ratio is None or compared.interval is None:
        return failed(f"the duel has no valid figure: {compared.reason}", "Look at what else runs there.")
    low, high = compared.interval
    seen = (
        f"{artifact.manifest.target}: ratio {compared.ratio:.4f} [{low:.4f} … {high:.4f}] over {compared.count} pairs"
    )
    figures = {"ratio": compared.ratio, "interval_low": low, "interval_high": high}
    if compared.verdict in ("slower", "faster"):
        return failed(
            f"{seen}, verdict {compared.verdict} of the same file", "Do not use duels there; report this.", **figures
        )
    if stats.half_share(compared.interval) > WIDEST:
        return not_possible(f"{seen}: too noisy to tell a false claim from a true one")
    by_turns = outcome.run.duel is not None and outcome.run.duel.by == "turns"
    return passed(f"{seen}, {'by turns' if by_turns else 'whole trials'}", **figures)


def cut_and_resume(subject: Subject) -> Answer:
    """A run whose link is cut keeps its trials, lets go of the device, and goes on."""
    first = _interrupted(subject)
    kept = [trial.id for trial in first.results[0].trials]
    whole = _run(subject, resume=True)
    ids = [trial.id for trial in whole.results[0].trials]
    how = "the link was cut in the second trial" if subject.device.link == "ssh" else "no link to cut: interrupted"
    seen = f"{how}; {len(kept)} of {TRIALS} trials were kept, {len(ids) - len(kept)} were added"
    if not kept or ids[: len(kept)] != kept:
        return failed(f"{seen}, not those that were there", "Report it: finished trials are lost there.")
    if len(ids) != TRIALS:
        reasons = "; ".join(reason.message for reason in whole.results[0].reasons)
        return failed(f"{seen}: {reasons}", "Look at what still holds the device.")
    if len(kept) == TRIALS:
        return failed(f"{how}, and every trial was finished all the same", "Run the self-test again.")
    return passed(seen)


def _interrupted(subject: Subject) -> Run:
    """The run as its file has it after the interruption."""
    with contextlib.suppress(_StoppedError, DeviceError):
        if subject.device.link == "ssh":
            _run_until_cut(subject)
        else:
            _run(subject, on_trial=_stop)
    return record.load(_file(subject))


def _stop(done: int, total: int, label: str) -> None:
    del done, total, label
    raise _StoppedError


def _run_until_cut(subject: Subject) -> None:
    link = inventory.connect(subject.device)
    timers: list[threading.Timer] = []

    def cut(done: int, total: int, label: str) -> None:
        del done, total, label
        if not timers:
            timers.append(threading.Timer(CUT_AFTER_S, link.close))
            timers[0].start()

    try:
        _run(subject, on_trial=cut, link=link)
    finally:
        for timer in timers:
            timer.join()


def _run(
    subject: Subject, *, resume: bool = False, on_trial: OnTrial = silent_trial, link: Connection | None = None
) -> Run:
    return bench.run(
        [subject.job],
        device=subject.device,
        protocol=bench.make_protocol(trials=TRIALS, min_time_s=subject.amount.trial_s),
        out=_file(subject),
        resume=resume,
        connection=link,
        on_trial=on_trial,
    )


def _file(subject: Subject) -> Path:
    return subject.folder / "cut.json"
