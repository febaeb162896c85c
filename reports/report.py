"""What a report shows: rows in a sensible order, their figures, ratios and notes; no document format in it."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import msgspec
import numpy as np

from vitdeploy.catalog import registry
from vitdeploy.catalog.fact_table import NOT_VISIBLE
from vitdeploy.catalog.spec import Task
from vitdeploy.reports import explanations, official_weights, origins, row_command, second_rounds
from vitdeploy.reports.origins import Origin
from vitdeploy.reports.predictions import ShownPrediction
from vitdeploy.reports.row_command import RowCommand
from vitdeploy.results import comparison, effects, verdict
from vitdeploy.results.record import Case, Result, Run, Trial
from vitdeploy.results.verdict import Comparison

REFERENCES = ("torch-fp32", "torch-fp16", "onnx-fp32")
"""What the other targets of a model are held against: the first of these that the run has, else the slowest."""

_SIZE = re.compile(r"^(?:(b|l|xl)\d+|[tsbmlh])$")
"""The word of a model's name that is its size: a number after b, l or xl, or one letter. A name with a colon is a
user's own, of which nothing is known."""

_ERROR_OF_A_BOUND = 0.025
"""Either end of a ratio's 95 % interval errs this often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times faster a row is than another target of the same case, within one run."""

    against: str
    """The other target."""
    value: float
    """Its median over this row's: above 1 means that this row is faster."""
    interval: tuple[float, float] | None
    """95 %, from the trials of both sides as two independent groups (Welch); None below three trials a side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """One case of one run, with the figures that may be shown."""

    result: Result
    run_id: str
    label: str
    """The case in one line; unique within the report."""
    task: str
    family: str
    """The model's name without its size: ``efficientvit_seg_b*_cityscapes``."""
    device: str
    """Empty where all rows of the report are of one."""
    load_ms: float | None
    """Median over the trials: from the file to a session."""
    first_ms: float | None
    """Median over the trials: the first inference, before any warm-up."""
    peak_memory_bytes: int | None
    """The largest of the trials."""
    faster: Ratio | None
    """Against the reference target of the same case in the same run."""
    change: Comparison | None
    """Against the baseline, or of a duel's side B against A."""
    explained: tuple[str, ...]
    """What explains that change, where both sides were profiled."""
    lacking: Mapping[str, str]
    """Figure that cannot be given (a field of `Summary`) → why."""
    command: RowCommand
    """What measures the case again."""

    @property
    def quotable(self) -> bool:
        """Whether the figures may be quoted at all."""
        return self.result.status == "valid" and self.result.summary is not None

    @property
    def throughput(self) -> bool:
        """Several images at once, by streams or by batch: another measurement than latency."""
        return self.result.case.streams > 1 or self.result.case.batch > 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Rows that are read together, because they measure the same thing."""

    title: str
    explanation: str
    rows: tuple[ReportRow, ...]

    @property
    def throughput(self) -> bool:
        """Whether these are throughput rows."""
        return all(row.throughput for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Over all cases that have both: how much faster one target is than another."""

    target: str
    against: str
    lowest: float
    highest: float
    cases: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """The report in a few counts."""

    cases: int
    quotable: int
    trials: int
    samples: int
    proven: int
    """Files that were held against their reference and passed."""
    compared: int
    """Files that were held against their reference."""
    worst_error_std: float | None
    """The largest error of those that passed, in standard deviations of the output."""
    gains: tuple[Gain, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything that a renderer needs."""

    title: str
    tally: Tally
    sections: tuple[Section, ...]
    origins: tuple[Origin, ...]
    """Machine and protocol of each run, the baseline's last."""
    warnings: tuple[str, ...]
    """What a reader must know before any figure."""
    predictions: tuple[ShownPrediction, ...] = ()
    """Pictures that a page shows beside the figures."""

    @property
    def rows(self) -> tuple[ReportRow, ...]:
        """All rows of all sections."""
        return tuple(row for section in self.sections for row in section.rows)

    @property
    def example(self) -> ReportRow | None:
        """The row whose figure explains how to read one: the first that has all of it."""
        quotable = [row for row in self.rows if row.quotable]
        return next((row for row in quotable if not row.lacking), quotable[0] if quotable else None)


def build(runs: Sequence[Run], baseline: Run | None = None) -> Report:
    """The report of ``runs``; where ``baseline`` was measured on the same machine, with each row's change from it.

    Raises:
        NothingToCompare: the baseline is one of the runs.
    """
    if baseline is not None:
        for run in runs:
            comparison.refuse_itself(baseline, run)
    replaced = second_rounds.replaced(runs)
    left_out = {id(result) for (_, result), _ in replaced}
    every = (row for run in runs for row in _rows(run, baseline) if id(row.result) not in left_out)
    rows = _labeled(sorted(every, key=_sort_key))
    sections = (
        Section(
            title="Latency",
            explanation="One image at a time: what a caller waits for, from input to output.",
            rows=tuple(row for row in rows if not row.throughput),
        ),
        Section(
            title="Throughput",
            explanation="Several images at once, by streams or by batch: what the machine can serve. The time of a "
            "call is the one under that load, and not comparable with latency.",
            rows=tuple(row for row in rows if row.throughput),
        ),
    )
    return Report(
        title=_title(runs, latency=bool(sections[0].rows)),
        tally=_tally(rows),
        sections=tuple(section for section in sections if section.rows),
        origins=(*map(origins.of, runs), *([origins.of(baseline, baseline=True)] if baseline else [])),
        warnings=(*second_rounds.notes(replaced), *_warnings(runs, rows, baseline)),
    )


def medians_ms(result: Result) -> list[tuple[Trial, float]]:
    """Each trial that has samples, with their median, in the order they were run."""
    trials = sorted(result.trials, key=lambda trial: trial.order)
    return [(trial, float(np.median(trial.samples_ns)) / 1e6) for trial in trials if trial.samples_ns]


def families(rows: Sequence[ReportRow]) -> list[str]:
    """The families of ``rows`` in their order: what a color stands for in charts and tables."""
    return list(dict.fromkeys(row.family for row in rows))


def family(model: str) -> str:
    """The model's name with its size left open: ``efficientvit_b1`` → ``efficientvit_b*``."""
    return "_".join(_SIZE.sub(r"\1*", word) if ":" not in model else word for word in model.split("_"))


def variant(model: str) -> str:
    """What `family` leaves open: ``efficientvit_b1`` → ``b1``; the whole name where that is nothing."""
    sizes = [word for word in model.split("_") if _SIZE.fullmatch(word)]
    return " ".join(sizes) if sizes and ":" not in model else model


def but_target(result: Result) -> Case:
    """The case with its target left open: the same for all targets that are held against each other."""
    return msgspec.structs.replace(result.case, target="")


def _rows(run: Run, baseline: Run | None) -> Iterator[ReportRow]:
    peers: dict[Case, list[Result]] = {}
    for result in run.results:
        if result.status == "valid":
            peers.setdefault(but_target(result), []).append(result)
    if run.couples:
        duel = comparison.duel(run)
        for (a, b), change in zip(run.couples, duel.comparisons, strict=True):
            yield replace(_row(a, run, peers, None), label=f"{a.case.name} (A)")
            explained = explanations.attribution(duel.attribution)
            yield replace(_row(b, run, peers, change), label=f"{b.case.name} (B against A)", explained=explained)
        return
    comparable = baseline is not None and not comparison.differences(run, baseline)
    compared: list[Comparison] = []
    if baseline is not None and comparable:
        shared = comparison.shared_yardsticks(run, baseline)
        compared = verdict.compare(baseline.results, run.results, historical=True, yardsticks=shared)
    changes = {change.case: change for change in compared}
    for result in run.results:
        yield _row(result, run, peers, changes.get(result.case))


def _row(result: Result, run: Run, peers: Mapping[Case, Sequence[Result]], change: Comparison | None) -> ReportRow:
    """The row; ``peers``: the valid results of its run by their case without its target."""
    trials = [trial for trial in result.trials if trial.samples_ns]
    spec = registry.models().get(result.case.model)
    return ReportRow(
        result=result,
        run_id=run.id,
        label=result.case.name,
        task=spec.task if spec else "other",
        family=family(result.case.model),
        device=result.case.device,
        load_ms=float(np.median([t.load_ns for t in trials])) / 1e6 if trials else None,
        first_ms=float(np.median([t.first_ns for t in trials])) / 1e6 if trials else None,
        peak_memory_bytes=max((t.peak_memory_bytes for t in trials), default=None),
        faster=_faster(result, peers.get(but_target(result), ())),
        change=change,
        explained=explanations.sustained(result),
        lacking=explanations.lacking(result, trials),
        command=row_command.of(result, run.protocol),
    )


def _labeled(rows: Sequence[ReportRow]) -> list[ReportRow]:
    """The rows with labels that differ: by device, else by threads, else by run, else by a number."""
    if len({row.device for row in rows}) == 1:
        rows = [replace(row, device="") for row in rows]
    labels = [row.label for row in rows]
    for addition in (
        *([[f"on {row.device}" for row in rows]] if any(row.device for row in rows) else []),
        [f"{row.result.case.threads} threads" for row in rows],
        [row.run_id for row in rows],
        [f"no. {number}" for number in range(1, len(rows) + 1)],
    ):
        counts = Counter(labels)
        labels = [
            f"{label}, {words}" if counts[label] > 1 else label for label, words in zip(labels, addition, strict=True)
        ]
    return [replace(row, label=label) for row, label in zip(rows, labels, strict=True)]


def _faster(result: Result, group: Sequence[Result]) -> Ratio | None:
    """The ratio to the reference target of the same case in ``group``, where both may be quoted."""
    references = [other for name in REFERENCES for other in group if other.case.target == name]
    slowest = sorted(group, key=lambda other: -other.summary.median_ms if other.summary else 0.0)
    reference = next(iter(references or slowest), result)
    if result.status != "valid" or result.case.target == reference.case.target:
        return None
    if result.summary is None or reference.summary is None:
        return None
    effect = effects.effect(result.trials, reference.trials)
    if effect is None:
        value = reference.summary.median_ms / result.summary.median_ms
        return Ratio(against=reference.case.target, value=value, interval=None)
    value, factor = math.exp(effect.log_ratio), math.exp(effect.half_width(_ERROR_OF_A_BOUND))
    return Ratio(against=reference.case.target, value=value, interval=(value / factor, value * factor))


def _sort_key(row: ReportRow) -> tuple[Any, ...]:
    """Tasks and targets as in the catalog, families together, within them by arithmetic."""
    case = row.result.case
    targets = [*registry.targets(), case.target]
    tasks = [*get_args(Task), "other"]
    cost = (row.result.macs or 0, case.model, case.part or "", case.attention, case.size, case.batch, case.streams)
    return (tasks.index(row.task), row.family, *cost, targets.index(case.target), case.name, case.device, row.run_id)


def _tally(rows: Sequence[ReportRow]) -> Tally:
    parities = [row.result.parity for row in rows if row.result.parity is not None]
    errors = [p.error_std for p in parities if p.passed and p.error_std is not None]
    return Tally(
        cases=len(rows),
        quotable=sum(row.quotable for row in rows),
        trials=sum(len(row.result.trials) for row in rows),
        samples=sum(len(trial.samples_ns) for row in rows for trial in row.result.trials),
        proven=sum(parity.passed for parity in parities),
        compared=len(parities),
        worst_error_std=max(errors, default=None),
        gains=tuple(_gains(rows)),
    )


def _gains(rows: Sequence[ReportRow]) -> Iterator[Gain]:
    grouped: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row.faster is not None and not row.throughput:
            grouped.setdefault((row.result.case.target, row.faster.against), []).append(row.faster.value)
    for (target, against), values in grouped.items():
        yield Gain(target=target, against=against, lowest=min(values), highest=max(values), cases=len(values))


def _title(runs: Sequence[Run], *, latency: bool) -> str:
    places = list(dict.fromkeys(map(origins.place, runs)))
    if not places:
        return "Nothing was measured"
    return f"{'Latency' if latency else 'Throughput'} on {' and '.join(places)}"


def _warnings(runs: Sequence[Run], rows: Sequence[ReportRow], baseline: Run | None) -> Iterator[str]:
    results = [row.result for row in rows]
    random = [result.case for result in results if result.case.weights.startswith("random")]
    if random:
        seeds = ", ".join(sorted({case.weights.removeprefix("random:") for case in random}))
        models = ", ".join(sorted({case.model for case in random}))
        yield (
            f"Random weights (seed {seeds}) in {'all models' if len(random) == len(results) else models}: "
            "the times are those of the real architecture, the outputs mean nothing."
        )
    yield from official_weights.notes(results)
    yield from registry.notes(result.case.model for result in results)
    bad = sum(result.status != "valid" for result in results)
    if bad:
        yield f"{bad} of {len(results)} cases have no figure to quote; each says why."
    remarks = Counter(reason.code for result in results if result.status == "valid" for reason in result.reasons)
    if remarks:
        codes = ", ".join(f"{code} in {count}" for code, count in sorted(remarks.items()))
        figures = len(results) - bad
        subject = "The figure carries" if figures == 1 else f"Some of the {figures} figures carry"
        yield f"{subject} a remark, told below the tables: {codes}."
    if any(run.vitdeploy.dirty for run in runs):
        yield "Measured by a vitdeploy with uncommitted changes."
    if any(origins.facts(run).throttle == NOT_VISIBLE for run in runs):
        yield "This machine does not show whether its clock was throttled; only the drift of the trials would tell."
    if baseline is not None:
        for run in runs:
            fields = comparison.differences(run, baseline)
            if fields:
                yield (
                    f"The baseline {baseline.id} was measured under other conditions ({', '.join(fields)}): "
                    "no change from it is told."
                )
