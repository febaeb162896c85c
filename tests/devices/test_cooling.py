"""A trial waits until the machine is cool, and not for ever."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.doubles.fakes import FakeClock
from vitdeploy.devices import cooling, probe_cpu
from vitdeploy.errors import DeviceError


@dataclass
class Cooling:
    """A machine that loses a degree with every look."""

    now_c: float | None
    limit_c: float | None
    looks: int = field(default=0)

    def temperature_c(self) -> float | None:
        self.looks += 1
        if self.now_c is not None:
            self.now_c -= 1
        return self.now_c

    def headroom_c(self) -> float | None:
        return None if self.now_c is None or self.limit_c is None else self.limit_c - self.now_c


def waited(machine: Cooling, *, below_c: float | None = None, wait_s: float = 60) -> dict[str, str]:
    clock = FakeClock()
    return cooling.wait_until_cool(
        machine,
        below_c=below_c,
        wait_s=wait_s,
        sleep=lambda seconds: clock.advance(round(seconds * 1e9)),
        clock=lambda: clock.now_ns / 1e9,
    )


def test_a_cool_machine_is_not_waited_for():
    assert waited(Cooling(60, 100)) == {"cooling": "none needed"}


def test_a_hot_machine_is_waited_for():
    machine = Cooling(90, 100)
    assert waited(machine) == {"cooling": "8 s"}
    assert machine.now_c == 85


def test_a_machine_that_stays_hot_is_refused():
    with pytest.raises(DeviceError, match=r"too hot: 68\.0 °C after 60 s") as caught:
        waited(Cooling(99, 70))
    assert caught.value.exit_code == 7


def test_the_device_file_has_the_last_word():
    assert waited(Cooling(60, 100), below_c=55) == {"cooling": "10 s"}
    assert waited(Cooling(50, 51), below_c=55) == {"cooling": "none needed"}


def test_what_is_not_visible_is_said():
    assert waited(Cooling(None, None)) == {"cooling": "not visible"}
    assert waited(Cooling(60, None)) == {"cooling": "not visible"}


def test_the_nearest_limit_of_any_zone_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probe_cpu, "_THERMAL", tmp_path)
    assert probe_cpu.headroom_c() is None
    zones = (
        ("50000", (("active", "40000"), ("passive", "95000"), ("critical", "110000"))),
        ("60000", (("hot", "90000"), ("passive", "-274000"))),
        ("99000", (("active", "40000"),)),
    )
    for number, (now, trips) in enumerate(zones):
        zone = tmp_path / f"thermal_zone{number}"
        zone.mkdir()
        (zone / "temp").write_text(f"{now}\n")
        for place, (kind, limit) in enumerate(trips):
            (zone / f"trip_point_{place}_type").write_text(f"{kind}\n")
            (zone / f"trip_point_{place}_temp").write_text(f"{limit}\n")
    assert probe_cpu.headroom_c() == 30.0


@pytest.mark.parametrize(
    ("zones", "expected"),
    [
        ([("acpitz", 27_800), ("iwlwifi_1", 61_000), ("x86_pkg_temp", 48_000)], 48.0),
        ([("acpitz", 27_800), ("iwlwifi_1", 61_000)], 27.8),
        ([("battery", 38_000), ("nvme", 55_000)], None),
        ([("CPU-therm", 31_500), ("GPU-therm", 34_000), ("PMIC-Die", 100_000), ("AO-therm", 36_000)], 34.0),
        ([("cpu-thermal", 47_800), ("gpu-thermal", -256_000), ("tj-thermal", 48_100)], 48.1),
        ([("cpu-thermal", 4_294_967_295)], None),
        ([("", 48_500)], 48.5),
    ],
)
def test_the_temperature_is_the_processors_not_a_wifi_cards(
    zones: list[tuple[str, int]], expected: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for number, (kind, value) in enumerate(zones):
        zone = tmp_path / f"thermal_zone{number}"
        zone.mkdir()
        (zone / "temp").write_text(f"{value}\n")
        if kind:
            (zone / "type").write_text(f"{kind}\n")
    monkeypatch.setattr(probe_cpu, "_THERMAL", tmp_path)
    assert probe_cpu.temperature_c() == expected
