"""`verify`: the lineage of a run or an artifact, checked again."""

from dataclasses import dataclass
from pathlib import Path

from vitdeploy.artifacts import store
from vitdeploy.errors import UnreadableFile, VitdeployError
from vitdeploy.results import lineage
from vitdeploy.results.lineage import Link


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOutcome:
    """The links of a lineage, and the error of the first that is broken."""

    path: Path
    links: tuple[Link, ...]
    error: VitdeployError | None


def verify_plan(path: Path) -> list[str]:
    """What `verify` would do."""
    kind = "run" if lineage.is_run(path) else "artifact"
    return [f"re-check every digest behind the {kind} {path}: files, manifests, parents, weights, commit"]


def verify(path: Path, *, artifacts: Path = Path("artifacts"), weights: Path | None = None) -> VerifyOutcome:
    """Re-check the lineage of a run or an artifact; nothing is changed.

    Raises:
        UnreadableFile: it is neither.
    """
    places = [artifacts, path.parent, store.default_root()]
    links = (lineage.of_run if lineage.is_run(path) else lineage.of_artifact)(path, places, weights)
    broken = next((link for link in links if link.state == "changed"), None)
    error = None
    if broken is not None:
        error = UnreadableFile(f"{broken.of}, {broken.what}: {broken.said}", "Do not quote this figure.")
    return VerifyOutcome(path=path, links=tuple(links), error=error)
