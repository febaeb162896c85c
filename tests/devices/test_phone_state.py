"""What a phone is and how it is: found over a connection, held against its device file, waited for while hot."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.doubles import phone_folder
from tests.doubles.adb_daemon import PhoneDouble
from tests.doubles.fakes import FakeConnection
from vitdeploy.devices import device_facts, inventory, phone_cores, phone_state
from vitdeploy.devices.phone_state import PhoneState
from vitdeploy.errors import DeviceError
from vitdeploy.processes.connection import Connection

COLD = PhoneState(
    clocks_hz={0: 1, 7: 3},
    limits_hz={0: 1_785_600_000, 7: 2_841_600_000},
    temperature_c=35.0,
    thermal_status=0,
    battery_percent=80,
    charging=False,
)


def changed(**changes: Any) -> PhoneState:
    return PhoneState(**{**{name: getattr(COLD, name) for name in PhoneState.__dataclass_fields__}, **changes})


@pytest.fixture
def link(phone: PhoneDouble) -> Connection:
    from vitdeploy.devices.over_adb import AdbConnection

    return AdbConnection("pixel", phone.serial)


def test_an_855_is_known_by_its_platform(link: Connection):
    found = phone_state.phone_facts(link)
    assert (found["soc_model"], found["soc_told_by"]) == ("SM8150", "ro.board.platform")
    assert (found["cores"], found["cores_big"], found["big_mask"]) == ("4+3+1", 4, "f0")
    assert found["clock_max_hz"] == 2_841_600_000
    assert (found["governor"], found["cpuset"], found["power_mode"]) == ("schedutil", "/foreground", "normal")
    assert (found["phone"], found["os"]) == ("Double Test Double", "Android 10")
    assert found["memory_bytes"] == 5832652 * 1024
    assert found["kernel"] == "4.14.117-perf+"
    assert (found["battery_percent"], found["charging"], found["thermal_status"]) == (87, True, 0)
    assert found["temperature_c"] == 39.5  # the hottest CPU zone: neither the GPU's nor the battery's current
    assert not {"battery_percent", "temperature_c", "charging"} & found.stable().keys()


def test_an_8_gen_1_says_its_model_itself(link: Connection, phone: PhoneDouble):
    phone_folder.make_props(phone.root, phone_folder.PROPS_8GEN1)
    assert phone_state.phone_facts(link)["soc_model"] == "SM8450"


def test_the_wrong_phone_is_refused_with_what_was_seen(link: Connection, phone: PhoneDouble):
    device = inventory.load([inventory.SHIPPED]).devices["snapdragon-8gen1"]
    with pytest.raises(DeviceError, match="soc_model 'SM8150', its file says 'SM8450'") as refused:
        device_facts.read_facts(device, link)
    assert "wrong phone: Double Test Double, SM8150 (4+3+1 cores)" in refused.value.message
    assert (
        device_facts.read_facts(inventory.load([inventory.SHIPPED]).devices["snapdragon-855"], link)["cores_big"] == 4
    )


def test_big_cores_that_adb_may_not_use_are_said(link: Connection, phone: PhoneDouble):
    phone_folder.write(phone.root / "proc/self/status", "Cpus_allowed_list:\t0-3,6\n")
    with pytest.raises(DeviceError, match=r"may use the cores \[0, 1, 2, 3, 6\]"):
        phone_state.phone_facts(link)


def test_a_phone_that_hides_its_clocks_is_said(link: Connection, phone: PhoneDouble):
    for path in phone.root.glob("sys/devices/system/cpu/cpu*/cpufreq/cpuinfo_max_freq"):
        path.unlink()
    with pytest.raises(DeviceError, match="does not show the clocks"):
        phone_state.phone_facts(link)


def test_hidden_zones_are_replaced_by_androids_present_readings(link: Connection, phone: PhoneDouble):
    for path in phone.root.glob("sys/class/thermal/*/temp"):
        path.unlink()
    assert phone_state.read_state(link).temperature_c == 38.1  # not the cached 99, not the GPU's 88


def test_a_phone_that_says_nothing_has_no_state(link: Connection, phone: PhoneDouble):
    for tool in ("dumpsys", "settings"):
        (phone.root / "bin" / tool).unlink()
    for path in phone.root.glob("sys/class/thermal/*/temp"):
        path.unlink()
    state = phone_state.read_state(link)
    assert (state.temperature_c, state.thermal_status, state.battery_percent, state.charging) == (None,) * 4


@pytest.mark.parametrize(
    ("props", "files", "expected"),
    [
        ({"ro.soc.model": "SM8550", "ro.board.platform": "kalama"}, {}, ("SM8550", "ro.soc.model")),
        ({"ro.board.platform": "taro"}, {}, ("SM8450", "ro.board.platform")),
        (
            {"ro.board.platform": "sdm845"},
            {"/sys/devices/soc0/machine": "SDM845 v2.1"},
            ("SDM845", "/sys/devices/soc0/machine"),
        ),
        ({}, {"/sys/devices/soc0/soc_id": "457"}, ("SM8450", "/sys/devices/soc0/soc_id")),
        ({"ro.board.platform": "exynos9820"}, {}, ("exynos9820", "ro.board.platform")),
        ({}, {}, (None, None)),
    ],
)
def test_where_a_soc_is_told(props: dict[str, str], files: dict[str, str], expected: tuple[str | None, str | None]):
    assert phone_state.soc_model(props, files) == expected


@pytest.mark.parametrize(
    ("clocks_khz", "big", "mask", "topology"),
    [
        (phone_folder.CLOCKS_855_KHZ, [4, 5, 6, 7], "f0", "4+3+1"),
        (phone_folder.CLOCKS_8GEN1_KHZ, [4, 5, 6, 7], "f0", "4+3+1"),
        ((2000,) * 4, [0, 1, 2, 3], "f", "4"),
        ((3000, 3000, 1000, 1000), [0, 1], "3", "2+2"),
    ],
)
def test_big_cores_come_from_their_clocks(clocks_khz: Sequence[int], big: list[int], mask: str, topology: str):
    limits = dict(enumerate(clocks_khz))
    assert phone_cores.big_cores(limits) == big
    assert phone_cores.core_mask(big) == mask
    assert phone_cores.topology(limits) == topology


def answering(states: list[PhoneState], monkeypatch: pytest.MonkeyPatch) -> tuple[list[float], Callable[[], float]]:
    """Phones that are in these states, one a look; returns the pauses made and a clock that they move."""
    pauses: list[float] = []
    monkeypatch.setattr(phone_state, "read_state", lambda link: states[min(len(pauses), len(states) - 1)])
    return pauses, lambda: float(sum(pauses))


def cooled(states: list[PhoneState], monkeypatch: pytest.MonkeyPatch) -> tuple[PhoneState, list[float]]:
    pauses, clock = answering(states, monkeypatch)
    found = phone_state.wait_until_cool(FakeConnection(), sleep=pauses.append, clock=clock)
    return found, pauses


def test_a_cold_phone_is_not_waited_for(monkeypatch: pytest.MonkeyPatch):
    assert cooled([COLD], monkeypatch) == (COLD, [])


def test_a_hot_phone_is_waited_for(monkeypatch: pytest.MonkeyPatch):
    hot, light = changed(temperature_c=60.0), changed(thermal_status=1)
    assert cooled([hot, hot, light, COLD], monkeypatch) == (COLD, [phone_state.COOL_POLL_S] * 3)


def test_a_phone_that_stays_hot_is_too_hot(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(DeviceError, match=r"too hot: 60.0 °C, thermal status 0, after 300 s"):
        cooled([changed(temperature_c=60.0)], monkeypatch)


def test_an_empty_battery_ends_it_unless_it_charges(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(DeviceError, match="battery is at 0 %"):
        cooled([changed(battery_percent=0)], monkeypatch)
    assert cooled([changed(battery_percent=5, charging=True)], monkeypatch)[1] == []


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        (COLD, False),
        (changed(limits_hz={0: 1_785_600_000, 7: 1_500_000_000}), True),
        (changed(limits_hz={0: 1_000_000_000, 7: 2_841_600_000}), False),
        (changed(limits_hz={}), False),
        (changed(thermal_status=2), True),
        (changed(thermal_status=None), False),
    ],
)
def test_throttling_is_a_lower_limit_of_the_cores_in_use_or_androids_word(after: PhoneState, expected: bool):
    assert phone_state.throttled(COLD, after, (7,)) is expected


def test_the_shipped_phones_are_not_configured_and_say_so(tmp_path: Path):
    for name in ("snapdragon-855", "snapdragon-8gen1"):
        device = inventory.load([inventory.SHIPPED]).devices[name]
        assert device.targets == ("tflite-fp32",)
        assert "names no benchmark_model" in (inventory.unreachable(device) or "")
