"""The table of rewrites: what each assumes of the processor and the runtime, and where that was measured.

The code of the rewrites is in `vitdeploy.exporters.rewrites.table`, which needs torch; a plan reads this table.
``docs/rewrites.md`` shows it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vitdeploy.catalog.spec import Cpu, Target

BLOCKED: Final[tuple[Cpu, ...]] = ("avx2", "avx512")
"""CPUs on which ONNX Runtime keeps maps in blocks of channels. On ARM only builds with a switch of their own do.

Source: ``MlasNchwcGetBlockSize`` and ``MLAS_USE_ARM_NEON_NCHWC`` of https://github.com/microsoft/onnxruntime.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewriteFacts:
    """One rewrite, without its code."""

    name: str
    assumes: str
    """Why it is faster, or what it makes possible, in words."""
    measured: str
    """Where that was measured; the study that repeats it."""
    cpus: tuple[Cpu, ...] = ()
    """CPUs on which it is applied; empty: its reason is the same on every processor."""


_HALF_MEASURED: Final = "for its numbers, not for speed: docs/fp16.md"
_XNNPACK_MEASURED: Final = "XNNPACK on Intel Xeon and AMD EPYC, tflite_speed; not on ARM"

REWRITES: Final = (
    RewriteFacts(
        name="cubic-as-products",
        assumes="the runtime computes a cubic resize pixel by pixel on one thread",
        measured="AMD EPYC (AVX-512), export_speed: 2.43× on Seg-B0 at 512x1024; on AVX2 not by itself",
    ),
    RewriteFacts(
        name="denominator-apart",
        assumes="nothing: it takes out copies that every runtime makes",
        measured="AMD EPYC (AVX-512), export_speed: 1.02× [0.99, 1.04] on B0, no gain on Seg-B0",
    ),
    RewriteFacts(
        name="padded-stem",
        assumes="ONNX Runtime computes 16 channels at a time; with 8 or fewer the added channels are only more work",
        measured="AMD EPYC (AVX-512), 1.10× on B0; on AVX2, without it, 0.96 [0.92, 1.00] of the time (issue 23)",
        cpus=("avx512",),
    ),
    RewriteFacts(
        name="winograd-rows",
        assumes="ONNX Runtime keeps maps in blocks of channels, so that the transforms need no other order of the data",
        measured="AMD EPYC (AVX-512), winograd_layers: tiles and fewest channels; not with today's tiles on AVX2",
        cpus=BLOCKED,
    ),
    RewriteFacts(name="normalized-attention", assumes="half precision", measured=_HALF_MEASURED),
    RewriteFacts(name="scaled-contrast", assumes="half precision", measured=_HALF_MEASURED),
    RewriteFacts(name="scaled-length", assumes="half precision", measured=_HALF_MEASURED),
    RewriteFacts(name="scaled-factorization", assumes="half precision", measured=_HALF_MEASURED),
    RewriteFacts(
        name="hard-swish-apart",
        assumes="TensorRT's parser takes no HardSwish in bf16",
        measured="not for speed: the parser's own message",
    ),
    RewriteFacts(
        name="cubic-channels-last",
        assumes="TFLite has no cubic resize; maps have their channels last",
        measured=_XNNPACK_MEASURED,
    ),
    RewriteFacts(
        name="attention-apart",
        assumes="XNNPACK: fewer delegate partitions, no strided slices; heads one by one on maps of 512 pixels or more",
        measured=_XNNPACK_MEASURED,
    ),
    RewriteFacts(
        name="softmax-as-products",
        assumes="converters stumble over the fused operator",
        measured="not for speed: without it there is no file",
    ),
    RewriteFacts(
        name="masks-by-place",
        assumes="TFLite keeps channels last, and onnx2tf confuses the axes of a map that comes out of tokens",
        measured="not by itself; not on ARM",
    ),
)
"""All rewrites, in the order in which they are applied."""

_OPTIONAL: Final = ("cubic-as-products", "denominator-apart", "padded-stem")
"""Rewrites without which the file is the same but for its speed; `winograd-rows` is chosen layer by layer."""

_CPUS: Final = {facts.name: facts.cpus for facts in REWRITES}


def depends_on_cpu(target: Target) -> bool:
    """Whether a target has rewrites for some CPUs only, so that its files suit one."""
    return any(_CPUS.get(name) for name in target.rewrites)


def is_optional(name: str) -> bool:
    """Whether a rewrite is for speed alone, so that timing may leave it out as a whole."""
    return name in _OPTIONAL


def fitting(names: Sequence[str], cpu: Cpu | None, also: Sequence[str] = ()) -> tuple[str, ...]:
    """Those of the rewrites that suit a CPU, in their order; None: one that is not known, for which none is assumed.

    Args:
        also: rewrites that are kept on every CPU.
    """
    return tuple(name for name in names if not _CPUS.get(name) or cpu in _CPUS[name] or name in also)
