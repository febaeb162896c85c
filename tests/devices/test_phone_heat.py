"""A phone's temperature is its CPU's, whoever made the SoC and whatever its zones are called; else none is told."""

from collections.abc import Sequence

import pytest

from vitdeploy.devices import phone_heat

HAL = """Cached temperatures:
\tTemperature{{mValue=99.0, mType=0, mName=cpu0, mStatus=0}}
Current temperatures from HAL:
{}
Current cooling devices from HAL:
\tTemperature{{mValue=98.0, mType=0, mName=cpu0, mStatus=0}}
"""
XIAOMI = [
    ("cpuss-0", 36200),
    ("cpu-2-2-1", 38600),
    ("gpuss-0", 55000),
    ("vbat", 4012),
    ("socd", 77),
    ("battery", 30100),
]
PIXEL = [("BIG", 41000), ("MID", 39000), ("LITTLE", 38000), ("G3D", 47000), ("soc", 92), ("vdroop2", 0), ("TPU", 60000)]
MEDIATEK = [("mtktscpu", 37500), ("mtktspmic", 46200), ("mtktsbattery", 30000), ("mtktsAP", 33000), ("mtktswmt", 44500)]
EXYNOS = [("BIG", 36), ("LITTLE", 35), ("G3D", 55), ("ac", 300), ("battery", 295)]
TENTHS = [("cpu0", 412), ("cpu1", 398), ("battery", 290)]
UNISOC = [("apcpu0-thmzone", 41000), ("ank1-thmzone", 42500), ("gpu-thmzone", 50000), ("chg-thmzone", 61000)]
KIRIN = [("cluster0", 40000), ("cluster1", 43000), ("npu", 60000), ("Battery", 31000)]


def files(zones: Sequence[tuple[str, object]]) -> dict[str, str]:
    places = [f"/sys/class/thermal/thermal_zone{number}" for number in range(len(zones))]
    return {
        f"{place}/{name}": str(value)
        for place, zone in zip(places, zones, strict=True)
        for name, value in zip(("type", "temp"), zone, strict=True)
    }


@pytest.mark.parametrize(
    ("zones", "expected"),
    [
        pytest.param(XIAOMI, 38.6, id="Qualcomm"),
        pytest.param(PIXEL, 41.0, id="Tensor, whose zone soc is the battery's percentage"),
        pytest.param(MEDIATEK, 37.5, id="MediaTek, whose Wi-Fi chip is hotter"),
        pytest.param(EXYNOS, 36.0, id="Exynos, in whole degrees"),
        pytest.param(TENTHS, 41.2, id="tenths of a degree"),
        pytest.param(UNISOC, 42.5, id="Unisoc"),
        pytest.param(KIRIN, 43.0, id="Kirin"),
        pytest.param([("soc", 88), ("cpu-1-0-usr", 36500), ("battery", 31000)], 36.5, id="charge beside a CPU"),
        pytest.param([("soc", 88), ("battery", 31000), ("wlan", 70000)], None, id="no zone of a CPU"),
        pytest.param([("cpu-cooling", 99000), ("cpu-hotplug", 80000)], None, id="cooling devices"),
        pytest.param([("tsens_tz_sensor3", 44000), ("bms", 31000)], 44.0, id="old Qualcomm, the SoC's sensors"),
        pytest.param([("cpu0", 40000), ("cpu0", 45000), ("cpu0", 30000)], 45.0, id="one name, several zones"),
        pytest.param([("cpu0", -273000), ("cpu1", 0)], 0.0, id="a zone that is switched off"),
        pytest.param([("cpu0", "9" * 4400), ("cpu1", "²"), ("cpu2", "nan")], None, id="no numbers"),
    ],
)
def test_the_cpu_is_found_among_zones(zones: Sequence[tuple[str, object]], expected: float | None):
    assert phone_heat.temperature_c(files(zones), "") == expected


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["mValue=NaN, mType=0,", "mValue=41.2, mType=0,", "mValue=88.0, mType=1,"], 41.2),
        (["mValue=31.2, mType=3,"], None),
        (["mValue=1.2.3.4, mType=0,", "mValue=" + "9" * 500 + ", mType=0,"], None),
        (["mValue=3.9E1, mType=0,"], 39.0),
        (["mValue=400.0, mType=0,"], None),
    ],
)
def test_androids_service_is_asked_where_no_zone_is_the_cpus(lines: Sequence[str], expected: float | None):
    service = HAL.format("\n".join(f"\tTemperature{{{line} mName=x, mStatus=0}}" for line in lines))
    assert phone_heat.temperature_c(files([("mtktswmt", 44500)]), service) == expected


def test_a_broken_zone_does_not_hide_one_of_the_same_name():
    zones = [("cpu-0-0", 46000), ("cpu-0-0", 9999999), ("cpu-0-0", 41000)]
    assert phone_heat.temperature_c(files(zones), "") == 46.0
