"""An artifact: one deployable file, what lies beside it, and the manifest that says what it is.

    OUT/MODEL[+softmax][+OPTIONS]/HxW[-bN]/TARGET[@DEVICE]/{model.*, manifest.json}

# Manifest schema history (newest first):
#   1  first version
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import msgspec

from vitdeploy import documents
from vitdeploy.artifacts import manifest_faults, recorded_parity
from vitdeploy.artifacts.weights_origin import Weights
from vitdeploy.catalog import user_models
from vitdeploy.catalog.preprocessing import Preprocessing
from vitdeploy.catalog.spec import Attention, Cpu, Head, Io, Layout, Size, Task
from vitdeploy.catalog.variant import Variant
from vitdeploy.errors import UnreadableFile
from vitdeploy.processes.connection import Connection

SCHEMA = 1
MANIFEST = "manifest.json"


_DIGEST = "manifest_sha256"
"""The field that covers all others."""

_BLOCK_BYTES = 2**20
"""Files are hashed in blocks: ``hashlib.file_digest`` is not in Python 3.10."""


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of everything in a manifest: immutable, and strict about what it does not know."""


class Tensor(_Record, frozen=True, kw_only=True):
    """One input or output of the file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    layout: Layout


class Metric(_Record, frozen=True, kw_only=True):
    """The task's own measure of agreement with the reference."""

    name: str
    value: float | None
    floor: float


class Parity(_Record, frozen=True, kw_only=True):
    """How far the file is from the fp32 torch reference on the same inputs."""

    passed: bool
    reference: str
    samples: int
    max_abs: float | None
    mean_abs: float | None
    cosine: float | None
    finite: bool
    metric: Metric
    error_std: float | None = None
    """Largest error over the standard deviation of the reference's output."""
    error_std_limit: float | None = None
    reason: str | None = None
    """Why it failed; None when it passed."""


class Beside(_Record, frozen=True, kw_only=True):
    """A file that the model file needs in the same folder (external data)."""

    file: str
    sha256: str
    size_bytes: int


class Delegation(_Record, frozen=True, kw_only=True):
    """How a runtime shares the nodes of a TFLite file between its delegate and itself."""

    delegate: str
    nodes: int
    """Nodes that the delegate runs."""
    partitions: int
    """Connected parts that it was given; each border between two is a return to the interpreter."""
    taken: Mapping[str, int]
    """Operator → count of those that the delegate runs."""
    left: Mapping[str, int]
    """Operator → count of those that the interpreter runs itself."""
    transposes: int
    """Operators of the file that compute nothing and only put a map into another order."""

    @property
    def words(self) -> str:
        """In one line: ``XNNPACK takes 267 of 267 nodes in 1 partition``."""
        total = self.nodes + sum(self.left.values())
        parts = f"{self.partitions} partition{'' if self.partitions == 1 else 's'}"
        rest = ", ".join(f"{count} {name}" for name, count in self.left.items())
        return f"{self.delegate} takes {self.nodes} of {total} nodes in {parts}" + (
            f"; the interpreter runs {rest}" if rest else ""
        )


class TunedChoice(_Record, frozen=True, kw_only=True):
    """One form that was timed against the fastest before it."""

    what: str
    """``without padded-stem``, ``without winograd-rows:64-256-56x56:4``."""
    taken: bool
    """Whether the file has this form: it was shown to be faster."""
    ratio: float | None
    """Its time over that of the fastest before it."""
    low: float | None
    """Lower end of the interval of the ratio."""
    high: float | None
    """Its upper end."""


class Tuning(_Record, frozen=True, kw_only=True):
    """How rewrites were chosen by timing."""

    device: str
    choices: tuple[TunedChoice, ...]
    """In the order in which they were timed."""


class Manifest(_Record, frozen=True, kw_only=True):
    """What an artifact is, where it comes from and how it was proven."""

    schema: int
    model: str
    part: str | None
    task: Task
    attention: Attention
    target: str
    file: str
    sha256: str
    size_bytes: int
    beside: tuple[Beside, ...] = ()
    size: Size
    batch: int
    precision: str
    head: Head
    io: Io
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    params: int
    macs: int | None
    """Of one image; None: they cannot be counted."""
    weights: Weights
    preprocessing: Preprocessing | None = None
    """How 8-bit pixels become the input, outside the graph or, with bytes as input, in it; None: an older record."""
    made_from: str | None = None
    """Of a user model: digest of what it was made from: code, files, tensors, configuration."""
    parents: tuple[str, ...]
    recipe: str
    rewrites: tuple[str, ...]
    winograd_rows: Mapping[str, int] = {}
    """Layer of that rewrite, ``64-256-56x56`` → how many rows it computes at a time; 1: left out."""
    cpu: Cpu | None = None
    """The CPU for which the rewrites were chosen; None: they suit every one, it was not known, or an older record."""
    tuning: Tuning | None = None
    """How the rewrites were chosen by timing; None: by their rules."""
    tools: Mapping[str, str]
    """Only what changes bytes: a change of any of these means another file."""
    bound_to: Mapping[str, Any]
    build_ns: int
    timing_cache_sha256: str | None
    state: Literal["ready", "deferred"]
    deferred: str | None = None
    """What is still to be done on the device, when the state says so."""
    operators: Mapping[str, int] = {}
    """Operator type → count, of the graph in the file."""
    note: str | None = None
    """What has to be said of the model wherever its figures are shown."""
    delegation: Delegation | None = None
    """Who runs the nodes, for formats whose runtime has delegates."""
    parity: Parity | None
    parity_skipped: str | None
    manifest_sha256: str | None = None
    """Digest of all other fields, set by `write`; None: an older version wrote it."""

    @property
    def digests(self) -> dict[str, str]:
        """Name → SHA-256 of each file, the model file first."""
        return {self.file: self.sha256, **{beside.file: beside.sha256 for beside in self.beside}}

    @property
    def variant(self) -> Variant:
        """What it is; which converter made it and which rewrites were left out is not kept."""
        given = self.preprocessing if self.preprocessing and self.preprocessing.source == "given" else None
        return replace(Variant.of(self, self.weights.identity), preprocessing=given, weights_key=self.weights.key)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A manifest and the folder it lies in."""

    folder: Path
    manifest: Manifest

    @property
    def file(self) -> Path:
        """The model file."""
        return self.folder / self.manifest.file


def open_artifact(path: Path, *, check_bytes: bool = True, check_fields: bool = True) -> Artifact:
    """Find the artifact that ``path`` names: its folder, its manifest or its model file.

    Args:
        path: one of the three.
        check_bytes: compare the files with the manifest.
        check_fields: check the manifest itself, as `check_manifest` does.

    Raises:
        UnreadableFile: there is none, its bytes are not what the manifest says, or the manifest was edited.
    """
    folder = path if path.is_dir() else path.parent
    if not path.exists():
        raise UnreadableFile(f"no artifact at {path}", "Name the folder that `vitdeploy export` printed.")
    if not (folder / MANIFEST).is_file():
        raise UnreadableFile(f"{folder} holds no {MANIFEST}", "Name the folder that `vitdeploy export` printed.")
    manifest = _read(folder / MANIFEST, documents.read_bytes(folder / MANIFEST, what="manifest"), check_fields)
    names = manifest.digests
    if any(Path(name).name != name or name in {"", ".", ".."} for name in names):
        raise UnreadableFile(f"{folder / MANIFEST} names a file outside its folder", "Export the model again.")
    if not path.is_dir() and path.name not in {MANIFEST, *names}:
        raise UnreadableFile(f"{path} is not part of the artifact in {folder}", f"Name {folder}.")
    artifact = Artifact(folder, manifest)
    if check_bytes:
        check_digests(artifact)
    return artifact


def write(folder: Path, manifest: Manifest) -> Artifact:
    """Write a manifest into the artifact's folder, with the digest of its fields.

    Raises:
        UnreadableFile: the place cannot be written.
    """
    fields: dict[str, Any] = msgspec.json.decode(documents.encode(manifest))
    signed = msgspec.structs.replace(manifest, manifest_sha256=_digest_of_fields(fields))
    documents.write(folder / MANIFEST, signed)
    return Artifact(folder, signed)


def check_manifest(artifact: Artifact) -> None:
    """Check the manifest as it lies there: its parity follows from its numbers, its digest from its fields.

    Raises:
        UnreadableFile: it was edited.
    """
    path = artifact.folder / MANIFEST
    _read(path, documents.read_bytes(path, what="manifest"), check_fields=True)


def _read(path: Path, data: bytes, check_fields: bool) -> Manifest:
    manifest = documents.decode(data, Manifest, schema=SCHEMA, what="manifest", name=str(path))
    if not check_fields:
        return manifest
    contradiction = recorded_parity.contradiction(manifest)
    if contradiction is not None:
        raise UnreadableFile(f"{path} contradicts itself: {contradiction}", "Export the model again.")
    for field, why in manifest_faults.faults(manifest):
        raise UnreadableFile(f"{path} holds what cannot be true, `$.{field}`: {why}", "Export the model again.")
    fields: dict[str, Any] = msgspec.json.decode(data)
    digest = _digest_of_fields(fields)
    if _DIGEST in fields and manifest.manifest_sha256 != digest:
        recorded = "null" if manifest.manifest_sha256 is None else f"{manifest.manifest_sha256[:12]}…"
        raise UnreadableFile(
            f"{path} was edited: the digest of its fields is {digest[:12]}…, $.{_DIGEST} is {recorded}",
            "Export the model again.",
        )
    return manifest


def _digest_of_fields(fields: Mapping[str, Any]) -> str:
    """SHA-256 of a manifest's fields as they lie in the file, without the digest: layout and order do not count."""
    others = {name: value for name, value in fields.items() if name != _DIGEST}
    return hashlib.sha256(json.dumps(others, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def as_json(manifest: Manifest) -> dict[str, Any]:
    """The manifest as plain JSON data: what runtimes and workers, which have no msgspec, are given."""
    return msgspec.to_builtins(manifest)


def check_digests(artifact: Artifact) -> None:
    """Compare every file of the artifact with its manifest.

    Raises:
        UnreadableFile: a file is missing, unreadable, or its bytes were changed.
    """
    for name, expected in artifact.manifest.digests.items():
        digest = digest_of(artifact.folder / name)
        if digest != expected:
            raise UnreadableFile(
                f"{artifact.folder / name} was changed: sha256 {digest[:12]}…, the manifest says {expected[:12]}…",
                "Export the model again.",
            )


def push(artifact: Artifact, link: Connection) -> dict[str, str]:
    """Copy an artifact to a device: path there → SHA-256 of each file, the model file first.

    Raises:
        DeviceError: the device was lost.
    """
    digests = artifact.manifest.digests
    return {link.push(artifact.folder / name, sha256=sha256): sha256 for name, sha256 in digests.items()}


def folder_of(manifest: Manifest, options: str = "", device: str | None = None) -> Path:
    """Relative folder of an artifact. ``options``: words, joined by ``+``, for all that makes another file."""
    own = user_models.folder_name(manifest.model, manifest.weights.sha256)
    model = own + (f".{manifest.part}" if manifest.part else "")
    name = "+".join([model, *(["softmax"] if manifest.attention == "softmax" else []), *([options] if options else [])])
    size = manifest.variant.size_words + (f"-b{manifest.batch}" if manifest.batch > 1 else "")
    return Path(name) / size / (manifest.target + (f"@{device}" if device else ""))


def digest_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex.

    Raises:
        UnreadableFile: it cannot be read.
    """
    try:
        with documents.open_file(path) as stream:
            digest = hashlib.sha256()
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
            return digest.hexdigest()
    except OSError as error:
        raise UnreadableFile(f"cannot read {path}: {error.strerror}", "Check the path and its permissions.") from error
