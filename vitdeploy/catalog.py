"""The tables of models, targets, runtimes and report formats; and the one function that imports a leaf.

A module is a plug-in and a row here is its registration. Other packages add rows through the entry
points ``vitdeploy.models`` and ``vitdeploy.targets`` (each names a `ModelSpec` or a `Target`).
"""

import importlib
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Final, TypeVar, get_args

from vitdeploy.errors import Impossible, UsageError, unknown_name
from vitdeploy.spec import Converter, ModelSpec, Size, Target, Tolerance

T = TypeVar("T")

_PAPER = "arXiv 2205.14756v6; github.com/mit-han-lab/efficientvit"
_CITYSCAPES: Final = (1024, 2048)
_ADE20K: Final = (512, 512)


def _efficientvit(variant: str, side: int) -> ModelSpec:
    return ModelSpec(
        name=f"efficientvit_{variant}",
        task="classification",
        builder="vitdeploy.models.efficientvit:build",
        variant=variant,
        size=(side, side),
        dataset="imagenet",
        classes=1000,
        weight_names="vitdeploy.models.efficientvit:official_keys",
        source=_PAPER,
    )


def _efficientvit_seg(variant: str, dataset: str, classes: int, size: Size) -> ModelSpec:
    return ModelSpec(
        name=f"efficientvit_seg_{variant}_{dataset}",
        task="segmentation",
        builder="vitdeploy.models.efficientvit_seg:build",
        variant=f"{variant}-{dataset}",
        size=size,
        dataset=dataset,
        classes=classes,
        output_stride=8,
        source=_PAPER,
    )


_MODELS: Final = (
    *(_efficientvit(variant, 224) for variant in ("b0", "b1", "b2", "b3", "l1", "l2", "l3")),
    *(_efficientvit_seg(v, "cityscapes", 19, _CITYSCAPES) for v in ("b0", "b1", "b2", "b3", "l1", "l2")),
    *(_efficientvit_seg(v, "ade20k", 150, _ADE20K) for v in ("b1", "b2", "b3", "l1", "l2")),
)

_FP32 = Tolerance(
    error=1e-3,
    agreement=0.999,
    psnr_db=80.0,
    source="rounding of fp32 sums in another order stays below 1e-4 of the output's deviation on every "
    "model here (tests/contracts/test_exporters.py measures it); ten times that is a different function",
)
_FP16 = Tolerance(
    error=0.5,
    agreement=0.95,
    psnr_db=40.0,
    source="half precision keeps 11 bits: rounding every tensor alone moves the real B0 Cityscapes weights by up to "
    "0.26 deviations and 4.5 % of the pixels of photographs that show no street (docs/fp16.md); a layer that "
    "overflows is off by whole deviations",
)

_ONNX_PACKAGES = ("torch", "onnx", "onnxscript", "onnxruntime", "skimage", "sklearn")
_HALF_REWRITES = ("cubic-as-products", "normalized-attention")
_HALF_OPTIONS: Final = {"head": ("labels",), "io": ("uint8", "fp16")}
_LATER = "not built in this version"

_TARGETS: Final = (
    Target(
        name="onnx-fp32",
        file="model.onnx",
        precision="fp32",
        exporter="vitdeploy.exporters.to_onnx",
        runtime="vitdeploy.runtimes.on_ort",
        export_packages=_ONNX_PACKAGES,
        run_packages=("onnxruntime",),
        extra="onnx",
        rewrites=("cubic-as-products", "denominator-apart", "padded-stem", "winograd-rows"),
        options={"head": ("labels",), "io": ("uint8",)},
        tolerance=_FP32,
    ),
    Target(
        name="onnx-fp16",
        file="model.onnx",
        precision="fp16",
        exporter="vitdeploy.exporters.to_onnx_fp16",
        runtime="vitdeploy.runtimes.on_ort",
        proof="vitdeploy.exporters.on_rounded",
        export_packages=_ONNX_PACKAGES,
        run_packages=("onnxruntime",),
        extra="onnx",
        rewrites=_HALF_REWRITES,
        options=_HALF_OPTIONS,
        tolerance=_FP16,
    ),
    Target(
        name="tflite-fp32",
        file="model.tflite",
        precision="fp32",
        exporter="vitdeploy.exporters.to_tflite",
        runtime="vitdeploy.runtimes.on_tflite",
        export_packages=(
            "torch",
            "onnx",
            "onnxscript",
            "onnx2tf",
            "tensorflow",
            "ai_edge_litert",
            "skimage",
            "sklearn",
        ),
        run_packages=("ai_edge_litert",),
        extra="tflite",
        tools=("onnx2tf", "tensorflow"),
        rewrites=("cubic-channels-last", "attention-apart", "softmax-as-products"),
        options={"head": ("labels",), "io": ("uint8",), "converter": get_args(Converter)},
        tolerance=_FP32,
    ),
    Target(
        name="trt-fp16",
        file="model.engine",
        precision="fp16",
        exporter="vitdeploy.exporters.to_trt",
        runtime=None,
        parent="onnx-fp16",
        deferrable=True,
        export_packages=("tensorrt",),
        extra="trt",
        rewrites=_HALF_REWRITES,
        options=_HALF_OPTIONS,
        tolerance=_FP16,
    ),
    *(
        Target(
            name=f"trt-{precision}",
            file="model.engine",
            precision=precision,
            exporter=None,
            runtime=None,
            parent="onnx-fp32",
            extra="trt",
            tolerance=_FP32 if precision == "fp32" else _FP16,
            unavailable=_LATER,
        )
        for precision in ("fp32", "bf16")
    ),
    Target(
        name="trt-rtx-fp16",
        file="model.engine",
        precision="fp16",
        exporter="vitdeploy.exporters.to_trt",
        runtime=None,
        parent="onnx-fp16",
        export_packages=("tensorrt_rtx",),
        extra="trt-rtx",
        rewrites=_HALF_REWRITES,
        options=_HALF_OPTIONS,
        tolerance=_FP16,
    ),
    Target(
        name="torch-fp32",
        file="model.pt",
        precision="fp32",
        exporter="vitdeploy.exporters.to_torch",
        runtime="vitdeploy.runtimes.on_torch",
        export_packages=("torch", "skimage", "sklearn"),
        run_packages=("torch",),
        extra="torch",
        tolerance=_FP32,
    ),
    Target(
        name="torch-fp16",
        file="model.pt",
        precision="fp16",
        exporter=None,
        runtime="vitdeploy.runtimes.on_torch",
        extra="torch",
        tolerance=_FP16,
        unavailable=_LATER,
    ),
)

FORMATS: Final[Mapping[str, str]] = {
    "html": "vitdeploy.reports.as_html",
    "markdown": "vitdeploy.reports.as_markdown",
    "github": "vitdeploy.reports.as_github",
    "json": "vitdeploy.reports.as_json",
    "csv": "vitdeploy.reports.as_csv",
    "junit": "vitdeploy.reports.as_junit",
    "benchmark-action": "vitdeploy.reports.as_benchmark_action",
    "bencher": "vitdeploy.reports.as_bencher",
    "history": "vitdeploy.reports.as_history",
}
"""Report format → the module whose ``render`` makes it: of a `Report`, and for ``history`` of a `History`."""

EXTRAS: Final[Mapping[str, str]] = {
    "torch": "torch",
    "safetensors": "torch",
    "onnx": "onnx",
    "onnxscript": "onnx",
    "onnxruntime": "onnx",
    "skimage": "torch",
    "sklearn": "torch",
    "tensorflow": "tflite",
    "onnx2tf": "tflite",
    "ai_edge_litert": "tflite",
    "litert_torch": "litert-torch",
    "tensorrt": "trt",
    "tensorrt_rtx": "trt-rtx",
    "transformers": "baselines",
    "adbutils": "adb",
    "pycocotools": "eval",
    "distributed": "fleet",
}
"""Import name → the extra that installs it."""


@cache
def models() -> Mapping[str, ModelSpec]:
    """All models, ours and those of installed plug-ins."""
    return {spec.name: spec for spec in (*_MODELS, *_plugged("vitdeploy.models", ModelSpec))}


@cache
def targets() -> Mapping[str, Target]:
    """All targets, ours and those of installed plug-ins."""
    return {target.name: target for target in (*_TARGETS, *_plugged("vitdeploy.targets", Target))}


def find_model(name: str) -> ModelSpec:
    """The model's row; an unknown name is a `UsageError` with the nearest ones."""
    if name not in models():
        raise unknown_name("model", name, models(), "vitdeploy models")
    return models()[name]


def find_target(name: str) -> Target:
    """The target's row; an unknown name is a `UsageError` with the nearest ones."""
    if name not in targets():
        raise unknown_name("target", name, targets(), "vitdeploy targets")
    return targets()[name]


def find_format(name: str) -> str:
    """The report format's module; an unknown name is a `UsageError` with the nearest ones."""
    if name not in FORMATS:
        raise unknown_name("report format", name, FORMATS, "vitdeploy report --help")
    return FORMATS[name]


def load(reference: str) -> Any:
    """Import ``module`` or ``module:attribute``: the only place where a leaf is imported by name."""
    module, _, attribute = reference.partition(":")
    loaded = importlib.import_module(module)
    return getattr(loaded, attribute) if attribute else loaded


LARGEST_SIDE = 16384
"""Longer sides are refused before any memory is asked for: one fp32 image of that size is 3 GiB."""


def parse_size(text: str) -> Size:
    """``HxW`` (or one number for a square) as a size.

    Raises:
        UsageError: not two positive whole numbers.
    """
    parts = text.lower().split("x")
    if len(parts) not in (1, 2) or not all(p.isascii() and p.isdigit() and int(p) > 0 for p in parts):
        raise UsageError(f"size {text!r} is not two positive whole numbers", "Write it as HxW, e.g. 512x1024.")
    return int(parts[0]), int(parts[-1])


def check_size(spec: ModelSpec, size: Size) -> None:
    """Raise `Impossible`, naming the nearest sizes, for a size the model cannot take."""
    step = spec.size_multiple
    if max(size) > LARGEST_SIDE:
        raise Impossible(f"size {size[0]}x{size[1]} is beyond {LARGEST_SIDE} pixels a side", "Choose a smaller size.")
    if all(side % step == 0 for side in size):
        return
    below = tuple(max(step, side // step * step) for side in size)
    above = tuple(-(-side // step) * step for side in size)
    nearest = " or ".join(dict.fromkeys(f"{h}x{w}" for h, w in (below, above)))
    raise Impossible(
        f"{spec.name} takes heights and widths that are multiples of {step}, not {size[0]}x{size[1]}", f"Use {nearest}."
    )


def _plugged(group: str, kind: type[T]) -> Iterator[T]:
    for point in entry_points(group=group):
        row = point.load()
        if not isinstance(row, kind):
            msg = f"entry point {point.name} of {group} is a {type(row).__name__}, not a {kind.__name__}"
            raise TypeError(msg)
        yield row
