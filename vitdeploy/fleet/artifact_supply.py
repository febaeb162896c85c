"""Artifacts of a sweep's rows: named in the plan, kept from before, exported by a worker, or built by the device."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.catalog.variant import Variant
from vitdeploy.errors import VitdeployError
from vitdeploy.exporters.engines import remote_build
from vitdeploy.fleet import messages, tasks
from vitdeploy.fleet.dispatch import Dispatch, error_of
from vitdeploy.fleet.messages import ArtifactFiles, DeviceSurvey, MissingArtifacts, TaskResult
from vitdeploy.fleet.plan import SweepCase, SweepPlan
from vitdeploy.fleet.tasks import digest_of
from vitdeploy.results.record import Run


@dataclass(frozen=True, slots=True)
class SuppliedArtifact:
    """A row's artifact, or why there is none; neither: it is not known yet."""

    artifact: Artifact | None = None
    error: VitdeployError | None = None


class ArtifactSupply:
    """The artifacts of a sweep."""

    def __init__(
        self,
        plan: SweepPlan,
        cases: Sequence[SweepCase],
        out: Dispatch,
        *,
        artifacts: Path,
        earlier: Run | None,
        progress: Callable[[str], None],
    ) -> None:
        self._plan, self._cases, self._out = plan, cases, out
        self._artifacts, self._progress = artifacts, progress
        self._kept = {case.place: artifact for case in cases if (artifact := self._at_hand(case, earlier)) is not None}
        self._exports: dict[Variant, SuppliedArtifact] = {}
        self._engines: dict[tuple[str, str], SuppliedArtifact] = {}
        self.claim_bytes = plan.export_memory_gib * messages.GIB

    def begin(self, places: Sequence[int]) -> None:
        """Have exported what these rows lack."""
        for place in places:
            variant = variant_of(self._cases[place])
            if variant is not None and place not in self._kept and variant not in self._exports:
                self._exports[variant] = SuppliedArtifact()
                self._submit(variant)

    def begin_anew(self) -> None:
        """Have exported what was being exported when the scheduler went."""
        for variant in self.exporting:
            self._submit(variant)

    @property
    def exporting(self) -> list[Variant]:
        """Variants that are being exported."""
        return [variant for variant, supplied in self._exports.items() if supplied == SuppliedArtifact()]

    def give_up(self, error: VitdeployError) -> None:
        """Nobody exports any more: what was to be exported is not."""
        self._out.cancel("make-")
        self._exports |= dict.fromkeys(self.exporting, SuppliedArtifact(error=error))

    def of(self, place: int) -> SuppliedArtifact:
        """What a row is to be timed with; an engine where its device has built one."""
        case = self._cases[place]
        if (artifact := self._kept.get(place)) is not None:
            return SuppliedArtifact(artifact)
        variant = variant_of(case)
        supplied = (
            self._exports.get(variant, SuppliedArtifact()) if variant else SuppliedArtifact(case.planned.artifact)
        )
        if supplied.artifact is not None and supplied.artifact.manifest.state == "deferred":
            return self._engines.get((case.device, digest_of(supplied.artifact)), supplied)
        return supplied

    def to_build(self, survey: DeviceSurvey, places: Sequence[int]) -> list[Artifact]:
        """What these rows need built by their device; an engine that lies beside its graph needs no building."""
        device, missing = survey.device, dict[str, Artifact]()
        for place in places:
            artifact = self.of(place).artifact
            if (
                artifact is None
                or artifact.manifest.state != "deferred"
                or artifact.manifest.target not in device.targets
            ):
                continue
            digest, facts = digest_of(artifact), DeviceFacts(survey.facts)
            try:
                if remote_build.needs_build(device, facts, artifact):
                    engine = remote_build.stored_engine(artifact, device, facts)
                    if engine is None:
                        missing[digest] = artifact
                    else:
                        self._engines[device.name, digest] = SuppliedArtifact(engine)
            except VitdeployError as error:
                self._engines[device.name, digest] = SuppliedArtifact(error=error)
        return list(missing.values())

    def on_built(self, device: str, artifact: Artifact, result: TaskResult) -> MissingArtifacts | None:
        """Take what a device answered to the order to build; or say who lacks the graph and has to be asked again."""
        if isinstance(result.value, MissingArtifacts):
            return result.value
        self._engines[device, digest_of(artifact)] = supplied = self._unpacked(
            result, remote_build.engine_folder(artifact, device)
        )
        if supplied.artifact is not None:
            remote_build.store_engine(supplied.artifact, device)
            self._progress(f"{device} built {artifact.manifest.model} {artifact.manifest.target}")
        return None

    def refused(self, device: str, artifact: Artifact, error: VitdeployError) -> None:
        """The device could not be sent what it is to build."""
        self._engines[device, digest_of(artifact)] = SuppliedArtifact(error=error)

    def _submit(self, variant: Variant) -> None:
        self._out.submit(
            f"make-{variant.words.replace(' ', '_')}",
            tasks.export_artifact,
            (variant,),
            lambda result: self._on_exported(variant, result),
            resources={messages.MEMORY: self.claim_bytes},
            retries=1,
        )

    def _on_exported(self, variant: Variant, result: TaskResult) -> None:
        files = result.value
        folder = self._artifacts / files.folder if isinstance(files, ArtifactFiles) else self._artifacts
        self._exports[variant] = supplied = self._unpacked(result, folder)
        if supplied.error is not None:
            self._progress(f"{variant.words} was not made: {supplied.error.message}")
        elif isinstance(files, ArtifactFiles):
            mib = files.size_bytes / 2**20
            self._progress(f"{variant.words} made in {files.seconds:.1f} s, {mib:.1f} MiB")

    def _unpacked(self, result: TaskResult, folder: Path) -> SuppliedArtifact:
        """The artifact that a worker sent, written into ``folder``."""
        if (error := error_of(result)) is not None:
            return SuppliedArtifact(error=error)
        assert isinstance(result.value, ArtifactFiles)
        try:
            return SuppliedArtifact(tasks.unpack(result.value, folder))
        except VitdeployError as failure:
            return SuppliedArtifact(error=failure)

    def _at_hand(self, case: SweepCase, earlier: Run | None) -> Artifact | None:
        """On a resumed sweep: the very artifact that was timed, if it lies here still."""
        if earlier is None or case.planned.artifact is not None:
            return None
        return tasks.find_artifact(self._artifacts, earlier.results[case.place].manifest_sha256)


def variant_of(case: SweepCase) -> Variant | None:
    """What has to be exported for a row; None where its artifact was named."""
    return case.planned.variant if case.planned.artifact is None else None
