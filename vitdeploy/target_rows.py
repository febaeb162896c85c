"""The table of targets: a row registers who makes a file, who runs it, and how far it may be from the reference.

Read through `vitdeploy.catalog`, which adds the rows of other packages.
"""

from typing import Final, get_args

from vitdeploy.spec import Converter, Target, Tolerance

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

TARGETS: Final = (
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
