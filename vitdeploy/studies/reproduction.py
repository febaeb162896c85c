"""Reproduction of a published table: its rows, the ratios of its claims, and what differs from its protocol."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from vitdeploy.catalog import registry
from vitdeploy.catalog.fact_table import NOT_VISIBLE, DeviceFacts
from vitdeploy.catalog.spec import Size
from vitdeploy.results.record import By, Result, Run
from vitdeploy.studies import paired_rounds
from vitdeploy.studies.paired_rounds import Estimate
from vitdeploy.studies.published import Claim, Column, PublishedRow, PublishedTable

SUITE = "reproduce"
"""How such runs call their suite: ``reproduce:TABLE`` or ``reproduce:TABLE:quick``."""

NOT_STATED = "not stated"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRow:
    """One row: what was measured of it, or why nothing was."""

    row: PublishedRow
    size: Size
    latency: Estimate | None
    """ms, over rounds; of a model in parts the sum of its parts."""
    images_per_s: float | None
    peak_memory_bytes: int | None
    macs: int | None
    """Of the files that were run, at the size that was run."""
    case: str | None
    why_not: str | None
    """None when there is a figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimOutcome:
    """One claim: the ratio that is published and the one that was measured."""

    claim: Claim
    published: float | None
    measured: Estimate | None
    by: By | None
    """How the ratio was measured; None: it was not."""
    why_not: str | None

    @property
    def holds(self) -> bool | None:
        """Whether the fast side is faster here at all; None: not measured, or not to be told."""
        if self.measured is None or self.measured.interval is None:
            return None
        low, high = self.measured.interval
        if low > 1:
            return True
        return False if high < 1 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One line of the checklist: how it was published, how it was measured here."""

    what: str
    published: str
    measured: str
    same: bool | None
    """None: not stated, or not to be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduction:
    """A table beside a run."""

    name: str
    table: PublishedTable
    run: Run
    quick: bool
    smaller: bool
    """Whether rows were run at smaller sizes than the published ones, as the quick forms of slow tables are."""
    figures: tuple[MeasuredRow, ...]
    answers: tuple[ClaimOutcome, ...]
    differences: tuple[Difference, ...]
    comparable: Mapping[str, bool]
    """Column → whether its absolute values may be held against this run's."""


def suite_of(name: str, *, quick: bool) -> str:
    """What a run of a table calls its suite."""
    return f"{SUITE}:{name}" + (":quick" if quick else "")


def reproduce(name: str, table: PublishedTable, run: Run) -> Reproduction:
    """Hold a run against a table."""
    quick = run.protocol.suite == suite_of(name, quick=True)
    parts = {row.name: _parts(table, row, run, quick=quick) for row in table.rows}
    figures = tuple(_figure(row, table, run, parts[row.name], quick=quick) for row in table.rows)
    by_name = {figure.row.name: figure for figure in figures}
    smaller = quick and any(_smaller(row, table) for row in table.rows)
    return Reproduction(
        name=name,
        table=table,
        run=run,
        quick=quick,
        smaller=smaller,
        figures=figures,
        answers=tuple(_answer(claim, table, run, parts, by_name) for claim in table.claims),
        differences=(*_setup(table, run, figures, smaller=smaller), *_procedure(table, run)),
        comparable={name: _comparable(column, table, run, smaller=smaller) for name, column in table.columns.items()},
    )


def _smaller(row: PublishedRow, table: PublishedTable) -> bool:
    """Whether a row's quick form has another size than the published one."""
    return bool(row.model) and row.in_quick and table.size_of(row, quick=True) != table.size_of(row, quick=False)


def _parts(table: PublishedTable, row: PublishedRow, run: Run, *, quick: bool) -> list[Result]:
    """The run's results that a row consists of."""
    size = registry.parse_size(table.size_of(row, quick=quick))
    return [
        result
        for result in run.results
        if result.case.model == row.model
        and result.case.size == size
        and (not row.parts or result.case.part in row.parts)
        and (row.attention is None or result.case.attention == row.attention)
    ]


def _figure(row: PublishedRow, table: PublishedTable, run: Run, parts: Sequence[Result], *, quick: bool) -> MeasuredRow:
    latency = paired_rounds.typical(
        list(paired_rounds.summed([paired_rounds.latencies(run, part) for part in parts]).values())
    )
    macs = [part.macs for part in parts]
    peaks = [trial.peak_memory_bytes for part in parts for trial in part.trials]
    return MeasuredRow(
        row=row,
        size=registry.parse_size(table.size_of(row, quick=quick)),
        latency=latency,
        images_per_s=1e3 * parts[0].case.batch / latency.value if latency else None,
        peak_memory_bytes=max(peaks) if latency and peaks else None,
        macs=sum(filter(None, macs)) if latency and all(macs) else None,
        case=" + ".join(part.case.name for part in parts) or None,
        why_not=None if latency else _why_not(row, parts, quick=quick),
    )


def _why_not(row: PublishedRow, parts: Sequence[Result], *, quick: bool) -> str:
    if row.model is None:
        return "vitdeploy does not have this model"
    reasons = [reason.message for part in parts if part.status != "valid" for reason in part.reasons]
    if reasons:
        return reasons[0]
    if row.model not in registry.models() and not row.model.startswith("attention_"):
        return f"{row.model} is not in this version's catalogue"
    if quick and not row.in_quick:
        return "left out of --quick"
    return "it was not part of this run"


def _answer(
    claim: Claim,
    table: PublishedTable,
    run: Run,
    parts: Mapping[str, Sequence[Result]],
    figures: Mapping[str, MeasuredRow],
) -> ClaimOutcome:
    missing = [f"{name}: {why}" for name in (claim.slow, claim.fast) if (why := figures[name].why_not)]
    ratios = {} if missing else paired_rounds.ratios(run, parts[claim.slow], parts[claim.fast])
    return ClaimOutcome(
        claim=claim,
        published=claim.ratio or table.published_ratio(claim),
        measured=paired_rounds.typical(list(ratios.values())),
        by=paired_rounds.way(run, (*parts[claim.slow], *parts[claim.fast])) if ratios else None,
        why_not="; ".join(missing) or None,
    )


def _comparable(column: Column, table: PublishedTable, run: Run, *, smaller: bool) -> bool:
    cases = [result.case for result in run.results]
    return (
        not smaller
        and column.runs_on == run.device.name
        and all(case.target in table.targets for case in cases)
        and all(case.batch == column.batch and case.boundary == column.boundary for case in cases)
    )


def _setup(table: PublishedTable, run: Run, figures: Sequence[MeasuredRow], *, smaller: bool) -> Iterator[Difference]:
    """What a published figure depends on, as published and as found here: what was run, and on what."""
    facts, cases = DeviceFacts(run.device.facts), [result.case for result in run.results]
    columns, targets = table.columns.values(), sorted({case.target for case in cases})
    rows = [figure.row for figure in figures if figure.case] or [figure.row for figure in figures]
    published_sizes = sorted({table.size_of(row, quick=False) for row in rows if row.model})
    version = NOT_STATED if "tflite-fp32" in table.targets else "TensorRT, version not stated"
    device = f"{run.device.name}: {facts.cpu or facts.title or ''}"
    own = any(column.runs_on == run.device.name for column in columns)
    yield _difference("device", [column.device for column in columns], [device], own)
    yield _difference("size", published_sizes, sorted({case.variant.size_words for case in cases}), not smaller)
    yield _difference("target", table.targets, targets, set(targets) <= set(table.targets))
    yield _difference("runtime version", [version], sorted(run.runtimes))
    yield _difference("power mode", [], [case.power_mode or NOT_VISIBLE for case in cases])


def _procedure(table: PublishedTable, run: Run) -> Iterator[Difference]:
    """The same of how it was measured."""
    facts, cases, protocol = DeviceFacts(run.device.facts), [result.case for result in run.results], run.protocol
    columns = list(table.columns.values())
    own = [column for column in columns if column.runs_on == run.device.name] or columns
    published_boundaries, boundaries = [column.boundary for column in columns], [case.boundary for case in cases]
    published_batches, batches = [str(column.batch or NOT_STATED) for column in columns], [case.batch for case in cases]
    statistic = f"median of medians, {protocol.trials} fresh processes of at least {protocol.min_time_s:g} s"
    if any(group.turn_s is not None for group in run.groups):
        statistic += ", those of a ratio in turns"
    weights = {case.weights for case in cases}
    source = "random, seed 0" if weights == {"random:0"} else "from a file"
    heat = [facts.governor or "governor not visible", f"throttling {facts.throttle or NOT_VISIBLE}"]
    yield _difference("transfers", published_boundaries, boundaries, set(boundaries) <= set(published_boundaries))
    yield _difference("batch", published_batches, map(str, batches), set(batches) <= {column.batch for column in own})
    yield _difference("threads", [], [f"{case.threads} of {facts.cores_logical or '?'}" for case in cases])
    yield _difference("statistic", [], [statistic])
    yield _difference("graph outputs", [table.graph_outputs], ["the model's own output" if cases else "as published"])
    yield _difference("weights", ["trained"], [source], "random:0" not in weights)
    yield _difference("clocks, heat", [], heat)


def _difference(what: str, published: Iterable[str], measured: Iterable[str], same: bool | None = None) -> Difference:
    return Difference(
        what=what,
        published=", ".join(dict.fromkeys(published)) or NOT_STATED,
        measured=", ".join(dict.fromkeys(measured)) or "–",
        same=same,
    )
