"""`reproduce`: published tables measured again."""

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vitdeploy import documents
from vitdeploy.api.devices import reachable
from vitdeploy.api.listings import ListingRow
from vitdeploy.api.studies import (
    StudyRequest,
    as_bench,
    facts_of,
    free_bytes,
    free_bytes_of,
    plan_lines,
    run_path,
    timed,
)
from vitdeploy.benchmarks.suite import Wanted
from vitdeploy.catalog import registry
from vitdeploy.errors import UsageError
from vitdeploy.processes.progress import OnTrial, Progress, silent, silent_trial
from vitdeploy.results import record
from vitdeploy.results.record import Run
from vitdeploy.studies import reproduction

if TYPE_CHECKING:
    from vitdeploy.catalog.fact_table import DeviceFacts
    from vitdeploy.devices.inventory import Device
    from vitdeploy.results.record import Run
    from vitdeploy.studies.reproduction import Reproduction


@dataclass(frozen=True, slots=True, kw_only=True)
class ReproduceOutcome:
    """What was found of a published table: it beside the run, the run file and the page."""

    reproduction: "Reproduction"
    path: Path
    page: Path


TRUST = 3
"""A scout is believed after so many trials."""


def published_list() -> list[ListingRow]:
    """The published tables, and how many of their rows this version has models for."""
    from vitdeploy.benchmarks import reproduce as published_tables

    rows: list[ListingRow] = []
    for name in published_tables.names():
        table = published_tables.find(name)
        known = [row for row in table.rows if row.model and published_tables.known(row.model)]
        facts = {
            "title": table.title,
            "rows": f"{len(known)} of {len(table.rows)} have a model here",
            "claims": str(len(table.claims)),
        }
        rows.append(
            ListingRow(name=name, facts=facts, usable=bool(known), why_not=None if known else "no model is here")
        )
    return rows


def reproduce_plan(name: str, order: StudyRequest) -> list[str]:
    """What `reproduce` would do, one case a line."""
    from vitdeploy.benchmarks import reproduce as published_tables

    device = reachable(order.device)
    table = published_tables.find(name)
    target = published_tables.target_of(table, device, order.target)
    rows = published_tables.wanted(
        table, quick=order.quick, target=target, device=device.name, free_bytes=free_bytes(device)
    )
    return plan_lines(rows, order, device)


def reproduce(
    name: str, order: StudyRequest, *, progress: Progress = silent, on_trial: OnTrial = silent_trial
) -> ReproduceOutcome:
    """Run the rows of a published table that a device can, and hold them against what is published.

    Raises:
        UsageError: no such table.
        DeviceError: the device is not reachable, busy, or another one than its file says.
    """
    from vitdeploy.benchmarks import bench as timing
    from vitdeploy.benchmarks import reproduce as published_tables
    from vitdeploy.results import provenance

    device = reachable(order.device)
    found = facts_of(device)
    table = published_tables.find(name)
    target = published_tables.target_of(table, device, order.target)
    rows = published_tables.wanted(
        table, quick=order.quick, target=target, device=device.name, free_bytes=free_bytes_of(found)
    )
    if not rows:
        raise UsageError(f"no model of the table {name} is in this version's catalogue", "See `vitdeploy models`.")
    published_tables.check_runs(rows, device)
    out = run_path(order, f"reproduce-{name}", device)
    asked = as_bench(order, device)
    timing.make_protocol(trials=asked.trials, min_time_s=asked.min_time_s)  # a wrong number, before any work
    provenance.check_out(out, resume=order.resume)
    rows = _those_in_time(rows, order, device, found, progress)
    suite = reproduction.suite_of(name, quick=order.quick)
    run = timed(rows, order, device, found, suite, out, progress, on_trial)
    return _reproduced(name, run, out, order.page)


def reproduction_of(path: Path, page: Path | None = None) -> ReproduceOutcome:
    """A run of `reproduce` that was made before, held against its table again.

    Raises:
        UnreadableFile: it is no run.
        UsageError: it is the run of something else.
    """
    run = record.load(path)
    kind, _, rest = (run.protocol.suite or "").partition(":")
    if kind != reproduction.SUITE:
        raise UsageError(f"{path} is no run of `vitdeploy reproduce`", "Name one that it wrote.")
    return _reproduced(rest.partition(":")[0], run, path, page)


def _reproduced(name: str, run: Run, out: Path, page: Path | None) -> ReproduceOutcome:
    from vitdeploy.benchmarks import reproduce as published_tables

    found = reproduction.reproduce(name, published_tables.find(name), run)
    page = page or out.with_suffix(".html")
    documents.write_bytes(page, registry.load("vitdeploy.reports.as_reproduction:render")(found))
    return ReproduceOutcome(reproduction=found, path=out, page=page)


def _those_in_time(
    rows: list[Wanted], order: StudyRequest, device: "Device", found: "DeviceFacts", progress: Progress
) -> list[Wanted]:
    """The rows, those that would take too long refused: a small one is timed first and tells how fast the device is."""
    from vitdeploy.benchmarks import reproduce as published_tables

    scout = published_tables.scout(rows)
    if scout is None or scout.macs is None:
        return rows
    trials = as_bench(order, device).trials
    with tempfile.TemporaryDirectory(prefix="vitdeploy-scout-") as place:
        short = dataclasses.replace(order, trials=TRUST, min_time_s=0.1)
        path = Path(place) / "scout.json"
        run = timed([scout], short, device, found, "scout", path, progress, silent_trial)
    (result,) = run.results
    if result.summary is None or result.macs is None:
        return rows
    speed = result.macs * result.case.batch / (result.summary.median_ms / 1e3)
    progress(f"{result.case.name} tells the speed: {speed / 1e9:.1f} G multiply-accumulates a second")
    late = published_tables.in_time(rows, speed, quick=order.quick, trials=trials)
    return [dataclasses.replace(row, refused=row.refused or late.get(place)) for place, row in enumerate(rows)]
