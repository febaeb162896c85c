"""`verify`: the lineage of a run or an artifact, checked again."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vitdeploy.errors import UnreadableFile, VitdeployError
from vitdeploy.results import lineage

if TYPE_CHECKING:
    from vitdeploy.results.lineage import Link


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyOutcome:
    """The links of a chain, and the error of the first that is broken."""

    path: Path
    links: "tuple[Link, ...]"
    error: VitdeployError | None


def verify_plan(path: Path) -> list[str]:
    """What `verify` would do."""
    kind = "run" if lineage.is_run(path) else "artifact"
    return [f"re-check every digest behind the {kind} {path}: files, manifests, parents, weights, commit"]


def verify(path: Path, *, artifacts: Path = Path("artifacts"), weights: Path | None = None) -> VerifyOutcome:
    """Re-check the chain behind a run or an artifact; nothing is changed.

    Raises:
        UnreadableFile: it is neither.
    """
    from vitdeploy.artifacts import store

    places = [artifacts, path.parent, store.default_root()]
    links = (lineage.of_run if lineage.is_run(path) else lineage.of_artifact)(path, places, weights)
    changed = [link for link in links if link.state == "changed"]
    error = None
    if changed:
        error = UnreadableFile(f"{changed[0].of}, {changed[0].what}: {changed[0].said}", "Do not quote this figure.")
    return VerifyOutcome(path=path, links=tuple(links), error=error)
