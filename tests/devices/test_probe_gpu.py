"""What GPUs show during a trial: a Jetson's files laid out in a folder, lines of tegrastats, a TEST DOUBLE of NVML.

The lines are transcribed from public documents (sources beside them); none was recorded on a board of ours.
"""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.doubles import artifacts
from tests.doubles.tegrastats import IDLE, NANO, ORIN, XAVIER
from tests.doubles.worker_job import job_of
from vitdeploy.benchmarks.trial import worker
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.catalog.spec import Compute
from vitdeploy.devices import device_facts, probe_cpu, probe_jetson, probe_nvml


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
    monkeypatch.setattr(probe_jetson, "_slowed", [0])
    return tmp_path / "sys/class"


def test_a_jetson_shows_clock_power_and_throttling(board: Path):
    assert probe_jetson.clock_hz() == 1_300_500_000
    assert probe_jetson.rails_mw() == {"VDD_GPU_SOC": 2280, "VDD_CPU_CV": 760, "VIN_SYS_5V0": 3000}
    assert probe_jetson.power_mw() == 6040
    assert probe_jetson.throttle_count() == 3
    (board / "hwmon/hwmon5/oc2_event_cnt").write_text("4\n")
    assert probe_jetson.throttle_count() == 6


def cooling(board: Path, states: dict[str, int]) -> None:
    for place, (name, state) in enumerate(states.items()):
        device = board / "thermal" / f"cooling_device{place}"
        device.mkdir(parents=True, exist_ok=True)
        (device / "type").write_text(f"{name}\n")
        (device / "cur_state").write_text(f"{state}\n")


def test_heat_that_slows_a_part_down_counts_and_a_fan_that_turns_does_not(board: Path):
    assert probe_jetson.heat_alerts() is None
    cooling(board, {"pwm-fan": 3, "cpu-throttle-alert": 0, "gpu-throttle-alert": 0})
    assert probe_jetson.heat_alerts() == {"cpu-throttle-alert": False, "gpu-throttle-alert": False}
    assert probe_jetson.throttle_count() == probe_jetson.throttle_count() == 3
    cooling(board, {"pwm-fan": 3, "cpu-throttle-alert": 0, "gpu-throttle-alert": 1})
    assert probe_jetson.throttle_count() == 4
    assert probe_jetson.throttle_count() == 5, "what still lasts is more than what was at the start"


@pytest.mark.parametrize("way", ["over-current", "heat", "neither"])
def test_throttling_during_a_trial_marks_it(board: Path, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Planted: the board is slowed down after the trial began, through the worker's own job and the board's probe."""
    pytest.importorskip("onnxruntime", reason="the toy model runs in ONNX Runtime")
    pytest.importorskip("onnx", reason="the toy model is made with onnx")
    cooling(board, {"gpu-throttle-alert": 0})

    def plant() -> int:  # the first reading is taken after the counters were read
        if way == "over-current":
            (board / "hwmon/hwmon5/oc2_event_cnt").write_text("2\n")
        elif way == "heat":
            cooling(board, {"gpu-throttle-alert": 1})
        return 1_300_500_000

    monkeypatch.setattr(probe_jetson, "clock_hz", plant)
    made = artifacts.conv_relu(tmp_path / "toy")
    found = worker.run_job(worker.TrialJob(**job_of(made, probe="vitdeploy.devices.probe_jetson")))
    assert found["throttled"] == (way != "neither")
    assert ("throttled_after_s" in found["facts"]) == (way != "neither")
    assert {reading["power_mw"] for reading in found["telemetry"]} == {6040}


def test_the_rail_of_the_module_counts_where_there_is_one_and_a_missing_part_is_no_sum(board: Path):
    (board / "hwmon/hwmon4/curr1_input").unlink()
    assert probe_jetson.power_mw() is None
    (board / "hwmon/hwmon3/in2_label").write_text("VDD_IN\n")
    assert probe_jetson.power_mw() == 760


def test_the_parts_of_a_thor_make_up_its_module_and_its_gpu_has_two_clocks(board: Path):
    for number, label in ((1, "VDD_GPU"), (2, "VDD_CPU_SOC_MSS")):
        (board / f"hwmon/hwmon3/in{number}_label").write_text(f"{label}\n")
    assert probe_jetson.power_mw() == 6040
    (board / "devfreq/17000000.gpu/cur_freq").unlink()
    for name, clock in (("gpu-nvd-0", "999000000"), ("gpu-gpc-0", "1575000000")):
        (board / "devfreq" / name).mkdir()
        (board / "devfreq" / name / "cur_freq").write_text(f"{clock}\n")
    assert probe_jetson.clock_hz() == 1_575_000_000


def test_tegrastats_of_several_jetpacks_is_read():
    found = probe_jetson.tegrastats(ORIN)
    assert found["gpu_percent"] == 61
    assert found["gpu_hz"] == 1.3e9
    assert found["gpu_c"] == 45.5
    assert found["tj_c"] == 47.843
    assert found["vdd_gpu_soc_mw"] == 2402
    assert found["ram_bytes"] == 2981 * 2**20
    idle = probe_jetson.tegrastats(IDLE)
    assert (idle["gpu_percent"], idle["gpu_hz"], idle["tj_c"]) == (0, 0, 44.25)
    assert not {"gpu_c", "cv0_c"} & idle.keys(), "a part that is switched off has no temperature"
    nano = probe_jetson.tegrastats(NANO)
    assert (nano["gpu_percent"], nano["gpu_hz"], nano["gpu_c"]) == (98, 611e6, 52.1)
    assert (nano["vdd_in_mw"], nano["vdd_cpu_gpu_cv_mw"]) == (7012, 2510)
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


def test_a_function_that_this_version_lacks_and_a_value_that_is_none_are_none(nvml: Any):
    del nvml.nvmlDeviceGetCurrentClocksThrottleReasons
    nvml.nvmlDeviceGetPowerUsage = lambda gpu: 2**32 - 1
    assert (probe_nvml.throttle_count(), probe_nvml.power_mw()) == (5_000, None)


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
    ("compute", "seen", "probe"),
    [
        ("cpu", {"board": "Orin", "compute_capability": "8.7"}, "probe_cpu"),
        ("cuda", {"board": "Orin", "compute_capability": "8.7"}, "probe_jetson"),
        ("cuda", {"compute_capability": "8.0"}, "probe_nvml"),
    ],
)
def test_who_computes_is_looked_at(compute: Compute, seen: dict[str, Any], probe: str):
    assert device_facts.probe_of(compute, DeviceFacts(seen)).endswith(probe)
