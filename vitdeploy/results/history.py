"""Many runs over time: each case's medians in order, and where its level changed.

The figures are derived from the samples of each run, as wherever a run is read. A run that is named twice counts once.
A case of another device or with other conditions is another series.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from vitdeploy.catalog import registry
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.errors import NothingToCompare, UnreadableFile
from vitdeploy.results import consistency, effects, record, stats
from vitdeploy.results.record import Case, Status
from vitdeploy.results.yardstick_effects import By

if TYPE_CHECKING:
    import pandas as pd

SMALLEST_CHANGE = 0.01
"""A change of level below this share is not marked: no user would act on it."""


@dataclass(frozen=True, slots=True)
class _Row:
    """What is kept of a row: a thousand runs with all their samples would not fit into memory."""

    case: Case
    status: Status
    median_ms: float | None
    interval_ms: tuple[float, float] | None
    log_yardsticks: float | None
    """Logarithm of how many yardsticks an inference took; None: not every trial was timed beside one."""
    yardstick: str | None
    """SHA-256 of that network."""


@dataclass(frozen=True, slots=True)
class _Run:
    path: Path
    moment: "Moment"
    facts: DeviceFacts
    rows: tuple[_Row, ...]
    trials: frozenset[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One run."""

    id: str
    started_utc: str
    commit: str
    """Of the user's repository, else of vitdeploy; empty where neither is known."""

    @property
    def instant(self) -> datetime:
        """When it was; the texts of two moments with unlike offsets are in another order."""
        return consistency.moment(self.started_utc)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The level of a series before and after a run."""

    place: int
    """Index, within the series, of the first value of the new level."""
    before_ms: float
    after_ms: float
    last: Moment
    """Of the old level."""
    first: Moment
    """Of the new level."""
    in_yardsticks: float | None = None
    """New level over old, in ratios to the yardstick, where that told the change; None: the times did."""

    @property
    def ratio(self) -> float:
        """New level over old."""
        return self.after_ms / self.before_ms if self.in_yardsticks is None else self.in_yardsticks


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One case over the runs that have a valid figure of it."""

    case: Case
    places: tuple[int, ...]
    """Indices of those runs among all."""
    medians_ms: tuple[float, ...]
    intervals_ms: tuple[tuple[float, float] | None, ...]
    changes: tuple[Change, ...]
    left_out: int
    """Runs whose figure of it may not be quoted."""
    by: By = "time"
    """In what the levels were looked for: times, or their ratios to the yardstick, which all its runs share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All runs, the oldest first, and their cases."""

    moments: tuple[Moment, ...]
    series: tuple[Series, ...]

    def to_pandas(self) -> "pd.DataFrame":
        """One row a run and case that has a valid figure, in the order of the runs."""
        return registry.load("vitdeploy.reports.as_pandas:history_frame")(self)


def read(paths: Sequence[Path]) -> History:
    """The history that run files, or folders of them, tell.

    Raises:
        UnreadableFile: one of them is no run of this or an older schema.
        NothingToCompare: there is none.
    """
    files = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    if not files:
        raise NothingToCompare(f"no run in {', '.join(map(str, paths))}", "Name run files, or a folder of them.")
    runs = sorted(_each_once(map(_read, files)), key=lambda run: (run.moment.instant, run.moment.id))
    grouped: dict[Case, list[tuple[int, _Row]]] = {}
    for place, run in enumerate(runs):
        for row in run.rows:
            grouped.setdefault(row.case, []).append((place, row))
    moments = tuple(run.moment for run in runs)
    series = [_series(case, rows, runs) for case, rows in grouped.items()]
    return History(moments=moments, series=tuple(sorted(series, key=lambda series: series.case.name)))


def _read(path: Path) -> _Run:
    run = record.load(path, tails=False)
    moment = Moment(id=run.id, started_utc=run.started_utc, commit=run.commit or run.vitdeploy.commit or "")
    rows = tuple(
        _Row(
            case=result.case,
            status=result.status,
            median_ms=result.summary.median_ms if result.summary else None,
            interval_ms=result.summary.median_ci95_ms if result.summary else None,
            log_yardsticks=_log_yardsticks(result),
            yardstick=run.yardstick.networks.get(result.case.target) if run.yardstick else None,
        )
        for result in run.results
    )
    return _Run(path, moment, DeviceFacts(run.device.facts), rows, consistency.fingerprints(run))


def _log_yardsticks(result: record.Result) -> float | None:
    if not result.trials or any(trial.yardstick_ns is None for trial in result.trials):
        return None
    return sum(map(effects.log_yardsticks, result.trials)) / len(result.trials)


def _each_once(runs: Iterable[_Run]) -> list[_Run]:
    """The runs, each once however often it is named.

    Raises:
        UnreadableFile: two files hold different runs of one id, or one run under two.
    """
    known: dict[str, _Run] = {}
    trials = consistency.TrialOwners()
    for run in runs:
        earlier = known.setdefault(run.moment.id, run)
        if (earlier.moment, earlier.rows) != (run.moment, run.rows):
            raise UnreadableFile(
                f"{earlier.path} and {run.path} hold different runs of the id {run.moment.id}", "Leave one out."
            )
        trials.add(run.path, run.moment.id, run.trials)
    return list(known.values())


def _series(case: Case, rows: Sequence[tuple[int, _Row]], runs: Sequence[_Run]) -> Series:
    valid = [(place, row) for place, row in rows if row.status == "valid" and row.median_ms is not None]
    places = tuple(place for place, _ in valid)
    medians = tuple(row.median_ms or 0.0 for _, row in valid)
    logs = [math.log(median) for median in medians]
    ratios = _ratios([row for _, row in valid])
    if ratios and any(runs[place].facts.differing(runs[places[0]].facts) for place in places):
        ratios = None
    by_ratio = ratios is not None and _step(ratios) < _step(logs)
    moments = [run.moment for run in runs]
    return Series(
        case=case,
        places=places,
        medians_ms=medians,
        intervals_ms=tuple(row.interval_ms for _, row in valid),
        changes=tuple(_changes(places, logs, ratios if by_ratio else None, moments)),
        left_out=len(rows) - len(valid),
        by="yardstick" if by_ratio else "time",
    )


def _ratios(rows: Sequence[_Row]) -> list[float] | None:
    """Logarithms of the ratios to the yardstick that all rows share; None: they share none."""
    ratios = [row.log_yardsticks for row in rows if row.log_yardsticks is not None and row.yardstick is not None]
    if len(ratios) < len(rows) or len({row.yardstick for row in rows}) != 1:
        return None
    return ratios


def _step(logs: Sequence[float]) -> float:
    """How far neighboring values are apart: their noise, whatever levels they are at."""
    return stats.median([abs(after - before) for before, after in itertools.pairwise(logs)]) if len(logs) > 1 else 0.0


def _changes(
    places: Sequence[int], logs: Sequence[float], ratios: Sequence[float] | None, moments: Sequence[Moment]
) -> Iterable[Change]:
    """The changes of level, looked for in the ratios where they are given, else in the times."""
    looked_at = logs if ratios is None else ratios
    bounds = [0, *stats.change_points(looked_at), len(logs)]
    parts = [slice(a, b) for a, b in itertools.pairwise(bounds) if b > a]
    levels = [[math.exp(sum(values[part]) / len(values[part])) for part in parts] for values in (logs, looked_at)]
    for number, at in enumerate(bounds[1:-1]):
        (before_ms, after_ms), (before, after) = (level[number : number + 2] for level in levels)
        if abs(math.log(after / before)) > math.log1p(SMALLEST_CHANGE):
            yield Change(
                place=at,
                before_ms=before_ms,
                after_ms=after_ms,
                last=moments[places[at - 1]],
                first=moments[places[at]],
                in_yardsticks=None if ratios is None else after / before,
            )
