"""Scheduling of a sweep: surveys, exports, deliveries and trials for a pool of workers, results saved as they come.

Each device has a queue: it is surveyed, waits for its artifacts, is sent those that its host lacks, and takes its
trials in the order of `bench`. What is finished is a file before anything else happens, so that after a crash of
whatever part a restart plans from the files.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from vitdeploy._version import __version__
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks.trial import case_trials
from vitdeploy.benchmarks.trial.request import LostTrial, TrialSlot
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.errors import DeviceError, VitdeployError
from vitdeploy.fleet import device_queue, messages, tasks
from vitdeploy.fleet.artifact_supply import ArtifactSupply, SuppliedArtifact
from vitdeploy.fleet.device_queue import DeviceQueue
from vitdeploy.fleet.dispatch import LOOK_EVERY_S, Dispatch, OnDelivered, ResourceMonitor, error_of
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
from vitdeploy.fleet.sweep_rows import SweepRows, fill_row, with_device
from vitdeploy.fleet.tasks import digest_of
from vitdeploy.fleet.trial_files import TrialFiles
from vitdeploy.processes.progress import OnTrial
from vitdeploy.results.record import Run, Trial

MOST_DELIVERIES = 5
"""A device whose worker goes away so often while it is being sent its artifacts gets no more trials."""


class Sweep:
    """One sweep under way."""

    def __init__(
        self,
        plan: SweepPlan,
        cases: Sequence[SweepCase],
        pool: Pool,
        *,
        frame: Run,
        out: Path,
        trial_files: TrialFiles,
        artifacts: Path,
        earlier: Run | None,
        progress: Callable[[str], None],
        on_trial: OnTrial,
        take: Callable[[TrialTask], Any] = tasks.take_trial,
    ) -> None:
        self._plan, self._cases, self._pool = plan, cases, pool
        self._progress, self._on_trial, self._take = progress, on_trial, take
        self.rows = SweepRows(cases, frame, out, trial_files, earlier)
        self._queues = {
            name: DeviceQueue(
                device=name,
                places=tuple(case.place for case in cases if case.device == name),
                lock_wait_s=plan.lock_wait_s,
            )
            for name in devices(cases)
        }
        self._dispatch = Dispatch(pool, progress)
        self._monitor = ResourceMonitor(pool, plan.wait_s)
        self._supply = ArtifactSupply(
            plan, cases, self._dispatch, artifacts=artifacts, earlier=earlier, progress=progress
        )

    def run(self) -> Run:
        """Take every trial that is missing; returns the run, which is also in its file.

        Raises:
            UsageError: an interrupted run was measured in another way or on other machines.
            UnreadableFile: the run or a trial cannot be written.
            DeviceError: the scheduler is gone and does not come back.
        """
        self.rows.save()
        try:
            self._begin()
            while self._open_queues():
                try:
                    self._step()
                except PoolLost as lost:  # noqa: PERF203 (lost once in hours)
                    self._reconnect(lost)
        finally:
            run = self.rows.save()
        if self.rows.finished == self.rows.total:
            self._pool.tell_all(tasks.remove_trials, run.id)
        self.rows.files.remove()
        return run

    # The loop

    def _begin(self) -> None:
        for queue in self._queues.values():
            if any(self.rows.missing(place) for place in queue.places):
                self._survey(queue)
            else:
                queue.state = "ended"
        self._supply.begin([place for queue in self._open_queues() for place in self._unfinished(queue)])

    def _step(self) -> None:
        self._dispatch.hear()
        self._dispatch.now_and_then("look", LOOK_EVERY_S, self._end_unserved)
        for queue in self._open_queues():
            if queue.state == "waiting" and self._ready(queue):
                self._prepare(queue)
        if self.rows.changed:
            self._dispatch.now_and_then("save", 0.0, self.rows.save)

    def _end_unserved(self) -> None:
        """End what no worker serves any more."""
        served = {queue.resource: queue for queue in self._open_queues() if queue.state != "waiting"}
        needed = dict.fromkeys(served, 1.0)
        if self._supply.exporting:
            needed[messages.MEMORY] = self._supply.claim_bytes
        for name, error in self._monitor.absent(needed, "export with").items():
            if name in served:
                self._end(served[name], error)
            else:
                self._supply.give_up(error)

    def _reconnect(self, lost: PoolLost) -> None:
        """Wait for the pool to be there again, and submit anew all that was out."""
        self.rows.save()
        self._dispatch.find_again(lost, self._plan.wait_s)
        self._monitor.begin_anew()
        for queue in self._open_queues():
            queue.pending.clear()
            if queue.survey is None:
                self._survey(queue)
            else:
                queue.state = "waiting"
        self._supply.begin_anew()

    # Survey

    def _survey(self, queue: DeviceQueue) -> None:
        arguments = (queue.device, __version__, queue.lock_wait_s)
        self._submit(queue, "survey", tasks.survey_device, arguments, partial(self._on_survey, queue))

    def _on_survey(self, queue: DeviceQueue, result: TaskResult) -> None:
        if (error := error_of(result)) is not None:
            self._end(queue, error)
            return
        assert isinstance(result.value, DeviceSurvey)
        survey = queue.survey = result.value
        queue.state = "waiting"
        self._progress(
            f"{queue.device} is {survey.device.title}, {DeviceFacts(survey.facts).cpu or 'processor unknown'}"
        )
        begun = any(self.rows[place].trials for place in queue.places)
        alone = len(self._queues) == 1
        self.rows.frame = with_device(
            self.rows.frame, queue.device, survey, alone=alone, begun=begun, out=self.rows.out
        )
        self.rows.changed = True

    # Artifacts

    def _ready(self, queue: DeviceQueue) -> bool:
        """Whether its artifacts are there or known to fail, and no export will disturb it."""
        if any(self._supply.of(place) == SuppliedArtifact() for place in self._unfinished(queue)):
            return False
        own = self._monitor.serving.get(queue.resource, {}).keys()
        exporting = self._monitor.serving.get(messages.MEMORY, {}).keys() if self._supply.exporting else set[str]()
        return queue.surveyed.device.link != "local" or not own & exporting

    def _prepare(self, queue: DeviceQueue) -> None:
        """Have its engines built; then fill its rows, and ask its worker which artifacts it lacks."""
        to_build = self._supply.to_build(queue.surveyed, self._unfinished(queue))
        if to_build:
            queue.state = "building"
            queue.pending = {digest_of(artifact) for artifact in to_build}
            for artifact in to_build:
                self._build(queue, artifact)
            return
        for place in queue.places:
            supplied = self._supply.of(place)
            row, case, protocol = self.rows[place], self._cases[place], self.rows.frame.protocol
            fill_row(row, case, queue.surveyed, protocol, supplied.artifact, supplied.error)
        self.rows.check_resumed(queue.places)
        self.rows.save()
        digests = self.rows.digests(queue.places)
        if not digests:
            queue.state = "ended"
            return
        queue.state = "checking"
        self._submit(queue, "ask", tasks.missing_artifacts, (digests,), partial(self._on_missing, queue))

    def _build(self, queue: DeviceQueue, graph: Artifact) -> None:
        arguments = (digest_of(graph), queue.device, queue.lock_wait_s)
        self._submit(queue, "build", tasks.build_engine, arguments, partial(self._on_built, queue, graph))

    def _on_built(self, queue: DeviceQueue, graph: Artifact, result: TaskResult) -> None:
        """The device has built an engine, or its worker's host lacks the graph."""
        missing = self._supply.on_built(queue.device, graph, result)
        if missing is not None:
            self._dispatch.deliver(graph, digest_of(graph), missing, partial(self._on_graph_sent, queue, graph))
        elif queue.finish(digest_of(graph)) and queue.state == "building":
            queue.state = "waiting"

    def _on_graph_sent(self, queue: DeviceQueue, graph: Artifact, error: VitdeployError | None, retry: bool) -> None:
        del retry
        if queue.state != "building":
            return
        if error is None:
            self._build(queue, graph)
            return
        self._supply.refused(queue.device, graph, error)
        if queue.finish(digest_of(graph)):
            queue.state = "waiting"

    def _on_missing(self, queue: DeviceQueue, result: TaskResult) -> None:
        if (error := error_of(result)) is not None:
            self._end(queue, error)
            return
        assert isinstance(result.value, MissingArtifacts)
        queue.deliveries += 1
        queue.state = "sending"
        queue.pending = set(result.value.digests)
        for digest in result.value.digests:
            self._send(result.value, digest, partial(self._on_sent, queue, digest))
        if not queue.pending:
            self._take_trials(queue)

    def _on_sent(self, queue: DeviceQueue, digest: str, error: VitdeployError | None, retry: bool) -> None:
        if queue.state != "sending":
            return
        queue.pending.discard(digest)
        if error is not None and retry and queue.deliveries < MOST_DELIVERIES:
            queue.state = "waiting"
        elif error is not None:
            for place in queue.places:
                if self.rows[place].manifest_sha256 == digest:
                    self._fail(place, error)
        if queue.state == "sending" and not queue.pending:
            self._take_trials(queue)

    def _send(self, missing: MissingArtifacts, digest: str, then: OnDelivered) -> None:
        self._dispatch.deliver(self.rows.artifact(digest), digest, missing, then)

    # Trials

    def _take_trials(self, queue: DeviceQueue) -> None:
        slots = [slot for place in queue.places if self.rows.is_open(place) for slot in self.rows.missing(place)]
        queue.state = "running" if slots else "ended"
        queue.pending = {slot.id for slot in slots}
        for slot in sorted(slots, key=lambda slot: slot.order):
            self._submit_trial(queue, slot)

    def _submit_trial(self, queue: DeviceQueue, slot: TrialSlot) -> None:
        task = device_queue.trial_task(queue, slot, self.rows[slot.place], self.rows.frame.protocol)
        handler = partial(self._on_trial_result, queue, slot)
        self._submit(queue, "trial", self._take, (task,), handler, name=slot.id, priority=-slot.order)

    def _on_trial_result(self, queue: DeviceQueue, slot: TrialSlot, result: TaskResult) -> None:
        row = self.rows[slot.place]
        match result.value:
            case Trial() as trial:
                if self.rows.add(slot.place, trial):
                    words = f"{row.job.case.name} on {row.job.case.device}"
                    self._on_trial(self.rows.finished, self.rows.total, words)
            case MissingArtifacts() as missing:  # another host serves the device now
                assert row.manifest_sha256 is not None, "a row that runs has an artifact"
                self._send(missing, row.manifest_sha256, partial(self._retry, queue, slot))
                return
            case DeviceChanged(facts=facts):
                self._end(queue, device_queue.device_changed(queue, facts))
                return
            case PermanentError(error=error):
                self._fail(slot.place, error)
            case _:
                error = result.error or DeviceError("a worker sent no answer", "Look at its log.")
                lost = LostTrial(message=f"{slot.name}: {error.message}", hint=error.hint)
                case_trials.add_trial(row, slot.id, lost, self.rows.frame.protocol)
                self._progress(f"{row.job.case.name} on {queue.device}, {slot.name} was lost: {error.message}")
                if row.error is not None:
                    self._fail(slot.place, row.error)
        self.rows.changed = True
        if queue.finish(slot.id) and queue.state == "running":
            queue.state = "ended"

    def _retry(self, queue: DeviceQueue, slot: TrialSlot, error: VitdeployError | None, retry: bool) -> None:
        del retry
        if queue.state != "running" or slot.id not in queue.pending:
            return
        if error is None:
            self._submit_trial(queue, slot)
        else:
            self._on_trial_result(queue, slot, TaskResult(key="", error=error))

    # Ends

    def _fail(self, place: int, error: VitdeployError) -> None:
        """A row has failed for good: its trials that wait are not started."""
        self.rows[place].error = error
        queue = self._queues[self._cases[place].device]
        waiting = {slot.id for slot in self.rows.missing(place)} & queue.pending
        queue.pending -= waiting
        self._dispatch.cancel(*(f"trial-{trial_id}-" for trial_id in waiting))
        if queue.state == "running" and not queue.pending:
            queue.state = "ended"
        self.rows.changed = True

    def _end(self, queue: DeviceQueue, error: VitdeployError) -> None:
        """The device is gone: its rows that lack trials have failed, the other devices go on."""
        self._progress(f"no more trials on {queue.device}: {error.message}")
        queue.state = "ended"
        queue.pending.clear()
        for place in queue.places:
            if self.rows.is_open(place):
                self.rows[place].error = error
        trials = (f"trial-{self.rows.frame.id}/{place}/" for place in queue.places)
        self._dispatch.cancel(*trials, *(f"{verb}-{queue.device}-" for verb in ("survey", "build", "ask")))
        self.rows.changed = True

    def _open_queues(self) -> list[DeviceQueue]:
        return [queue for queue in self._queues.values() if queue.state != "ended"]

    def _unfinished(self, queue: DeviceQueue) -> list[int]:
        return [place for place in queue.places if self.rows.missing(place)]

    def _submit(
        self,
        queue: DeviceQueue,
        verb: str,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        handler: Callable[[TaskResult], None],
        *,
        name: str | None = None,
        priority: int = 1,
    ) -> None:
        """Have the worker that serves a device do something, alone."""
        self._dispatch.submit(
            f"{verb}-{name or queue.device}-",
            function,
            arguments,
            handler,
            resources={queue.resource: 1.0},
            priority=priority,
            retries=self._plan.retries,
        )
