"""Evaluations in shards: shards given to a pool, kept as they come, and collected into one evaluation.

Shards run where the device is served; those of fp32 torch wherever there is memory. A shard is a file before it
counts, so that a restart submits the missing ones only.
"""

import dataclasses
import hashlib
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vitdeploy.api import evaluate, evaluate_reference
from vitdeploy.api.evaluate_images import ShardReply
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.catalog import fact_table
from vitdeploy.errors import DeviceError, VitdeployError
from vitdeploy.evaluation.request import EvalOutcome, EvalRequest
from vitdeploy.fleet import messages, shards, tasks
from vitdeploy.fleet.dispatch import LOOK_EVERY_S, Dispatch, ResourceMonitor, error_of
from vitdeploy.fleet.messages import MissingArtifacts, Pool, PoolLost, TaskResult
from vitdeploy.fleet.plan import EvalJob, SweepPlan
from vitdeploy.fleet.shards import ShardFiles, ShardRecords, ShardTask
from vitdeploy.fleet.tasks import digest_of
from vitdeploy.processes.progress import OnTrial

REFERENCE_DEVICE = "local"
PARTS = "parts"
"""The folder, within that of the evaluations, of shards of evaluations that are not whole yet."""


@dataclass(slots=True, kw_only=True)
class ShardGroup:
    """All shards of one model's evaluation on one device; fp32 torch is a group of its own, which several share."""

    words: str
    key: str
    artifacts: tuple[Artifact, ...]
    request: EvalRequest
    count: int
    resource: str
    amount: float
    parts: ShardFiles
    pending: set[int] = field(default_factory=set[int])
    error: VitdeployError | None = None

    @property
    def open(self) -> bool:
        """Whether something is still to come."""
        return self.error is None and bool(self.pending)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenEvaluation:
    """One evaluation of the plan, and its groups of shards."""

    job: EvalJob
    own: ShardGroup
    reference: ShardGroup | None
    why_not: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationResult:
    """The outcome of one evaluation of the plan, or its error."""

    words: str
    outcome: EvalOutcome | None
    error: VitdeployError | None


class ShardedEvaluations:
    """The evaluations of a sweep under way."""

    def __init__(
        self,
        plan: SweepPlan,
        jobs: Sequence[EvalJob],
        pool: Pool,
        *,
        run_id: str,
        folder: Path,
        runs: tuple[Path, ...],
        progress: Callable[[str], None],
        on_shard: OnTrial,
    ) -> None:
        self._plan, self._pool, self._run_id, self._folder = plan, pool, run_id, folder
        self._runs, self._progress, self._on_shard = runs, progress, on_shard
        self._dispatch = Dispatch(pool, progress)
        self._monitor = ResourceMonitor(pool, plan.wait_s)
        self._claim = plan.export_memory_gib * messages.GIB
        self._references: dict[str, ShardGroup] = {}
        self._evaluations = [self._opened(job) for job in jobs]
        self._groups = [*(evaluation.own for evaluation in self._evaluations), *self._references.values()]
        self.total = sum(group.count for group in self._groups)

    @property
    def found(self) -> int:
        """Shards that are there from an earlier, interrupted sweep, or done by now."""
        return self.total - sum(len(group.pending) for group in self._groups)

    def run(self) -> list[EvaluationResult]:
        """Have every missing part evaluated, and make an evaluation of each that is whole.

        Raises:
            UnreadableFile: a part cannot be written.
            DeviceError: the scheduler is gone and does not come back.
        """
        self._submit_all()
        while any(group.open for group in self._groups):
            try:
                self._dispatch.hear()
                self._dispatch.now_and_then("look", LOOK_EVERY_S, self._end_unserved)
            except PoolLost as lost:  # noqa: PERF203 (lost once in hours)
                self._dispatch.find_again(lost, self._plan.wait_s)
                self._monitor.begin_anew()
                self._submit_all()
        results = [self._collect(evaluation) for evaluation in self._evaluations]
        if not any(group.pending for group in self._groups):
            self._pool.tell_all(tasks.remove_trials, self._run_id)
            shutil.rmtree(self._folder / PARTS, ignore_errors=True)
        return results

    def _opened(self, job: EvalJob) -> OpenEvaluation:
        request = dataclasses.replace(job.request, runs=self._runs)
        own = self._group(job.words, job.artifacts, request, job.count, messages.resource(job.request.device), 1.0)
        if not job.request.reference:
            return OpenEvaluation(job=job, own=own, reference=None, why_not=None)
        try:
            torches = evaluate_reference.reference_artifacts(job.artifacts, request, self._progress)
        except VitdeployError as error:
            return OpenEvaluation(job=job, own=own, reference=None, why_not=f"{error.message}. {error.hint}")
        local = dataclasses.replace(request, device=REFERENCE_DEVICE, threads=None, runs=(), weights=None)
        words = f"{torches[0].manifest.model} {torches[0].manifest.target} {job.request.dataset}"
        group = self._group(words, torches, local, job.count, messages.MEMORY, self._claim)
        return OpenEvaluation(job=job, own=own, reference=self._references.setdefault(group.key, group), why_not=None)

    def _group(
        self,
        words: str,
        artifacts: tuple[Artifact, ...],
        request: EvalRequest,
        count: int,
        resource: str,
        amount: float,
    ) -> ShardGroup:
        digests = [digest_of(artifact) for artifact in artifacts]
        request = dataclasses.replace(request, runs=(), out=None, weights=None)
        key = hashlib.sha256(repr((digests, request, count)).encode()).hexdigest()[:12]
        parts = ShardFiles(self._folder / PARTS / key, count)
        return ShardGroup(
            words=words,
            key=key,
            artifacts=artifacts,
            request=request,
            count=count,
            resource=resource,
            amount=amount,
            parts=parts,
            pending=set(parts.missing()),
        )

    def _submit_all(self) -> None:
        for group in self._groups:
            for index in sorted(group.pending) if group.error is None else ():
                self._submit(group, index)

    def _submit(self, group: ShardGroup, index: int) -> None:
        task = ShardTask(
            run_id=self._run_id,
            key=group.key,
            index=index,
            count=group.count,
            digests=tuple(digest_of(artifact) for artifact in group.artifacts),
            request=group.request,
            lock_wait_s=self._plan.lock_wait_s,
        )
        self._dispatch.submit(
            f"shard-{group.key}-{index}",
            shards.evaluate_task,
            (task,),
            lambda result: self._on_result(group, index, result),
            resources={group.resource: group.amount},
            priority=-index,
            retries=self._plan.retries,
        )

    def _on_result(self, group: ShardGroup, index: int, result: TaskResult) -> None:
        if isinstance(result.value, MissingArtifacts):
            self._deliver(group, index, result.value)
            return
        error = error_of(result)
        if error is None and not isinstance(result.value, ShardRecords):
            error = DeviceError("a worker sent no answer", "Look at its log.")
        if error is not None:
            self._fail(group, error)
            return
        group.parts.keep(index, result.value)
        group.pending.discard(index)
        self._on_shard(self.found, self.total, group.words)

    def _deliver(self, group: ShardGroup, index: int, missing: MissingArtifacts) -> None:
        """Send a host what it lacks, one after another, and submit the shard again."""
        lacking = [artifact for artifact in group.artifacts if digest_of(artifact) in missing.digests]

        def sent(error: VitdeployError | None, retry: bool) -> None:
            if group.error is not None:
                return
            if error is not None and not retry:
                self._fail(group, error)
            elif error is None and lacking:
                artifact = lacking.pop()
                self._dispatch.deliver(artifact, digest_of(artifact), missing, sent)
            else:
                self._submit(group, index)

        sent(None, True)

    def _fail(self, group: ShardGroup, error: VitdeployError) -> None:
        self._progress(f"no more shards of {group.words}: {error.message}")
        group.error = error
        self._dispatch.cancel(f"shard-{group.key}-")

    def _end_unserved(self) -> None:
        """End what no worker serves any more."""
        waiting = [group for group in self._groups if group.open]
        for name, error in self._monitor.absent(
            {group.resource: group.amount for group in waiting}, "run torch"
        ).items():
            for group in waiting:
                if group.resource == name:
                    self._fail(group, error)

    def _collect(self, evaluation: OpenEvaluation) -> EvaluationResult:
        """One evaluation of all parts; a reference that failed is a reason in it."""
        words, own, reference = evaluation.job.words, evaluation.own, evaluation.reference
        if own.error is not None:
            return EvaluationResult(words=words, outcome=None, error=own.error)
        why_not = evaluation.why_not
        if reference is not None and reference.error is not None:
            why_not, reference = f"{reference.error.message}. {reference.error.hint}", None
        out = self._folder / f"{evaluation.job.name}-{own.key[:6]}.json"
        try:
            outcome = evaluate.collect(
                [artifact.folder for artifact in own.artifacts],
                dataclasses.replace(own.request, runs=self._runs, out=out),
                own.parts.paths(),
                reply=_same(own),
                references=reference.artifacts if reference else (),
                reference_parts=reference.parts.paths() if reference else (),
                why_not=why_not,
            )
        except VitdeployError as error:
            return EvaluationResult(words=words, outcome=None, error=error)
        return EvaluationResult(words=words, outcome=outcome, error=outcome.error)


def _same(group: ShardGroup) -> ShardReply:
    """What evaluated the parts, which has to be one machine.

    Raises:
        DeviceError: parts came from different ones.
    """
    first, *others = group.parts.replies()
    for other in others:
        for key in sorted(first.facts.keys() & other.facts.keys()):  # a part that was found result tells less
            if not fact_table.same(key, first.facts[key], other.facts[key]):
                raise DeviceError(
                    f"device facts of {group.request.device} differ: {key} was {first.facts[key]!r}, "
                    f"is {other.facts[key]!r}",
                    "Let one machine serve one device, and begin a new sweep.",
                )
        first.facts.update(other.facts)
    return first
