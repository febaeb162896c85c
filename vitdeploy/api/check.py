"""`check`: the parity of an artifact, measured again."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vitdeploy.api.devices import only_here
from vitdeploy.artifacts import manifest
from vitdeploy.artifacts.manifest import Manifest, Parity
from vitdeploy.catalog import registry
from vitdeploy.errors import Impossible, VitdeployError

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckOutcome:
    """The parity of an artifact, measured again."""

    folder: Path
    manifest: Manifest
    inputs: str
    parity: Parity
    error: VitdeployError | None
    trace: str | None = None
    """The first node that diverges in half precision, or that none does; None: it was not asked for."""


def check_plan(path: Path) -> list[str]:
    """What `check` would do."""
    found = manifest.open_artifact(path)
    return [f"run {found.file} on noise and photographs and hold it against torch fp32 {found.manifest.model}"]


def check(
    path: Path,
    *,
    images: Path | None = None,
    weights: Path | None = None,
    device: str | None = None,
    trace: bool = False,
) -> CheckOutcome:
    """Measure an artifact's parity again, on the user's images or the shipped ones.

    Raises:
        UnreadableFile: the artifact or the checkpoint is not what the manifest says.
        Impossible: the way asked for is not built in this version.
    """
    from vitdeploy.exporters import pipeline

    only_here("check", device)
    found = manifest.open_artifact(path)
    target = registry.find_target(found.manifest.target)
    if found.manifest.parity_skipped is not None:
        raise Impossible(f"{found.file} cannot be run here: {found.manifest.parity_skipped}", "Check it on its device.")
    if trace and target.precision not in ("fp16", "bf16"):
        raise Impossible(
            f"--trace looks for what 16 bits break, and {target.name} has more",
            "Leave --trace out.",
        )
    parity, error = pipeline.prove(found, weights=weights, images=images)
    first = registry.load("vitdeploy.exporters.half.on_rounded:trace")(found, images, weights) if trace else None
    return CheckOutcome(
        folder=found.folder,
        manifest=found.manifest,
        inputs=f"noise and the photographs {'in ' + str(images) if images else 'of scikit-image'}",
        parity=parity,
        error=error,
        trace=None if not trace else "no node diverges" if first is None else first.words,
    )
