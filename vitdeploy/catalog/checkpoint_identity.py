"""Which official checkpoint a file is: by its bytes, and by its name where no digest of the checkpoint is published."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from vitdeploy.catalog import checkpoints
from vitdeploy.catalog.checkpoints import Checkpoint

Proof = Literal["digest", "first digits", "name"]
"""What tells that a file is a checkpoint; ``name``: nothing is published that its bytes could be held against."""

FROM_FILE = "sha256:"
"""How a variant names weights of a file; their digest follows."""

_SHOWN_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What is known of a file of weights."""

    checkpoint: Checkpoint | None = None
    """The official one that it is; None: it is none that is known."""
    proof: Proof | None = None
    remark: str | None = None
    """That it only bears the name of an official one."""


def identify(path: PurePath, sha256: str, size_bytes: int | None = None) -> Identity:
    """What a file of weights is.

    Args:
        path: where it lies, of which the name counts, and folders of the hub's cache.
        sha256: of its bytes.
        size_bytes: its length; None: not known.
    """
    official = checkpoints.recognised(sha256, size_bytes)
    if official is not None:
        return Identity(checkpoint=official, proof="digest" if official.sha256 else "first digits")
    namesakes = checkpoints.with_name(path)
    for named in namesakes:
        if named.is_digest(sha256) is None:
            return Identity(checkpoint=named, proof="name")
    return Identity(remark=_remark(namesakes[0], sha256)) if namesakes else Identity()


def of_weights(weights: str) -> Checkpoint | None:
    """The checkpoint of a variant's weights, ``sha256:…``; None: random ones, or none that is known."""
    return checkpoints.recognised(weights.removeprefix(FROM_FILE)) if weights.startswith(FROM_FILE) else None


def weights_words(weights: str) -> str:
    """A variant's weights for people: random ones with their seed, the checkpoint that they are, else as they are."""
    source, _, seed = weights.partition(":")
    if source == "random":
        return f"random weights (seed {seed})"
    official = of_weights(weights)
    return f"{official.words} ({weights[: len(FROM_FILE) + _SHOWN_DIGITS]}…)" if official else weights


def restrictions(official: Iterable[Checkpoint]) -> list[str]:
    """A sentence for each checkpoint whose licence forbids something, or is missing."""
    limited = {checkpoint.name: checkpoint for checkpoint in official if checkpoint.needs_acceptance}
    return [
        f"The weights of {checkpoint.title} are restricted: {checkpoint.restriction} (licence: {checkpoint.licence})."
        for checkpoint in limited.values()
    ]


def _remark(named: Checkpoint, sha256: str) -> str:
    published = named.sha256 or named.sha256_prefix or ""
    where = f"; {named.namesakes}" if named.namesakes else ""
    return (
        f"named like the official {named.title}, but with other bytes (sha256 {sha256[:_SHOWN_DIGITS]}…, "
        f"published is {published[:_SHOWN_DIGITS]}…{where})"
    )
