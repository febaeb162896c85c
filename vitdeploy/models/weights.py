"""State dicts: seeded random ones, and those of checkpoint files, checked before a model sees them.

A checkpoint is somebody else's file. It is read without executing anything in it, and whatever is wrong
with it ends in one line that names the file and the fault.
"""

import hashlib
import math
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vitdeploy.errors import MissingPackage, UnreadableFile

StateDict = dict[str, Tensor]
Rename = Callable[[Iterable[str]], Mapping[str, str]]
"""Maps the keys of a checkpoint to those of the model."""

WRAPPERS = ("state_dict", "params_ema", "params", "model")
"""Keys under which training scripts store the state dict, the averaged weights before the raw ones.

Source: the official EfficientViT checkpoints; BasicSR, https://github.com/XPixelGroup/BasicSR; MMEngine; SegNeXt.
"""

_SHOWN = 3
_DOWNLOAD = "Download the file again and compare its size and digest with the publisher's."
_NOT_WEIGHTS = {
    b"version https://git-lfs": ("a Git LFS pointer, not the file itself", "Fetch the file with `git lfs pull`."),
    b"<": ("a web page, not a checkpoint", "Download the file itself instead of the page about it."),
}


def seeded(module: nn.Module, seed: int) -> StateDict:
    """A random state dict for ``module`` that is the same, bit for bit, on every machine.

    Each tensor depends on its key, its shape and ``seed`` alone. Matrices and kernels are scaled by their
    fan-in, so that activations stay of order one through all layers; norms are close to the identity without
    being it, so that a norm that is left out or folded wrongly shows. The module may be on the meta device.
    """
    return {key: _seeded_tensor(key, tensor, seed) for key, tensor in module.state_dict().items()}


def read_checkpoint(path: Path | str) -> StateDict:
    """The tensors of a ``.safetensors`` file or of a PyTorch checkpoint, under their own keys.

    Floating tensors come as float32, whatever they are stored as. A state dict inside a training checkpoint is
    unwrapped, and the prefix ``module.`` that data-parallel training leaves on all keys is taken off.

    Raises:
        UnreadableFile: not a readable file, damaged, holds code or anything but finite tensors.
        MissingPackage: a ``.safetensors`` file without the package safetensors.
    """
    path = Path(path)
    _check_is_file(path)
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    tensors = _tensors(path, content)
    if all(key.startswith("module.") for key in tensors):
        tensors = {key.removeprefix("module."): tensor for key, tensor in tensors.items()}
    bad = [key for key, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    if bad:
        raise _unreadable(
            path, f"holds NaN or infinity in {len(bad)} of {len(tensors)} tensors ({_first(bad)})", _DOWNLOAD
        )
    return tensors


def fit(
    checkpoint: StateDict,
    module: nn.Module,
    *,
    rename: Rename | None = None,
    path: Path | str = "(in memory)",
    model: str = "the model",
) -> StateDict:
    """The checkpoint as a state dict of ``module``: all of its keys, in its order and dtypes, and nothing else.

    ``rename`` maps the checkpoint's keys to the module's; None where they are the same. ``path`` and ``model``
    name the two in the message.

    Raises:
        UnreadableFile: keys are missing, unexpected, given twice, or their tensors have another shape or kind.
    """
    names = rename(checkpoint) if rename else {key: key for key in checkpoint}
    renamed = {names[key]: tensor for key, tensor in checkpoint.items()}
    expected = module.state_dict()
    twice = len(checkpoint) - len(renamed)
    faults = {
        "missing": [key for key in expected if key not in renamed],
        "unexpected": [key for key in checkpoint if names[key] not in expected],
        "wrongly shaped": [
            f"{key}: file {_kind(renamed[key])}, model {_kind(tensor)}"
            for key, tensor in expected.items()
            if key in renamed and _kind(renamed[key]) != _kind(tensor)
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
    return {key: renamed[key].to(tensor.dtype) for key, tensor in expected.items()}


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
            raise _unreadable(path, "does not exist", "Give the path of a .pt, .pth or .safetensors file.")
        if not path.is_file():
            raise _unreadable(path, "is not a regular file", "Give the path of a .pt, .pth or .safetensors file.")
        with path.open("rb") as file:
            start = file.read(64)
    except (OSError, ValueError) as error:
        raise _unreadable(path, f"cannot be read: {_reason(error)}", "Check the path and its permissions.") from error
    if not start:
        raise _unreadable(path, "is empty (0 bytes)", _DOWNLOAD)
    for magic, (what, hint) in _NOT_WEIGHTS.items():
        if start.lstrip().startswith(magic):
            raise _unreadable(path, f"is {what}", hint)


def _read_torch(path: Path) -> object:
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


def _tensors(path: Path, content: object) -> StateDict:
    hint = "Save the model's `state_dict()` with `torch.save` and give that file."
    if not isinstance(content, Mapping):
        raise _unreadable(path, f"holds a {type(content).__name__}, not a dict of tensors", hint)
    entries = cast("Mapping[Any, Any]", content)
    wrapped = (entries[key] for key in WRAPPERS if isinstance(entries.get(key), Mapping))
    tensors: StateDict = {}
    for key, value in next(wrapped, entries).items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            entry = f"{_shown(key)} is a {type(value).__name__}"
            raise _unreadable(path, f"is not a dict of tensors: its entry {entry}", hint)
        if value.is_quantized or value.is_complex() or value.layout != torch.strided:
            raise _unreadable(path, f"holds no plain numbers in {_shown(key)}: {value.dtype} {value.layout}", hint)
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
