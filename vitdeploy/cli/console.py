"""What the command line prints: rich tables on stdout, progress and notes on stderr, JSON on request."""

import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from vitdeploy import documents, units
from vitdeploy.catalog import registry
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.errors import worst_exit_code

if TYPE_CHECKING:
    from vitdeploy.api.bench import BenchOutcome
    from vitdeploy.api.cache import CacheRow
    from vitdeploy.api.check import CheckOutcome
    from vitdeploy.api.export import ExportResult
    from vitdeploy.api.listings import ListingRow
    from vitdeploy.api.predict import Prediction
    from vitdeploy.api.report import Document
    from vitdeploy.artifacts.manifest import Delegation
    from vitdeploy.devices.findings import Finding
    from vitdeploy.processes.progress import OnTrial
    from vitdeploy.results.record import Result, Sustained

NOT_A_TERMINAL_WIDTH = 160
"""Columns when stdout is a pipe or a file: tables there are read unwrapped."""

_out = Console(width=None if sys.stdout.isatty() else NOT_A_TERMINAL_WIDTH, highlight=False, markup=False)
_err = Console(stderr=True, highlight=False, soft_wrap=True)
_settings = {"quiet": False, "verbose": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOutcome:
    """What a command has to show: for people, for machines, and its exit code."""

    document: Any
    """Anything msgspec can write as JSON."""
    human: Sequence[Any] = ()
    """Rich renderables or plain lines, printed in order."""
    exit_code: int = 0
    failures: Sequence[tuple[str, str]] = field(default=())
    """Message and hint of each failed row, printed on stderr."""


def configure(*, quiet: bool, verbose: int) -> None:
    """Set how much is said on stderr."""
    _settings.update(quiet=quiet, verbose=verbose)


def progress(line: str, detail: int = 0) -> None:
    """One line of progress on stderr; ``detail`` 1 is only for ``-v``."""
    if not _settings["quiet"] and _settings["verbose"] >= detail:
        _err.print(escape(line), style="dim")


@contextmanager
def bar() -> "Generator[OnTrial]":
    """A progress bar on a terminal; nothing elsewhere."""
    if not sys.stderr.isatty() or _settings["quiet"]:
        yield lambda done, total, label: progress(f"[{done}/{total}] {label}", detail=1)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_err, transient=True) as shown:
        task = shown.add_task("timing", total=None)

        def advance(done: int, total: int, label: str) -> None:
            shown.update(task, completed=done, total=total, description=escape(label))

        yield advance


def show(outcome: CommandOutcome, json: str | None) -> None:
    """Print an outcome: tables on stdout unless JSON takes it, failed rows on stderr."""
    if json == "-":
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(outcome.document), indent=1).decode() + "\n")
    else:
        for part in outcome.human:
            _out.print(part, soft_wrap=isinstance(part, str))  # documents and annotations keep their lines
        if json is not None:
            documents.write(Path(json), outcome.document)
    for message, hint in outcome.failures:
        print(f"error: {message}\nhint: {hint}", file=sys.stderr)


def listing(what: str, rows: "Sequence[ListingRow]") -> CommandOutcome:
    """The table of models, targets, devices or suites."""
    facts = list(dict.fromkeys(key for row in rows for key in row.facts))
    shown = table(None, what[:-1], *facts, "usable here")
    for row in rows:
        usable = "yes" if row.usable else f"no: {row.why_not}"
        shown.add_row(row.name, *(row.facts.get(key, "") for key in facts), usable)
    return CommandOutcome(document=rows, human=[shown])


def plan(lines: Sequence[str]) -> CommandOutcome:
    """What would be done, one step a line."""
    return CommandOutcome(document={"plan": list(lines)}, human=list(lines))


def doctor(findings: "Sequence[Finding]") -> CommandOutcome:
    """What was looked at, what was found, and what to do about it."""
    signs = {"ok": "ok", "note": "note", "problem": "PROBLEM"}
    shown = table(None, "", "looked at", "found", "advice")
    for finding in findings:
        shown.add_row(signs[finding.state], finding.what, finding.found, finding.advice)
    return CommandOutcome(
        document=findings, human=[shown], exit_code=max((one.exit_code for one in findings), default=0)
    )


def exports(rows: "Sequence[ExportResult]") -> CommandOutcome:
    """One line a model: the file, its proof and where it lies."""
    shown = table(None, "model", "size", "target", "file", "parity", "error / std", "time", "folder", right=(3, 5, 6))
    failures: list[tuple[str, str]] = []
    for row in rows:
        manifest = row.artifact.manifest if row.artifact else None
        if row.error is not None:
            failures.append((row.error.message, row.error.hint))
        if manifest is None:
            shown.add_row(row.model, "", row.target, "", "failed", "", "", "")
            continue
        parity = manifest.parity
        shown.add_row(
            row.model,
            f"{manifest.size[0]}x{manifest.size[1]}" + (f" b{manifest.batch}" if manifest.batch > 1 else ""),
            row.target,
            units.size_bytes(manifest.size_bytes + sum(b.size_bytes for b in manifest.beside)),
            parity_words(parity) if parity else f"none: {manifest.parity_skipped}",
            f"{parity.error_std:.1e}" if parity and parity.error_std is not None else units.MISSING,
            "up to date" if row.reused else units.seconds(row.seconds),
            str(row.artifact.folder) if row.artifact else "",
        )
    document = [
        {
            "model": row.model,
            "target": row.target,
            "folder": str(row.artifact.folder) if row.artifact else None,
            "manifest": row.artifact.manifest if row.artifact else None,
            "reused": row.reused,
            "seconds": row.seconds,
            "error": _error(row.error),
        }
        for row in rows
    ]
    return CommandOutcome(
        document=document,
        human=[shown, *_weights_notes(rows), *registry.notes(row.model for row in rows if row.artifact)],
        exit_code=exit_code_of(rows),
        failures=failures,
    )


def check(checked: "CheckOutcome") -> CommandOutcome:
    """The parity of one artifact, on which inputs, and what is in its graph."""
    parity, manifest = checked.parity, checked.manifest
    shown = table(None, "question", "answer")
    for question, answer in (
        ("artifact", f"{manifest.model} {manifest.target} {manifest.size[0]}x{manifest.size[1]}"),
        ("weights", manifest.weights.words),
        ("inputs", checked.inputs),
        ("reference", parity.reference),
        ("finite", "yes" if parity.finite else "NO"),
        (parity.metric.name, f"{_number(parity.metric.value)} (at least {parity.metric.floor:g})"),
        ("largest error", f"{_number(parity.max_abs)} = {_number(parity.error_std)} of the output's deviation"),
        ("mean error", _number(parity.mean_abs)),
        ("cosine", _number(parity.cosine)),
        ("file", f"{manifest.file}, {units.size_bytes(manifest.size_bytes)}"),
        ("operators", ", ".join(f"{name} {count}" for name, count in manifest.operators.items()) or units.MISSING),
        *_delegation(manifest.delegation),
        *([("first divergence", checked.trace)] if checked.trace else []),
        *([("note", manifest.note)] if manifest.note else []),
        ("verdict", "passed" if parity.passed else f"FAILED: {parity.reason}"),
    ):
        shown.add_row(question, answer)
    failures = [] if checked.error is None else [(checked.error.message, checked.error.hint)]
    return CommandOutcome(
        document={"artifact": str(checked.folder), "inputs": checked.inputs, "parity": parity},
        human=[shown],
        exit_code=checked.error.exit_code if checked.error else 0,
        failures=failures,
    )


def prediction(found: "Prediction") -> CommandOutcome:
    """What was seen in the picture, and where the overlay lies."""
    shown = table(None, "object" if found.masks else "class", found.measure, right=(1,))
    for name, share in found.classes:
        shown.add_row(name, f"{share:.1%}")
    nearness = table(None, "enlarged by", found.measure, right=(1,))
    for name, decibel in found.psnr_db:
        nearness.add_row(name, f"{decibel:.2f} dB")
    told = [one for one, rows in ((shown, found.classes), (nearness, found.psnr_db)) if rows]
    notes = [found.note] if found.note else []
    document = {
        "picture": str(found.picture),
        "measure": found.measure,
        "classes": found.classes,
        "psnr_db": found.psnr_db,
        "note": found.note,
        "masks": [str(path) for path in found.masks],
    }
    return CommandOutcome(document=document, human=[*told, *notes, f"{found.picture}", *map(str, found.masks)])


def bench(outcome: "BenchOutcome") -> CommandOutcome:
    """The table of a run; failed and invalid rows keep their reason and show no figure to quote."""
    results = outcome.run.results
    valid = [r.summary if r.status == "valid" else None for r in results]
    medians = units.milliseconds([s.median_ms if s else None for s in valid])
    p90s = units.milliseconds([s.p90_ms if s else None for s in valid])
    p99s = units.milliseconds([s.p99_ms if s else None for s in valid])
    run = outcome.run
    title = f"{run.device.name}, {DeviceFacts(run.device.facts).cpu or DeviceFacts(run.host).cpu or ''}".rstrip(", ")
    heads = ("case", "thr", "median ms", "95 % interval", "p90", "p99", "images/s", "samples", "parity", "status")
    shown = table(title, *heads, right=(1, 2, 3, 4, 5, 6, 7))
    for result, summary, median, p90, p99 in zip(results, valid, medians, p90s, p99s, strict=True):
        bounds = summary.median_ci95_ms if summary else None
        shown.add_row(
            result.case.name,
            str(result.case.threads),
            median,
            units.interval(bounds[0], bounds[1], bounds[0]) if bounds else units.MISSING,
            p90,
            p99,
            f"{summary.throughput_per_s:.1f}" if summary else units.MISSING,
            f"{summary.samples} in {summary.trials}" if summary else units.MISSING,
            parity_words(result.parity) if result.parity else units.MISSING,
            status(result),
        )
    reasons = [
        f"{result.case.name}: {reason.message}. {reason.hint}" for result in results for reason in result.reasons
    ]
    weights = sorted({r.case.weights for r in results if r.case.weights.startswith("random")})
    notes = [f"Weights are {' and '.join(weights)}: the times are real, the outputs mean nothing."] if weights else []
    notes += registry.notes(r.case.model for r in results)
    notes += [f"{r.case.name}: {_heat(r.sustained)}" for r in results if r.sustained is not None]
    return CommandOutcome(
        document=outcome.run,
        human=[shown, *reasons, *notes, str(outcome.path)],
        exit_code=outcome.exit_code,
    )


def _heat(found: "Sustained") -> str:
    """What a long load did to a figure."""
    slowed = "never slower" if found.slowed_after_s is None else f"slower from {found.slowed_after_s:.0f} s on"
    throttled = "" if found.throttled_after_s is None else f", throttled from {found.throttled_after_s:.0f} s on"
    burst, after = units.milliseconds([found.burst_ms, found.sustained_ms])
    return f"burst {burst} ms, sustained {after} ms; {slowed}{throttled}."


def document(made: "Document") -> CommandOutcome:
    """A report on stdout, or the path it was written to."""
    said = {"annotations": made.annotations} if made.annotations else {}
    if made.path is None:
        return CommandOutcome(document={"text": made.text, **said}, human=[made.text.rstrip("\n"), *made.annotations])
    return CommandOutcome(document={"path": str(made.path), **said}, human=[*made.annotations, str(made.path)])


def cache(rows: "Sequence[CacheRow]", *, removed: bool = False) -> CommandOutcome:
    """What the store holds, or what was removed from it."""
    shown = table(None, "artifact", "size", "last used", right=(1,))
    for row in rows:
        shown.add_row(row.name, units.size_bytes(row.size_bytes), row.used)
    total = f"{len(rows)} {'removed' if removed else 'stored'}, {units.size_bytes(sum(r.size_bytes for r in rows))}"
    return CommandOutcome(document=rows, human=[shown, total] if rows else [total])


def _delegation(found: "Delegation | None") -> list[tuple[str, str]]:
    if found is None:
        return []
    taken = ", ".join(f"{name} {count}" for name, count in found.taken.items())
    return [
        ("delegate", found.words),
        ("its nodes", (taken or units.MISSING) if found.left else "all"),
        ("transposes", str(found.transposes)),
    ]


def exit_code_of(rows: "Sequence[ExportResult]") -> int:
    """The exit code of a command whose rows these are."""
    return worst_exit_code(row.error.exit_code for row in rows if row.error is not None)


def parity_words(parity: Any) -> str:
    """``ok, pixel agreement 99.98 %`` or ``FAILED``."""
    value = parity.metric.value
    if value is None:
        shown = "exact" if parity.passed else units.MISSING
    else:
        shown = f"{value:.1f} dB" if "dB" in parity.metric.name else f"{value:.2%}"
    name = parity.metric.name.removesuffix(" in dB against the reference")
    return f"{'ok' if parity.passed else 'FAILED'}, {name} {shown}"


def table(title: str | None, *heads: str, right: Sequence[int] = ()) -> Table:
    """An empty table in the one style that all commands have; ``right`` are the columns of numbers."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, head in enumerate(heads):
        made.add_column(head, justify="right" if index in right else "left", overflow="fold")
    return made


def _weights_notes(rows: "Sequence[ExportResult]") -> list[str]:
    words = {row.artifact.manifest.weights.words for row in rows if row.artifact}
    return [f"Made with {text}: the outputs mean nothing." for text in sorted(words) if text.startswith("random")]


def status(result: "Result") -> str:
    """``valid``, or what it is and the codes of the reasons."""
    codes = ", ".join(reason.code for reason in result.reasons)
    return f"{result.status}: {codes}" if codes else result.status


def _number(value: float | None) -> str:
    return units.MISSING if value is None else f"{value:.4g}"


def _error(error: Any) -> Mapping[str, Any] | None:
    return None if error is None else {"exit_code": error.exit_code, "message": error.message, "hint": error.hint}
