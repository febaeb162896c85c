"""``tflite-fp32``: TFLite with its own operators only, channels last, by onnx2tf, by litert-torch or by the faster."""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
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
from vitdeploy.exporters.on_torch_fp32 import called, samples
from vitdeploy.exporters.rewrites import table
from vitdeploy.exporters.tflite import convert as convert_tflite
from vitdeploy.exporters.tflite import inspect_file, litert_torch_env, pick_faster
from vitdeploy.exporters.tflite.convert import CONVERTERS, SingleConverter
from vitdeploy.exporters.tflite.pick_faster import ConvertedFile, FasterFile
from vitdeploy.models.efficientvit_blocks import Upsample
from vitdeploy.processes import stages

FILE = "model.tflite"

WAYS: Final[Mapping[SingleConverter, str]] = {
    "onnx2tf": "torch.export, torch.onnx, onnx2tf and TensorFlow's TFLite converter",
    "litert-torch": "torch.export and litert-torch",
}

_DTYPES = {
    torch.float32: "float32",
    torch.uint8: "uint8",
    torch.int32: "int32",
    torch.int64: "int64",
    torch.bool: "bool",
}
_LAYOUTS: Final[Mapping[int, Layout]] = {4: "NHWC", 2: "NC"}


def make(model: torch.nn.Module, spec: ModelSpec, job: StepJob) -> ExportedFile:
    """Convert ``model`` with the job's rewrites into ``job.folder``.

    Raises:
        ToolchainFailed: a converter failed, or its file needs operators that TFLite does not have.
        MissingPackage: litert-torch is the chosen converter and is not installed where it should be.
    """
    examples = to_onnx.zeros(spec, job)
    stages.begin("rewrite")
    ready, applied = table.rewritten(model, job.rewrites, *examples.values())
    names = graph_io.outputs(spec, job.variant.head)
    inputs = tuple(described(name, value) for name, value in examples.items())
    outputs = tuple(described(*pair) for pair in zip(names, called(ready, *examples.values()), strict=True))
    file = job.folder / FILE
    converter: SingleConverter
    if job.variant.converter == "best":
        manifest = {"inputs": msgspec.to_builtins(inputs), "outputs": msgspec.to_builtins(outputs)}
        with tempfile.TemporaryDirectory(prefix="vitdeploy-duel-") as place:
            faster = faster_conversion(model, ready, examples, manifest, job, Path(place))
            shutil.copyfile(faster.winner.file, file)
        converter, comparison = faster.winner.converter, f"; the faster of both converters' files: {faster.words}"
    else:
        converter, comparison = job.variant.converter or CONVERTERS[0], ""
        convert(ready, examples, names, file, converter)
    version = litert_torch_env.litert_torch_version() if converter == "litert-torch" else None
    return ExportedFile(
        file=FILE,
        inputs=inputs,
        outputs=outputs,
        recipe=f"{WAYS[converter]}, after the rewrites named{comparison}",
        operators=inspect_file.operators(file),
        delegation=inspect_file.delegation(file),
        rewrites=applied,
        tools={litert_torch_env.LITERT_TORCH: version} if version else {},
    )


def convert(
    ready: torch.nn.Module,
    examples: Mapping[str, torch.Tensor],
    outputs: Sequence[str],
    file: Path,
    converter: SingleConverter,
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
    convert_tflite.convert(ready, examples, outputs, file, converter)
    inspect_file.refuse_foreign(file)


def faster_conversion(
    model: torch.nn.Module,
    ready: torch.nn.Module,
    examples: Mapping[str, torch.Tensor],
    manifest: Mapping[str, Any],
    job: StepJob,
    place: Path,
) -> FasterFile:
    """Both converters' files in ``place``, the parity of each with ``model``, and the faster of those that pass.

    Raises:
        ToolchainFailed: neither passes.
        MissingPackage: litert-torch is not there; a converter that was asked for has not lost.
    """
    files: list[ConvertedFile] = []
    for converter in CONVERTERS:
        file = place / f"{converter}.tflite"
        try:
            convert(ready, examples, [output["name"] for output in manifest["outputs"]], file, converter)
            stages.begin("prove")
            parity = proof.prove(model, file, manifest, job)
            rejection = None if parity.passed else f"failed parity: {parity.reason}"
        except MissingPackage:
            raise
        except VitdeployError as error:
            rejection = f"failed: {error.message}"
        files.append(ConvertedFile(converter=converter, file=file, rejection=rejection))
    stages.begin("compare")
    sessions: dict[str, Any] = {
        file.converter: proof.open_for_proof(job.target, file.file, manifest) for file in files if not file.rejection
    }
    inputs = msgspec.convert(manifest["inputs"], tuple[Tensor, ...])
    feeds = proof.laid_out(next(samples(job)), inputs)
    return pick_faster.choose(files, pick_faster.timed(sessions, feeds), proof.threads())


def described(name: str, value: torch.Tensor) -> Tensor:
    """A tensor as the file has it: maps have their channels last.

    Raises:
        Impossible: its elements are of a type that no file here has.
    """
    if value.dtype not in _DTYPES:
        kind = str(value.dtype).removeprefix("torch.")
        raise Impossible(
            f"{name} is of {kind}, which a TFLite file made here cannot have: only {', '.join(_DTYPES.values())}",
            "Let the model return float32, or use --target onnx-fp32.",
        )
    shape = tuple(value.shape)
    if len(shape) == 4:
        shape = (shape[0], *shape[2:], shape[1])
    return Tensor(name=name, shape=shape, dtype=_DTYPES[value.dtype], layout=_LAYOUTS.get(len(shape), "other"))
