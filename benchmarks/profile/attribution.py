"""Attribution: the operators that explain most of a difference in latency, and what changed in the graph."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from vitdeploy.artifacts.manifest import Artifact, push
from vitdeploy.benchmarks.profile.phone import by_tool
from vitdeploy.catalog import registry
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.catalog.spec import Compute
from vitdeploy.devices import device_facts
from vitdeploy.devices.inventory import Device
from vitdeploy.devices.phone import prepared_phone
from vitdeploy.errors import ToolchainFailed, VitdeployError
from vitdeploy.processes import child_reply
from vitdeploy.processes.connection import Connection
from vitdeploy.results.record import Attribution, OperatorShare

SHOWN = 3
"""Operators that are named. Source: a reader looks at no more."""

LIMIT_S = 300.0

Profile = Callable[[Artifact], Mapping[str, int]]
"""Operator type → nanoseconds of an inference; empty where the runtime tells none."""


def attribute(a: Artifact, b: Artifact, measure: Profile) -> Attribution:
    """What explains that ``b`` takes another time than ``a``; a runtime without a profiler is said, not an error."""
    try:
        times = [measure(side) for side in (a, b)]
    except VitdeployError as error:
        return Attribution(operators=(), graph=_changed(a, b), said=error.message, unlisted=_unlisted(a, b))
    note = None if all(times) else f"{' and '.join(sorted({a.manifest.target, b.manifest.target}))}: no operator times"
    operators = largest(*times) if all(times) else ()
    return Attribution(operators=operators, graph=_changed(a, b), said=note, unlisted=_unlisted(a, b))


def largest(base_ns: Mapping[str, int], head_ns: Mapping[str, int]) -> tuple[OperatorShare, ...]:
    """The operators whose time changed most, in the direction of the whole."""
    changes = {name: head_ns.get(name, 0) - base_ns.get(name, 0) for name in (*base_ns, *head_ns)}
    sign = 1 if sum(changes.values()) >= 0 else -1
    ordered = sorted(changes, key=lambda name: -sign * changes[name])
    return tuple(
        OperatorShare(name=name, base_ms=base_ns.get(name, 0) / 1e6, head_ms=head_ns.get(name, 0) / 1e6)
        for name in ordered[:SHOWN]
        if sign * changes[name] > 0
    )


def on_device(device: Device, link: Connection, facts: DeviceFacts, *, threads: int) -> Profile:
    """The profiler of a device, whatever its link."""
    if device.link == "adb":
        phone = prepared_phone.prepare_phone(device, link, facts)
        return lambda side: by_tool(side, phone, threads=threads)
    return lambda side: by_worker(
        side, link, compute=device_facts.compute_of(side.manifest.target, device, facts), threads=threads
    )


def by_worker(side: Artifact, link: Connection, *, compute: Compute, threads: int) -> dict[str, int]:
    """Operator type → nanoseconds, by the runtime's own profiler in a process on a device that runs Python.

    Raises:
        VitdeployError: the runtime refuses the file, or the device was lost.
    """
    manifest = side.manifest
    job: dict[str, Any] = {
        "file": next(iter(push(side, link))),
        "manifest": msgspec.to_builtins(manifest),
        "runtime": registry.find_target(manifest.target).runtime,
        "threads": threads,
        "device": compute,
    }
    what = f"the profile of {manifest.target}"
    try:
        return child_reply.ask(
            link, "vitdeploy.benchmarks.profile.worker", job, dict[str, int], what=what, timeout_s=LIMIT_S
        )
    except VitdeployError as error:
        message = f"the operators of {manifest.target} could not be timed: {error.message}"
        raise ToolchainFailed(message, "Try again.") from error


def _unlisted(a: Artifact, b: Artifact) -> tuple[str, ...]:
    """Targets of the sides whose manifest lists no operators, as a torch program's."""
    return tuple(dict.fromkeys(side.manifest.target for side in (a, b) if not side.manifest.operators))


def _changed(a: Artifact, b: Artifact) -> dict[str, tuple[int, int]]:
    before, after = a.manifest.operators, b.manifest.operators
    if _unlisted(a, b):
        return {}
    return {
        name: (before.get(name, 0), after.get(name, 0))
        for name in sorted({*before, *after})
        if before.get(name, 0) != after.get(name, 0)
    }
