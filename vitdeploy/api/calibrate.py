"""`calibrate`: a duel of one file with itself (A/A), for the noise and drift of a device."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vitdeploy import documents
from vitdeploy.api.devices import reachable
from vitdeploy.api.duel import DuelRequest, duel, duel_plan
from vitdeploy.api.output_path import new_path
from vitdeploy.benchmarks import calibrate as calibrating
from vitdeploy.catalog.shown import Shown
from vitdeploy.devices import device_facts
from vitdeploy.errors import UnreadableFile, UsageError
from vitdeploy.processes.progress import OnTrial, Progress, silent, silent_trial
from vitdeploy.results import calibration
from vitdeploy.results.calibration import Calibration


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CalibrateOutcome(Shown):
    """The calibration of a device, and where it and its run are kept."""

    shown_by: ClassVar = "vitdeploy.cli.compare:calibrate_output"
    calibration: Calibration
    path: Path
    run_path: Path


CALIBRATION_MODEL = "efficientvit_b1"
"""Small enough that a calibration takes a few minutes, large enough to use all cores."""


def calibrate_plan(request: DuelRequest) -> list[str]:
    """What `calibrate` would do; the facts of the device are read."""
    side, request = _planned(request)
    return duel_plan(side, side, request)


def calibrate(
    request: DuelRequest, *, progress: Progress = silent, on_trial: OnTrial = silent_trial
) -> CalibrateOutcome:
    """Time one file against itself on a device, and keep the noise and drift that this shows.

    Raises:
        DeviceError: the device is not reachable, busy, or another one than its file says.
        NoValidMeasurement: too little could be measured.
        UnreadableFile: the calibration's place cannot be written; nothing was measured then.
    """
    side, request = _planned(request)
    _check_place(request.device)
    progress(f"writing {request.out}")
    outcome = duel(side, side, request, progress=progress, on_trial=on_trial)
    measured = calibrating.calibrate(outcome.run, alpha=request.alpha, max_slowdown=request.max_slowdown)
    return CalibrateOutcome(calibration=measured, path=calibration.save(measured), run_path=outcome.path)


def _check_place(device: str) -> None:
    try:
        documents.check_place(calibration.place(device))
    except UnreadableFile as error:
        raise UnreadableFile(error.message, "Set XDG_DATA_HOME to a folder that can be written to.") from error


def _planned(request: DuelRequest) -> tuple[str, DuelRequest]:
    """Both sides (``efficientvit_b1:trt-fp16``) and a duel without early looks, of enough pairs to resample."""
    if request.pairs is not None and request.pairs < calibrating.FEWEST_PAIRS:
        raise UsageError(
            f"--pairs {request.pairs} is too few to tell the noise of a machine",
            f"Use --pairs {calibrating.FEWEST_PAIRS} or more.",
        )
    device = reachable(request.device)
    side = f"{CALIBRATION_MODEL}:{calibrating.target_of(device, device_facts.facts_of(device))}"
    out = request.out or new_path("runs", "calibration", request.device)
    return side, dataclasses.replace(request, pairs=request.pairs or calibrating.PAIRS, early=False, out=out)
