"""Runs and reports as data frames: one row a result, or one row a sample, units in the column names."""

from collections.abc import Iterator

import pandas as pd

from vitdeploy.catalog import registry
from vitdeploy.reports import report as reporting
from vitdeploy.reports.report import Report, ReportRow
from vitdeploy.results import record
from vitdeploy.results.history import History, Moment, Series
from vitdeploy.results.record import Run

COLUMNS = (
    *("run", "case", "model", "part", "attention", "target", "height", "width", "batch", "device", "threads"),
    *("streams", "boundary", "weights", "status", "reasons"),
    *("median_ms", "median_ci95_low_ms", "median_ci95_high_ms", "p90_ms", "p99_ms", "throughput_per_s"),
    *("samples", "trials", "load_ms", "first_ms", "peak_memory_bytes"),
    *("faster_than", "times_faster", "times_faster_ci95_low", "times_faster_ci95_high"),
    *("change_verdict", "change_ratio", "params", "macs"),
    *("parity_passed", "parity_error_std", "parity_metric", "parity_metric_value", "artifact_sha256"),
    "note",
)
"""The columns of a report; the same for every one."""

SAMPLE_COLUMNS = ("run", "case", "device", "side", "status", "trial", "order", "pair", "sample_kind", "sample")
"""The columns of one row a sample, before ``sample_ns``."""

HISTORY_COLUMNS = (
    *("run", "started_utc", "commit", "case", "device"),
    *("median_ms", "median_ci95_low_ms", "median_ci95_high_ms", "level_changed"),
)
"""The columns of runs over time; ``level_changed``: a new level of the case begins with this run."""

_OF_CASE = ("model", "part", "attention", "target", "batch", "device", "threads", "streams", "boundary", "weights")
_OF_SUMMARY = ("median_ms", "p90_ms", "p99_ms", "throughput_per_s", "samples", "trials")
_OF_TRIALS = ("load_ms", "first_ms", "peak_memory_bytes")


def frame(report: Report) -> pd.DataFrame:
    """One row a case; what may not be quoted has no figures, only its status and reasons."""
    return pd.DataFrame(rows(report), columns=list(COLUMNS))


def rows(report: Report) -> list[dict[str, object]]:
    """The same as plain values, each row with all `COLUMNS`."""
    return [{**dict.fromkeys(COLUMNS), **_row(row)} for row in report.rows]


def run_frame(run: Run, *, samples: bool = False) -> pd.DataFrame:
    """A run: one row a result, or one row a sample, in the order in which they were taken."""
    if not samples:
        return frame(reporting.build([run]))
    parts = [part for result in run.results for part in _sample_frames(run, result)]
    if not parts:
        return pd.DataFrame(columns=[*SAMPLE_COLUMNS, "sample_ns"])
    return pd.concat(parts, ignore_index=True)


def history_frame(history: History) -> pd.DataFrame:
    """Runs over time: one row a run and case that has a valid figure, in the order of the runs."""
    figures = [
        (place, _history_row(history.moments[place], series, index))
        for series in history.series
        for index, place in enumerate(series.places)
    ]
    ordered = [row for _, row in sorted(figures, key=lambda figure: figure[0])]
    frame = pd.DataFrame(ordered, columns=list(HISTORY_COLUMNS))
    return frame.assign(started_utc=pd.to_datetime(frame["started_utc"], utc=True, format="ISO8601"))


def _history_row(moment: Moment, series: Series, index: int) -> dict[str, object]:
    low, high = series.intervals_ms[index] or (None, None)
    values = (
        *(moment.id, moment.started_utc, moment.commit, series.case.name, series.case.device),
        *(series.medians_ms[index], low, high, any(change.place == index for change in series.changes)),
    )
    return dict(zip(HISTORY_COLUMNS, values, strict=True))


def _sample_frames(run: Run, result: record.Result) -> Iterator[pd.DataFrame]:
    for trial in result.trials:
        values = (
            *(run.id, result.case.name, result.case.device, result.side, result.status),
            *(trial.id, trial.order, trial.pair, trial.sample_kind, range(len(trial.samples_ns))),
        )
        columns = dict(zip(SAMPLE_COLUMNS, values, strict=True))
        yield pd.DataFrame({**columns, "sample_ns": trial.samples_ns})


def _row(row: ReportRow) -> dict[str, object]:
    result, case, parity = row.result, row.result.case, row.result.parity
    return {
        "run": row.run_id,
        "case": case.name,
        **{name: getattr(case, name) for name in _OF_CASE},
        "height": case.size[0],
        "width": case.size[1],
        "status": result.status,
        "reasons": " ".join(reason.code for reason in result.reasons),
        **(_figures(row, result.summary) if row.quotable and result.summary else {}),
        "change_verdict": row.change.verdict if row.change else None,
        "change_ratio": row.change.ratio if row.change else None,
        "params": result.params,
        "macs": result.macs,
        "parity_passed": parity.passed if parity else None,
        "parity_error_std": parity.error_std if parity else None,
        "parity_metric": parity.metric.name if parity else None,
        "parity_metric_value": parity.metric.value if parity else None,
        "artifact_sha256": result.artifact_sha256,
        "note": " ".join(registry.notes([case.model])),
    }


def _figures(row: ReportRow, summary: record.Summary) -> dict[str, object]:
    low, high = summary.median_ci95_ms or (None, None)
    least, most = (row.faster.interval if row.faster else None) or (None, None)
    return {
        **{name: getattr(summary, name) for name in _OF_SUMMARY},
        **{name: getattr(row, name) for name in _OF_TRIALS},
        "median_ci95_low_ms": low,
        "median_ci95_high_ms": high,
        "faster_than": row.faster.against if row.faster else None,
        "times_faster": row.faster.value if row.faster else None,
        "times_faster_ci95_low": least,
        "times_faster_ci95_high": most,
    }
