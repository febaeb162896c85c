"""State dicts: seeded random ones, and those of checkpoint files, checked before a model sees them.

A checkpoint is somebody else's file. It is read without executing anything in it, and whatever is wrong
with it ends in one line that names the file and the fault.
"""

import contextlib
import hashlib
import math
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vitdeploy.errors import MissingPackage, UnreadableFile
from vitdeploy.models import state_dicts
from vitdeploy.models.state_dicts import StateDictChoice

StateDict = dict[str, Tensor]
Rename = Callable[[Iterable[str]], Mapping[str, str]]
"""Maps the keys of a checkpoint to those of the model."""

PREFIXES = ("module.", "_orig_mod.")
"""What data-parallel training, averaging and ``torch.compile`` put before keys."""

WRAPPED = ("_orig_mod.", "_checkpoint_wrapped_module.", "_fsdp_wrapped_module.")
"""What a compiled, recomputed or sharded part puts into keys, wherever it is. Source: torch.distributed."""

COUNTER = "num_batches_tracked"
"""Of a batch norm; it takes no part in inference, and files older than PyTorch 0.4.1 lack it."""

NO_WEIGHT = re.compile(
    r"(^|\.)(total_ops|total_params|n_averaged|num_batches_tracked|attn_mask|relative_position_index"
    r"|relative_coords_table|position_ids)$"
)
"""What a file may hold beside the weights: counters of thop, of averaging and of norms, and tables that follow from the
size. One that the model has no place for does not decide whether the file is the model's."""

_SHOWN = 3
_SAVE_STATE_DICT = "Save the model's `state_dict()` with `torch.save` and give that file."
_DOWNLOAD = "Download the file again and compare its size and digest with the publisher's."
_NOT_WEIGHTS = {
    b"version https://git-lfs": ("a Git LFS pointer, not the file itself", "Fetch the file with `git lfs pull`."),
    b"<": ("a web page, not a checkpoint", "Download the file itself instead of the page about it."),
}
_PAGE = re.compile(rb"\s*<[!?a-zA-Z]")
"""How a page begins; the length of a safetensors header may read as " <"."""
_MOST_GROWTH = 8
_ALWAYS_BYTES = 2**26
"""Tensors may claim so many times the bytes of their file, or so many bytes: fp16 becomes fp32, some are shared."""


def seeded(module: nn.Module, seed: int) -> StateDict:
    """A random state dict for ``module`` that is the same, bit for bit, on every machine.

    Each tensor depends on its key, its shape and ``seed`` alone. Matrices and kernels are scaled by their
    fan-in, so that activations stay of order one through all layers; norms are close to the identity without
    being it, so that a norm that is left out or folded wrongly shows. The module may be on the meta device.
    """
    return {key: _seeded_tensor(key, tensor, seed) for key, tensor in module.state_dict().items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The tensors that were taken from a file, and which of its state dicts they are."""

    tensors: StateDict
    choice: StateDictChoice


def read_checkpoint(path: Path | str) -> StateDict:
    """The tensors that `open_checkpoint` takes by itself."""
    return open_checkpoint(path).tensors


def open_checkpoint(path: Path | str, key: str | None = None) -> Checkpoint:
    """The tensors of a ``.safetensors`` file or of a PyTorch checkpoint, under their own keys.

    Floating tensors come as float32, whatever they are stored as. Of the state dicts in a training checkpoint one is
    taken (`state_dicts.choose`), and the prefixes that training leaves on all keys are taken off.

    Args:
        path: the file.
        key: name of the state dict in it; None: the averaged one, else the raw one.

    Raises:
        UsageError: it has no such state dict.
        UnreadableFile: not a readable file, damaged, holds code or anything but finite tensors.
        MissingPackage: a ``.safetensors`` file without the package safetensors.
    """
    path = Path(path)
    _check_is_file(path)
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    if not isinstance(content, Mapping):
        raise _unreadable(path, f"holds a {type(content).__name__}, not a dict of tensors", _SAVE_STATE_DICT)
    choice = state_dicts.choose(cast("Mapping[Any, Any]", content), key, _shown(path))
    tensors = _without_prefixes(_tensors(path, choice.entries))
    weights = {name: tensor for name, tensor in tensors.items() if not NO_WEIGHT.search(name)}
    bad = [name for name, tensor in weights.items() if not bool(tensor.isfinite().all())]
    if bad:
        raise _unreadable(
            path, f"holds NaN or infinity in {len(bad)} of {len(tensors)} tensors ({_first(bad)})", _DOWNLOAD
        )
    return Checkpoint(tensors=tensors, choice=choice)


def _without_prefixes(tensors: StateDict) -> StateDict:
    """The tensors without what training put before all of their keys; a wrapped part's mark goes wherever it is."""
    for mark in WRAPPED:
        names = {key: key.replace(mark, "") for key in tensors}
        if len(set(names.values())) == len(tensors):
            tensors = {names[key]: tensor for key, tensor in tensors.items()}
    for prefix in PREFIXES:
        weights = [key for key in tensors if key.startswith(prefix) or not NO_WEIGHT.search(key)]
        if weights and all(key.startswith(prefix) for key in weights):
            tensors = {key.removeprefix(prefix): tensor for key, tensor in tensors.items()}
    return tensors


def fit_under_any_prefix(
    checkpoint: StateDict,
    module: nn.Module,
    *,
    tensors: Callable[[StateDict], StateDict] | None = None,
    rename: Rename | None = None,
    path: Path | str,
    model: str,
) -> StateDict:
    """As `fit`, where training may have put the model under a name, as Lightning's ``model.`` or ``net.``.

    A first part that all keys share is taken off as long as more of the model's keys are met without it.

    Args:
        checkpoint: under its own keys.
        module: the model.
        tensors: turns a checkpoint's tensors into the model's; None: they are.
        rename: as `fit` has it.
        path: of the file.
        model: its name.

    Raises:
        UnreadableFile: as `fit`.
    """
    expected = module.state_dict()
    best, best_count = checkpoint, -1
    for _ in range(3):
        turned = tensors(checkpoint) if tensors else checkpoint
        names = rename(turned) if rename else {key: key for key in turned}
        count = sum(names[key] in expected for key in turned)
        if count > best_count:
            best, best_count = turned, count
        weights = [key for key in checkpoint if not NO_WEIGHT.search(key) or "." in key]
        first = {key.partition(".")[0] for key in weights}
        if len(first) != 1 or not all("." in key for key in weights):
            break
        prefix = f"{first.pop()}."
        checkpoint = {key.removeprefix(prefix): tensor for key, tensor in checkpoint.items()}
    return fit(best, module, rename=rename, path=path, model=model)


def fit(
    checkpoint: StateDict,
    module: nn.Module,
    *,
    rename: Rename | None = None,
    path: Path | str = "(in memory)",
    model: str = "the model",
) -> StateDict:
    """The checkpoint as a state dict of ``module``: all of its keys, in its order and dtypes, and nothing else.

    Every weight must be there and fit. Counters of norms, buffers that the model never reads (``UNREAD_BUFFERS`` of a
    submodule) and tables that it computed itself are taken from the module where the file has none that fit.

    ``rename`` maps the checkpoint's keys to the module's; None where they are the same. ``path`` and ``model``
    name the two in the message.

    Raises:
        UnreadableFile: keys are missing, unexpected, given twice, or their tensors have another shape or kind.
    """
    names = rename(checkpoint) if rename else {key: key for key in checkpoint}
    renamed = {names[key]: tensor for key, tensor in checkpoint.items()}
    expected = module.state_dict()
    twice = len(checkpoint) - len(renamed)
    unread = _unread(module)
    own = {key for key, tensor in expected.items() if key in unread or _is_own(key, tensor)}
    faults = {
        "missing": [key for key in expected if key not in renamed and key not in own],
        "unexpected": [key for key in checkpoint if names[key] not in expected and not NO_WEIGHT.search(key)],
        "wrongly shaped": [
            f"{key}: file {_kind(renamed[key])}, model {_kind(tensor)}"
            for key, tensor in expected.items()
            if key in renamed and key not in unread and _kind(renamed[key]) != _kind(tensor)
        ],
    }
    problems = [f"{len(keys)} {fault} ({_first(keys)})" for fault, keys in faults.items() if keys]
    if twice:
        problems.append(f"{twice} given under two names")
    if problems:
        raise _unreadable(
            path,
            f"does not fit {model}: of {len(expected)} keys, {'; '.join(problems)}",
            "Give the checkpoint that belongs to this model, or name the model that the checkpoint belongs to.",
        )
    return {
        key: renamed[key].to(tensor.dtype)
        if key in renamed and _kind(renamed[key]) == _kind(tensor)
        else torch.zeros(tensor.shape, dtype=tensor.dtype)
        if key in unread or key.endswith(COUNTER)
        else tensor.clone()
        for key, tensor in expected.items()
    }


def _unread(module: nn.Module) -> set[str]:
    """The keys of buffers that a module has for the sake of files alone."""
    return {
        f"{name}.{buffer}" if name else buffer
        for name, inner in cast("Iterable[tuple[str, nn.Module]]", module.named_modules())
        for buffer in getattr(inner, "UNREAD_BUFFERS", ())
    }


def _is_own(key: str, tensor: Tensor) -> bool:
    """Whether a module needs no file for a tensor: a norm's counter, or an integer table that it computed."""
    return key.endswith(COUNTER) or bool(
        NO_WEIGHT.search(key) and not tensor.is_floating_point() and not tensor.is_meta
    )


def _seeded_tensor(key: str, like: Tensor, seed: int) -> Tensor:
    if not like.is_floating_point():
        # A counter, or an index table that its module computed for real and that must stay what it is.
        return torch.zeros(like.shape, dtype=like.dtype) if like.is_meta else like.clone()
    noise = _noise(f"{seed}:{key}", like.numel())
    if key.endswith("running_var"):
        values = 1 + 0.1 * np.abs(noise)
    elif key.endswith("running_mean"):
        values = 0.1 * noise
    elif like.ndim >= 2:
        values = noise * np.float32(1 / math.sqrt(math.prod(like.shape[1:])))
    elif key.endswith("weight"):
        values = 1 + 0.1 * noise
    else:
        values = 0.1 * noise
    return torch.as_tensor(values).reshape(like.shape).to(like.dtype)


def _noise(name: str, count: int) -> NDArray[np.float32]:
    """Uniform values of mean 0 and variance 1, drawn from ``name``.

    Taken from the raw bits of the generator: numpy keeps those forever, but may change its distributions, and
    normal ones go through the machine's own logarithm.
    Source: NEP 19, https://numpy.org/neps/nep-0019-rng-policy.html.
    """
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    raw = np.random.Philox(key=key).random_raw((count + 1) // 2).astype("<u8", copy=False)
    values = np.frombuffer(raw.tobytes(), dtype="<u4", count=count).astype(np.float32)
    values *= np.float32(math.sqrt(12) / 2**32)
    values -= np.float32(math.sqrt(3))
    return values


def _check_is_file(path: Path) -> None:
    try:
        if path.is_dir():
            raise _unreadable(path, "is a directory", "Give the checkpoint file inside it.")
        if not path.exists():
            raise _unreadable(
                path, "does not exist", "Give the path of a .pt, .pth or .safetensors file, or the word official."
            )
        if not path.is_file():
            raise _unreadable(path, "is not a regular file", "Give the path of a .pt, .pth or .safetensors file.")
        with path.open("rb") as file:
            start = file.read(64)
    except (OSError, ValueError) as error:
        raise _unreadable(path, f"cannot be read: {_reason(error)}", "Check the path and its permissions.") from error
    if not start:
        raise _unreadable(path, "is empty (0 bytes)", _DOWNLOAD)
    for magic, (what, hint) in _NOT_WEIGHTS.items():
        if start.lstrip().startswith(magic) and (magic != b"<" or _PAGE.match(start)):
            raise _unreadable(path, f"is {what}", hint)


def _check_claim(path: Path, claimed_bytes: int) -> None:
    """Refuse a checkpoint whose tensors would fill memory that its file cannot."""
    size_bytes = path.stat().st_size
    if claimed_bytes > max(_MOST_GROWTH * size_bytes, _ALWAYS_BYTES):
        raise _unreadable(path, f"claims {claimed_bytes} bytes of tensors in {size_bytes} bytes", _DOWNLOAD)


def _read_torch(path: Path) -> object:
    if zipfile.is_zipfile(path):
        with contextlib.suppress(OSError, ValueError, zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            _check_claim(path, sum(entry.file_size for entry in archive.infolist()))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about other pickle protocols; the error below says it better
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged stream of opcodes can raise anything at all
        raise _torch_fault(path, error) from error


def _torch_fault(path: Path, error: Exception) -> UnreadableFile:
    text = str(error)
    code = re.search(r"GLOBAL ([\w.]+)|got <class '([\w.]+)'>|function ([\w.]+)", text)
    if code and isinstance(error, pickle.UnpicklingError):
        name = next(filter(None, code.groups()))
        return _unreadable(
            path,
            f"holds Python code besides tensors ({name}), which is never executed",
            "Save the model's `state_dict()` alone with `torch.save` and give that file.",
        )
    if "TorchScript" in text:
        return _unreadable(
            path,
            "is a TorchScript program, not a checkpoint",
            "Save the `state_dict()` of the original model with `torch.save` and give that file.",
        )
    with path.open("rb") as file:
        start = file.read(2)
    # torch.save writes a zip archive, and wrote a pickle of protocol 2 before PyTorch 1.6.
    if start == b"\x80\x02" or (start == b"PK" and not zipfile.is_zipfile(path)):
        return _unreadable(path, f"is truncated or damaged ({path.stat().st_size} bytes)", _DOWNLOAD)
    what = "is a plain Python pickle, which is never executed, and" if start[:1] == b"\x80" else "is"
    return _unreadable(path, f"{what} not a PyTorch checkpoint", "Give the path of a .pt, .pth or .safetensors file.")


def _read_safetensors(path: Path) -> object:
    try:
        from safetensors.torch import load
    except ImportError as error:
        raise MissingPackage(
            f"reading {_shown(path)} needs the package safetensors", "Run `pip install safetensors`."
        ) from error
    try:
        # Not load_file: it maps the file, whose later truncation would then kill the process.
        return load(path.read_bytes())
    except Exception as error:  # its own error type covers the header only
        raise _unreadable(path, f"is not a readable safetensors file: {_reason(error)}", _DOWNLOAD) from error


def _tensors(path: Path, entries: Mapping[Any, Any]) -> StateDict:
    hint = _SAVE_STATE_DICT
    tensors: StateDict = {}
    claimed_bytes = 0
    for key, value in entries.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            entry = f"{_shown(key)} is a {type(value).__name__}"
            raise _unreadable(path, f"is not a dict of tensors: its entry {entry}", hint)
        if value.is_quantized or value.is_complex() or value.layout != torch.strided:
            raise _unreadable(path, f"holds no plain numbers in {_shown(key)}: {value.dtype} {value.layout}", hint)
        claimed_bytes += value.numel() * max(4, value.element_size())
        _check_claim(path, claimed_bytes)  # before a tensor of one number, repeated, is laid out
        tensors[key] = value.detach().float() if value.is_floating_point() else value
    if not tensors:
        raise _unreadable(path, "holds no tensors", hint)
    return tensors


def _kind(tensor: Tensor) -> str:
    """Shape, and what sort of number: integer counters are interchangeable with floating ones, weights are not."""
    integer = "" if tensor.is_floating_point() or tensor.ndim == 0 else f" {str(tensor.dtype).removeprefix('torch.')}"
    return f"{tuple(tensor.shape)}{integer}"


def _first(names: list[str]) -> str:
    more = ", …" if len(names) > _SHOWN else ""
    return ", ".join(_shown(name) for name in names[:_SHOWN]) + more


def _shown(name: object) -> str:
    """A name out of a file, safe to print on one line."""
    text = str(name)
    text = text if text.isprintable() else repr(text)
    return text if len(text) <= 200 else text[:200] + "…"


def _reason(error: Exception) -> str:
    """The first sentence of another library's error."""
    lines = str(error).strip().splitlines()
    return _shown(lines[0].split(". ")[0].rstrip(".") if lines else type(error).__name__)


def _unreadable(path: Path | str, fault: str, hint: str) -> UnreadableFile:
    return UnreadableFile(f"checkpoint {_shown(path)} {fault}", hint)
