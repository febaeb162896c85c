"""What `export` is asked for: the options of one call, beside its models."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitdeploy.catalog.variant import Variant

PREPROCESSING = ("mean", "std", "scale", "channel_order")
"""The options of a request that are fields of `Preprocessing`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRequest:
    """The options of `export`, beside the models; texts are checked when it is planned."""

    target: str
    size: str | None = None
    batch: int = 1
    weights: Path | None = None
    """A file, or `official.OFFICIAL`: the official checkpoint of each model."""
    accept_licence: bool = False
    """Of official weights, where their licence restricts commercial use or is missing."""
    weights_key: str | None = None
    """Name of the state dict in ``weights``; None: the averaged one, else the raw one."""
    weights_sha256: str | None = None
    """Digest of ``weights``, where the caller has read them already."""
    attention: str | None = None
    """None: the first that each model has."""
    head: str = "logits"
    io: str = "fp32"
    mean: str | Sequence[float] | None = None
    std: str | Sequence[float] | None = None
    scale: str | float | None = None
    channel_order: str | None = None
    """How 8-bit pixels become the input: as `Preprocessing`; None: as the model has it."""
    converter: str | None = None
    without: tuple[str, ...] = ()
    tune: bool = False
    """Choose the rewrites by timing, on the device that is named or here."""
    cpu: str | None = None
    """None: that of the device, else this machine's."""
    compute_capability: str | None = None
    device: str | None = None
    out: Path = Path("artifacts")
    force: bool = False

    @classmethod
    def of(cls, variant: Variant, **options: Any) -> "ExportRequest":
        """The request for a variant of the model `Variant.full_model`, under its default weights."""
        given = variant.preprocessing
        return cls(
            target=variant.target,
            size=variant.size_words,
            batch=variant.batch,
            attention=variant.attention,
            head=variant.head,
            io=variant.io,
            weights_key=variant.weights_key if options.get("weights") else None,
            **({name: getattr(given, name) for name in PREPROCESSING} if given else {}),
            **options,
        )
