"""Where a run comes from: its machine and its protocol, as names and values that a reader understands."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from vitdeploy.catalog import checkpoint_identity, fact_table
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.results.record import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """One run: what it was measured on and how."""

    run_id: str
    place: str
    """The machine in a few words."""
    started: str
    baseline: bool
    machine: tuple[tuple[str, str], ...]
    protocol: tuple[tuple[str, str], ...]
    sentence: str
    """The protocol in one sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OriginGroup:
    """Runs of one machine and one protocol, which pages describe once."""

    heading: str
    baseline: bool
    started: str
    """When the run began, or the first and the last of them."""
    machine: tuple[tuple[str, str], ...]
    protocol: tuple[tuple[str, str], ...]
    sentence: str


def grouped(origins: Sequence[Origin]) -> list[OriginGroup]:
    """The origins, those that differ in nothing but the run and its time together."""
    groups: dict[Any, list[Origin]] = {}
    for origin in origins:
        shared = tuple(entry for entry in origin.protocol if entry[0] not in _OF_ONE_RUN)
        groups.setdefault((origin.baseline, origin.place, origin.machine, origin.sentence, shared), []).append(origin)
    return [_group(group, shared) for (*_, shared), group in groups.items()]


_OF_ONE_RUN = ("run", "started")


def _group(origins: Sequence[Origin], shared: tuple[tuple[str, str], ...]) -> OriginGroup:
    first = origins[0]
    if len(origins) == 1:
        started, protocol = first.started, first.protocol
        heading = f"{'Baseline' if first.baseline else 'Run'} {first.run_id} on {first.place}"
    else:
        started = f"{min(origin.started for origin in origins)} … {max(origin.started for origin in origins)}"
        heading = f"{len(origins)} runs on {first.place}"
        names = ", ".join(origin.run_id for origin in origins)
        protocol = (("runs", names), ("started", started), *shared)
    return OriginGroup(
        heading=heading,
        baseline=first.baseline,
        started=started,
        machine=first.machine,
        protocol=protocol,
        sentence=first.sentence,
    )


def of(run: Run, *, baseline: bool = False) -> Origin:
    """The origin of ``run``."""
    return Origin(
        run_id=run.id,
        place=place(run),
        started=_minute(run.started_utc),
        baseline=baseline,
        machine=tuple(_machine(run)),
        protocol=tuple(_protocol(run)),
        sentence=_sentence(run),
    )


def facts(run: Run) -> DeviceFacts:
    """What is known of the machine that was timed; its state at the start only where that is the host itself."""
    device_facts = DeviceFacts(run.device.facts)
    return DeviceFacts({**run.host, **device_facts}) if device_facts.link in (None, "local") else device_facts


def place(run: Run) -> str:
    """The machine in a few words: the device's name, and its processor where that name is only ``local``."""
    device_facts = facts(run)
    if run.device.name != "local" or not device_facts.cpu:
        return run.device.name
    return device_facts.cpu + (f", {device_facts.cores_physical} cores" if device_facts.cores_physical else "")


def _machine(run: Run) -> Iterator[tuple[str, str]]:
    device_facts = facts(run)
    if not device_facts:
        yield "facts", "none were recorded"
    yield from device_facts.listed()
    for runtime in run.runtimes:
        yield "runtime", runtime
    if device_facts.packages:
        yield "packages", fact_table.listed(device_facts.packages)


def _protocol(run: Run) -> Iterator[tuple[str, str]]:
    protocol, cases = run.protocol, [result.case for result in run.results]
    yield "run", run.id
    yield "started", _minute(run.started_utc)
    yield "suite", protocol.suite or "models named by hand"
    yield "trials", f"{protocol.trials} fresh processes a case"
    yield (
        "a trial",
        f"at least {protocol.min_time_s:g} s of samples after at most {protocol.warmup_limit_s:g} s of warm-up",
    )
    if protocol.sustained_s is not None:
        yield (
            "sustained",
            f"{protocol.sustained_s:g} s of load a trial; the burst is its first {protocol.min_time_s:g} s",
        )
    yield "order", f"{protocol.order} (seed {protocol.seed})"
    yield "inputs", protocol.inputs
    for name, values in (
        ("boundary", {case.boundary for case in cases}),
        ("threads", {str(case.threads) for case in cases}),
        ("host memory", {case.memory for case in cases if case.memory}),
        ("power mode", {case.power_mode for case in cases if case.power_mode}),
        ("weights", {checkpoint_identity.weights_words(case.weights) for case in cases}),
    ):
        if values:
            yield name, ", ".join(sorted(values))
    state = {True: ", with uncommitted changes", False: "", None: ""}[run.vitdeploy.dirty]
    yield "vitdeploy", f"{run.vitdeploy.version} ({(run.vitdeploy.commit or 'no commit known')[:12]}{state})"


def _sentence(run: Run) -> str:
    protocol = run.protocol
    boundaries = sorted({result.case.boundary for result in run.results})
    crossing = {
        "host-to-host": "from input in host memory to output in host memory, copies inside",
        "compute": "the computation alone, without copies",
    }
    how = "; ".join(crossing[boundary] for boundary in boundaries)
    return (
        f"{protocol.trials} fresh processes a case, {protocol.order}; each warms up by evidence and samples for at "
        f"least {protocol.min_time_s:g} s" + (f", {how}." if how else ".")
    )


def _minute(started_utc: str) -> str:
    """The time stamp as people write it; a text that is none stays as it is."""
    try:
        moment = datetime.fromisoformat(started_utc.replace("Z", "+00:00"))
    except ValueError:
        return started_utc
    return f"{moment.astimezone(timezone.utc) if moment.tzinfo else moment:%Y-%m-%d %H:%M} UTC"
