"""Rows of a sweep's run: the trials that each has and lacks, filled in by its device and artifact, saved to the run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec

from vitdeploy.api import cases
from vitdeploy.api.case_job import job_of
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks.trial import case_trials, order, phone_trial, resume
from vitdeploy.benchmarks.trial.case_trials import CaseTrials, Job
from vitdeploy.benchmarks.trial.request import TrialSlot
from vitdeploy.catalog import fact_table
from vitdeploy.catalog.fact_table import DeviceFacts, listed
from vitdeploy.catalog.spec import Compute
from vitdeploy.errors import Impossible, UsageError, VitdeployError
from vitdeploy.fleet.messages import DeviceSurvey
from vitdeploy.fleet.plan import SweepCase
from vitdeploy.fleet.trial_files import TrialFiles
from vitdeploy.results import consistency, record
from vitdeploy.results.record import Protocol, Run, Trial

UNSURVEYED: Compute = "cpu"
"""In a row until its device is surveyed; nothing of it is timed before `fill_row` has replaced it."""


class SweepRows:
    """All rows of a sweep, by their place in the run."""

    def __init__(
        self, sweep_cases: Sequence[SweepCase], frame: Run, out: Path, trial_files: TrialFiles, earlier: Run | None
    ) -> None:
        self.cases, self.frame, self.out, self.earlier = sweep_cases, frame, out, earlier
        self.files = trial_files
        self._rows = [empty_row(case, earlier) for case in sweep_cases]
        self._slots: dict[int, list[TrialSlot]] = {case.place: [] for case in sweep_cases}
        for (slot,) in order.schedule(len(sweep_cases), frame.id, frame.protocol):
            self._slots[slot.place].append(slot)
        self.total = sum(map(len, self._slots.values()))
        self._load_trials()
        self.resumed = self.finished = sum(len(row.trials) for row in self._rows)
        self.taken = self.duplicates = 0
        self.changed = True
        """Since the run was saved."""

    def __getitem__(self, place: int) -> CaseTrials:
        return self._rows[place]

    def missing(self, place: int) -> list[TrialSlot]:
        """The trials that a row lacks."""
        return [slot for slot in self._slots[place] if slot.id not in self._rows[place].trials]

    def is_open(self, place: int) -> bool:
        """Whether a row lacks trials and has not failed."""
        return self._rows[place].error is None and bool(self.missing(place))

    def add(self, place: int, trial: Trial) -> bool:
        """Keep a trial in a file and in its row; False: it was there, and counts once.

        Raises:
            UnreadableFile: it cannot be written.
        """
        row = self._rows[place]
        in_row = trial.id in row.trials
        if in_row or not self.files.keep(trial):
            self.duplicates += 1
        else:
            self.taken += 1
        if not in_row:
            case_trials.add_trial(row, trial.id, trial, self.frame.protocol)
            row.lost.pop(trial.id, None)
            self.finished += 1
        return not in_row

    def digests(self, places: Sequence[int]) -> tuple[str, ...]:
        """Digests of the manifests of the artifacts that open rows are timed with, each once."""
        needed = (self._rows[place].manifest_sha256 for place in places if self.is_open(place))
        return tuple(dict.fromkeys(digest for digest in needed if digest is not None))

    def artifact(self, digest: str) -> Artifact:
        """The artifact of a row whose manifest has this digest."""
        return next(
            row.job.artifact for row in self._rows if row.manifest_sha256 == digest and row.job.artifact is not None
        )

    def check_resumed(self, places: Sequence[int]) -> None:
        """Refuse to go on with rows that were measured as another case or with another artifact.

        Raises:
            UsageError: they were.
        """
        if self.earlier is None:
            return
        results = self.earlier.results
        begun = [place for place in places if results[place].trials and self._rows[place].error is None]
        before = msgspec.structs.replace(self.earlier, results=tuple(results[place] for place in begun))
        jobs = [self._rows[place].job for place in begun]
        resume.check_same(
            before,
            protocol=before.protocol,
            device=before.device,
            cases=[job.case for job in jobs],
            digests=[job.artifact.manifest.sha256 if job.artifact else None for job in jobs],
            out=self.out,
        )

    def save(self) -> Run:
        """Write the run as far as it is."""
        run = case_trials.run_of(self.frame, self._rows)
        record.save(run, self.out)
        self.changed = False
        return run

    def _load_trials(self) -> None:
        """Give each row the trials that are there already, in the run or in files of their own."""
        if self.earlier is not None:
            for row, result in zip(self._rows, self.earlier.results, strict=True):
                row.trials = {trial.id: trial for trial in result.trials}
        places = {slot.id: place for place, slots in self._slots.items() for slot in slots}
        for trial in self.files.trials(self.frame.id):
            if trial.id in places:
                self._rows[places[trial.id]].trials.setdefault(trial.id, trial)


def empty_row(case: SweepCase, earlier: Run | None) -> CaseTrials:
    """A row of which only the plan is known; of an interrupted run, what was known."""
    if earlier is not None:
        before = earlier.results[case.place]
        job = Job(case=before.case, compute=UNSURVEYED)
        return CaseTrials(job=job, error=None, manifest_sha256=before.manifest_sha256)
    planned_case = cases.case_of(
        case.planned,
        case.request,
        device=case.device,
        compute=UNSURVEYED,
        threads=case.request.threads or 0,
        artifact=case.planned.artifact,
    )
    return CaseTrials(job=Job(case=planned_case, compute=UNSURVEYED), error=None)


def fill_row(
    row: CaseTrials,
    case: SweepCase,
    survey: DeviceSurvey,
    protocol: Protocol,
    artifact: Artifact | None,
    error: VitdeployError | None,
) -> None:
    """Make a row what its device and its artifact are; the reason why it cannot be timed becomes its error."""
    if row.error is not None:
        return
    device, target = survey.device, case.planned.variant.target
    if target not in device.targets:
        error = Impossible(f"{target} does not run on {device.name}", f"It takes {', '.join(device.targets)}.")
    request = cases.fitted(case.request, device)
    row.job = job_of(
        case.planned,
        request,
        device,
        DeviceFacts({**survey.facts, DeviceFacts.power_mode.name: survey.power_mode}),
        threads=request.threads or survey.threads,
        artifact=artifact,
        error=error,
    )
    row.error = error or case_trials.refusal(row.job, device, protocol)
    row.manifest_sha256 = case_trials.manifest_digest(artifact)
    if artifact is not None:
        digest, case_timed = artifact.manifest.sha256, row.job.case
        # A file of a trial that was edited is no trial: the run would be refused for it wherever it is read.
        row.trials = {
            trial_id: trial
            for trial_id, trial in row.trials.items()
            if not any(consistency.trial_faults(trial, case_timed, digest))
        }


def with_device(frame: Run, device: str, survey: DeviceSurvey, *, alone: bool, begun: bool, out: Path) -> Run:
    """The run with the facts of one of its devices.

    Raises:
        UsageError: the trials that are there were taken on another machine.
    """
    facts = dict(survey.facts) if alone else prefixed_facts(device, DeviceFacts(survey.facts))
    recorded = frame.device.facts
    for key in sorted(facts) if begun else ():
        if not fact_table.same(key, recorded.get(key), facts[key]):
            raise UsageError(
                f"{out} cannot be resumed: device.facts.{key} is {recorded.get(key)!r} there and {facts[key]!r} now",
                "Resume it as it was begun, or choose another place with --out.",
            )
    protocol = frame.protocol
    if survey.device.link == "adb" and phone_trial.INPUTS not in protocol.inputs:
        others = "" if alone else f"{protocol.inputs}; on phones: "
        protocol = msgspec.structs.replace(protocol, inputs=others + phone_trial.INPUTS)
    described = msgspec.structs.replace(frame.device, facts={**recorded, **facts})
    return msgspec.structs.replace(frame, device=described, protocol=protocol)


def prefixed_facts(device: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    """A device's facts among those of others: ``orin-1 cpu``; packages in one line, so that a difference is one."""
    title = DeviceFacts.title.name
    prefixed = {
        f"{device} {name}": listed(cast("dict[str, Any]", value)) if isinstance(value, dict) else value
        for name, value in facts.items()
        if name not in (title, DeviceFacts.link.name)
    }
    return {f"{device} {title}": facts.get(title), **prefixed}
