"""The client's side of a sweep: surveys, exports, deliveries and trials given to a pool, results written as they come.

Each device is a lane: it is surveyed, waits for its artifacts, is sent what its host lacks, and takes its trials
in the order that `bench` would. What is finished is a file before anything else happens, so that whoever dies, a
restart plans from the files.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from vitdeploy._version import __version__
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks import bench
from vitdeploy.benchmarks.trial import case_trials, resume
from vitdeploy.benchmarks.trial.case_trials import CaseTrials
from vitdeploy.benchmarks.trial.request import LostTrial, TrialSlot
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.errors import DeviceError, VitdeployError
from vitdeploy.fleet import device_queue, messages, tasks
from vitdeploy.fleet.artifact_supply import ArtifactSupply, SuppliedArtifact
from vitdeploy.fleet.device_queue import DeviceQueue
from vitdeploy.fleet.dispatch import LOOK_EVERY_S, Dispatch, ResourceMonitor, error_of, too_little, unserved
from vitdeploy.fleet.messages import (
    DeviceChanged,
    DeviceSurvey,
    MissingArtifacts,
    PermanentError,
    Pool,
    PoolLost,
    TaskResult,
    TrialTask,
)
from vitdeploy.fleet.plan import SweepCase, SweepPlan, devices
from vitdeploy.fleet.tasks import digest_of
from vitdeploy.fleet.trial_files import TrialFiles
from vitdeploy.processes.progress import OnTrial
from vitdeploy.results import record
from vitdeploy.results.record import Run, Trial

MOST_DELIVERIES = 5
"""A device whose worker goes away so often while it is being sent its artifacts is given up."""


class Sweep:
    """One sweep under way."""

    def __init__(
        self,
        plan: SweepPlan,
        wanted: Sequence[SweepCase],
        pool: Pool,
        *,
        frame: Run,
        out: Path,
        journal: TrialFiles,
        artifacts: Path,
        earlier: Run | None,
        progress: Callable[[str], None],
        on_trial: OnTrial,
        take: Callable[[TrialTask], Any] = tasks.take_trial,
    ) -> None:
        self.plan, self.wanted, self.pool, self.frame, self.out = plan, wanted, pool, frame, out
        self.journal, self.earlier = journal, earlier
        self.progress, self.on_trial, self.take = progress, on_trial, take
        self.taken = self.twice = 0
        self.rows = [device_queue.empty_row(one, earlier) for one in wanted]
        self.turns: dict[int, list[TrialSlot]] = {one.place: [] for one in wanted}
        for turn in bench.schedule(len(wanted), frame.id, frame.protocol):
            self.turns[turn.place].append(turn)
        self.total = sum(map(len, self.turns.values()))
        self.found = self._take_over()
        self._finished = self.found
        self.lanes = {
            name: DeviceQueue(
                device=name,
                places=tuple(one.place for one in wanted if one.device == name),
                lock_wait_s=plan.lock_wait_s,
            )
            for name in devices(wanted)
        }
        self._out = Dispatch(pool, progress)
        self._watch = ResourceMonitor(pool, plan.wait_s)
        self._supply = ArtifactSupply(plan, wanted, self._out, artifacts=artifacts, earlier=earlier, progress=progress)
        self._dirty = True

    def run(self) -> Run:
        """Take every trial that is missing; returns the run, which is also in its file.

        Raises:
            UsageError: an interrupted run was measured in another way or on other machines.
            UnreadableFile: the run or a trial cannot be written.
            DeviceError: the scheduler is gone and does not come back.
        """
        self._save()
        try:
            self._begin()
            while any(lane.state != "ended" for lane in self.lanes.values()):
                try:
                    self._turn()
                except PoolLost as lost:  # noqa: PERF203 (lost once in hours)
                    self._find_again(lost)
        finally:
            present = self._save()
        if all(len(row.trials) == self.plan.trials for row in self.rows):
            self.pool.tell_all(tasks.remove_trials, self.frame.id)
        self.journal.remove()
        return present

    # Beginning

    def _take_over(self) -> int:
        """Give each row the trials that are there already, in the run file or as files of their own."""
        if self.earlier is not None:
            for row, result in zip(self.rows, self.earlier.results, strict=True):
                row.trials = {taken.id: taken for taken in result.trials}
        known = {turn.id: place for place, turns in self.turns.items() for turn in turns}
        for trial in self.journal.trials(self.frame.id):
            if trial.id in known:
                self.rows[known[trial.id]].trials.setdefault(trial.id, trial)
        return sum(len(row.trials) for row in self.rows)

    def _begin(self) -> None:
        for lane in self.lanes.values():
            if not any(self._missing(place) for place in lane.places):
                lane.state = "ended"
            else:
                self._survey(lane)
        self._supply.begin([place for lane in self._open() for place in lane.places if self._missing(place)])

    def _survey(self, lane: DeviceQueue) -> None:
        asked = (lane.device, __version__, lane.lock_wait_s)
        self._ask_lane(
            lane, f"survey-{lane.device}-", tasks.survey_device, asked, lambda done: self._surveyed(lane, done)
        )

    # One turn of the loop

    def _turn(self) -> None:
        self._out.hear()
        self._out.now_and_then("look", LOOK_EVERY_S, self._look)
        for lane in self._open():
            if lane.state == "waiting" and self._ready(lane):
                self._ask(lane)
        if self._dirty:
            self._out.now_and_then("save", 0.0, self._save)

    def _look(self) -> None:
        """Give up what no worker serves any more."""
        served = {messages.resource(lane.device): lane for lane in self._open() if lane.state != "waiting"}
        needed = dict.fromkeys(served, 1.0) | (
            {messages.MEMORY: self._supply.claim_bytes} if self._supply.making else {}
        )
        for name in self._watch.absent(needed):
            if name in served:
                self._give_up(served[name], unserved(name, self.plan.wait_s))
            else:
                claim = self._supply.claim_bytes
                self._supply.give_up(too_little(name, claim, self.plan.wait_s, "export with"))

    def _find_again(self, lost: PoolLost) -> None:
        """Wait for the pool to be there again, and give it anew all that was out."""
        self._save()
        self._out.find_again(lost, self.plan.wait_s)
        self._watch.begin_anew()
        for lane in self._open():
            lane.pending.clear()
            if lane.surveyed is None:
                self._survey(lane)
            else:
                lane.state = "waiting"
        self._supply.begin_anew()

    # What becomes of tasks

    def _surveyed(self, lane: DeviceQueue, done: TaskResult) -> None:
        error = error_of(done)
        if error is not None:
            self._give_up(lane, error)
            return
        assert isinstance(done.value, DeviceSurvey)
        lane.surveyed, lane.state = done.value, "waiting"
        self.progress(
            f"{lane.device} is {done.value.device.title}, {DeviceFacts(done.value.facts).cpu or 'processor unknown'}"
        )
        self.frame = device_queue.with_device(
            self.frame,
            lane,
            done.value,
            alone=len(self.lanes) == 1,
            begun=any(self.rows[place].trials for place in lane.places),
            out=self.out,
        )
        self._dirty = True

    def _built(self, lane: DeviceQueue, made: Artifact, done: TaskResult) -> None:
        """The device has built an engine, or its worker's host lacks what it is to be built of."""
        lacking = self._supply.built(lane.device, made, done)
        if lacking is not None:
            self._out.deliver(made, digest_of(made), lacking, lambda error, _: self._build_again(lane, made, error))
            return
        self._has_built(lane, made)

    def _build_again(self, lane: DeviceQueue, made: Artifact, error: VitdeployError | None) -> None:
        if lane.state != "building":
            return
        if error is None:
            self._build(lane, made)
            return
        self._supply.refused(lane.device, made, error)
        self._has_built(lane, made)

    def _has_built(self, lane: DeviceQueue, made: Artifact) -> None:
        lane.pending.discard(digest_of(made))
        if lane.state == "building" and not lane.pending:
            lane.state = "waiting"

    def _asked(self, lane: DeviceQueue, done: TaskResult) -> None:
        error = error_of(done)
        if error is not None:
            self._give_up(lane, error)
            return
        assert isinstance(done.value, MissingArtifacts)
        lane.deliveries += 1
        lane.state = "sending"
        lane.pending = set(done.value.digests)
        for digest in done.value.digests:
            self._send(done.value, digest, self._delivered(lane, digest))
        if not lane.pending:
            self._take_trials(lane)

    def _delivered(self, lane: DeviceQueue, digest: str) -> Callable[[VitdeployError | None, bool], None]:
        def delivered(error: VitdeployError | None, again: bool) -> None:
            if lane.state != "sending":
                return
            lane.pending.discard(digest)
            if error is not None and again and lane.deliveries < MOST_DELIVERIES:
                lane.state = "waiting"
            elif error is not None:
                for place in lane.places:
                    if self.rows[place].manifest_sha256 == digest:
                        self._fail(place, error)
            if lane.state == "sending" and not lane.pending:
                self._take_trials(lane)

        return delivered

    def _send(self, lacks: MissingArtifacts, digest: str, then: Callable[[VitdeployError | None, bool], None]) -> None:
        made = next(row.job.artifact for row in self.rows if row.manifest_sha256 == digest)
        assert made is not None, "a row with a digest has an artifact"
        self._out.deliver(made, digest, lacks, then)

    def _tried(self, lane: DeviceQueue, turn: TrialSlot, done: TaskResult) -> None:
        """A trial has come, in one of the ways it can."""
        row = self.rows[turn.place]
        match done.value:
            case Trial() as trial:
                self._arrived(row, trial)
            case MissingArtifacts() as lacking:  # another host serves the device now
                digest = device_queue.trial_task(lane, turn, self.rows[turn.place], self.frame.protocol).digest
                self._send(lacking, digest, lambda error, _: self._resubmit(lane, turn, error))
                return
            case DeviceChanged(facts=facts):
                self._give_up(lane, device_queue.device_changed(lane, facts))
                return
            case PermanentError(error=error):
                self._fail(turn.place, error)
            case _:
                lost = done.error or DeviceError("a worker answered with nothing", "Look at its log.")
                case_trials.add_trial(
                    row,
                    turn.id,
                    LostTrial(message=f"{turn.name}: {lost.message}", hint=lost.hint),
                    self.frame.protocol,
                )
                self.progress(f"{row.job.case.name} on {lane.device}, {turn.name} was lost: {lost.message}")
                if row.error is not None:
                    self._fail(turn.place, row.error)
        self._dirty = True
        lane.pending.discard(turn.id)
        if lane.state == "running" and not lane.pending:
            lane.state = "ended"

    def _arrived(self, row: CaseTrials, trial: Trial) -> None:
        if trial.id in row.trials or not self.journal.keep(trial):
            self.twice += 1
        else:
            self.taken += 1
        if trial.id not in row.trials:
            case_trials.add_trial(row, trial.id, trial, self.frame.protocol)
            row.lost.pop(trial.id, None)
            self._finished += 1
            self.on_trial(self._finished, self.total, f"{row.job.case.name} on {row.job.case.device}")

    def _resubmit(self, lane: DeviceQueue, turn: TrialSlot, error: VitdeployError | None) -> None:
        if lane.state == "running" and turn.id in lane.pending:
            if error is not None:
                self._tried(lane, turn, TaskResult(key="", error=error))
            else:
                self._submit_trials(lane, [turn])

    # What lanes do

    def _ready(self, lane: DeviceQueue) -> bool:
        """Whether its artifacts are there or known to fail, and no export will disturb it."""
        if any(self._supply.of(place) == SuppliedArtifact() for place in lane.places if self._missing(place)):
            return False
        assert lane.surveyed is not None, "a lane that waits was surveyed"
        own = self._watch.serving.get(messages.resource(lane.device), {}).keys()
        exporting = self._watch.serving.get(messages.MEMORY, {}).keys() if self._supply.making else set[str]()
        return lane.surveyed.device.link != "local" or not own & exporting

    def _ask(self, lane: DeviceQueue) -> None:
        """Make its rows what they are, and ask its worker which artifacts it lacks; engines are built before."""
        assert lane.surveyed is not None, "a lane that waits was surveyed"
        to_build = self._supply.to_build(lane.surveyed, [place for place in lane.places if self._missing(place)])
        if to_build:
            lane.state = "building"
            lane.pending = {digest_of(made) for made in to_build}
            for made in to_build:
                self._build(lane, made)
            return
        for place in lane.places:
            self._fill(place, lane.surveyed)
        self._check_resumed(lane)
        self._save()
        needed = [self.rows[place].manifest_sha256 for place in lane.places if self._wants(place)]
        digests = tuple(dict.fromkeys(one for one in needed if one is not None))
        if not digests:
            lane.state = "ended"
            return
        lane.state = "asking"
        self._ask_lane(
            lane, f"ask-{lane.device}-", tasks.missing_artifacts, (digests,), lambda done: self._asked(lane, done)
        )

    def _fill(self, place: int, surveyed: DeviceSurvey) -> None:
        got = self._supply.of(place)
        device_queue.fill_row(self.rows[place], self.wanted[place], surveyed, self.frame.protocol, got.made, got.error)

    def _build(self, lane: DeviceQueue, made: Artifact) -> None:
        asked = (digest_of(made), lane.device, lane.lock_wait_s)
        self._ask_lane(
            lane, f"build-{lane.device}-", tasks.build_engine, asked, lambda done: self._built(lane, made, done)
        )

    def _check_resumed(self, lane: DeviceQueue) -> None:
        if self.earlier is None:
            return
        places = [
            place for place in lane.places if self.earlier.results[place].trials and self.rows[place].error is None
        ]
        before = msgspec.structs.replace(self.earlier, results=tuple(self.earlier.results[place] for place in places))
        jobs = [self.rows[place].job for place in places]
        resume.check_same(
            before,
            protocol=before.protocol,
            device=before.device,
            cases=[job.case for job in jobs],
            digests=[job.artifact.manifest.sha256 if job.artifact else None for job in jobs],
            out=self.out,
        )

    def _take_trials(self, lane: DeviceQueue) -> None:
        turns = [turn for place in lane.places if self._wants(place) for turn in self._missing(place)]
        lane.state = "running" if turns else "ended"
        lane.pending = {turn.id for turn in turns}
        self._submit_trials(lane, sorted(turns, key=lambda turn: turn.order))

    def _submit_trials(self, lane: DeviceQueue, turns: Sequence[TrialSlot]) -> None:
        for turn in turns:
            self._ask_lane(
                lane,
                f"trial-{turn.id}-",
                self.take,
                (device_queue.trial_task(lane, turn, self.rows[turn.place], self.frame.protocol),),
                lambda done, turn=turn: self._tried(lane, turn, done),
                priority=-turn.order,
            )

    def _fail(self, place: int, error: VitdeployError) -> None:
        """A row has failed for good: what is still out of it is not started."""
        self.rows[place].error = error
        lane = self.lanes[self.wanted[place].device]
        out = {turn.id for turn in self._missing(place)} & lane.pending
        lane.pending -= out
        self._out.cancel(*(f"trial-{one}-" for one in out))
        if lane.state == "running" and not lane.pending:
            lane.state = "ended"
        self._dirty = True

    def _give_up(self, lane: DeviceQueue, error: VitdeployError) -> None:
        """The device is gone: its rows that lack trials have failed, the other devices go on."""
        self.progress(f"{lane.device} is given up: {error.message}")
        lane.state = "ended"
        lane.pending.clear()
        for place in lane.places:
            if self._wants(place):
                self.rows[place].error = error
        trials = (f"trial-{self.frame.id}/{place}/" for place in lane.places)
        self._out.cancel(*trials, *(f"{verb}-{lane.device}-" for verb in ("survey", "build", "ask")))
        self._dirty = True

    # Small things

    def _open(self) -> list[DeviceQueue]:
        return [lane for lane in self.lanes.values() if lane.state != "ended"]

    def _missing(self, place: int) -> list[TrialSlot]:
        there = self.rows[place].trials
        return [turn for turn in self.turns[place] if turn.id not in there]

    def _wants(self, place: int) -> bool:
        return self.rows[place].error is None and bool(self._missing(place))

    def _ask_lane(
        self,
        lane: DeviceQueue,
        words: str,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        handler: Callable[[TaskResult], None],
        *,
        priority: int = 1,
    ) -> None:
        """Have the worker that serves a device do something, alone."""
        claim = {messages.resource(lane.device): 1.0}
        self._out.submit(
            words, function, arguments, handler, resources=claim, priority=priority, retries=self.plan.retries
        )

    def _save(self) -> Run:
        present = case_trials.run_of(self.frame, self.rows)
        record.save(present, self.out)
        self._dirty = False
        return present
