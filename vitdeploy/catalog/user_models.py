"""User models as rows like any other: ``onnx:FILE``, ``hf:NAME``, ``timm:NAME``, ``module:pkg.mod:function``.

Inputs and outputs of such a model are found by running it once in a separate process, and cached until its files
change; a ``module:`` is run once a command, because not all that it reads can be seen. Nothing is ever downloaded.
"""

import contextlib
import hashlib
import importlib.util
import os
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Final

import msgspec
import platformdirs

from vitdeploy import documents
from vitdeploy.catalog.preprocessing import Preprocessing
from vitdeploy.catalog.spec import Head, Io, ModelSpec, Size, Task, is_user_model
from vitdeploy.errors import DeviceError, Impossible, MissingPackage, UnreadableFile, UsageError, VitdeployError
from vitdeploy.processes import child_process, child_reply
from vitdeploy.processes.child_reply import ChildError
from vitdeploy.processes.local import LocalConnection

BUILDERS: Final = {
    "onnx": "vitdeploy.models.user_onnx:build",
    "hf": "vitdeploy.models.user:build_hf",
    "timm": "vitdeploy.models.user:build_timm",
    "module": "vitdeploy.models.user:build_module",
}
"""What stands before the colon → who builds it."""

REQUIRES: Final = {
    "onnx": ("torch", "onnx", "onnxruntime"),
    "hf": ("torch", "transformers"),
    "timm": ("torch", "timm"),
    "module": ("torch",),
}

DESCRIBE_LIMIT_S = 600.0
"""A model that takes longer to be built and run once is given up."""

_FORMS = {"onnx": "onnx:FILE", "hf": "hf:FOLDER", "timm": "timm:NAME", "module": "module:package.module:function"}
_NAME = re.compile(r"[\w.]+:[\w.]+")
_SCHEMA = 3
"""Counted up whenever a description means something else, so that remembered ones are not believed."""


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """A file as it was: it is taken for unchanged while its times, its size and its inode are the same."""

    path: str
    mtime_ns: int
    ctime_ns: int
    """Of the last change of the file or of its times: nobody can set it back."""
    size_bytes: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> "Stamp":
        """The file as it is."""
        stat = path.stat()
        return cls(
            path=str(path),
            mtime_ns=stat.st_mtime_ns,
            ctime_ns=stat.st_ctime_ns,
            size_bytes=stat.st_size,
            inode=stat.st_ino,
        )

    def holds(self) -> bool:
        """Whether it still is as it was."""
        try:
            return Stamp.of(Path(self.path)) == self
        except OSError:
            return False


class UserModelFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Task, input size, classes and weights of a user model, as running it once showed."""

    task: Task
    size: Size
    sizes: tuple[Size, ...] = ()
    """The only sizes it takes; empty: it was not asked."""
    classes: int = 0
    output_stride: int | None = None
    scale: int | None = None
    preprocessing: Preprocessing
    weights: str | None
    """Digest of the weights it comes with; None: it has none, and they are seeded."""
    made_from: str
    """Digest of everything that it is made from, as far as that can be seen: code, files, tensors, configuration."""
    answer: str | None = None
    """Digest of its answer to seeded noise, by which what cannot be seen shows; None: it has no hidden ingredients."""
    note: str | None = None
    beside: tuple[Stamp, ...] = ()
    """Files that it read beside the one that is named: imported code, opened data, tensors of an ONNX file."""


def split_target(name: str, targets: frozenset[str]) -> tuple[str, str]:
    """A user model and the target that follows it after a colon, if one does: ``onnx:a.onnx:onnx-fp16``."""
    model, _, last = name.rpartition(":")
    return (model, last) if last in targets and is_user_model(model) else (name, "")


def folder_name(model: str, weights_sha256: str | None) -> str:
    """A name for folders: ``onnx:/data/net.onnx`` → ``onnx-net-1a2b3c4d``; catalog names stay as they are."""
    if not is_user_model(model):
        return model
    kind, _, rest = model.partition(":")
    stem = Path(rest).stem if kind == "onnx" else Path(rest).name if Path(rest).is_dir() else rest
    clean = re.sub(r"[^\w.+-]+", "-", stem).strip("-.") or "model"
    return "-".join([kind, clean, *([weights_sha256[:8]] if weights_sha256 else [])])


_known: "dict[str, tuple[str, UserModelFacts]]" = {}
"""Name → fingerprint and facts of the models that this process has described."""


def forget() -> None:
    """Describe every model anew when it is next named."""
    _known.clear()


def find(name: str, size: Size | None = None) -> ModelSpec:
    """The row of a user model.

    Args:
        size: the one that is asked for, which a model of one fixed size may be the only one to take; None: any.

    Raises:
        UsageError: the name is not of its kind's form.
        UnreadableFile: the file or folder cannot be read.
        MissingPackage: what builds it is not here.
        Impossible: it is built, and it is not a model from one image to one answer.
    """
    kind, _, rest = name.partition(":")
    rest = _checked(kind, rest)
    name = f"{kind}:{rest}"
    facts = _facts(name, kind, rest, size)
    return ModelSpec(
        name=name,
        task=facts.task,
        builder=BUILDERS[kind],
        variant=rest,
        size=facts.size,
        size_multiple=1,
        sizes=facts.sizes,
        dataset=dataset_of(facts.task, facts.classes),
        classes=facts.classes,
        output="enlarged" if facts.task == "super-resolution" else "logits",
        output_stride=facts.output_stride,
        scale=facts.scale,
        enlarge="bilinear",
        attentions=("own",),
        preprocessing=facts.preprocessing,
        requires=REQUIRES[kind],
        user_weights=facts.weights,
        made_from=facts.made_from,
        answer=facts.answer,
        note=facts.note,
        source="the user's own",
    )


def check(spec: ModelSpec, target: str, *, weights: bool, head: Head, io: Io) -> None:
    """Refuse what a user model cannot have.

    Raises:
        Impossible: weights, a target, or a head or element type that its kind does not take.
    """
    kind = spec.name.partition(":")[0]
    if weights and kind in ("onnx", "hf"):
        raise Impossible(f"{spec.name} has its own weights", "Leave --weights out.")
    if kind == "onnx" and target.startswith("torch"):
        raise Impossible(f"{spec.name} is no torch module, so there is no {target} of it", "Use --target onnx-fp32.")
    if head == "labels" and spec.classes < 2 and spec.task in ("classification", "segmentation"):
        raise Impossible(
            f"{spec.name} has no classes to choose from: its answer has one channel, whose argmax is always 0",
            "Compare in the model: a logit with 0, a probability with 0.5; or return a channel a class.",
        )
    if kind == "onnx" and (head != "logits" or io == "uint8"):
        raise Impossible(f"{spec.name} keeps its graph inputs and outputs", "Leave --head and --io out.")


def unknown_preprocessing(name: str, so: str, verb: str) -> Impossible:
    """The refusal of pictures for a model of which nobody says how pixels become its input."""
    return Impossible(
        f"how pixels become the input of {name} is not known: neither its files nor its package say it, {so}",
        f"{verb} --mean R,G,B --std R,G,B (and --scale, --channel-order where they are not 1/255 and rgb).",
    )


def dataset_of(task: Task, classes: int) -> str:
    """What a user model's classes are called: as many as a known data set has are taken for that one's."""
    if task == "super-resolution":
        return "sr"
    names = {("classification", 1000): "imagenet", ("segmentation", 19): "cityscapes", ("segmentation", 150): "ade20k"}
    return names.get((task, classes), f"classes:{classes}")


def _checked(kind: str, rest: str) -> str:
    """What follows the colon, with paths made absolute; refused before any process is started."""
    if not rest:
        raise UsageError(f"{kind}: names no model", f"Write it as {_FORMS[kind]}.")
    if kind == "onnx":
        path = Path(rest).expanduser()
        if not path.is_file():
            raise UnreadableFile(f"no ONNX file at {rest}", "Check the path.")
        return str(path.resolve())
    if kind == "module":
        if not _NAME.fullmatch(rest):
            raise UsageError(f"module:{rest} names no function of a module", f"Write it as {_FORMS[kind]}.")
        _source_of(rest.partition(":")[0])
    if kind == "hf" and Path(rest).expanduser().is_dir():
        return str(Path(rest).expanduser().resolve())
    if kind == "timm" and importlib.util.find_spec("timm") is None:
        raise MissingPackage("missing here: timm", "Run `pip install timm`; it needs a torchvision that fits torch.")
    return rest


def _source_of(module: str) -> Path | None:
    """The file of a user's module; it is found from the working directory, as ``python -m`` finds it."""
    folder = os.getcwd()  # noqa: PTH109  # as sys.path spells it
    added = folder not in sys.path and "" not in sys.path
    if added:
        sys.path.insert(0, folder)
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError) as error:
        raise UsageError(f"no module {module}: {error}", "Start where its package lies, or install it.") from error
    finally:
        if added:
            sys.path.remove(folder)
    if spec is None:
        raise UsageError(f"no module {module}", "Start where its package lies, or install it.")
    return Path(spec.origin) if spec.origin and Path(spec.origin).is_file() else None


def _facts(name: str, kind: str, rest: str, size: Size | None) -> UserModelFacts:
    """What is known of a model; where its files may have changed, what running it now shows."""
    files = _files(kind, rest)
    fingerprint = _fingerprint(name, kind, files)
    seen = kind == "timm" or (kind != "module" and bool(files))
    path = Path(platformdirs.user_cache_dir("vitdeploy")) / "user-models" / f"{fingerprint}.json"
    facts: UserModelFacts | None = None
    if name in _known and _known[name][0] == fingerprint:
        facts = _known[name][1]
    elif seen or child_process.is_child():
        # The process that started us has described the module a moment ago; on the command line nobody has.
        try:
            facts = msgspec.json.decode(path.read_bytes(), type=UserModelFacts)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            facts = None
    if facts is not None and size is not None and facts.sizes and size not in facts.sizes:
        facts = None  # tried without it, another one was the only one
    if facts is None or not all(stamp.holds() for stamp in facts.beside):
        facts = _described(name, size)
        with contextlib.suppress(VitdeployError):  # a cache that cannot be written costs time, not correctness
            documents.write(path, facts)
    _known[name] = (fingerprint, facts)
    return facts


def _files(kind: str, rest: str) -> list[Path]:
    """The files of a model that are known before it is built."""
    if kind == "module":
        return [path for path in (_source_of(rest.partition(":")[0]),) if path]
    if kind == "hf":
        local = Path(rest).is_dir()
        return sorted(path for path in Path(rest).rglob("*") if path.is_file()) if local else _hub_files(rest)
    return [Path(rest)] if kind == "onnx" else []


def _fingerprint(name: str, kind: str, files: list[Path]) -> str:
    """Changes whenever the model's files or the packages that build it do, as far as times, sizes and versions tell."""
    stamps = [msgspec.to_builtins(Stamp.of(path)) for path in files]
    versions: list[str] = []
    for package in REQUIRES[kind]:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions.append(f"{package} {metadata.version(package)}")
    return hashlib.sha256(repr((_SCHEMA, name, sys.executable, versions, stamps)).encode()).hexdigest()


def _hub_files(name: str) -> list[Path]:
    """What says which version of a model the hub's cache holds; empty: it is not where it is looked for.

    Source: https://huggingface.co/docs/huggingface_hub/guides/manage-cache for the folders and the variables, its
    ``constants.py`` for the old name of one.
    """
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("HF_HOME") or f"{cache}/huggingface"
    place = os.environ.get("HF_HUB_CACHE") or os.environ.get("HUGGINGFACE_HUB_CACHE") or f"{home}/hub"
    hub = Path(os.path.expandvars(place)).expanduser()
    repository = hub / f"models--{name.replace('/', '--')}"
    version = repository / "refs" / "main"
    if not version.is_file():
        return []
    snapshot = repository / "snapshots" / version.read_text(encoding="utf-8", errors="replace").strip()
    return [version, *sorted(path for path in snapshot.rglob("*") if path.is_file())]


def _described(name: str, size: Size | None) -> UserModelFacts:
    job = {"name": name, "size": size}
    try:
        process = child_reply.start(LocalConnection(), "vitdeploy.models.user", job, timeout_s=DESCRIBE_LIMIT_S)
    except DeviceError as error:
        raise Impossible(
            f"{name} was not built and run once in {DESCRIBE_LIMIT_S:g} s", "Try it alone in Python."
        ) from error
    reply = child_reply.decode(process, UserModelFacts)
    if isinstance(reply, UserModelFacts):
        return reply
    error = child_reply.error_of(reply, f"the process that builds {name}", process, None)
    raise error if isinstance(reply, ChildError) else Impossible(error.message, "Try it alone in Python.")
