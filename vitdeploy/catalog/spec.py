"""Frozen data that describes models, targets and tensors, and does nothing.

Standard library only: the worker carries this file to devices that have no more.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from vitdeploy.catalog.preprocessing import IMAGENET, Preprocessing

Task = Literal["classification", "segmentation", "super-resolution", "segment-anything", "attention"]
Attention = Literal["relu", "softmax", "own"]
"""What stands in EfficientViT's attention modules; ``own``: another model, whose attention is not ours to choose."""
Head = Literal["logits", "labels"]
Io = Literal["fp32", "fp16", "uint8"]
Converter = Literal["onnx2tf", "litert-torch", "best"]
"""Who makes a TFLite file; ``best``: both, and the faster of those that are right."""
Cpu = Literal["avx2", "avx512", "neon"]
"""The vector instructions of a CPU, which decide how wide a runtime's kernels are; ``neon`` is of ARM."""
Layout = Literal["NCHW", "NHWC", "NC", "other"]
Boundary = Literal["host-to-host", "compute"]
Compute = Literal["cpu", "cuda", "phone"]
"""Where an artifact computes: the CPU or the NVIDIA GPU of a machine that runs Python, or a phone's own cores."""
Part = Literal["encoder", "decoder"]
"""Of a segment-anything model: what sees the picture once, and what answers each prompt."""
Size = tuple[int, int]
"""Input height and width in pixels, in this order everywhere."""

USER_MODEL_KINDS = ("onnx", "hf", "timm", "module")
"""Prefixes of user models, before the colon."""


def is_user_model(name: str) -> bool:
    """Whether ``name`` is a user model; here, because trials need it and have no msgspec on a device."""
    kind, colon, _ = name.partition(":")
    return bool(colon) and kind in USER_MODEL_KINDS


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output of a graph."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    """A numpy dtype name: ``float32``, ``float16``, ``uint8``, ``int64``."""
    layout: Layout


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One row of the model table: what it is, how it is built, what it eats and returns."""

    name: str
    task: Task
    builder: str
    """``module:function``; called as ``function(variant, attention=…)``, returns a ``torch.nn.Module``."""
    variant: str
    """What the builder calls this model: ``b1``, ``b0-cityscapes``."""
    size: Size
    """Resolution of the model's published latency."""
    size_multiple: int = 32
    """Height and width must be multiples of this."""
    least_side: int = 1
    """Height and width must be no less than this."""
    sizes: tuple[Size, ...] = ()
    """The only sizes that it takes; empty: all multiples."""
    dataset: str
    """What its outputs mean: ``imagenet``, ``cityscapes``, ``ade20k``."""
    classes: int
    output: str = "logits"
    """Name of the output that parity and the task's metric look at."""
    more_outputs: tuple[str, ...] = ()
    """Names of those that follow it."""
    output_stride: int | None = None
    """Input pixels per output pixel, for outputs that are maps."""
    enlarge: Literal["bicubic", "bilinear"] = "bicubic"
    """How its authors bring such logits to the picture's size before the argmax."""
    scale: int | None = None
    """How many times higher and wider than the input an output is that is an image."""
    attentions: tuple[Attention, ...] = ("relu", "softmax")
    preprocessing: Preprocessing = IMAGENET
    requires: tuple[str, ...] = ("torch",)
    """Import names of the packages that building it needs."""
    weight_names: str | None = None
    """``module:function`` mapping a checkpoint's keys to ours; None: official keys only."""
    weight_tensors: str | None = None
    """``module:function`` turning a checkpoint's tensors into ours where names alone do not do; None: they do."""
    weight_variant: str | None = None
    """``module:function`` naming the builder's variant by the row's and a checkpoint's keys; None: it is the row's."""
    user_weights: str | None = None
    """Of a user model: digest of the weights that its builder makes; None: they are seeded, or from a file."""
    made_from: str | None = None
    """Of a user model: digest of everything that it is made from, as far as that can be seen."""
    answer: str | None = None
    """Of a user model: digest of its answer to seeded noise, by which hidden ingredients show."""
    note: str | None = None
    """What has to be said of it wherever its figures are shown."""
    part: Part | None = None
    """Which part of a larger model this is; its name is then ``MODEL.PART``."""
    parts: "tuple[ModelSpec, ...]" = ()
    """The parts that are exported one by one in its place; empty: it is exported whole."""
    refused: Mapping[str, str] = field(default_factory=dict[str, str])
    """Target that cannot take it → why."""
    source: str
    """Where the architecture and its published figures come from."""

    @property
    def whole(self) -> str:
        """Name of the model that this is, or is a part of."""
        return self.name.removesuffix(f".{self.part}") if self.part else self.name

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of all outputs."""
        return (self.output, *self.more_outputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tolerance:
    """How far an artifact may be from the fp32 reference; see `parity.judge` for how each is measured."""

    error: float
    """Largest absolute error, in standard deviations of the reference's output."""
    image_error: float
    """The same for images, of which one pixel is the least part, and which PSNR judges as a whole."""
    agreement: float
    """Least top-1 or argmax agreement, 0–1."""
    psnr_db: float
    """Least peak signal-to-noise ratio against the reference's output, for images."""
    source: str
    """Why these numbers."""

    def error_of(self, task: Task) -> float:
        """The largest absolute error for a task."""
        return self.image_error if task == "super-resolution" else self.error

    def floor_of(self, task: Task) -> float:
        """The least value of the task's metric."""
        return self.psnr_db if task == "super-resolution" else self.agreement


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One row of the target table: a file format at a precision, who makes it and who runs it."""

    name: str
    file: str
    """Name of the artifact's file."""
    precision: str
    exporter: str | None
    """Module that makes the file; None: not built yet, and ``unavailable`` says so."""
    runtime: str | None
    """Module that loads the file."""
    proof: str | None = None
    """Module that runs it for parity, where the runtime would not tell the truth of the target's hardware."""
    parent: str | None = None
    """Target whose artifact is the input of this step; None: the torch module itself."""
    deferrable: bool = False
    """Without a device that is named, and without the packages here, the device has to build it."""
    export_packages: tuple[str, ...] = ()
    run_packages: tuple[str, ...] = ()
    """Import names needed to make it, and to run it."""
    extra: str
    """The extra that installs those packages."""
    tools: tuple[str, ...] = ()
    """Distributions whose versions decide the bytes, beside those that every export uses."""
    rewrites: tuple[str, ...] = ()
    """Names of the graph rewrites applied by default, in order."""
    tolerance: Tolerance
    note: str | None = None
    """What has to be said of it, lest it pass for something else."""
    unavailable: str | None = None
    """Why it cannot be had at all in this version; None when it can."""
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Which values of ``head``, ``io`` and ``converter`` it takes, beyond the defaults."""
