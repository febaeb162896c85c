"""What identifies a file: which model, in which form, for which target; one value wherever files are compared.

Standard library only, and it does nothing. Records (manifests, cases, subjects) keep its fields flat and offer it as
``.variant``.
"""

from dataclasses import dataclass
from typing import Any, Final

from vitdeploy.catalog.preprocessing import Preprocessing
from vitdeploy.catalog.spec import Attention, Converter, Head, Io, Size

RANDOM: Final = "random:0"
"""The weights of a variant without a checkpoint: random ones of seed 0. Source: contract, "Commands"."""

RECORDED: Final = ("model", "part", "attention", "target", "size", "batch", "head", "io")
"""The fields that every record has under the same name; its weights are kept in a form of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """One form of one model for one target. Equal variants are the same file, as far as options decide it."""

    model: str
    part: str | None = None
    """Of a segment-anything model: ``encoder`` or ``decoder``; None: the whole model."""
    attention: Attention
    target: str
    size: Size
    batch: int = 1
    head: Head = "logits"
    io: Io = "fp32"
    weights: str = RANDOM
    """``random:SEED`` or ``sha256:…``."""
    converter: Converter | None = None
    """For targets that have several; None: the default one. Records do not keep it."""
    compute_capability: tuple[str, ...] = ()
    """What an engine is built for ahead of time; empty: all that the builder can. Records do not keep it."""
    weights_key: str | None = None
    """Name of the state dict in the checkpoint; None: the averaged one, else the raw one."""
    preprocessing: Preprocessing | None = None
    """Given by options; None: the model's own. A record keeps what was used."""
    without: tuple[str, ...] = ()
    """Default rewrites of the target that are left out. Records keep those that were applied."""

    @classmethod
    def of(cls, record: Any, weights: str) -> "Variant":
        """The variant of a record that has the fields of `RECORDED`."""
        return cls(**{name: getattr(record, name) for name in RECORDED}, weights=weights)

    @property
    def recorded(self) -> dict[str, Any]:
        """The fields of `RECORDED`, with which a record is made."""
        return {name: getattr(self, name) for name in RECORDED}

    @property
    def full_model(self) -> str:
        """``MODEL`` or ``MODEL.PART``: the name of its row in the model table."""
        return f"{self.model}.{self.part}" if self.part else self.model

    @property
    def size_words(self) -> str:
        """``HxW``."""
        return f"{self.size[0]}x{self.size[1]}"

    @property
    def words(self) -> str:
        """For plans and progress: ``efficientvit_b1 onnx-fp32 224x224``."""
        softmax = ["softmax"] * (self.attention == "softmax")
        batch = [f"b{self.batch}"] * (self.batch > 1)
        return " ".join([self.full_model, *softmax, self.target, self.size_words, *batch])
