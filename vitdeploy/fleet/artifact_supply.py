"""Where each row's artifact comes from: it was named, lies there, is exported by a worker, or its device builds it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.errors import VitdeployError
from vitdeploy.exporters.engines import remote_build
from vitdeploy.fleet import device_queue, messages, tasks
from vitdeploy.fleet.dispatch import Dispatch, error_of
from vitdeploy.fleet.messages import ArtifactFiles, DeviceSurvey, ExportTask, MissingArtifacts, TaskResult
from vitdeploy.fleet.plan import SweepCase, SweepPlan
from vitdeploy.fleet.tasks import digest_of
from vitdeploy.results.record import Run


@dataclass(frozen=True, slots=True)
class SuppliedArtifact:
    """A row's artifact, or why there is none; neither: it is not known yet."""

    made: Artifact | None = None
    error: VitdeployError | None = None


class ArtifactSupply:
    """The artifacts of a sweep."""

    def __init__(
        self,
        plan: SweepPlan,
        wanted: Sequence[SweepCase],
        out: Dispatch,
        *,
        artifacts: Path,
        earlier: Run | None,
        progress: Callable[[str], None],
    ) -> None:
        self._plan, self._wanted, self._out = plan, wanted, out
        self._artifacts, self._progress = artifacts, progress
        self._kept = {one.place: found for one in wanted if (found := self._at_hand(one, earlier)) is not None}
        self._makes: dict[ExportTask, SuppliedArtifact] = {}
        self._engines: dict[tuple[str, str], SuppliedArtifact] = {}
        self.claim_bytes = plan.export_memory_gib * messages.GIB

    def begin(self, places: Sequence[int]) -> None:
        """Have exported what these rows lack."""
        for place in places:
            make = device_queue.export_task(self._wanted[place])
            if make is not None and place not in self._kept and make not in self._makes:
                self._makes[make] = SuppliedArtifact()
                self._submit(make)

    def begin_anew(self) -> None:
        """Have exported what was being exported when the scheduler went."""
        for make in self.making:
            self._submit(make)

    @property
    def making(self) -> list[ExportTask]:
        """What is being exported."""
        return [make for make, got in self._makes.items() if got == SuppliedArtifact()]

    def give_up(self, error: VitdeployError) -> None:
        """Nobody exports any more: what was to be made is not."""
        self._out.cancel("make-")
        self._makes |= dict.fromkeys(self.making, SuppliedArtifact(error=error))

    def of(self, place: int) -> SuppliedArtifact:
        """What a row is to be timed with; an engine where its device has built one."""
        one = self._wanted[place]
        if (kept := self._kept.get(place)) is not None:
            return SuppliedArtifact(kept)
        make = device_queue.export_task(one)
        got = self._makes.get(make, SuppliedArtifact()) if make else SuppliedArtifact(one.planned.artifact)
        if got.made is not None and got.made.manifest.state == "deferred":
            return self._engines.get((one.device, digest_of(got.made)), got)
        return got

    def to_build(self, surveyed: DeviceSurvey, places: Sequence[int]) -> list[Artifact]:
        """What these rows need built by their device; an engine that lies beside its graph needs no building."""
        device, missing = surveyed.device, dict[str, Artifact]()
        for place in places:
            made = self.of(place).made
            if made is None or made.manifest.state != "deferred" or made.manifest.target not in device.targets:
                continue
            digest, facts = digest_of(made), DeviceFacts(surveyed.facts)
            try:
                if remote_build.wanted(device, facts, made):
                    kept = remote_build.there_already(made, device, facts)
                    if kept is None:
                        missing[digest] = made
                    else:
                        self._engines[device.name, digest] = SuppliedArtifact(kept)
            except VitdeployError as error:
                self._engines[device.name, digest] = SuppliedArtifact(error=error)
        return list(missing.values())

    def built(self, device: str, made: Artifact, done: TaskResult) -> MissingArtifacts | None:
        """Take what a device answered to the order to build; or say who lacks the graph and has to be asked again."""
        if isinstance(done.value, MissingArtifacts):
            return done.value
        self._engines[device, digest_of(made)] = got = self._taken(done, remote_build.place_of(made, device))
        if got.made is not None:
            remote_build.keep(got.made, device)
            self._progress(f"{device} built {made.manifest.model} {made.manifest.target}")
        return None

    def refused(self, device: str, made: Artifact, error: VitdeployError) -> None:
        """The device could not be sent what it is to build."""
        self._engines[device, digest_of(made)] = SuppliedArtifact(error=error)

    def _submit(self, make: ExportTask) -> None:
        self._out.submit(
            f"make-{make.words.replace(' ', '_')}",
            tasks.export_artifact,
            (make,),
            lambda done: self._was_made(make, done),
            resources={messages.MEMORY: self.claim_bytes},
            retries=1,
        )

    def _was_made(self, make: ExportTask, done: TaskResult) -> None:
        bundle = done.value
        folder = self._artifacts / bundle.folder if isinstance(bundle, ArtifactFiles) else self._artifacts
        self._makes[make] = got = self._taken(done, folder)
        if got.error is not None:
            self._progress(f"{make.words} was not made: {got.error.message}")
        elif isinstance(bundle, ArtifactFiles):
            mib = bundle.size_bytes / 2**20
            self._progress(f"{make.words} made in {bundle.seconds:.1f} s, {mib:.1f} MiB")

    def _taken(self, done: TaskResult, folder: Path) -> SuppliedArtifact:
        """The artifact that a worker sent, written into ``folder``."""
        if (error := error_of(done)) is not None:
            return SuppliedArtifact(error=error)
        assert isinstance(done.value, ArtifactFiles)
        try:
            return SuppliedArtifact(tasks.unpack(done.value, folder))
        except VitdeployError as failure:
            return SuppliedArtifact(error=failure)

    def _at_hand(self, one: SweepCase, earlier: Run | None) -> Artifact | None:
        """On a resumed sweep: the very artifact that was timed, if it lies here still."""
        if earlier is None or one.planned.artifact is not None:
            return None
        return tasks.find_artifact(self._artifacts, earlier.results[one.place].manifest_sha256)
