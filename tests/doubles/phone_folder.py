"""The folder of a TEST DOUBLE of a phone: what the files and tools of a Snapdragon 855 would say, as documented."""

import sys
from pathlib import Path

PROPS_855 = {
    "ro.product.manufacturer": "Double",
    "ro.product.model": "Test Double",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.build.version.release": "10",
    "ro.build.fingerprint": "double/double/double:10/TEST/1:user/test-keys",
    "ro.board.platform": "msmnile",
}
PROPS_8GEN1 = {**PROPS_855, "ro.soc.model": "SM8450", "ro.board.platform": "taro", "ro.build.version.release": "13"}
CLOCKS_855_KHZ = (1785600,) * 4 + (2419200,) * 3 + (2841600,)
CLOCKS_8GEN1_KHZ = (1785600,) * 4 + (2496000,) * 3 + (2995200,)

BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  status: 2
  health: 2
  present: true
  level: 87
  scale: 100
  temperature: 291
"""
THERMAL = """IsStatusOverride: false
ThermalEventListeners:
Thermal Status: 0
Cached temperatures:
\tTemperature{mValue=99.0, mType=0, mName=CPU0, mStatus=0}
HAL Ready: true
HAL connection:
\tThermalHAL 2.0 connected: yes
Current temperatures from HAL:
\tTemperature{mValue=36.7, mType=0, mName=CPU0, mStatus=0}
\tTemperature{mValue=38.1, mType=0, mName=CPU7, mStatus=0}
\tTemperature{mValue=88.0, mType=1, mName=GPU0, mStatus=0}
Current cooling devices from HAL:
\tCoolingDevice{mValue=0, mType=2, mName=cpu}
"""

TOOLS = {
    "getprop": 'cat "$VITDEPLOY_TEST_ROOT/props"',
    "dumpsys": 'cat "$VITDEPLOY_TEST_ROOT/dumpsys/$1"',
    "settings": 'cat "$VITDEPLOY_TEST_ROOT/settings/$3"',
    "df": 'if [ -e "$VITDEPLOY_TEST_ROOT/df" ]; then cat "$VITDEPLOY_TEST_ROOT/df"; else exec /bin/df "$@"; fi',
    # The cores of a phone are not here: the mask is written down, and the command run.
    "taskset": 'echo "$1" > "$VITDEPLOY_TEST_ROOT/taskset"; shift; exec "$@"',
}


def make(
    root: Path,
    *,
    props: dict[str, str] | None = None,
    clocks_khz: tuple[int, ...] = CLOCKS_855_KHZ,
    python: str = sys.executable,
) -> Path:
    """Write the folder; ``python`` runs the stand-in of benchmark_model."""
    chosen = PROPS_855 if props is None else props
    make_props(root, chosen)
    write(root / "dumpsys/battery", BATTERY)
    write(root / "dumpsys/thermalservice", THERMAL)
    write(root / "settings/low_power", "0\n")
    for core, khz in enumerate(clocks_khz):
        folder = root / f"sys/devices/system/cpu/cpu{core}/cpufreq"
        write(folder / "cpuinfo_max_freq", f"{khz}\n")
        write(folder / "scaling_max_freq", f"{khz}\n")
        write(folder / "scaling_cur_freq", f"{khz - 100000}\n")
        write(folder / "scaling_governor", "schedutil\n")
    zones = {
        "cpu-0-0-usr": "34100",
        "cpu-1-3-usr": "39500",
        "gpuss-0-usr": "71000",
        "ibat": "-273000",
        "battery": "29100",
    }
    for number, (kind, value) in enumerate(zones.items()):
        write(root / f"sys/class/thermal/thermal_zone{number}/type", f"{kind}\n")
        write(root / f"sys/class/thermal/thermal_zone{number}/temp", f"{value}\n")
    write(root / "sys/devices/soc0/machine", "SM8150\n")
    write(root / "sys/devices/soc0/soc_id", "339\n")
    write(root / "proc/self/cpuset", "/foreground\n")
    write(root / "proc/self/status", f"Name:\tcat\nCpus_allowed_list:\t0-{len(clocks_khz) - 1}\n")
    write(root / "proc/meminfo", "MemTotal:        5832652 kB\nMemFree:          202652 kB\n")
    write(root / "proc/version", "Linux version 4.14.117-perf+ (build@double) (clang) #1 SMP\n")
    for name, script in {**TOOLS, "python3": f'exec {python} "$@"'}.items():
        write(root / "bin" / name, f"#!/bin/sh\n# TEST DOUBLE\n{script}\n").chmod(0o755)
    (root / "data/local/tmp").mkdir(parents=True)
    return root


def make_props(root: Path, props: dict[str, str]) -> None:
    write(root / "props", "".join(f"[{key}]: [{value}]\n" for key, value in props.items()))


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path
