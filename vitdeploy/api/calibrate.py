"""`calibrate`: one file against itself, for the noise of a device."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vitdeploy.api.devices import reachable
from vitdeploy.api.duel import DuelRequest, duel, duel_plan, run_path
from vitdeploy.processes.progress import OnTrial, Progress, silent, silent_trial
from vitdeploy.results import calibration

if TYPE_CHECKING:
    from vitdeploy.results.calibration import Calibration


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrateOutcome:
    """What an A/A duel said, and where that and its run are kept."""

    calibration: "Calibration"
    path: Path
    run_path: Path


CALIBRATION_MODEL = "efficientvit_b1"
"""Small enough that a calibration takes a minute, large enough to use all cores."""


def calibrate_plan(order: DuelRequest) -> list[str]:
    """What `calibrate` would do; the device is asked what it is for."""
    side = _calibrated_side(order)
    return duel_plan(side, side, _calibrating(order))


def calibrate(order: DuelRequest, *, progress: Progress = silent, on_trial: OnTrial = silent_trial) -> CalibrateOutcome:
    """Time one file against itself on a device, and keep what that says of its noise.

    Raises:
        DeviceError: the device is not reachable, busy, or another one than its file says.
        NoValidMeasurement: too little could be measured.
    """
    from vitdeploy.benchmarks import calibrate as calibrating

    asked = _calibrating(order)
    side = _calibrated_side(order)
    outcome = duel(side, side, asked, progress=progress, on_trial=on_trial)
    made = calibrating.calibrate(outcome.run, alpha=asked.alpha, max_slowdown=asked.max_slowdown)
    return CalibrateOutcome(calibration=made, path=calibration.save(made), run_path=outcome.path)


def _calibrated_side(order: DuelRequest) -> str:
    """What a device is calibrated with, as a side of a duel: ``efficientvit_b1:trt-fp16``."""
    from vitdeploy.benchmarks import calibrate as calibrating
    from vitdeploy.devices import device_facts

    device = reachable(order.device)
    return f"{CALIBRATION_MODEL}:{calibrating.target_of(device, device_facts.facts_of(device))}"


def _calibrating(order: DuelRequest) -> DuelRequest:
    """A duel without early looks, and of enough pairs to draw others from."""
    from vitdeploy.benchmarks import calibrate as calibrating

    out = order.out or run_path("calibration", order.device)
    return dataclasses.replace(order, pairs=order.pairs or calibrating.PAIRS, early=False, out=out)
