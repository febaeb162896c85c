"""Published parameter counts and multiply-accumulates, as printed, for the catalogue table and the tests of models.

``published_counts.toml`` beside this file holds them with their sources.
"""

from pathlib import Path
from typing import Final

import msgspec

from vitdeploy.catalog.spec import Size


class Published(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is printed about one model at one resolution."""

    model: str
    size: Size
    parameters_m: str | None = None
    """In millions, in the digits printed; None: not printed."""
    macs_g: str | None = None
    """In billions, in the digits printed; None: not printed for this size."""
    parameters_differ: str | None = None
    """Why a right count does not give the printed parameters; None: it does."""
    macs_differ: str | None = None
    """Why a right count does not give the printed MACs; None: it does."""


PUBLISHED: Final = msgspec.toml.decode(
    Path(__file__).with_suffix(".toml").read_bytes(), type=dict[str, tuple[Published, ...]]
)["counts"]
"""Every printed count of a model that is here."""


def of(model: str, size: Size) -> Published | None:
    """What is printed about ``model`` at ``size``."""
    return next((row for row in PUBLISHED if (row.model, row.size) == (model, size)), None)
