"""Recorded parity, judged again: does ``passed`` follow from its numbers, and are its floors those of its target?

What a manifest claims is believed as far as its own numbers and the target table support it.
"""

import math
from typing import TYPE_CHECKING

from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import Tolerance

if TYPE_CHECKING:
    from vitdeploy.artifacts.manifest import Manifest, Parity

FREE_PIXELS = 1
"""A map may decide so many pixels otherwise, however few it has: at 64x128, 640 pixels are compared, and the 0.1 % that
fp32 allows is less than one.
"""


def floor_for(floor: float, pixels: int) -> float:
    """The least agreement of a map, of which so many pixels were compared."""
    return min(floor, (pixels - FREE_PIXELS) / pixels) if pixels else floor


def failure(parity: "Parity") -> str | None:
    """Why the numbers of a parity do not allow that it passed; None: they do."""
    metric, limit = parity.metric, parity.error_std_limit
    reason = None
    if parity.samples < 1 or (metric.value is None and parity.max_abs is None):
        reason = "nothing was compared"
    elif not parity.finite:
        reason = "the output holds NaN or Inf"
    elif metric.value is not None and metric.value < metric.floor:
        reason = f"{metric.name} {metric.value} is below {metric.floor}"
    elif parity.error_std is not None and limit is not None and parity.error_std > limit:
        reason = f"the largest error is {parity.error_std} of the output's standard deviation, more than {limit}"
    return reason


def contradiction(manifest: "Manifest") -> str | None:
    """The field of a manifest's parity that does not follow from the others, and why; None: all do."""
    parity = manifest.parity
    if parity is None:
        return None
    if not parity.passed:
        return None if parity.reason else "$.parity.passed is false, and $.parity.reason does not say why"
    if parity.reason is not None:
        return f"$.parity.passed is true, and $.parity.reason says why it failed: {parity.reason}"
    tolerance = _tolerance(manifest)
    if tolerance is not None:
        floor = floor_for(tolerance.floor_of(manifest.task), _pixels(manifest))
        limit = tolerance.error_of(manifest.task)
        if parity.metric.floor < floor:
            return f"$.parity.metric.floor is {parity.metric.floor:g}, and {manifest.target} is held to {floor:g}"
        if parity.error_std_limit is not None and parity.error_std_limit > limit:
            return f"$.parity.error_std_limit is {parity.error_std_limit:g}, and {manifest.target} is held to {limit:g}"
    reason = failure(parity)
    return None if reason is None else f"$.parity.passed is true, but {reason}"


def _tolerance(manifest: "Manifest") -> Tolerance | None:
    """What the parity was held to; None: a target of a package that is not installed here."""
    targets = registry.targets()
    target = targets.get(manifest.target)
    if target is not None and manifest.state == "deferred" and target.parent is not None:
        target = targets.get(target.parent, target)  # its parity is that of the graph
    return target and target.tolerance


def _pixels(manifest: "Manifest") -> int:
    """How many pixels were compared at least, where the metric counts pixels; 0: it does not."""
    shape = manifest.outputs[0].shape if manifest.outputs else ()
    if manifest.task in ("super-resolution", "segment-anything") or len(shape) < 3 or manifest.parity is None:
        return 0
    plane = {"NCHW": shape[2:], "NHWC": shape[1:-1]}.get(manifest.outputs[0].layout, shape[-1:])
    return max(0, manifest.parity.samples) * max(0, math.prod(plane))
