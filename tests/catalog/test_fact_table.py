"""Device facts: our probes tell only what the table describes, and what a run recorded reads and shows as it should."""

from pathlib import Path
from typing import Any

import pytest

from tests.doubles import make_run
from tests.doubles.adb_daemon import PhoneDouble
from tests.doubles.nvidia_tools import NVPMODEL, RELEASE, SMI
from tests.doubles.tegrastats import ORIN
from vitdeploy.catalog import fact_table
from vitdeploy.catalog.fact_table import TABLE, DeviceFacts, Fact, TrialFacts
from vitdeploy.devices import computer_facts, device_facts, gpu, inventory, nvidia_facts, phone_state
from vitdeploy.results import comparison


def seen_on(source: str) -> set[str]:
    return {name for name, fact in TABLE.items() if source in fact.seen_on}


def check(facts: Any, source: str) -> None:
    """What a probe tells is what the table says is seen there, each fact of its type."""
    assert facts.keys() == seen_on(source)
    wrong = {name: facts[name] for name in facts if facts[name] is not None and not TABLE[name].holds(facts[name])}
    assert not wrong


@pytest.fixture
def jetson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in {
        "proc/device-tree/compatible": "nvidia,p3737-0000+p3701-0005\0nvidia,tegra234\0",
        "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
        "etc/nv_tegra_release": RELEASE,
        "sys/class/devfreq/17000000.gpu/max_freq": "1300500000\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(nvidia_facts, "_output", lambda *command: NVPMODEL if command[0] == "nvpmodel" else "")
    monkeypatch.setattr(nvidia_facts, "_line", lambda *command: ORIN if command[0] == "tegrastats" else "")
    return tmp_path


def test_this_computer_tells_what_the_table_describes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nvidia_facts, "gpu_facts", dict)
    check(computer_facts.read_facts(), "computer")


def test_a_phone_tells_what_the_table_describes(phone: PhoneDouble):
    from vitdeploy.devices.over_adb import AdbConnection

    check(phone_state.phone_facts(AdbConnection("pixel", phone.serial)), "phone")


def test_nvidia_gpus_tell_what_the_table_describes(jetson: Path):
    check(nvidia_facts.jetson_facts(jetson), "jetson")
    check(nvidia_facts.server_facts(SMI), "nvidia-smi")
    check(nvidia_facts.driver_facts(gpu.Gpu(name="NVIDIA A100", compute_capability="8.0")), "driver")


def test_device_file_and_held_lock_tell_what_the_table_describes():
    local = inventory.find("local")
    check(device_facts.stable_facts(local, DeviceFacts({})), "file")
    assert seen_on("link") == {"clocks_held"}


def test_every_fact_of_the_table_is_seen_somewhere_and_its_unit_is_that_of_its_name():
    for name, fact in TABLE.items():
        assert fact.seen_on, name
        assert name == fact.name
        units = [unit for end, unit in (("_bytes", "bytes"), ("_hz", "Hz"), ("_c", "°C"), ("_percent", "%"))
                 if name.endswith(end)]  # fmt: skip
        assert fact.unit == "".join(units), name
    labels = [fact.label for fact in TABLE.values() if fact.label]
    assert len(set(labels)) == len(labels)


def test_device_files_expect_facts_that_the_table_describes():
    for device in inventory.load([inventory.SHIPPED]).devices.values():
        assert all(TABLE[name].holds(expected) for name, expected in device.facts.items()), device.name


def test_a_view_reads_only_values_of_the_right_type():
    facts = DeviceFacts({"cpu": "A", "memory_bytes": "much", "cores_physical": True, "load_1min": 1, "charging": False})
    assert (facts.cpu, facts.memory_bytes, facts.cores_physical, facts.load_1min) == ("A", None, None, 1)
    assert facts.charging is False
    assert facts.governor is None
    with pytest.raises(AttributeError):
        facts.cpu = "B"  # type: ignore[misc]


def test_a_trial_tells_numbers_as_text():
    told = TrialFacts({"foreign_cores": "0.25", "foreign_gpu_processes": "3", "throttled_after_s": "not visible"})
    assert (told.foreign_cores, told.foreign_gpu_processes, told.throttled_after_s) == (0.25, 3, None)
    assert TrialFacts({"foreign_cores": "nan"}).foreign_cores is None


@pytest.mark.parametrize(
    ("fact", "value", "text"),
    [
        (DeviceFacts.memory_bytes, 3 * 2**29, "1.5 GiB"),
        (DeviceFacts.clock_max_hz, 2_596_132_000, "2.60 GHz"),
        (DeviceFacts.temperature_c, 45.5, "46 °C"),
        (DeviceFacts.packages, {"numpy": "2.0", "torch": "2.4"}, "numpy 2.0, torch 2.4"),
        (DeviceFacts.governor, None, "not visible"),
        (DeviceFacts.memory_bytes, "much", "much"),
        (DeviceFacts.cores_big, 4, "4"),
    ],
)
def test_a_fact_is_shown_with_its_unit(fact: Fact[Any], value: Any, text: str):
    assert fact.shown(value) == text


def test_unknown_facts_of_a_stored_run_are_shown_as_plain_text_and_decide():
    run = make_run.run(facts={"cpu": "A", "fan_hz": 1200, "orin-1 cpu": None})
    known = DeviceFacts(run.device.facts)
    assert list(known.listed()) == [
        ("device", "this machine"), ("processor", "A"), ("fan hz", "1200"), ("orin-1 cpu", "not visible")
    ]  # fmt: skip
    other = make_run.run(facts={"cpu": "A", "fan_hz": 1300, "orin-1 cpu": None})
    assert comparison.differences(run, other) == ["fan_hz"]


def test_identity_decides_whether_runs_compare_and_state_and_our_own_version_do_not():
    facts = {"cpu": "A", "packages": {"numpy": "2.0", "vitdeploy": "1"}}
    run = make_run.run(facts=facts)
    assert comparison.differences(run, make_run.run(facts={**facts, "governor": "powersave"})) == ["governor"]
    assert comparison.differences(run, make_run.run(facts={**facts, "load_1min": 3.0})) == []
    assert comparison.differences(run, make_run.run(facts={**facts, "packages": {"numpy": "2.0"}})) == []
    assert comparison.differences(run, make_run.run(facts={**facts, "packages": {"numpy": "2.1"}})) == ["packages"]


@pytest.mark.parametrize(
    ("name", "before", "after", "same"),
    [
        ("memory_bytes", 16_537_169_920, 16_537_174_016, True),  # after a suspend
        ("memory_bytes", 16 * 2**30, 16 * 2**30 - 52 * 2**20, True),  # another kernel
        ("memory_bytes", 16 * 2**30, 12 * 2**30, False),
        ("memory_bytes", 16 * 2**30, None, False),
        ("clock_max_hz", 3_500_000_000, 3_501_000_000, True),
        ("clock_max_hz", 3_500_000_000, 3_219_000_000, False),
        ("kernel", "5.15.0-91-generic", "5.15.0-97-generic", True),
        ("kernel", "5.15.0-91-generic", "6.8.0-45-generic", False),
        ("kernel", "5.15.0-91-generic", "5.15.0-91-lowlatency", False),
        ("kernel", "5.15.148-tegra", "5.15.148-rt-tegra", False),
        ("kernel", "5.10.149-android12-9-gabc1234def01", "5.10.157-android12-9-g0123456789ab", True),
        ("os", "Ubuntu 22.04.3 LTS", "Ubuntu 22.04.5 LTS", True),
        ("os", "Ubuntu 22.04.3 LTS", "Ubuntu 24.04.1 LTS", False),
        ("python", "3.11.7", "3.11.9", True),
        ("python", "3.11.7", "3.12.1", False),
        ("title", "a board", "the board on the left", True),
        ("throttle", "counted", "not visible", True),
        ("gpus", 1, 2, True),
        ("clocks_held", "not held: sudo: a password is required", "not held: timed out", True),
        ("clocks_held", "at their highest", "not held: timed out", False),
        ("gpu_slice", None, "1g.5gb", False),
        ("gpu_slice", "7g.40gb", "1g.5gb", False),
        ("gpu_multiprocessors", 98, 14, False),
        ("gpu_multiprocessors", None, 14, True),  # runs of before it was recorded
        ("driver", "550.54.15", "550.90.07", False),
        ("turbo", "on", "off", False),
        ("fan_hz", 1200, 1201, False),
    ],
)
def test_facts_are_exact_only_where_exactness_means_something(name: str, before: Any, after: Any, same: bool):
    first, second = DeviceFacts({name: before}), DeviceFacts({name: after})
    assert (first.differing(second) == []) == (second.differing(first) == []) == same
    assert fact_table.same(f"orin-1 {name}", before, after) == same


def test_what_differs_without_deciding_is_noted_where_a_reader_sees_a_difference():
    first = DeviceFacts({"kernel": "5.15.0-91-generic", "memory_bytes": 16_537_169_920, "cpu": "A"})
    second = DeviceFacts({"kernel": "5.15.0-97-generic", "memory_bytes": 16_537_174_016, "cpu": "A"})
    assert first.noted(second) == ["kernel 5.15.0-91-generic → 5.15.0-97-generic"]
    rows = [make_run.row("efficientvit_b1", "onnx-fp32", 7.4, seed=seed) for seed in (1, 2)]
    base = make_run.run(rows[0], name="base", facts=dict(first))
    head = make_run.run(rows[1], name="head", facts=dict(second))
    notes = comparison.runs(base, head, max_slowdown=0.02, alpha=0.01).notes
    assert any("kernel 5.15.0-91-generic → 5.15.0-97-generic" in note for note in notes)


def test_a_whole_gpu_is_listed_as_one_and_what_only_adds_is_not_listed_where_it_is_not_known():
    facts = DeviceFacts({"gpu": "A100", "gpu_slice": None, "gpu_multiprocessors": None, "power_cap": None})
    assert dict(facts.listed()) == {"gpu": "A100", "GPU slice": "none, a whole GPU"}


def test_the_state_is_what_it_was_in_lists_by_hand():
    """A fact that changes its kind changes which stored runs compare."""
    assert {name for name, fact in TABLE.items() if fact.kind == "state"} == {
        *("load_1min", "clock_hz", "temperature_c", "memory_free_bytes", "disk_free_bytes", "gpu_percent"),
        *("gpu_temperature_c", "battery_percent", "charging", "thermal_status"),
    }
    assert fact_table.NOT_VISIBLE == "not visible", "stored runs say so of their throttling"
