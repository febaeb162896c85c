"""`verify`: the lineage of a run or an artifact, checked again; with `deep`, the parity too."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vitdeploy.api import project
from vitdeploy.artifacts import store
from vitdeploy.artifacts.manifest import Artifact, Parity
from vitdeploy.catalog.shown import Shown
from vitdeploy.errors import Impossible, ParityFailed, UnreadableFile, VitdeployError
from vitdeploy.exporters import pipeline
from vitdeploy.results import lineage
from vitdeploy.results.lineage import Link


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class VerifyOutcome(Shown):
    """The links of a lineage, and the error of the first that is broken."""

    shown_by: ClassVar = "vitdeploy.cli.compare:verify_output"
    path: Path
    links: tuple[Link, ...]
    error: VitdeployError | None


def verify_plan(path: Path, *, deep: bool = False) -> list[str]:
    """What `verify` would do."""
    kind = "run" if lineage.is_run(path) else "artifact"
    plan = [f"re-check every digest behind the {kind} {path}: files, manifests, parents, weights, commit"]
    if deep:
        plan.append("make each model again from its seed or checkpoint, and measure the parity of its file")
    return plan


def verify(
    path: Path, *, artifacts: Path | None = None, weights: Path | None = None, deep: bool = False
) -> VerifyOutcome:
    """Re-check the lineage of a run or an artifact; nothing is changed.

    Args:
        path: the run, or the artifact's folder, manifest or file.
        artifacts: where to look for artifacts, beside the store; None: the default folder.
        weights: the checkpoint that they were exported from.
        deep: measure the parity again too, with the model made from its seed or from ``weights``. An artifact of which
            that cannot be done is an error.

    Raises:
        UnreadableFile: it is neither.
    """
    places = [artifacts or project.load().path_of("out") or Path("artifacts"), path.parent, store.default_root()]
    links = (lineage.of_run if lineage.is_run(path) else lineage.of_artifact)(path, places, weights)
    broken = next((link for link in links if link.state == "changed"), None)
    error: VitdeployError | None = None
    if broken is not None:
        error = UnreadableFile(f"{broken.of}, {broken.what}: {broken.said}", "Do not quote this figure.")
    elif deep:
        proofs = [_proven(name, artifact, weights) for name, artifact in lineage.artifacts_behind(path, places)]
        links += [link for link, _ in proofs]
        errors = [error for _, error in proofs if error is not None]
        error = next((error for error in errors if isinstance(error, ParityFailed)), next(iter(errors), None))
    return VerifyOutcome(path=path, links=tuple(links), error=error)


def _proven(name: str, artifact: Artifact, weights: Path | None) -> tuple[Link, VitdeployError | None]:
    """The parity of an artifact, measured again, with its error where it failed or could not be measured."""
    what, manifest = "parity", artifact.manifest
    if manifest.parity_skipped is not None:
        error = Impossible(
            f"the parity of {artifact.folder} cannot be measured here: {manifest.parity_skipped}",
            "Leave --deep out, or verify it on its device.",
        )
        return Link(name, what, "not here", error.message), error
    try:
        parity, failed = pipeline.prove(artifact, weights=weights, images=None)
    except VitdeployError as error:
        return Link(name, what, "not here", error.message), error
    made = f"with {manifest.weights.words}, made again"
    recorded = "none" if manifest.parity is None else _words(manifest.parity)
    return Link(name, what, "failed" if failed else "ok", f"{_words(parity)} {made}; recorded: {recorded}"), failed


def _words(parity: Parity) -> str:
    value = parity.metric.value
    figure = "" if value is None else f", {parity.metric.name} {value:.6g} (at least {parity.metric.floor:g})"
    error = "" if parity.error_std is None else f", largest error {parity.error_std:.2g} deviations"
    return ("passed" if parity.passed else f"failed: {parity.reason}") + figure + error
