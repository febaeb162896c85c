"""What the A/A measurement of a device said: its noise floor and false-alarm rate, kept for later comparisons.

# Calibration schema history (newest first):
#   1  first version
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import platformdirs

from vitdeploy import documents
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.errors import UnreadableFile
from vitdeploy.results import consistency
from vitdeploy.results.consistency import Fault
from vitdeploy.results.quantities import (
    Correlation,
    Count,
    CountOrZero,
    ErrorChance,
    LogSpread,
    Rate,
    Ratio,
    SchemaNumber,
    Share,
    Utc,
)
from vitdeploy.results.record import By

SCHEMA = 1


class Calibration(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One device's noise, measured by timing the same file against itself."""

    schema: SchemaNumber
    device: str
    facts: Mapping[str, Any]
    """The device's, so that another machine of the same name is not mistaken for it."""
    run_id: str
    case: str
    started_utc: Utc
    pairs: Count
    by: By = "trials"
    """Both processes of a pair took turns, or were run one after the other; what follows holds for such duels."""
    run_spread: LogSpread
    """Standard deviation of a process's log time beside the drift that both processes of a pair share."""
    drift: LogSpread
    """Standard deviation of that shared drift over the session, on the log scale."""
    autocorrelation: Correlation
    """Lag 1, of the samples of one process; the median over the trials."""
    comparisons: Count
    """Null comparisons made from the pairs."""
    alpha: ErrorChance
    false_alarms: CountOrZero
    """Of those, how many came out ``slower`` at ``max_slowdown``."""
    false_alarm_rate_ci95: tuple[Rate, Rate]
    false_alarms_any: CountOrZero
    """How many had an interval above no change, whatever their size: the error without ``max_slowdown``'s margin."""
    false_alarm_any_rate_ci95: tuple[Rate, Rate]
    max_slowdown: Share
    detectable: Mapping[str, Ratio]
    """Number of pairs → smallest slowdown that they show with a chance of 95 %, as a ratio."""
    recommended_pairs: Count | None
    """Fewest pairs that show the change that ``max_slowdown`` lets through; None: not even the most."""
    recommended_max_slowdown: Share
    """Smallest bound at which the default number of pairs shows a change of twice the bound."""


def place(device: str) -> Path:
    """Where the calibration of a device lies."""
    return Path(platformdirs.user_data_dir("vitdeploy")) / "calibrations" / f"{device}.json"


def save(calibration: Calibration) -> Path:
    """Keep it; returns where."""
    path = place(calibration.device)
    documents.write(path, calibration)
    return path


def find(device: str, facts: Mapping[str, Any]) -> Calibration | None:
    """The calibration of a device, if it was made on a machine with the same facts.

    Raises:
        UnreadableFile: it cannot be read, or holds what cannot be true: with another drift verdicts would be others.
    """
    path = place(device)
    if not path.exists():
        return None
    calibration = documents.read(path, Calibration, schema=SCHEMA, what="calibration")
    for field, why in _faults(calibration):
        raise UnreadableFile(f"{path} holds what cannot be true, `{field}`: {why}", "Calibrate again.")
    differing = set(DeviceFacts(calibration.facts).differing(DeviceFacts(facts))) - {DeviceFacts.packages.name}
    return None if differing else calibration


def _faults(calibration: Calibration) -> Iterator[Fault]:
    """Everything in a calibration that cannot be true, alone or together."""
    if why := consistency.moment_fault(calibration.started_utc):
        yield "$.started_utc", why
    yield from consistency.number_faults("$.facts", calibration.facts)
    rates = {
        "false_alarm": (calibration.false_alarms, calibration.false_alarm_rate_ci95),
        "false_alarm_any": (calibration.false_alarms_any, calibration.false_alarm_any_rate_ci95),
    }
    for name, (count, (low, high)) in rates.items():
        if count > calibration.comparisons:
            yield (
                f"$.{name.removesuffix('_any')}s{name.removeprefix('false_alarm')}",
                f"{count} of {calibration.comparisons}",
            )
        elif not low <= count / calibration.comparisons <= high:
            yield f"$.{name}_rate_ci95", f"{[low, high]} for {count} of {calibration.comparisons}"
    if calibration.false_alarms > calibration.false_alarms_any:
        yield "$.false_alarms", f"{calibration.false_alarms}, and {calibration.false_alarms_any} of any size"
