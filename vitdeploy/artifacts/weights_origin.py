"""Where an artifact's parameters come from, as its manifest has it: random ones, or a file, which may be official."""

from pathlib import Path
from typing import Literal

import msgspec

from vitdeploy.catalog import checkpoint_identity
from vitdeploy.catalog.checkpoint_identity import Identity, Proof


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of everything here: immutable, and strict about what it does not know."""


class Official(_Record, frozen=True, kw_only=True):
    """The official checkpoint that a file of weights is, as the table had it."""

    checkpoint: str
    """Its name in the table."""
    title: str
    licence: str
    """Of the weights."""
    restriction: str | None = None
    """What the licence forbids; None: nothing that is known."""
    terms: str
    """Of the data that it was trained on."""
    proof: Proof
    """What tells that it is this one."""

    @classmethod
    def of(cls, identity: Identity) -> "Official | None":
        """Of an identified file; None where it is no official one."""
        row = identity.checkpoint
        if row is None or identity.proof is None:
            return None
        return cls(
            checkpoint=row.name,
            title=row.title,
            licence=row.licence,
            restriction=row.restriction,
            terms=row.terms,
            proof=identity.proof,
        )

    @property
    def words(self) -> str:
        """For tables: ``official, EfficientViT-Seg-B0 Cityscapes, Apache-2.0``."""
        limit = f" ({self.restriction})" if self.restriction else ""
        words = f"official, {self.title}, {self.licence}{limit}"
        return f"{words}; by its name alone: no digest is published" if self.proof == "name" else words


class Weights(_Record, frozen=True, kw_only=True):
    """Where the parameters come from."""

    source: Literal["random", "file"]
    seed: int | None = None
    sha256: str | None = None
    name: str | None = None
    official: Official | None = None
    """None: random ones, or a file that is no official checkpoint, as far as is known."""
    remark: str | None = None
    """That the file only bears the name of an official checkpoint."""
    key: str | None = None
    """Name of the state dict that was taken from the file; None: it is the whole file."""
    other_keys: tuple[str, ...] = ()
    """Names of those that were not."""

    @property
    def words(self) -> str:
        """For tables: ``random weights (seed 0)``, the official checkpoint, or the name of another file.

        With the name of the state dict where it was taken of several.
        """
        if self.source == "random":
            return f"random weights (seed {self.seed})"
        words = self.official.words if self.official else f"{self.name}"
        words += f" ({self.key})" if self.other_keys else ""
        return f"{words}, {self.remark}" if self.remark else words

    @property
    def identity(self) -> str:
        """As a variant has it: ``random:SEED`` or ``sha256:…``."""
        return f"random:{self.seed}" if self.source == "random" else f"sha256:{self.sha256}"


def identified(weights: Weights, path: Path) -> Weights:
    """The record of a checkpoint's weights with what the file is called, and which official one it is.

    Args:
        weights: with the digest of the file's bytes.
        path: the file as it was named.
    """
    size_bytes = path.stat().st_size if path.is_file() else None
    identity = checkpoint_identity.identify(path.absolute(), weights.sha256 or "", size_bytes)
    return msgspec.structs.replace(weights, name=path.name, official=Official.of(identity), remark=identity.remark)
