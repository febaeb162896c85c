"""`weights`: the official checkpoints, what is known of each, and which lie in the cache."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vitdeploy.catalog import checkpoints, registry
from vitdeploy.catalog.checkpoints import Checkpoint
from vitdeploy.catalog.shown import Rows
from vitdeploy.models import weights_cache


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointRow:
    """One checkpoint, and where its file lies."""

    checkpoint: Checkpoint
    cached: Path | None
    """In the cache; None: not there."""


class CheckpointRows(Rows[CheckpointRow]):
    """Official checkpoints."""

    shown_by: ClassVar = "vitdeploy.cli.weights:rows_output"
    models: tuple[str, ...]
    """The models that were named; none: all."""

    def __new__(cls, models: Iterable[str], rows: Iterable[CheckpointRow]) -> "CheckpointRows":
        """Make it of any rows."""
        shown = super().__new__(cls, tuple(rows))
        shown.models = tuple(models)
        return shown


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
