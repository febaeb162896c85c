"""Disturbance of a process by the rest of the machine: stolen time, waiting for a core, quota, the busiest neighbor.

Counters are read before and after the samples, and their differences become facts of the trial. What the kernel does
not show is left out. Standard library only: the worker carries it.
"""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vitdeploy.devices.system_files import text_of

_NS_PER_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 10_000_000

_PROC = Path("/proc")
_CGROUP = Path("/sys/fs/cgroup/cpu.stat")
"""Of our own control group, as a container sees it. Source: docs.kernel.org/admin-guide/cgroup-v2.html, "CPU"."""

LEAST_CORES = 0.05
"""A neighbor that takes less of a core is not named."""

LONGEST_NAME = 15
"""Source: proc(5), comm: TASK_COMM_LEN is 16 with its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Counters at one moment; None: not visible here."""

    time_ns: int
    steal_ns: int | None
    """Time that the hypervisor gave to others while a core had work. Source: proc(5), /proc/stat."""
    waited_ns: int | None
    """Time that our threads waited for a core. Source: docs.kernel.org/scheduler/sched-stats.html, schedstat."""
    pressure_ns: int | None
    """Time in which some task waited for a core. Source: docs.kernel.org/accounting/psi.html."""
    preempted: int | None
    """How often our threads were taken off their core. Source: proc(5), nonvoluntary_ctxt_switches."""
    quota_stops: int | None
    """How often the quota stopped us. Source: cgroup-v2.html, nr_throttled."""
    quota_ns: int | None
    busy: Mapping[int, tuple[str, int]]
    """Process → its name and its CPU time in nanoseconds; ours is not among them."""


def read_counters(others: frozenset[int] = frozenset()) -> Counters:
    """The counters now; ``others`` are processes that belong to the measurement."""
    quota = dict(line.split() for line in text_of(_CGROUP).splitlines() if len(line.split()) == 2)
    tasks = list((_PROC / "self/task").glob("*")) if _PROC.is_dir() else []
    schedules = [text_of(task / "schedstat").split() for task in tasks]
    switches = [_field(text_of(task / "status"), "nonvoluntary_ctxt_switches:") for task in tasks]
    return Counters(
        time_ns=time.perf_counter_ns(),
        steal_ns=_steal_ns(),
        waited_ns=sum(int(words[1]) for words in schedules if len(words) == 3) if any(schedules) else None,
        pressure_ns=_pressure_ns(),
        preempted=sum(known) if (known := [count for count in switches if count is not None]) else None,
        quota_stops=_whole(quota.get("nr_throttled")),
        quota_ns=None if (stopped := _whole(quota.get("throttled_usec"))) is None else 1000 * stopped,
        busy=_busy_processes({os.getpid(), *others}),
    )


def facts_between(before: Counters, after: Counters) -> dict[str, str]:
    """What disturbed the process in between, as facts of a trial; nothing of what is not visible."""
    wall_ns = max(1, after.time_ns - before.time_ns)
    cores = os.cpu_count() or 1
    shares = {
        "stolen": (before.steal_ns, after.steal_ns, wall_ns * cores),
        "waited": (before.waited_ns, after.waited_ns, wall_ns),
        "pressure": (before.pressure_ns, after.pressure_ns, wall_ns),
        "quota_share": (before.quota_ns, after.quota_ns, wall_ns),
    }
    counts = {"preempted": (before.preempted, after.preempted), "quota_stops": (before.quota_stops, after.quota_stops)}
    facts = {
        name: f"{max(0, later - earlier) / whole:.4f}"
        for name, (earlier, later, whole) in shares.items()
        if earlier is not None and later is not None
    }
    facts |= {
        name: str(max(0, later - earlier))
        for name, (earlier, later) in counts.items()
        if earlier is not None and later is not None
    }
    grown = [(spent - before.busy.get(number, (name, 0))[1], name) for number, (name, spent) in after.busy.items()]
    most_ns, name = max(grown, default=(0, ""))
    if most_ns >= LEAST_CORES * wall_ns:
        facts["busiest_other"] = f"{name} {most_ns / wall_ns:.2f}"
    return facts


def _steal_ns() -> int | None:
    fields = text_of(_PROC / "stat").partition("\n")[0].split()
    return int(fields[8]) * _NS_PER_TICK if len(fields) > 8 and fields[0] == "cpu" else None


def _pressure_ns() -> int | None:
    words = text_of(_PROC / "pressure/cpu").partition("\n")[0].split()
    totals = [word.removeprefix("total=") for word in words if word.startswith("total=")]
    return 1000 * value if totals and (value := _whole(totals[0])) is not None else None


def _busy_processes(ours: set[int]) -> dict[int, tuple[str, int]]:
    """User and system time of every other process. Source: proc(5), /proc/pid/stat, fields 2, 14 and 15."""
    busy: dict[int, tuple[str, int]] = {}
    for path in _PROC.glob("[0-9]*/stat"):
        number = int(path.parent.name)
        head, _, tail = text_of(path).rpartition(")")  # a name may hold brackets and blanks
        fields = tail.split()
        if number in ours or len(fields) < 13:
            continue
        name = "".join(letter for letter in head.partition("(")[2] if letter.isprintable())[:LONGEST_NAME]
        busy[number] = (name, (int(fields[11]) + int(fields[12])) * _NS_PER_TICK)
    return busy


def _field(text: str, name: str) -> int | None:
    values = [line.removeprefix(name).strip() for line in text.splitlines() if line.startswith(name)]
    return _whole(values[0]) if values else None


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
