"""A phone's temperature: which thermal zones are the CPU's, in which unit they are, and what Android's service adds.

Zones are named by whoever made the SoC. A zone counts only where its name says CPU: the hottest of all zones is a
charger's or a Wi-Fi chip's as often, and some zones are no temperatures at all (a battery's percentage, a current).
"""

import re
from collections.abc import Mapping, Sequence

_PLAUSIBLE_C = (-20.0, 150.0)
"""Zones outside are no temperatures, or switched off."""

_CPU_ZONE = re.compile(
    r"cpu"  # Qualcomm cpu-0-0-usr and cpuss-1, MediaTek mtktscpu, Exynos CPUCL0, Unisoc apcpu0-thmzone
    r"|^(big|mid|little|lit|prime|gold|silver|ank|prometheus|b?cluster|cl)([-_]?[hlm])?[-_]?[0-9]*"
    r"([-_](usr|thmzone|tz|tzone[0-9]*|thermal))?$"
)
"""Of a zone's type in small letters. Source: kernel trees of Pixel 6 to 8 (BIG, MID, LITTLE), Exynos 2100 and 2200,
Dimensity (mtktscpu), Kirin (cluster0), Unisoc T610 (ank0-thmzone).
"""

_SOC_ZONE = re.compile(r"^(soc[-_](max|thermal|thmzone|dts[0-9])|x86_pkg_temp|tsens_tz_sensor[0-9]+)$")
"""Of the whole SoC, where no zone is the CPU's. A bare ``soc`` is a battery's state of charge."""

_NO_HEAT = re.compile(r"cool|limit|volt|curr|freq|trip|virt|vbat|hotplug")

_THERMAL_CPU_TYPE = 0
"""Source: android.os.Temperature, TYPE_CPU."""

_READING = re.compile(r"mValue=(-?[0-9]{1,6}(?:\.[0-9]{1,9})?(?:E-?[0-9]{1,2})?), mType=(-?[0-9]{1,3})\b")


def temperature_c(files: Mapping[str, str], service: str) -> float | None:
    """The hottest sensor of the CPU; None: the phone shows none.

    Args:
        files: ``thermal_zone*/type`` and ``thermal_zone*/temp``.
        service: what ``dumpsys thermalservice`` says.
    """
    zones = [  # several may have one name
        (files.get(f"{path.removesuffix('/temp')}/type", "").lower(), int(value))
        for path, value in files.items()
        if path.endswith("/temp") and re.fullmatch(r"-?[0-9]{1,7}", value)
    ]
    of_cpu = _hottest_c(zones, _CPU_ZONE)
    if of_cpu is not None:
        return of_cpu
    by_android = _hottest_sensor_c(service)
    return by_android if by_android is not None else _hottest_c(zones, _SOC_ZONE)


def _hottest_c(zones: Sequence[tuple[str, int]], kind: re.Pattern[str]) -> float | None:
    readings = [value for name, value in zones if kind.search(name) and not _NO_HEAT.search(name)]
    # In thousandths of a degree; some old phones have tenths or whole ones. Zones of one kind have one unit.
    largest = max(map(abs, readings), default=0)
    scale = 1000 if largest >= 1000 else 10 if largest >= 150 else 1
    return max((value / scale for value in readings if _is_plausible(value / scale)), default=None)


def _hottest_sensor_c(service: str) -> float | None:
    """The hottest CPU sensor of Android's thermal service, of the present readings and not the cached ones."""
    present = service.partition("Current temperatures from HAL:")[2].partition("Current cooling devices")[0]
    values = [float(value) for value, kind in _READING.findall(present) if int(kind) == _THERMAL_CPU_TYPE]
    return max(filter(_is_plausible, values), default=None)


def _is_plausible(value: float) -> bool:
    return _PLAUSIBLE_C[0] < value < _PLAUSIBLE_C[1]
