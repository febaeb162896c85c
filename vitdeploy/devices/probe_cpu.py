"""Look at a CPU's state: clock, temperature, throttling, and how busy all of it is.

Everything is read from /proc and /sys; what a machine does not show is None, never a guess.
Standard library only: the worker carries it.
"""

import os
import re
from pathlib import Path

from vitdeploy.devices.system_files import integer_of, text_of

_CPU = Path("/sys/devices/system/cpu")
_THERMAL = Path("/sys/class/thermal")

OTHER_PARTS = re.compile(
    r"wi-?fi|wlan|wwan|iwl|mt7\d|batt|^bat\d|charg|nvme|ssd|skin|modem|lte|usb|ambient|display|pmic"
)
"""Zones of other parts than the processor: a Wi-Fi card may be the hottest of an idle machine.

Source: type files of drivers/thermal and of drivers that register zones (iwlwifi, mt76, nvme, power supplies); a
Xavier's ``PMIC-Die`` is always 100 °C.
"""

OF_PROCESSOR = re.compile(r"cpu|x86_pkg|core|^tj|soc|package|proc|gpu")
"""Zones of the processor: ``x86_pkg_temp``, ``cpu-thermal``; of a board's chip ``gpu-thermal``, ``tj-thermal`` too.

Source: as above.
"""

COLDEST_C, HOTTEST_C = -40.0, 150.0
"""Industrial parts work down to -40 °C; nothing of silicon works above 150 °C. Source: grades of AEC-Q100."""

SHORTEST_WINDOW_NS = 200_000_000
"""/proc/stat counts in ticks of 10 ms: over a shorter time its error would exceed the bound."""


def clock_hz() -> int | None:
    """Mean clock of all cores now."""
    scaling = [integer_of(path) for path in sorted(_CPU.glob("cpu[0-9]*/cpufreq/scaling_cur_freq"))]
    clocks = [value * 1000 for value in scaling if value]  # the files are in kHz
    if not clocks:
        clocks = [
            int(float(line.partition(":")[2]) * 1e6)
            for line in text_of(Path("/proc/cpuinfo")).splitlines()
            if line.startswith("cpu MHz")
        ]
    return sum(clocks) // len(clocks) if clocks else None


def temperature_c() -> float | None:
    """The hottest thermal zone of the processor; where none is called so, of the machine without its other parts."""
    temperatures = [temperature for zone in zones() if (temperature := _zone_c(zone)) is not None]
    return max(temperatures, default=None)


def zones() -> list[Path]:
    """Thermal zones that show how hot the processor is."""
    kinds = {zone: text_of(zone / "type").lower() for zone in sorted(_THERMAL.glob("thermal_zone*"))}
    own = {zone: kind for zone, kind in kinds.items() if not OTHER_PARTS.search(kind)}
    named = [zone for zone, kind in own.items() if OF_PROCESSOR.search(kind) and _zone_c(zone) is not None]
    return named or list(own)


def _zone_c(zone: Path) -> float | None:
    """A zone's temperature; None for what cannot be one, as sensors of parts that are switched off show."""
    value = integer_of(zone / "temp")
    return value / 1000 if value is not None and COLDEST_C <= value / 1000 <= HOTTEST_C else None


def headroom_c() -> float | None:
    """How far the nearest thermal zone is below its own limit; None where no zone tells one.

    Source: docs.kernel.org/driver-api/thermal/sysfs-api.html: the trip points ``passive`` and ``hot`` are where the
    kernel slows devices down, ``active`` ones only start fans.
    """
    headrooms: list[float] = []
    for zone in zones():
        now = _zone_c(zone)
        kinds = sorted(zone.glob("trip_point_*_type"))
        slowing = [path for path in kinds if text_of(path) in ("passive", "hot")]
        readings = [integer_of(path.with_name(path.name.replace("_type", "_temp"))) for path in slowing]
        limits = [limit for limit in readings if limit is not None and limit > 0]  # what is switched off is 0 or below
        if now is not None and limits:
            headrooms.append(min(limits) / 1000 - now)
    return min(headrooms, default=None)


def power_mw() -> int | None:
    """Not looked at on this machine: what a CPU's counters tell is not what the machine draws."""
    return None


def throttle_count() -> int | None:
    """How often the cores were slowed down for heat since boot; None where no counter exists."""
    readings = [integer_of(path) for path in sorted(_CPU.glob("cpu[0-9]*/thermal_throttle/core_throttle_count"))]
    counts = [count for count in readings if count is not None]
    return sum(counts) if counts else None


def busy_ns() -> int | None:
    """CPU time spent by everything on the machine since boot, and stolen from it by the hypervisor.

    Source: proc(5), /proc/stat: user, nice, system and steal; guest time is part of user.
    """
    fields = text_of(Path("/proc/stat")).partition("\n")[0].split()
    if len(fields) < 9 or fields[0] != "cpu":
        return None
    ticks = sum(int(fields[i]) for i in (1, 2, 3, 8))
    return ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def foreign_cores(busy_before_ns: int | None, busy_after_ns: int | None, own_ns: int, wall_ns: int) -> float | None:
    """Cores that others took on average; None where it is not visible or the time was too short."""
    if busy_before_ns is None or busy_after_ns is None or wall_ns < SHORTEST_WINDOW_NS:
        return None
    return max(0.0, (busy_after_ns - busy_before_ns - own_ns) / wall_ns)


def peak_memory_bytes() -> int:
    """Largest resident size of this process since it began or since `forget_peak`."""
    for line in text_of(Path("/proc/self/status")).splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def forget_peak() -> bool:
    """Start the peak anew from the present size; False where the kernel does not do it (some sandboxes).

    Source: proc(5), clear_refs.
    """
    before = peak_memory_bytes()
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return peak_memory_bytes() < before
