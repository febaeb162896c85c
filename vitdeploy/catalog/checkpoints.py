"""Official checkpoints: the rows of ``checkpoints.toml``, and which of them a file is, by its bytes and by its name.

Nothing here opens a file or a connection: a caller brings the digest of a file's bytes.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import PurePath
from typing import Annotated, Literal

import msgspec

from vitdeploy.catalog.spec import Size
from vitdeploy.errors import Impossible, entry

Commercial = Literal["yes", "no", "contact", "unknown"]
"""Whether a licence allows commercial use; ``contact``: the authors ask to be asked; ``unknown``: none is stated."""

METRICS: Mapping[str, str] = {
    "imagenet": "top-1",
    "cityscapes": "mIoU",
    "ade20k": "mIoU",
    "sr": "PSNR",
    "coco": "mask AP",
    "lvis": "mask AP",
}
"""Data set → what is published of a model on it: percent, and for PSNR decibel."""

HUB = "https://huggingface.co"

_Digest = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}$")]
_Prefix = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{8,63}$")]
_CACHED_REPOSITORY = re.compile(r"^models--(?P<owner>[^/]+?)--(?P<name>[^/]+)$")
"""Folder of a repository in the hub's cache. Source: huggingface_hub, ``repo_folder_name``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedFigure:
    """What was published of a checkpoint on a data set."""

    dataset: str
    metric: str
    value: float
    """Percent, or decibel where the metric is PSNR."""
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One official file of weights."""

    name: str
    title: str
    """For people: ``EfficientViT-Seg-B0 Cityscapes``."""
    model: str
    """Name of the model that it fits."""
    size: Size | None
    """Height and width of the images that its accuracy is of; None: it takes any."""
    hub: str | None
    """Repository on the Hugging Face hub."""
    revision: str | None
    """Commit of that repository; None: the newest."""
    url: str | None
    """Where it is when it is on no hub."""
    file: str
    other_names: tuple[str, ...]
    """Older names; of a file that many are called like, its name in a folder of the repository or the checkpoint."""
    size_bytes: int | None
    sha256: str | None
    sha256_prefix: str | None
    """First digits of the digest, where no more is published."""
    digest_source: str | None
    code_licence: str
    licence: str
    """Of the weights."""
    commercial: Commercial
    restriction: str | None
    """What the licence of the weights forbids, in a few words."""
    terms: str
    """Of the data that it was trained on."""
    namesakes: str | None
    """Where others have files of the same name."""
    unfit: str | None
    """Why it does not fit the model, being of a variant of its own; None: it fits."""
    accuracy: tuple[PublishedFigure, ...]

    @property
    def needs_acceptance(self) -> bool:
        """Whether the licence restricts commercial use or is missing."""
        return self.commercial != "yes"

    @property
    def licence_words(self) -> str:
        """The licence of the weights, with what it forbids."""
        return f"{self.licence} ({self.restriction})" if self.restriction else self.licence

    @property
    def words(self) -> str:
        """For tables: ``official, EfficientViT-Seg-B0 Cityscapes, Apache-2.0``, with what is forbidden."""
        return f"official, {self.title}, {self.licence_words}"

    @property
    def address(self) -> str:
        """URL of the file."""
        return self.url or f"{HUB}/{self.hub}/resolve/{self.revision or 'main'}/{self.file}"

    def accuracy_on(self, dataset: str) -> PublishedFigure | None:
        """What was published on a data set; None: nothing."""
        return next((figure for figure in self.accuracy if figure.dataset == dataset), None)

    def is_digest(self, sha256: str) -> bool | None:
        """Whether a digest is its own, as far as digits are published; None: there are none."""
        if self.sha256 is not None:
            return sha256 == self.sha256
        return sha256.startswith(self.sha256_prefix) if self.sha256_prefix is not None else None


class _Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A checkpoint; None: its publisher's value."""

    name: str
    title: str
    model: str | None = None
    """None: as the checkpoint."""
    size: Size | None = None
    hub: str | None = None
    revision: str | None = None
    path: str | None = None
    """Below the publisher's URL."""
    file: str | None = None
    """None: the last part of the path."""
    older_names: tuple[str, ...] = ()
    size_bytes: Annotated[int, msgspec.Meta(gt=0)] | None = None
    sha256: _Digest | None = None
    sha256_prefix: _Prefix | None = None
    accuracy: Mapping[str, float] = {}


class _Publisher(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    hub: str | None = None
    older_hubs: tuple[str, ...] = ()
    revision: str | None = None
    url: str | None = None
    digest_source: str | None = None
    code_licence: str
    weights_licence: str
    commercial: Commercial
    restriction: str | None = None
    terms: str
    namesakes: str | None = None
    unfit: str | None = None
    accuracy_source: str | None = None
    rows: tuple[_Row, ...]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    publisher: tuple[_Publisher, ...]


@cache
def checkpoints() -> Mapping[str, Checkpoint]:
    """All checkpoints by name, in the order of the table."""
    text = files("vitdeploy.catalog").joinpath("checkpoints.toml").read_bytes()
    table = msgspec.toml.decode(text, type=_File)
    rows = [_checkpoint(publisher, row) for publisher in table.publisher for row in publisher.rows]
    return {checkpoint.name: checkpoint for checkpoint in rows}


def find(name: str) -> Checkpoint:
    """The checkpoint of a name.

    Raises:
        UsageError: an unknown name; the nearest ones are offered.
    """
    return entry("checkpoint", name, checkpoints(), "vitdeploy weights")


def checkpoints_of(model: str) -> tuple[Checkpoint, ...]:
    """The checkpoints of a model or of the model that a part belongs to, its authors' own first."""
    whole = model.removesuffix(".encoder").removesuffix(".decoder")
    return tuple(checkpoint for checkpoint in checkpoints().values() if checkpoint.model == whole)


def nearest(model: str, size: Size) -> tuple[Checkpoint, bool]:
    """The checkpoint for a model at an input size, and whether it is of just that size.

    Of several equally near ones it is the first in the table.

    Raises:
        Impossible: no checkpoint of the model is known.
    """
    candidates = [checkpoint for checkpoint in checkpoints_of(model) if checkpoint.unfit is None]
    if not candidates:
        known = "`vitdeploy weights` lists the models that have one; --weights takes a file of your own."
        raise Impossible(f"no official checkpoint of {model} is known", known)
    best = min(candidates, key=lambda checkpoint: _distance(checkpoint.size, size))
    return best, _distance(best.size, size) == 0


def nearest_words(checkpoint: Checkpoint, size: Size) -> str | None:
    """What to say of a checkpoint that is used at another size than its own; None: it is its own."""
    if checkpoint.size is None or checkpoint.size == size:
        return None
    own, used = (f"{height}x{width}" for height, width in (checkpoint.size, size))
    return f"no official checkpoint of {checkpoint.model} is for {used}; {checkpoint.title} is for {own}, the nearest"


def recognised(sha256: str, size_bytes: int | None = None) -> Checkpoint | None:
    """The checkpoint whose bytes have this digest; None: none that is known.

    Where only the first digits of a digest are published they decide, with the length of the file where that is known.
    """
    return next((c for c in checkpoints().values() if c.is_digest(sha256) and _is_length(c, size_bytes)), None)


def with_name(path: PurePath | str) -> tuple[Checkpoint, ...]:
    """The checkpoints that a path is named like: a file's name of today, an older one, or one in the hub's cache."""
    parts = tuple(part for part in PurePath(path).parts if part != "snapshots")
    repositories = [_CACHED_REPOSITORY.match(part) for part in parts[:-2]]
    if repositories and (cached := repositories[-1]) is not None:  # models--OWNER--NAME/[snapshots/]REVISION/FILE
        parts = (*parts[:-3], cached["owner"], cached["name"], parts[-1])
    return tuple(c for c in checkpoints().values() if any(_ends_with(parts, name) for name in (c.file, *c.other_names)))


def _checkpoint(publisher: _Publisher, row: _Row) -> Checkpoint:
    hub = row.hub or publisher.hub
    url = f"{publisher.url}{row.path}" if publisher.url and row.path and not row.hub else None
    file = row.file or (row.path or "").rpartition("/")[2]
    repositories = [name for name in (hub, *publisher.older_hubs) if name and not url]
    in_repositories = [f"{repository.rpartition('/')[2]}/{file}" for repository in repositories]
    # A name such as model.safetensors says nothing without its repository.
    generic = file in _GENERIC_FILES
    return Checkpoint(
        name=row.name,
        title=row.title,
        model=row.model or row.name,
        size=row.size,
        hub=None if url else hub,
        revision=row.revision or (publisher.revision if not row.hub else None),
        url=url,
        file=file,
        other_names=(*row.older_names, *((*in_repositories, f"{row.name}/{file}") if generic else ())),
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        sha256_prefix=row.sha256_prefix,
        digest_source=publisher.digest_source if row.sha256 or row.sha256_prefix else None,
        code_licence=publisher.code_licence,
        licence=publisher.weights_licence,
        commercial=publisher.commercial,
        restriction=publisher.restriction,
        terms=publisher.terms,
        namesakes=publisher.namesakes,
        unfit=publisher.unfit,
        accuracy=tuple(
            PublishedFigure(
                dataset=dataset, metric=METRICS[dataset], value=value, source=publisher.accuracy_source or "not stated"
            )
            for dataset, value in row.accuracy.items()
        ),
    )


_GENERIC_FILES = frozenset({"pytorch_model.bin", "model.safetensors"})


def _ends_with(parts: tuple[str, ...], name: str) -> bool:
    """Whether a path ends in a name, which may have folders of its own."""
    wanted = PurePath(name).parts
    return name not in _GENERIC_FILES and parts[-len(wanted) :] == wanted


def _is_length(checkpoint: Checkpoint, size_bytes: int | None) -> bool:
    return size_bytes is None or checkpoint.size_bytes in (None, size_bytes)


def _distance(own: Size | None, size: Size) -> float:
    """How far two sizes are apart, in factors of height and width; a checkpoint without a size fits every one."""
    return 0.0 if own is None else sum(abs(math.log(a / b)) for a, b in zip(own, size, strict=True))
