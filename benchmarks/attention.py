"""Cases of `vitdeploy attention`: modules and whole networks with either attention, up to the device's memory."""

from collections.abc import Sequence

from vitdeploy.benchmarks.suite import Entry, Wanted
from vitdeploy.catalog.model_table import ATTENTION_HEAD_DIM
from vitdeploy.catalog.spec import Attention, Size
from vitdeploy.errors import Impossible, VitdeployError
from vitdeploy.studies import attention_study

MODULE_SIDES = (8, 12, 16, 24, 32, 40, 48, 64, 96, 128, 192)
"""Sides of feature maps: 16 to 64 as of networks in use, the published figure's, smaller ones to see where the two
cross, and larger ones up to what memory holds."""

QUICK_MODULE_SIDES = (8, 16, 24, 32, 40, 64)

NETWORK_SIDES = (128, 224, 320, 448, 640, 896, 1280, 1792)
"""Sides of input images, of networks that attend at strides 16 and 32."""

QUICK_NETWORK_SIDES = (128, 224, 448)

NETWORKS = ("efficientvit_b1",)

NETWORK_HEADS = 16
"""Heads of both scales together at stride 16, of which B1 has the most. Source: widths and head sizes of series B."""

SCORES = 2
"""Copies of the pixels-by-pixels scores that a runtime holds at once: before and after the softmax."""

MEMORY_SHARE = 0.6
"""Of the free memory, what the scores may take: the rest is the process, the proof's reference and other people's."""


def wanted(*, quick: bool, networks: Sequence[str], target: str, free_bytes: int | None) -> list[Wanted]:
    """All cases, each size with both attentions; what memory does not hold is refused with its reason.

    Args:
        free_bytes: memory that the device has left; None: not visible.
    """
    rows: dict[tuple[str, int, str], Wanted] = {}

    def add(model: str, side: int, attention: Attention, refused: VitdeployError | None) -> None:
        entry = Entry(model=model, targets=(target,), size=(side, side), attention=attention)
        rows.setdefault((model, side, attention), Wanted(entry=entry, refused=refused))

    base = f"attention_w{attention_study.WIDTH}"
    for side in QUICK_MODULE_SIDES if quick else MODULE_SIDES:
        refused = too_large(attention_study.WIDTH // ATTENTION_HEAD_DIM, side * side, target, free_bytes)
        add(base, side, "softmax", refused)
        add(base, side, "relu", None)
        wide = attention_study.equal_width(side * side)
        if refused is None:  # without its counterpart a wide module says nothing
            add(f"attention_w{wide}", side, "relu", None)
    for network in networks:
        for side in QUICK_NETWORK_SIDES if quick else NETWORK_SIDES:
            refused = too_large(NETWORK_HEADS, (side // 16) ** 2, target, free_bytes)
            add(network, side, "softmax", refused)
            add(network, side, "relu", None)
    return list(rows.values())


def groups(rows: Sequence[Wanted]) -> list[tuple[int, ...]]:
    """Places of the rows whose ratios are told: all modules of one size, and both attentions of a network at one."""
    members: dict[tuple[str, Size | None], list[int]] = {}
    for place, row in enumerate(rows):
        kind = "module" if row.entry.model.startswith("attention_w") else row.entry.model
        members.setdefault((kind, row.entry.size), []).append(place)
    return [tuple(places) for places in members.values() if len(places) > 1]


def too_large(heads: int, pixels: int, target: str, free_bytes: int | None) -> Impossible | None:
    """Why softmax attention does not fit, by the scores that runtimes other than torch write out; None: it fits."""
    needed = 4 * SCORES * heads * pixels * pixels
    if free_bytes is None or target.startswith("torch") or needed <= MEMORY_SHARE * free_bytes:
        return None
    return Impossible(
        f"does not fit in memory: the scores of {heads} heads over {pixels} pixels take {needed / 2**30:.1f} GiB, "
        f"and {free_bytes / 2**30:.1f} GiB are free",
        "Use a machine with more memory.",
    )
