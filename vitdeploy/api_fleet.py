"""The verb that uses many devices at once, as a function: `sweep`; a composer of rooms, as `api` is."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from vitdeploy import api, catalog, packages, record
from vitdeploy.errors import UsageError, worst_exit_code
from vitdeploy.fleet import messages
from vitdeploy.fleet import plan as planning
from vitdeploy.fleet.journal import Journal, beside
from vitdeploy.fleet.plan import Plan, Wanted
from vitdeploy.orders import OnTrial, SweepOrder, SweepOutcome
from vitdeploy.record import Run


def sweep_plan(path: Path, order: SweepOrder) -> list[str]:
    """What `sweep` would do, one case a line; no scheduler, worker or device is asked.

    Raises:
        VitdeployError: the plan cannot be read or names what is not there.
    """
    plan = planning.read(path)
    wanted = planning.expand(plan)
    names = planning.devices(wanted)
    if order.scheduler is None:
        _reachable(names)
    where = order.scheduler or "a local Dask cluster, a process a device and one that exports"
    lines = [f"{one.words}: {plan.trials} trials of at least {plan.min_time_s:g} s" for one in wanted]
    return [*lines, f"{len(wanted) * plan.trials} trials on {len(names)} devices, by {where}"]


def sweep(
    path: Path, order: SweepOrder, *, progress: api.Progress = api.silent, on_trial: OnTrial = api.unseen
) -> SweepOutcome:
    """Time a plan's models on its devices, each trial on whichever worker serves the device; one run file holds it all.

    Raises:
        UsageError: an unknown name or address, a run that exists, or one that is resumed otherwise than it was begun.
        UnreadableFile: the plan or the run cannot be read or written.
        MissingPackage: Dask is not here.
        DeviceError: no scheduler answers, or it went away and did not come back.
    """
    from vitdeploy.benchmarks import bench as timing
    from vitdeploy.fleet.sweep import Sweep

    plan = planning.read(path)
    wanted = planning.expand(plan)
    name = planning.name_of(path)
    if order.resume and order.out is None:
        raise UsageError("--resume needs the run file", "Name it with --out.")
    out = order.out or Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}.json"
    timing.check_out(out, resume=order.resume)
    if order.scheduler is None:
        _reachable(planning.devices(wanted))
    packages.require(("distributed",))
    earlier = record.load(out) if order.resume and out.exists() else None
    base = frame(plan, wanted, name, earlier, out)
    journal = Journal(beside(out))
    if earlier is None:
        journal.remove()  # of a run that was removed
    with catalog.load("vitdeploy.fleet.on_dask:open_pool")(order.scheduler, _resources(plan, wanted)) as pool:
        if pool.dashboard:
            progress(f"Dask's dashboard: {pool.dashboard}")
        sweeping = Sweep(
            plan,
            wanted,
            pool,
            frame=base,
            out=out,
            journal=journal,
            artifacts=order.artifacts,
            earlier=earlier,
            progress=progress,
            on_trial=on_trial,
        )
        if sweeping.found:
            progress(f"going on with {out}: {sweeping.found} of {sweeping.total} trials are there")
        run = sweeping.run()
    return SweepOutcome(
        run=run,
        path=out,
        exit_code=worst_exit_code(timing.exit_code_of(result) for result in run.results),
        taken=sweeping.taken,
        found=sweeping.found,
        twice=sweeping.twice,
    )


def frame(plan: Plan, wanted: Sequence[Wanted], name: str, earlier: Run | None, out: Path) -> Run:
    """The run without its results; of an interrupted one, that one's.

    Raises:
        UsageError: it was begun by another plan.
    """
    from vitdeploy.benchmarks import bench as timing

    protocol = timing.make_protocol(
        suite=name,
        trials=plan.trials,
        min_time_s=plan.min_time_s,
        sustained_s=plan.sustained_s,
        order=f"{timing.ORDER}, devices beside each other",
    )
    names = planning.devices(wanted)
    facts = {} if len(names) == 1 else {"title": plan.title, "link": "fleet"}
    device = record.Device(name=names[0] if len(names) == 1 else name, facts=facts)
    if earlier is None:
        return timing.new_run(device, protocol, datetime.now(timezone.utc))
    _check_same(plan, wanted, device, protocol, earlier, out)
    return msgspec.structs.replace(earlier, results=())


def _check_same(
    plan: Plan, wanted: Sequence[Wanted], device: record.Device, protocol: record.Protocol, earlier: Run, out: Path
) -> None:
    """Refuse to go on with a run of another plan; what only its devices can tell is checked when they do."""
    from vitdeploy.benchmarks.resume import check_same

    del plan
    cases = [
        msgspec.structs.replace(
            result.case,
            model=one.planned.spec.whole,
            part=one.planned.spec.part,
            target=one.planned.target.name,
            size=one.planned.size,
            batch=one.planned.batch,
            attention=one.planned.attention,
            streams=one.planned.streams,
            device=one.device,
        )
        for one, result in zip(wanted, earlier.results, strict=False)
    ]
    cases += [earlier.results[0].case] * (len(wanted) - len(cases)) if earlier.results else []
    check_same(
        earlier,
        protocol=msgspec.structs.replace(protocol, inputs=earlier.protocol.inputs),
        device=record.Device(name=device.name, facts=earlier.device.facts),
        cases=cases,
        digests=[result.artifact_sha256 for result in earlier.results],
        out=out,
    )


def _reachable(devices: Sequence[str]) -> None:
    """Without a scheduler this machine serves all devices: each has to be configured here."""
    for device in devices:
        api.reachable(device)


def _resources(plan: Plan, wanted: Sequence[Wanted]) -> list[Mapping[str, float]]:
    """The workers of a local cluster: one a device, and one that exports with the memory that is free."""
    from vitdeploy.benchmarks import host

    found: list[Mapping[str, float]] = [{messages.resource(name): 1.0} for name in planning.devices(wanted)]
    if any(one.planned.artifact is None for one in wanted):
        claim = plan.export_memory_gib * messages.GIB
        found.append({messages.MEMORY: max(claim, float(host.facts()["memory_free_bytes"] or 0))})
    return found
