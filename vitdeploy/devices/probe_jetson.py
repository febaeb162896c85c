"""Look at a Jetson's state during a trial: the GPU's clock, heat, power rails, and what slows it down.

Read from sysfs, where ``tegrastats`` reads it too; what a board does not show is None. Standard library only: the
worker carries it. Tested on a folder laid out as a board's files are documented; no Jetson was used yet.
"""

import re
from pathlib import Path

from vitdeploy.devices import probe_cpu
from vitdeploy.devices.system_files import integer_of, text_of

ROOT = Path("/")

TOTAL_RAILS = ("VDD_IN",)
"""The rail of the whole module, on boards that have one (Orin NX, Orin Nano).

Source: docs.nvidia.com/jetson/archives/r36.4, "Jetson Orin NX and Nano series", power monitors.
"""

PART_RAILS = (("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"))
"""Rails that make up the module where there is no rail of the whole: of an AGX Orin, of a Thor.

Source: docs.nvidia.com/jetson/archives/r36.4, "Jetson AGX Orin series", and r38.2, "Jetson Thor", power monitors.
"""

GPU_CLOCKS = ("*gpu*", "*.ga10b", "*.gv11b")
"""Folders of the GPU's clock below /sys/class/devfreq: ``17000000.gpu``, ``gpu-gpc-0``; older ones have the GPU's name.

Source: Linux for Tegra 32 to 38, as public tools read them.
"""

ALERT = "-throttle-alert"
"""How the cooling devices are called whose state tells that heat slows a part down (``gpu-throttle-alert``, …).

Source: /sys/class/thermal of Orins with Linux for Tegra 35 and 36, as public tools read it; no board of ours.
"""

ABSENT_C = -256.0
"""What a sensor of a part that is switched off shows, as an idle Orin's GPU.

Source: github.com/GDWR/jetson_exporter/issues/14.
"""

_slowed = [0]
"""How often a look found a part slowed down by heat: the alerts are states, nothing on the board counts them."""

busy_ns = probe_cpu.busy_ns
foreign_cores = probe_cpu.foreign_cores
peak_memory_bytes = probe_cpu.peak_memory_bytes
forget_peak = probe_cpu.forget_peak
headroom_c = probe_cpu.headroom_c
temperature_c = probe_cpu.temperature_c


def clock_hz() -> int | None:
    """The GPU's clock now."""
    for path in gpu_clock_files(ROOT, "cur_freq"):
        if (clock := integer_of(path)) is not None:
            return clock
    return probe_cpu.clock_hz()


def power_mw() -> int | None:
    """What the module draws now: its own rail, else the sum of its parts; None where a part is not shown."""
    rails = rails_mw()
    for name in TOTAL_RAILS:
        if name in rails:
            return rails[name]
    for names in PART_RAILS:
        parts = [rails[name] for name in names if name in rails]
        if len(parts) == len(names):
            return sum(parts)
    return None


def gpu_clock_files(root: Path, name: str) -> list[Path]:
    """A file of the GPU's clocks, one a clock domain; the first one is of what computes."""
    return [path for folder in GPU_CLOCKS for path in sorted(root.glob(f"sys/class/devfreq/{folder}/{name}"))]


def rails_mw() -> dict[str, int]:
    """Power of each labelled rail: the INA3221's millivolts times its milliamperes.

    Source: docs.kernel.org/hwmon/ina3221.html.
    """
    rails: dict[str, int] = {}
    for label in sorted(ROOT.glob("sys/class/hwmon/hwmon*/in[0-9]*_label")):
        number = re.sub(r"\D", "", label.name)
        volts, amperes = (
            integer_of(label.with_name(f"in{number}_input")),
            integer_of(label.with_name(f"curr{number}_input")),
        )
        if volts is not None and amperes is not None:
            rails[text_of(label)] = volts * amperes // 1000
    return rails


def throttle_count() -> int | None:
    """Over-current events since boot, the CPU's own throttling where it is counted, and the looks that found an alert.

    Source: docs.nvidia.com/jetson/archives/r36.4, "Over-current event": ``oc*_event_cnt`` of the hwmon device.
    """
    readings = [integer_of(path) for path in sorted(ROOT.glob("sys/class/hwmon/hwmon*/oc*_event_cnt"))]
    counts = [count for count in [*readings, probe_cpu.throttle_count()] if count is not None]
    alerts = heat_alerts()
    if alerts is not None:
        _slowed[0] += any(alerts.values())
        counts.append(_slowed[0])
    return sum(counts) if counts else None


def heat_alerts() -> dict[str, bool] | None:
    """Whether heat slows each part down now; None where the board has no such cooling devices."""
    alerts: dict[str, bool] = {}
    for kind in sorted(ROOT.glob("sys/class/thermal/cooling_device*/type")):
        name, state = text_of(kind), integer_of(kind.with_name("cur_state"))
        if name.endswith(ALERT) and state is not None:
            alerts[name] = state > 0
    return alerts or None


def tegrastats(text: str) -> dict[str, float]:
    """What one line of ``tegrastats`` tells, in C, Hz, mW and percent, by name; for logs that boards send us.

    Lines of JetPack 4 to 6 differ in their fields; what is not there is left out.
    """
    readings: dict[str, float] = {}
    if (gpu := re.search(r"GR3D_FREQ (\d+)%(?:@\[?(\d+))?", text)) is not None:
        readings["gpu_percent"] = float(gpu[1])
        if gpu[2]:
            readings["gpu_hz"] = 1e6 * float(gpu[2])
    for name, value in re.findall(r"([A-Za-z][\w-]*)@(-?[\d.]+)C", text):
        if float(value) != ABSENT_C:
            readings[f"{name.lower()}_c"] = float(value)
    for name, value in re.findall(r"((?:VDD|VIN|POM|CV)_?\w*) (\d+)(?:mW)?/\d+", text):
        readings[f"{name.lower()}_mw"] = float(value)
    if (ram := re.search(r"RAM (\d+)/(\d+)MB", text)) is not None:
        readings["ram_bytes"], readings["ram_total_bytes"] = 2.0**20 * int(ram[1]), 2.0**20 * int(ram[2])
    return readings
