"""The table of targets: a row registers who makes a file, who runs it, and how far it may be from the reference.

Read through `vitdeploy.catalog.registry`, which adds the rows of other packages.
"""

from dataclasses import replace
from typing import Final, get_args

from vitdeploy.catalog.spec import Converter, Target, Tolerance

_FP32 = Tolerance(
    error=1e-3,
    image_error=1e-3,
    agreement=0.999,
    psnr_db=80.0,
    source="rounding of fp32 sums in another order stays below 1e-4 of the output's standard deviation on every "
    "model here (tests/contracts/test_exporters.py measures it); ten times that is a different function",
)
_FP16 = Tolerance(
    error=0.5,
    image_error=1.0,
    agreement=0.95,
    psnr_db=40.0,
    source="half precision keeps 11 bits: rounding every tensor alone moves the real B0 Cityscapes weights by up to "
    "0.26 deviations and 4.5 % of the pixels of photographs that show no street (docs/fp16.md); a layer that "
    "overflows is off by whole deviations; in a flat region of one photograph the queries of EfficientViT-SR's random "
    "weights vanish, and 331 of 460 800 values are off by 0.3 to 0.61, at a PSNR above 45 dB",
)
_BF16 = Tolerance(
    error=4.0,
    image_error=4.0,
    agreement=0.75,
    psnr_db=25.0,
    source="bf16 keeps 8 bits: rounding every tensor alone moves the real B0 Cityscapes weights by up to 2 deviations "
    "and 22 % of the pixels of photographs that show no street, 0.6 % of a street's (docs/fp16.md)",
)

_HALF_REWRITES = (
    "cubic-as-products",
    "normalized-attention",
    "scaled-contrast",
    "scaled-length",
    "scaled-factorization",
)
_WIDE_REWRITES = ("cubic-as-products", "denominator-apart")
"""Of engines whose numbers reach as far as fp32: nothing for half precision's sake, and nothing that suits a CPU."""
_BF16_REWRITES = (*_WIDE_REWRITES, "hard-swish-apart")
_OPTIONS: Final = {"head": ("labels",), "io": ("uint8",)}
_HALF_OPTIONS: Final = {"head": ("labels",), "io": ("uint8", "fp16")}

_ONNX: Final = Target(
    name="onnx-fp32",
    file="model.onnx",
    precision="fp32",
    exporter="vitdeploy.exporters.to_onnx",
    runtime="vitdeploy.runtimes.on_ort",
    export_packages=("torch", "onnx", "onnxscript", "onnxruntime", "skimage", "sklearn"),
    run_packages=("onnxruntime",),
    extra="onnx",
    rewrites=(*_WIDE_REWRITES, "padded-stem", "winograd-rows"),
    options=_OPTIONS,
    tolerance=_FP32,
)
_HALF_ONNX: Final = replace(
    _ONNX,
    name="onnx-fp16",
    precision="fp16",
    exporter="vitdeploy.exporters.to_onnx_fp16",
    proof="vitdeploy.exporters.half.on_rounded",
    rewrites=_HALF_REWRITES,
    options=_HALF_OPTIONS,
    tolerance=_FP16,
)
_ENGINE: Final = Target(
    name="trt-fp16",
    file="model.engine",
    precision="fp16",
    exporter="vitdeploy.exporters.to_trt",
    runtime="vitdeploy.runtimes.on_trt",
    parent="onnx-fp16",
    deferrable=True,
    export_packages=("tensorrt",),
    extra="trt",
    tools=("tensorrt",),
    rewrites=_HALF_REWRITES,
    options=_HALF_OPTIONS,
    tolerance=_FP16,
)
_TORCH: Final = Target(
    name="torch-fp32",
    file="model.pt",
    precision="fp32",
    exporter="vitdeploy.exporters.to_torch",
    runtime="vitdeploy.runtimes.on_torch",
    export_packages=("torch", "skimage", "sklearn"),
    run_packages=("torch",),
    extra="torch",
    tolerance=_FP32,
)

TARGETS: Final = (
    _ONNX,
    _HALF_ONNX,
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
        rewrites=("cubic-channels-last", "attention-apart", "softmax-as-products", "masks-by-place"),
        options={**_OPTIONS, "converter": get_args(Converter)},
        tolerance=_FP32,
    ),
    _ENGINE,
    replace(
        _ENGINE,
        name="trt-fp32",
        precision="fp32",
        parent="onnx-fp32",
        rewrites=_WIDE_REWRITES,
        options=_OPTIONS,
        tolerance=_FP32,
    ),
    replace(
        _ENGINE,
        name="trt-bf16",
        precision="bf16",
        parent="onnx-bf16",
        rewrites=_BF16_REWRITES,
        options=_OPTIONS,
        tolerance=_BF16,
    ),
    replace(
        _ENGINE,
        name="trt-rtx-fp16",
        note="TensorRT for RTX, which is not TensorRT proper",
        deferrable=False,
        export_packages=("tensorrt_rtx",),
        extra="trt-rtx",
        tools=("tensorrt_rtx_cu12", "tensorrt_rtx_cu13"),
    ),
    _TORCH,
    replace(_TORCH, name="torch-fp16", precision="fp16", tolerance=_FP16),
    replace(
        _HALF_ONNX,
        name="onnx-bf16",
        precision="bf16",
        runtime=None,
        run_packages=(),
        rewrites=_BF16_REWRITES,
        options=_OPTIONS,
        tolerance=_BF16,
    ),
)
