"""`reproduce`: published tables measured again."""

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vitdeploy import documents
from vitdeploy.api import studies
from vitdeploy.api.devices import reachable
from vitdeploy.api.listings import ListingRow
from vitdeploy.api.studies import StudyPlan, StudyRequest
from vitdeploy.benchmarks import reproduce as published_tables
from vitdeploy.catalog import registry
from vitdeploy.catalog.shown import Shown
from vitdeploy.devices import device_facts
from vitdeploy.errors import UsageError
from vitdeploy.processes.progress import OnTrial, Progress, silent, silent_trial
from vitdeploy.results import record
from vitdeploy.results.record import Run
from vitdeploy.studies import reproduction
from vitdeploy.studies.reproduction import Reproduction


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ReproduceOutcome(Shown):
    """A published table beside a run, the run file and the page."""

    shown_by: ClassVar = "vitdeploy.cli.studies:reproduce_output"
    reproduction: Reproduction
    path: Path
    page: Path

    def __fspath__(self) -> str:
        """The run file: the outcome stands where a path is expected."""
        return str(self.path)


SCOUT_TRIALS = 3
"""Trials of the small model that is timed first."""


def published_list() -> list[ListingRow]:
    """The published tables, and how many of their rows this version has models for."""
    rows: list[ListingRow] = []
    for name in published_tables.names():
        table = published_tables.find(name)
        present = [row for row in table.rows if row.model and published_tables.known(row.model)]
        facts = {
            "title": table.title,
            "rows": f"{len(present)} of {len(table.rows)} have a model here",
            "claims": str(len(table.claims)),
        }
        rows.append(
            ListingRow(name=name, facts=facts, usable=bool(present), why_not=None if present else "no model is here")
        )
    return rows


def reproduce_plan(name: str, request: StudyRequest) -> list[str]:
    """What `reproduce` would do, one case a line."""
    return _planned(name, request).lines()


def reproduce(
    name: str, request: StudyRequest, *, progress: Progress = silent, on_trial: OnTrial = silent_trial
) -> ReproduceOutcome:
    """Run the rows of a published table that a device can, and compare them with the published figures.

    Raises:
        UsageError: no such table.
        DeviceError: the device is not reachable, busy, or another one than its file says.
    """
    plan = _planned(name, request)
    if not plan.rows:
        raise UsageError(f"no model of the table {name} is in this version's catalogue", "See `vitdeploy models`.")
    published_tables.check_runs(plan.rows, plan.device)
    protocol = plan.protocol(reproduction.suite_of(name, quick=request.quick))
    with studies.claimed(plan, protocol, f"reproduce-{name}", progress) as out:
        run = studies.timed(_without_slow_rows(plan, progress), protocol, out, progress, on_trial)
    return _outcome(name, run, request.out or out, request.page)


def reproduction_of(path: Path, page: Path | None = None) -> ReproduceOutcome:
    """An earlier run of `reproduce`, compared with its table again.

    Raises:
        UnreadableFile: it is no run.
        UsageError: it is the run of something else.
    """
    run = record.load(path)
    kind, _, rest = (run.protocol.suite or "").partition(":")
    if kind != reproduction.SUITE:
        raise UsageError(f"{path} is no run of `vitdeploy reproduce`", "Name one that it wrote.")
    return _outcome(rest.partition(":")[0], run, path, page)


def _planned(name: str, request: StudyRequest) -> StudyPlan:
    device = reachable(request.device)
    facts = device_facts.facts_of(device)
    table = published_tables.find(name)
    rows = published_tables.wanted(
        table,
        quick=request.quick,
        target=published_tables.target_of(table, device, request.target),
        device=device.name,
        free_bytes=studies.free_bytes(facts),
    )
    groups = published_tables.groups(table, rows, quick=request.quick)
    return studies.plan_of(rows, device, facts, request, groups)


def _outcome(name: str, run: Run, out: Path, page: Path | None) -> ReproduceOutcome:
    compared = reproduction.reproduce(name, published_tables.find(name), run)
    page = page or out.with_suffix(".html")
    documents.write_bytes(page, registry.load("vitdeploy.reports.as_reproduction:render")(compared))
    return ReproduceOutcome(reproduction=compared, path=out, page=page)


def _without_slow_rows(plan: StudyPlan, progress: Progress) -> StudyPlan:
    """The plan, rows that would take too long refused: a small one is timed first, for the speed of the device."""
    rows = list(plan.rows)
    scout = published_tables.scout(rows)
    if scout is None or scout.macs is None:
        return plan
    short = dataclasses.replace(plan.request, trials=SCOUT_TRIALS, min_time_s=0.1)
    small = dataclasses.replace(plan, rows=[scout], request=short, groups=())
    with tempfile.TemporaryDirectory(prefix="vitdeploy-scout-") as folder:
        run = studies.timed(small, small.protocol("scout"), Path(folder) / "scout.json", progress, silent_trial)
    (result,) = run.results
    if result.summary is None or result.macs is None:
        return plan
    speed = result.macs * result.case.batch / (result.summary.median_ms / 1e3)
    progress(f"speed estimate from {result.case.name}: {speed / 1e9:.1f} G multiply-accumulates a second")
    late = published_tables.in_time(rows, speed, quick=plan.request.quick, trials=plan.trials)
    refused = [dataclasses.replace(row, refused=row.refused or late.get(place)) for place, row in enumerate(rows)]
    groups = published_tables.slow_by_turns(plan.groups, refused, speed, quick=plan.request.quick, trials=plan.trials)
    for group in groups:
        if group.whole is not None:
            names = ", ".join(plan.planned[place].words for place in group.rows)
            progress(f"whole trials, without turns, of {names}: {group.whole}")
    return dataclasses.replace(plan, rows=refused, groups=groups)
