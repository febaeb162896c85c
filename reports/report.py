"""What a report shows: rows in a sensible order, their figures, warnings and ratios; no document format in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vitdeploy import catalog
from vitdeploy.record import Result, Run, Trial

PAIRED_TARGET = "torch-fp32"
"""What the other targets of a model are held against when a run has both: the model as its users know it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One case of one run, with the figures that may be shown."""

    result: Result
    run_id: str
    task: str
    load_ms: float | None
    first_ms: float | None
    peak_memory_bytes: int | None
    speedup: float | None
    """`PAIRED_TARGET`'s median over this one's, for the same model in the same run; None where there is none."""

    @property
    def quotable(self) -> bool:
        """Whether the figure may be quoted at all."""
        return self.result.status == "valid" and self.result.summary is not None

    @property
    def throughput(self) -> bool:
        """Several inferences in flight: another measurement than latency."""
        return self.result.case.streams > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Rows that are read together."""

    title: str
    explanation: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a renderer needs."""

    title: str
    sections: tuple[Section, ...]
    machine: tuple[tuple[str, str], ...]
    """What it was measured on: name and value."""
    protocol: tuple[tuple[str, str], ...]
    warnings: tuple[str, ...]
    """What a reader must know before any figure."""
    runs: tuple[Run, ...]

    @property
    def rows(self) -> tuple[Row, ...]:
        """All rows of all sections."""
        return tuple(row for section in self.sections for row in section.rows)


def build(runs: Sequence[Run], baseline: Run | None = None) -> Report:
    """The report of ``runs``; ``baseline`` is one more run whose rows stand beside them."""
    everything = (*runs, *([baseline] if baseline else []))
    rows = [row for run in everything for row in _rows(run)]
    rows.sort(key=_order)
    latency = tuple(row for row in rows if not row.throughput)
    throughput = tuple(row for row in rows if row.throughput)
    sections = (
        Section(
            title="Latency",
            explanation="One inference at a time: what a caller waits for.",
            rows=latency,
        ),
        Section(
            title="Throughput",
            explanation="Several inferences in flight: what the machine can serve. Not comparable with latency.",
            rows=throughput,
        ),
    )
    return Report(
        title=_title(everything),
        sections=tuple(section for section in sections if section.rows),
        machine=_machine(everything),
        protocol=_protocol(everything),
        warnings=tuple(_warnings(everything)),
        runs=everything,
    )


def trial_median_ms(trial: Trial) -> float:
    """The median of one trial's samples."""
    return float(np.median(trial.samples_ns)) / 1e6


def _rows(run: Run) -> list[Row]:
    return [_row(result, run) for result in run.results]


def _row(result: Result, run: Run) -> Row:
    trials = [trial for trial in result.trials if trial.samples_ns]
    spec = catalog.models().get(result.case.model)
    return Row(
        result=result,
        run_id=run.id,
        task=spec.task if spec else "other",
        load_ms=float(np.median([t.load_ns for t in trials])) / 1e6 if trials else None,
        first_ms=float(np.median([t.first_ns for t in trials])) / 1e6 if trials else None,
        peak_memory_bytes=max((t.peak_memory_bytes for t in trials), default=None),
        speedup=_speedup(result, run),
    )


def _speedup(result: Result, run: Run) -> float | None:
    """Ratio to `PAIRED_TARGET` within the run, both valid and interleaved; a plain ratio, without an interval."""
    if result.summary is None or result.status != "valid" or result.case.target == PAIRED_TARGET:
        return None
    wanted = _but_target(result)
    for other in run.results:
        if other.case.target == PAIRED_TARGET and _but_target(other) == wanted and other.status == "valid":
            return other.summary.median_ms / result.summary.median_ms if other.summary else None
    return None


def _but_target(result: Result) -> tuple[Any, ...]:
    case = result.case
    return tuple(getattr(case, name) for name in case.__struct_fields__ if name != "target")


def _order(row: Row) -> tuple[Any, ...]:
    """Tasks as in the catalog, models by cost within them, then size, target, run."""
    case = row.result.case
    tasks = ["classification", "segmentation", "super-resolution", "segment-anything", "other"]
    return (tasks.index(row.task), row.result.macs or 0, case.model, case.attention, case.size, case.target, row.run_id)


def _title(runs: Sequence[Run]) -> str:
    devices = list(dict.fromkeys(run.device.name for run in runs))
    return f"Latency on {' and '.join(devices)}" if devices else "Nothing was measured"


_MACHINE_FACTS: Mapping[str, str] = {
    "cpu": "processor",
    "cores_physical": "physical cores",
    "memory_bytes": "memory",
    "virtualization": "virtualization",
    "governor": "governor",
    "clock_hz": "clock",
    "os": "system",
    "kernel": "kernel",
    "python": "Python",
}


def _machine(runs: Sequence[Run]) -> tuple[tuple[str, str], ...]:
    found: dict[str, list[str]] = {}
    for run in runs:
        for key, words in _MACHINE_FACTS.items():
            found.setdefault(words, []).append(_fact(key, run.host.get(key)))
        packages: Mapping[str, Any] = run.host.get("packages") or {}
        for package, version in packages.items():
            found.setdefault(package, []).append(str(version))
    return tuple((name, " / ".join(dict.fromkeys(values))) for name, values in found.items())


def _fact(key: str, value: Any) -> str:
    if value is None:
        return "not visible"
    if key.endswith("_bytes"):
        return f"{value / 2**30:.0f} GiB"
    if key.endswith("_hz"):
        return f"{value / 1e9:.2f} GHz"
    return str(value)


def _protocol(runs: Sequence[Run]) -> tuple[tuple[str, str], ...]:
    lines: list[tuple[str, str]] = []
    for run in runs:
        protocol = run.protocol
        lines += [
            ("started", run.started_utc),
            ("suite", protocol.suite or "models named by hand"),
            ("trials", f"{protocol.trials} fresh processes a case, at least {protocol.min_time_s:g} s each"),
            ("order", protocol.order),
            ("inputs", protocol.inputs),
            ("vitdeploy", f"{run.vitdeploy.version} ({(run.vitdeploy.commit or 'no commit')[:12]})"),
        ]
    return tuple(dict.fromkeys(lines))


def _warnings(runs: Sequence[Run]) -> list[str]:
    found: list[str] = []
    random = sorted({r.case.model for run in runs for r in run.results if r.case.weights.startswith("random")})
    if random:
        found.append(
            f"Weights are random (seeded) for {', '.join(random)}: the times are those of the real models, "
            "the outputs mean nothing."
        )
    if any(run.vitdeploy.dirty for run in runs):
        found.append("Measured by a vitdeploy with uncommitted changes.")
    bad = sum(result.status != "valid" for run in runs for result in run.results)
    if bad:
        found.append(f"{bad} of {sum(len(run.results) for run in runs)} rows may not be quoted; their reasons follow.")
    return found
