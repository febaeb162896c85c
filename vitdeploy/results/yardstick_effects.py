"""The change of a case between two runs that both timed it beside one yardstick: in time, or as ratios to that.

The yardstick is one file on both sides: whatever it changed by, the machine did.
"""

import dataclasses
import math
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Literal

from vitdeploy.results.effects import Effect, effect, log_yardstick, log_yardsticks
from vitdeploy.results.record import Case, Result

By = Literal["time", "yardstick"]

WAYS = 2
"""Two ways to tell a change share the chance of an error, since the narrower one is taken (Bonferroni)."""


@dataclass(frozen=True, slots=True)
class Beside:
    """The narrower of the two ways to tell a change."""

    effect: Effect
    by: By
    yardstick: float
    """Head's time of the yardstick over base's."""


def beside_yardsticks(
    before: Mapping[Case, Result],
    after: Mapping[Case, Result],
    in_time: Mapping[Case, Effect],
    yardsticks: Container[str],
    alpha: float,
) -> dict[Case, Beside]:
    """The narrower way for each case that took turns with the same yardstick in every trial of both runs.

    Args:
        in_time: the changes in time.
        yardsticks: targets whose yardstick is the same on both sides.
        alpha: at which the widths are held against each other.
    """
    return {
        case: _narrower(before[case], after[case], change, alpha)
        for case, change in in_time.items()
        if case.target in yardsticks
        and all(trial.yardstick_ns is not None for side in (before, after) for trial in side[case].trials)
    }


def _narrower(base: Result, head: Result, in_time: Effect, alpha: float) -> Beside:
    """The change in time may be off by as much as the machine changed; in ratios that cancels."""
    machine, by_ratio = (
        effect(base.trials, head.trials, interleaved=False, value=value) for value in (log_yardstick, log_yardsticks)
    )
    assert machine is not None, "as many trials as the case"
    assert by_ratio is not None, "as many trials as the case"
    in_time = dataclasses.replace(in_time, shift=abs(machine.log_ratio), choices=WAYS)
    by_ratio = dataclasses.replace(by_ratio, choices=WAYS)
    changed = math.exp(machine.log_ratio)
    if by_ratio.half_width(alpha) < in_time.half_width(alpha):
        return Beside(by_ratio, "yardstick", changed)
    return Beside(in_time, "time", changed)
