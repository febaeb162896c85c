"""What GPUs show during a trial: a Jetson's files laid out in a folder, lines of tegrastats, a TEST DOUBLE of NVML.

The lines are transcribed from public documents (sources beside them); none was recorded on a board of ours.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from vitdeploy.benchmarks import machine, probe_cpu, probe_jetson, probe_nvml

ORIN = (
    "11-28-2022 14:03:28 RAM 2981/30588MB (lfb 6x4MB) SWAP 0/15294MB (cached 0MB) CPU [0%@729,0%@729,off,off] "
    "EMC_FREQ 0%@2133 GR3D_FREQ 61%@[1300] VIC_FREQ 729 APE 174 CV0@-256C CPU@47.843C SOC2@44.5C GPU@45.5C "
    "tj@47.843C VDD_GPU_SOC 2402mW/2402mW VDD_CPU_CV 800mW/800mW VIN_SYS_5V0 3208mW/3208mW"
)
"""The format of docs.nvidia.com/jetson/archives/r35 to r36, "tegrastats utility", AGX Orin; values made up."""
XAVIER = "RAM 1353/15817MB (lfb 3466x4MB) CPU [0%@1190,0%@1190] GR3D_FREQ 0% GPU@34C GPU 0/0 CPU 0/0 SOC 933/933"
"""The format of JetPack 4."""


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in {
        "devfreq/17000000.gpu/cur_freq": "1300500000",
        "hwmon/hwmon3/in1_label": "VDD_GPU_SOC",
        "hwmon/hwmon3/in1_input": "19000",
        "hwmon/hwmon3/curr1_input": "120",
        "hwmon/hwmon3/in2_label": "VDD_CPU_CV",
        "hwmon/hwmon3/in2_input": "19000",
        "hwmon/hwmon3/curr2_input": "40",
        "hwmon/hwmon4/in1_label": "VIN_SYS_5V0",
        "hwmon/hwmon4/in1_input": "5000",
        "hwmon/hwmon4/curr1_input": "600",
        "hwmon/hwmon5/oc1_event_cnt": "2",
        "hwmon/hwmon5/oc2_event_cnt": "1",
    }.items():
        file = tmp_path / "sys/class" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n")
    monkeypatch.setattr(probe_jetson, "ROOT", tmp_path)
    monkeypatch.setattr(probe_cpu, "throttle_count", lambda: None)
    return tmp_path / "sys/class"


def test_a_jetson_shows_clock_power_and_throttling(board: Path):
    assert probe_jetson.clock_hz() == 1_300_500_000
    assert probe_jetson.rails_mw() == {"VDD_GPU_SOC": 2280, "VDD_CPU_CV": 760, "VIN_SYS_5V0": 3000}
    assert probe_jetson.power_mw() == 6040
    assert probe_jetson.throttle_count() == 3
    (board / "hwmon/hwmon5/oc2_event_cnt").write_text("4\n")
    assert probe_jetson.throttle_count() == 6


def test_the_rail_of_the_module_counts_where_there_is_one_and_a_missing_part_is_no_sum(board: Path):
    (board / "hwmon/hwmon4/curr1_input").unlink()
    assert probe_jetson.power_mw() is None
    (board / "hwmon/hwmon3/in2_label").write_text("VDD_IN\n")
    assert probe_jetson.power_mw() == 760


def test_tegrastats_of_several_jetpacks_is_read():
    found = probe_jetson.tegrastats(ORIN)
    assert found["gpu_percent"] == 61
    assert found["gpu_hz"] == 1.3e9
    assert found["gpu_c"] == 45.5
    assert found["tj_c"] == 47.843
    assert found["vdd_gpu_soc_mw"] == 2402
    assert found["ram_bytes"] == 2981 * 2**20
    old = probe_jetson.tegrastats(XAVIER)
    assert (old["gpu_percent"], old["gpu_c"], "gpu_hz" in old) == (0, 34, False)
    assert probe_jetson.tegrastats("") == {}


class Unsupported(Exception):
    pass


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A double of ``pynvml`` with one GPU."""

    def refused(*given: Any) -> Any:
        raise Unsupported

    double = SimpleNamespace(
        NVMLError=Unsupported,
        nvmlDeviceGetClockInfo=lambda gpu, kind: 1410,
        nvmlDeviceGetTemperature=lambda gpu, sensor: 61,
        nvmlDeviceGetTemperatureThreshold=lambda gpu, kind: 89,
        nvmlDeviceGetPowerUsage=lambda gpu: 250_123,
        nvmlDeviceGetViolationStatus=lambda gpu, policy: SimpleNamespace(violationTime=5_000),
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda gpu: 0x4,
        nvmlDeviceGetComputeRunningProcesses=lambda gpu: [SimpleNamespace(pid=1)],
        refused=refused,
    )
    monkeypatch.setattr(probe_nvml, "_gpu", lambda: (double, "gpu"))
    monkeypatch.setattr(probe_nvml, "_slowed", [0])
    return double


def test_a_gpu_shows_clock_heat_power_and_others(nvml: Any):
    assert (probe_nvml.clock_hz(), probe_nvml.temperature_c()) == (1_410_000_000, 61.0)
    assert (probe_nvml.headroom_c(), probe_nvml.power_mw(), probe_nvml.others()) == (28.0, 250_123, 1)


def test_a_power_cap_is_no_throttling_and_heat_is(nvml: Any):
    assert probe_nvml.throttle_count() == probe_nvml.throttle_count() == 5_000
    nvml.nvmlDeviceGetCurrentClocksThrottleReasons = lambda gpu: 0x40
    assert probe_nvml.throttle_count() == 5_001
    nvml.nvmlDeviceGetViolationStatus = lambda gpu, policy: SimpleNamespace(violationTime=9_000)
    assert (probe_nvml.throttle_count() or 0) > 9_000


def test_what_a_gpu_does_not_support_is_none(nvml: Any):
    for name in [name for name in vars(nvml) if name.startswith("nvmlDevice")]:
        setattr(nvml, name, nvml.refused)
    asked = (probe_nvml.clock_hz, probe_nvml.temperature_c, probe_nvml.headroom_c, probe_nvml.power_mw)
    assert [ask() for ask in (*asked, probe_nvml.throttle_count, probe_nvml.others)] == [None] * 6


def test_a_machine_without_nvml_shows_nothing(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probe_nvml, "_gpu", lambda: None)
    assert probe_nvml.throttle_count() is None


def test_the_constants_are_those_of_the_package():
    pynvml: Any = pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    assert probe_nvml.THERMAL == pynvml.NVML_PERF_POLICY_THERMAL
    assert probe_nvml.SM_CLOCK == pynvml.NVML_CLOCK_SM
    assert probe_nvml.SLOWDOWN == pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN
    bits = ("HwSlowdown", "SwThermalSlowdown", "HwThermalSlowdown", "HwPowerBrakeSlowdown")
    assert sum(getattr(pynvml, f"nvmlClocksThrottleReason{name}") for name in bits) == probe_nvml.SLOWING


@pytest.mark.parametrize(
    ("memory", "seen", "probe"),
    [
        ("pageable", {"board": "Orin", "compute_capability": "8.7"}, "probe_cpu"),
        ("pinned", {"board": "Orin", "compute_capability": "8.7"}, "probe_jetson"),
        ("pinned", {"compute_capability": "8.0"}, "probe_nvml"),
    ],
)
def test_who_computes_is_looked_at(memory: str, seen: dict[str, Any], probe: str):
    case: Any = SimpleNamespace(memory=memory)
    assert machine.probe_of(case, seen).endswith(probe)
