"""``tflite-fp32``: TFLite with its own operators only, channels last, by onnx2tf, by litert-torch or by the faster."""

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import torch

from vitdeploy.artifacts.manifest import Tensor
from vitdeploy.catalog import graph_io
from vitdeploy.catalog.spec import Layout, ModelSpec
from vitdeploy.errors import Impossible, MissingPackage, VitdeployError
from vitdeploy.exporters import proof, to_onnx
from vitdeploy.exporters.job import ExportedFile, StepJob
from vitdeploy.exporters.proof import Border
from vitdeploy.exporters.rewrites import table
from vitdeploy.exporters.tflite import convert as convert_tflite
from vitdeploy.exporters.tflite import inspect_file, litert_torch_env, pick_faster
from vitdeploy.exporters.tflite.convert import CONVERTERS, SingleConverter
from vitdeploy.exporters.tflite.pick_faster import ConvertedFile, FasterFile
from vitdeploy.models.efficientvit_blocks import Upsample

FILE = "model.tflite"

WAYS: Final[Mapping[SingleConverter, str]] = {
    "onnx2tf": "torch.export, torch.onnx, onnx2tf and TensorFlow's TFLite converter",
    "litert-torch": "torch.export and litert-torch",
}

_DTYPES = {torch.float32: "float32", torch.uint8: "uint8", torch.int32: "int32"}
_LAYOUTS: Final[Mapping[int, Layout]] = {4: "NHWC", 2: "NC"}


def make(model: torch.nn.Module, spec: ModelSpec, job: StepJob) -> ExportedFile:
    """Convert ``model`` with the job's rewrites into ``job.folder``.

    Raises:
        ToolchainFailed: a converter failed, or its file needs operators that TFLite does not have.
        MissingPackage: litert-torch was asked for and is not where it is said to be.
    """
    inputs = to_onnx.zeros(spec, job)
    ready, applied = table.rewritten(model, job.rewrites, *inputs.values())
    with torch.no_grad():
        found: torch.Tensor | tuple[torch.Tensor, ...] = ready(*inputs.values())
    results = (found,) if isinstance(found, torch.Tensor) else found
    border = Border(
        inputs=tuple(described(name, value) for name, value in inputs.items()),
        outputs=tuple(described(*pair) for pair in zip(graph_io.outputs(spec, job.variant.head), results, strict=True)),
    )
    target = job.folder / FILE
    chosen: SingleConverter
    if job.variant.converter == "best":
        with tempfile.TemporaryDirectory(prefix="vitdeploy-duel-") as place:
            choice = duel(model, ready, inputs, border, job, Path(place))
            shutil.copyfile(choice.winner.file, target)
        chosen = "onnx2tf" if choice.winner.converter == "onnx2tf" else "litert-torch"
        told = f"; the faster of both converters' files: {choice.words}"
    else:
        chosen, told = job.variant.converter or CONVERTERS[0], ""
        convert(ready, inputs, border, target, chosen)
    version = litert_torch_env.litert_torch_version() if chosen == "litert-torch" else None
    return ExportedFile(
        file=FILE,
        inputs=border.inputs,
        outputs=border.outputs,
        recipe=f"{WAYS[chosen]}, after the rewrites named{told}",
        operators=inspect_file.operators(target),
        delegation=inspect_file.delegation(target),
        rewrites=applied,
        tools={litert_torch_env.LITERT_TORCH: version} if version else {},
    )


def convert(
    ready: torch.nn.Module, inputs: Mapping[str, torch.Tensor], border: Border, file: Path, converter: SingleConverter
) -> None:
    """Convert the rewritten module by one converter, and see that every runtime of TFLite can load the result.

    Raises:
        Impossible: TFLite has no operator for a part of the module.
        ToolchainFailed: the converter failed, or its file needs operators that TFLite does not have.
    """
    if converter == "onnx2tf" and any(isinstance(part, Upsample) for part in ready.modules()):
        raise Impossible(
            f"{FILE} would need FlexResizeBicubic: TFLite has no cubic resize of its own",
            "Leave the rewrite cubic-channels-last in.",
        )
    convert_tflite.convert(ready, inputs, [one.name for one in border.outputs], file, converter)
    inspect_file.refuse_foreign(file)


def duel(
    model: torch.nn.Module,
    ready: torch.nn.Module,
    inputs: Mapping[str, torch.Tensor],
    border: Border,
    job: StepJob,
    place: Path,
) -> FasterFile:
    """Both converters' files in ``place``, both held against ``model``, and the faster of those that are right.

    Raises:
        ToolchainFailed: neither is right.
        MissingPackage: litert-torch is not there; a converter that was asked for has not lost.
    """
    manifest = {"inputs": msgspec.to_builtins(border.inputs), "outputs": msgspec.to_builtins(border.outputs)}
    contenders: list[ConvertedFile] = []
    for converter in CONVERTERS:
        file = place / f"{converter}.tflite"
        try:
            convert(ready, inputs, border, file, converter)
            found = proof.prove(model, file, manifest, border, job)
            said = None if found.passed else f"failed parity: {found.reason}"
        except MissingPackage:
            raise
        except VitdeployError as error:
            said = f"failed: {error.message}"
        contenders.append(ConvertedFile(converter=converter, file=file, said=said))
    target = job.target
    sessions: dict[str, Any] = {
        one.converter: proof.open_for_proof(target, one.file, manifest) for one in contenders if one.said is None
    }
    feeds = proof.first_feeds(border, job)
    return pick_faster.choose(contenders, pick_faster.timed(sessions, feeds), proof.threads())


def described(name: str, value: torch.Tensor) -> Tensor:
    """A tensor as it stands in the file: maps have their channels last."""
    shape = tuple(value.shape)
    if len(shape) == 4:
        shape = (shape[0], *shape[2:], shape[1])
    return Tensor(name=name, shape=shape, dtype=_DTYPES[value.dtype], layout=_LAYOUTS.get(len(shape), "other"))
