"""User models: built, and described by running them once: ``python -m vitdeploy.models.user NAME``.

Such a model becomes a module from one image ``(n, 3, h, w)`` to one tensor, whatever its authors wrapped that in.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import hashlib
import os
import sys
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import torch
from torch import Tensor, nn

from vitdeploy.catalog import registry
from vitdeploy.catalog.preprocessing import assumed
from vitdeploy.catalog.spec import Size, Task
from vitdeploy.catalog.user_models import BUILDERS, Stamp, UserModelFacts
from vitdeploy.errors import Impossible, UnreadableFile, UsageError, VitdeployError
from vitdeploy.models import files_read, user_preprocessing
from vitdeploy.processes import child_process

DEFAULT_SIZE: Size = (224, 224)
"""Where neither the model nor its files say what they were made for."""

COMMON_SIZES: Final[tuple[Size, ...]] = tuple(
    (side, side) for side in (256, 384, 512, 448, 336, 320, 288, 299, 518, 640, 1024, 192, 160, 128, 96, 64, 32)
)
"""Tried where a model takes neither the default size nor one that it names. Source: input sizes of timm's models."""

SIZE_ATTRIBUTES = ("img_size", "image_size", "input_size", "input_resolution", "img_resolution")

OUTPUT_FIELDS = ("logits", "reconstruction", "predicted_depth", "last_hidden_state")
"""Of an output with names, the first of these that is there is the answer."""


ANSWERS: Final = frozenset(
    {
        *(torch.float32, torch.float16, torch.float64, torch.bool),
        *(torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32, torch.int64),
    }
)
"""Element types of answers that can be compared: those that numpy has too, complex numbers left out."""


class SingleTensorModel(nn.Module):
    """A model that takes an image and returns the one tensor of its answer."""

    def __init__(self, model: nn.Module, name: str) -> None:
        super().__init__()
        self.model = model
        self.name = name

    def forward(self, image: Tensor) -> Tensor:
        """``(n, 3, h, w)`` to the first tensor of what the model returns."""
        return first_tensor(self.model(image), self.name)


def first_tensor(output: Any, name: str) -> Tensor:
    """The answer in what a model returned.

    Raises:
        Impossible: there is no tensor in it.
    """
    if isinstance(output, Tensor):
        return output
    for field in OUTPUT_FIELDS:
        value = output.get(field) if isinstance(output, Mapping) else getattr(output, field, None)
        if isinstance(value, Tensor):
            return value
    values = list(output.values()) if isinstance(output, Mapping) else output
    if isinstance(values, list | tuple) and values and isinstance(values[0], Tensor):
        return values[0]
    raise Impossible(f"{name} returns a {type(output).__name__}, not a tensor", "Let it return a tensor.")


def build_module(variant: str) -> nn.Module:
    """What ``package.module:function`` returns when it is called without arguments."""
    if os.getcwd() not in sys.path:  # noqa: PTH109  # as sys.path spells it
        sys.path.insert(0, os.getcwd())  # noqa: PTH109
    name = f"module:{variant}"
    torch.manual_seed(0)  # so that a model that draws its weights draws the same ones in every process
    try:
        module = registry.load(variant)()
    except AttributeError as error:
        raise UsageError(f"{name}: {error}", "Name a function of the module, without arguments.") from error
    except Exception as error:  # a stranger's code can raise anything at all
        raise Impossible(f"{name} raised {type(error).__name__}: {error}", "Try it alone in Python.") from error
    if isinstance(module, torch.jit.ScriptModule | torch.jit.ScriptFunction) or (
        isinstance(module, nn.Module) and any(isinstance(part, torch.jit.ScriptModule) for part in module.modules())
    ):
        raise Impossible(
            f"{name} returned a TorchScript module, which torch.export cannot take: its Python code is not in it",
            "Return the nn.Module that it was made from, or write an ONNX file of it by torch.onnx.export(…, "
            "dynamo=False) and name that as onnx:FILE.",
        )
    if not isinstance(module, nn.Module):
        raise Impossible(f"{name} returned a {type(module).__name__}, not a torch.nn.Module", "Return the module.")
    return SingleTensorModel(module.eval().float(), name)


def build_timm(variant: str) -> nn.Module:
    """Timm's model of that name, without its weights: those would have to be downloaded."""
    name = f"timm:{variant}"
    torch.manual_seed(0)
    try:
        module: Any = registry.load("timm:create_model")(variant, pretrained=False)
    except ImportError as error:
        raise Impossible(f"timm does not import here: {error}", "Repair it with `pip install timm`.") from error
    except Exception as error:  # its own errors are of many classes
        raise UsageError(f"{name}: {error}", "Name a model of `timm.list_models()`.") from error
    return SingleTensorModel(module.eval(), name)


def build_hf(variant: str) -> nn.Module:
    """The model in a folder of transformers, or in its cache; never a download."""
    from transformers import AutoConfig
    from transformers.utils import logging

    logging.set_verbosity_error()
    name = f"hf:{variant}"
    hint = "Name a folder with config.json and model.safetensors, or download the model first: nothing is downloaded."
    try:
        config: Any = AutoConfig.from_pretrained(variant, local_files_only=True)
    except Exception as error:  # its own errors are of many classes
        raise UnreadableFile(f"{name} is neither a model's folder nor in the cache: {_line(error)}", hint) from error
    import transformers

    kinds = [getattr(transformers, architecture, None) for architecture in config.architectures or ()]
    if not kinds or kinds[0] is None:
        raise Impossible(
            f"{name} names no architecture that transformers has: {config.architectures}",
            "Name a model whose config.json has `architectures`.",
        )
    try:
        module, loading_info = kinds[0].from_pretrained(
            variant, config=config, local_files_only=True, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:
        raise UnreadableFile(f"{name} has no weights that load: {_line(error)}", hint) from error
    if loading_info["missing_keys"]:
        lacking = sorted(loading_info["missing_keys"])
        raise UnreadableFile(f"{name} lacks {len(lacking)} of its tensors ({lacking[0]}, …)", hint)
    return SingleTensorModel(module.eval(), name)


def describe(name: str, wanted: Size | None = None) -> UserModelFacts:
    """Build the model, run it once on seeded noise, and say what it is.

    Args:
        wanted: the size that was asked for, tried where the model does not take its own or the default one.

    Raises:
        VitdeployError: it cannot be built, or does not answer an image with one tensor.
    """
    kind, _, rest = name.partition(":")
    if kind == "onnx":
        return registry.load("vitdeploy.models.user_onnx:describe")(rest, wanted)
    with files_read.recorded() as recorder:
        module: nn.Module = registry.load(BUILDERS[kind])(rest)
        marks: Any = getattr(_inner(module), "config" if kind == "hf" else "pretrained_cfg", None)
        if kind == "hf":
            size, known = user_preprocessing.of_transformers(rest, marks, DEFAULT_SIZE)
        else:
            size, known = user_preprocessing.of_marks(marks or {}, DEFAULT_SIZE)
        size, sizes, answer = _answered(module, name, size, wanted)
    if answer.dtype not in ANSWERS:
        kind = str(answer.dtype).removeprefix("torch.")
        raise Impossible(f"{name} answers with {kind} numbers", "Let it return float32, integers or booleans.")
    task_facts = task_of_output(name, tuple(answer.shape), size, labels=not answer.is_floating_point())
    note = "its weights are random here: timm's would be a download" if kind == "timm" else None
    files = recorder.files() if kind == "module" else []
    preprocessing = known or assumed(task_facts["task"])
    return UserModelFacts(
        size=size,
        sizes=sizes,
        preprocessing=preprocessing,
        weights=None if kind == "timm" else _digest(module.state_dict()),
        made_from=_joined(
            files_read.digest_of_files(files),
            _digest(dict((*module.named_parameters(), *module.named_buffers()))),
            str(marks),
            str((size, preprocessing)),
        ),
        answer=_digest({"answer": answer}),
        beside=tuple(Stamp.of(path) for path in files),
        note=note,
        **task_facts,
    )


def _answered(module: nn.Module, name: str, size: Size, wanted: Size | None) -> tuple[Size, tuple[Size, ...], Tensor]:
    """A size that the model takes, the only ones (empty: it was not asked, or it takes several), and its answer.

    Raises:
        Impossible: it takes none of those that were tried.
    """
    first: Exception | None = None
    several: tuple[Size, tuple[Size, ...], Tensor] | None = None
    tried: list[Size] = [size, *([wanted] if wanted else []), *_own_sizes(module), *COMMON_SIZES]
    for candidate in dict.fromkeys(tried):
        try:
            answer = _answer(module, candidate)
        except VitdeployError:
            raise
        except Exception as error:  # noqa: BLE001  # a stranger's code can raise anything at all
            first = first or error
            continue
        if answer.shape[:1] != (1,):  # `view(-1, …)` for one size makes several answers of an image of another
            several = several or (candidate, (), answer)
            continue
        if candidate == size or any(_takes(module, other) for other in _others(candidate)):
            return candidate, (), answer
        return candidate, (candidate,), answer
    if several is not None:
        return several
    assert first is not None, "one size at least was tried"
    raise Impossible(
        f"{name} does not take an image (1, 3, {size[0]}, {size[1]}): {type(first).__name__}: {_line(first)}",
        "Let it take one float32 tensor (n, 3, h, w); if it takes one size only, name it with --size HxW.",
    ) from first


def _answer(module: nn.Module, size: Size) -> Tensor:
    with torch.inference_mode():
        return module(torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0)))


def _takes(module: nn.Module, size: Size) -> bool:
    try:
        return _answer(module, size).shape[:1] == (1,)
    except Exception:  # noqa: BLE001  # as above
        return False


def _others(size: Size) -> tuple[Size, ...]:
    """Sizes that a model which is free to choose takes as well."""
    return (size[0] * 2, size[1] * 2), (size[0] + 64, size[1] + 64)


def _own_sizes(module: nn.Module) -> list[Size]:
    """Sizes that stand in attributes of the model or its parts, as vision transformers have them."""
    sizes: list[Size] = []
    for part in module.modules():
        for attribute in SIZE_ATTRIBUTES:
            value: Any = getattr(part, attribute, None)
            pair = (value, value) if isinstance(value, int) else value
            if isinstance(pair, tuple | list) and len(pair) >= 2 and all(isinstance(v, int) and v > 0 for v in pair):
                sizes.append((int(pair[-2]), int(pair[-1])))
    return list(dict.fromkeys(sizes))[:8]


def task_of_output(name: str, shape: tuple[int, ...], size: Size, *, labels: bool = False) -> dict[str, Any]:
    """Task, classes, stride and scale by the shape of the answer to one image of ``size``.

    Args:
        labels: it holds integers or booleans; then a map ``(n, h, w)`` is a segmentation too.

    Raises:
        Impossible: an answer that is neither classes, nor a map of classes, nor an image.
    """
    task: Task
    if len(shape) == 2 and shape[0] == 1:
        return {"task": "classification", "classes": shape[1]}
    if labels and len(shape) == 3:
        shape = (shape[0], 1, *shape[1:])
    if len(shape) == 4 and shape[0] == 1:
        height, width = shape[2:]
        for a, b in (((height, width), size), (size, (height, width))):
            if a[0] % b[0] == 0 and a[1] % b[1] == 0 and a[0] // b[0] == a[1] // b[1]:
                factor = a[0] // b[0]
                if a is not size and shape[1] == 3:
                    return {"task": "super-resolution", "scale": factor}
                if a is size or factor == 1:
                    task = "segmentation"
                    return {"task": task, "classes": shape[1], "output_stride": factor}
    raise Impossible(
        f"{name} answers an image {(1, 3, *size)} with {shape}",
        "Let it return classes (n, c), a map of classes (n, c, h / s, w / s) or an image (n, 3, s · h, s · w).",
    )


def _inner(module: nn.Module) -> Any:
    """The user's module in ours."""
    return getattr(module, "model", module)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key, tensor in tensors.items():
        digest.update(key.encode())
        digest.update(tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _joined(*words: str) -> str:
    return hashlib.sha256("\n".join(words).encode()).hexdigest()


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


def _answer_job(job: Any) -> Any:
    wanted = job["size"]
    return msgspec.to_builtins(describe(job["name"], (wanted[0], wanted[1]) if wanted else None))


if __name__ == "__main__":
    sys.exit(child_process.answer(_answer_job))
