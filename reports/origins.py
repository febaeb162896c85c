"""Where a run comes from: its machine and its protocol, as names and values that a reader understands."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, cast

from vitdeploy import units
from vitdeploy.record import Run

NOT_VISIBLE = "not visible"
"""What a machine does not show of itself."""

_WORDS: Mapping[str, str] = {
    "title": "device",
    "cpu": "processor",
    "cores_physical": "physical cores",
    "cores_logical": "logical cores",
    "memory_bytes": "memory",
    "governor": "frequency governor",
    "clock_max_hz": "clock limit",
    "clock_hz": "clock at the start",
    "turbo": "turbo",
    "temperature_c": "temperature at the start",
    "load_1min": "load at the start",
    "throttle": "throttling",
    "virtualization": "virtualization",
    "container": "container",
    "os": "system",
    "kernel": "kernel",
    "machine": "architecture",
    "python": "Python",
}
"""Facts in the order they are shown, and what they are called; others follow under their own names."""

_SILENT = frozenset({"link", "memory_free_bytes", "packages"})
"""Facts that say nothing about a figure, or are shown otherwise."""


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


def facts(run: Run) -> Mapping[str, Any]:
    """What is known of the machine that was timed; its state at the start only where that is the host itself."""
    here = run.device.facts.get("link", "local") == "local"
    return {**run.host, **run.device.facts} if here else run.device.facts


def place(run: Run) -> str:
    """The machine in a few words: the device's name, and its processor where that name is only ``local``."""
    known = facts(run)
    if run.device.name != "local" or not known.get("cpu"):
        return run.device.name
    cores = known.get("cores_physical")
    return f"{known['cpu']}" + (f", {cores} cores" if cores else "")


def _packages(known: Mapping[str, Any]) -> dict[str, Any]:
    found = known.get("packages")
    return (
        {str(name): version for name, version in cast("dict[Any, Any]", found).items()}
        if isinstance(found, dict)
        else {}
    )


def _machine(run: Run) -> Iterator[tuple[str, str]]:
    known = facts(run)
    if not known:
        yield "facts", "none were recorded"
    for key in (*_WORDS, *sorted(known.keys() - _WORDS.keys() - _SILENT)):
        if key in known:
            yield _WORDS.get(key, key.replace("_", " ")), _fact(key, known[key])
    for runtime in dict.fromkeys(t.facts["runtime"] for r in run.results for t in r.trials if "runtime" in t.facts):
        yield "runtime", runtime
    packages = _packages(known)
    if packages:
        yield "packages", ", ".join(f"{name} {version}" for name, version in packages.items())


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
        ("weights", {case.weights for case in cases}),
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


def _fact(key: str, value: Any) -> str:
    if value is None:
        return NOT_VISIBLE
    if isinstance(value, int | float) and not isinstance(value, bool):
        for suffix, words in (("_bytes", units.size_bytes), ("_hz", _clock), ("_c", _temperature)):
            if key.endswith(suffix):
                return words(value)
    return str(value)


def _clock(value: float) -> str:
    return f"{value / 1e9:.2f} GHz"


def _temperature(value: float) -> str:
    return f"{value:.0f} °C"


def _minute(started_utc: str) -> str:
    """The time stamp as people write it; a text that is none stays as it is."""
    try:
        moment = datetime.fromisoformat(started_utc.replace("Z", "+00:00"))
    except ValueError:
        return started_utc
    return f"{moment.astimezone(timezone.utc) if moment.tzinfo else moment:%Y-%m-%d %H:%M} UTC"
