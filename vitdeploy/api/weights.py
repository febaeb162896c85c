"""`weights`: the official checkpoints, what is known of each, and which lie in the cache."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vitdeploy.catalog import checkpoints, registry
from vitdeploy.catalog.checkpoints import Checkpoint
from vitdeploy.models import weights_cache


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRow:
    """One checkpoint, and where its file lies."""

    checkpoint: Checkpoint
    cached: Path | None
    """In the cache; None: not there."""


def weights(models: Sequence[str] = ()) -> list[CheckpointRow]:
    """The official checkpoints of models, their authors' own first; nothing is downloaded.

    Args:
        models: names of models; none: all models.

    Raises:
        UsageError: an unknown name.
    """
    if models:
        wanted = [row for name in models for row in checkpoints.checkpoints_of(registry.find_model(name).whole)]
    else:
        wanted = list(checkpoints.checkpoints().values())
    return [CheckpointRow(checkpoint=row, cached=weights_cache.cached_path(row)) for row in dict.fromkeys(wanted)]
