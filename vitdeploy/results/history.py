"""Many runs over time: each case's medians in order, and where its level changed.

The figures are those that stand in the run files; their samples are skipped unread, so that a thousand runs take a
second. A case of another device or with other conditions is another series.
"""

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from vitdeploy.errors import NothingToCompare, UnreadableFile
from vitdeploy.results import record, stats
from vitdeploy.results.record import Case, Status, Summary

SMALLEST_CHANGE = 0.01
"""A change of level below this share is not marked: no user would act on it."""


class _Result(msgspec.Struct, frozen=True):
    case: Case
    status: Status
    summary: Summary | None


class _Version(msgspec.Struct, frozen=True):
    commit: str | None


class _Run(msgspec.Struct, frozen=True):
    schema: int
    id: str
    started_utc: str
    vitdeploy: _Version
    results: tuple[_Result, ...]
    commit: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One run."""

    id: str
    started_utc: str
    commit: str
    """Of the user's repository, else of vitdeploy; empty where neither is known."""


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

    @property
    def ratio(self) -> float:
        """New level over old."""
        return self.after_ms / self.before_ms


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


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """All runs, the oldest first, and their cases."""

    moments: tuple[Moment, ...]
    series: tuple[Series, ...]


def read(paths: Sequence[Path]) -> History:
    """The history that run files, or folders of them, tell.

    Raises:
        UnreadableFile: one of them is no run of this or an older schema.
        NothingToCompare: there is none.
    """
    files = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    if not files:
        raise NothingToCompare(f"no run in {', '.join(map(str, paths))}", "Name run files, or a folder of them.")
    decoder = msgspec.json.Decoder(_Run)
    runs = sorted((_decoded(file, decoder) for file in files), key=lambda run: (run.started_utc, run.id))
    moments = tuple(
        Moment(id=run.id, started_utc=run.started_utc, commit=run.commit or run.vitdeploy.commit or "") for run in runs
    )
    grouped: dict[Case, list[tuple[int, _Result]]] = {}
    for place, run in enumerate(runs):
        for result in run.results:
            grouped.setdefault(result.case, []).append((place, result))
    series = [_series(case, results, moments) for case, results in grouped.items()]
    return History(moments=moments, series=tuple(sorted(series, key=lambda series: series.case.name)))


def _decoded(path: Path, decoder: "msgspec.json.Decoder[_Run]") -> _Run:
    try:
        run = decoder.decode(path.read_bytes())
    except OSError as error:
        raise UnreadableFile(f"cannot read {path}: {error.strerror}", "Check the path and its permissions.") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UnreadableFile(f"{path} is not a valid run file: {error}", "Leave it out.") from error
    if run.schema > record.SCHEMA:
        raise UnreadableFile(
            f"{path} has run schema {run.schema}; this vitdeploy reads up to {record.SCHEMA}", "Update vitdeploy."
        )
    return run


def _series(case: Case, results: Sequence[tuple[int, _Result]], moments: Sequence[Moment]) -> Series:
    valid = [(place, row.summary) for place, row in results if row.status == "valid" and row.summary is not None]
    places = tuple(place for place, _ in valid)
    medians = tuple(summary.median_ms for _, summary in valid)
    return Series(
        case=case,
        places=places,
        medians_ms=medians,
        intervals_ms=tuple(summary.median_ci95_ms for _, summary in valid),
        changes=tuple(_changes(places, medians, moments)),
        left_out=len(results) - len(valid),
    )


def _changes(places: Sequence[int], medians: Sequence[float], moments: Sequence[Moment]) -> Iterable[Change]:
    logs = [math.log(median) for median in medians]
    bounds = [0, *stats.change_points(logs), len(logs)]
    levels = [math.exp(sum(logs[a:b]) / (b - a)) for a, b in itertools.pairwise(bounds) if b > a]
    for number, at in enumerate(bounds[1:-1]):
        before, after = levels[number], levels[number + 1]
        if abs(math.log(after / before)) > math.log1p(SMALLEST_CHANGE):
            yield Change(
                place=at,
                before_ms=before,
                after_ms=after,
                last=moments[places[at - 1]],
                first=moments[places[at]],
            )
