"""Facts of the machine and its state: what is not visible is None, and foreign work is seen."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.devices import computer_facts, probe_cpu

ROOT = Path(__file__).parents[2]


def test_the_facts_are_json_and_name_what_decides_a_figure():
    done = subprocess.run(
        [sys.executable, "-m", "vitdeploy.devices.computer_facts"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    found = json.loads(done.stdout)["reply"]
    assert found.keys() == computer_facts.read_facts().keys()
    assert {"cpu", "cores_physical", "memory_bytes", "governor", "kernel", "os", "python", "packages"} <= found.keys()
    assert found["packages"]["numpy"]


def test_the_state_of_the_moment_is_not_what_the_machine_is():
    stable = DeviceFacts(computer_facts.read_facts()).stable()
    assert not {"load_1min", "clock_hz", "temperature_c", "memory_free_bytes", "disk_free_bytes"} & stable.keys()
    assert stable == DeviceFacts(computer_facts.read_facts()).stable()


def test_cores_are_those_this_process_may_use():
    assert 1 <= computer_facts.cores_physical() <= computer_facts.cores_logical() <= (os.cpu_count() or 1)
    if computer_facts.cores_logical() > 1:
        code = (
            "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
            "from vitdeploy.devices import computer_facts; print(computer_facts.cores_physical())"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
        assert done.stdout.strip() == "1"


@pytest.mark.parametrize("quota", [("max 100000", None), ("150000 100000", 1), ("400000 100000", 4), ("", None)])
def test_a_container_quota_counts(quota: tuple[str, int | None], monkeypatch: pytest.MonkeyPatch):
    text, cores = quota
    monkeypatch.setattr(computer_facts, "text_of", lambda path: text if path.name == "cpu.max" else "")
    assert computer_facts._quota_cores() == cores


@pytest.mark.parametrize(
    ("cores", "name"),
    [
        ([("0x41", "0xd42")] * 2, "Arm Cortex-A78AE"),
        ([("0x51", "0x805"), ("0x51", "0x804")], "Qualcomm Kryo 4xx Silver, Qualcomm Kryo 4xx Gold"),
        ([("0x41", "0xfff")], "Arm processor 0x41:0xfff"),
    ],
    ids=["a Jetson Orin's", "two kinds", "unknown"],
)
def test_an_arm_processor_has_a_name(cores: list[tuple[str, str]], name: str, monkeypatch: pytest.MonkeyPatch):
    """Its ``/proc/cpuinfo`` has numbers only, as that of every Jetson."""
    text = "\n".join(
        f"processor\t: {core}\nCPU implementer\t: {maker}\nCPU variant\t: 0x0\nCPU part\t: {part}\n"
        for core, (maker, part) in enumerate(cores)
    )
    monkeypatch.setattr(computer_facts, "text_of", lambda path: text if path.name == "cpuinfo" else "")
    assert computer_facts._cpu_name() == name


@pytest.mark.parametrize(
    ("machine", "flags", "cpu"),
    [
        ("x86_64", "fpu fma avx avx2", "avx2"),
        ("AMD64", "fpu fma avx avx2 avx512f avx512bw", "avx512"),
        ("x86_64", "fpu avx", None),
        ("x86_64", "fpu avx2", None),
        ("aarch64", "", "neon"),
        ("arm64", "", "neon"),
        ("riscv64", "", None),
    ],
)
def test_the_vector_instructions_are_those_of_the_flags(
    machine: str, flags: str, cpu: str | None, monkeypatch: pytest.MonkeyPatch
):
    text = f"processor\t: 0\nflags\t\t: {flags}\n\nprocessor\t: 1\nflags\t\t: {flags}\n"
    monkeypatch.setattr(computer_facts.platform, "machine", lambda: machine)
    monkeypatch.setattr(computer_facts, "text_of", lambda path: text if path.name == "cpuinfo" else "")
    assert computer_facts.vector_instructions() == cpu


def test_foreign_work_is_what_is_not_ours():
    second = 1_000_000_000
    assert probe_cpu.foreign_cores(0, 3 * second, 2 * second, second) == 1.0
    assert probe_cpu.foreign_cores(0, second, 2 * second, second) == 0.0
    assert probe_cpu.foreign_cores(None, None, 0, second) is None
    assert probe_cpu.foreign_cores(0, second, 0, second // 10) is None


def test_a_competitor_is_seen():
    if probe_cpu.busy_ns() is None:
        pytest.skip("this machine does not show its CPU time")
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as competitor:
        time.sleep(0.1)
        busy, own, wall = probe_cpu.busy_ns(), time.process_time_ns(), time.perf_counter_ns()
        time.sleep(0.5)
        foreign = probe_cpu.foreign_cores(
            busy, probe_cpu.busy_ns(), time.process_time_ns() - own, time.perf_counter_ns() - wall
        )
        competitor.kill()
    assert foreign is not None
    assert foreign > 0.3


def test_what_is_not_visible_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probe_cpu, "_CPU", tmp_path)
    monkeypatch.setattr(probe_cpu, "_THERMAL", tmp_path)
    assert probe_cpu.throttle_count() is None
    assert probe_cpu.temperature_c() is None


def test_counters_that_exist_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(probe_cpu, "_CPU", tmp_path)
    monkeypatch.setattr(probe_cpu, "_THERMAL", tmp_path)
    for core, (khz, throttled) in enumerate([(2_000_000, 3), (3_000_000, 4)]):
        for name, value in (("cpufreq/scaling_cur_freq", khz), ("thermal_throttle/core_throttle_count", throttled)):
            file = tmp_path / f"cpu{core}" / name
            file.parent.mkdir(parents=True)
            file.write_text(f"{value}\n")
    (tmp_path / "thermal_zone0").mkdir()
    (tmp_path / "thermal_zone0" / "temp").write_text("48500\n")
    assert probe_cpu.clock_hz() == 2_500_000_000
    assert probe_cpu.throttle_count() == 7
    assert probe_cpu.temperature_c() == 48.5


PEAKS = """
import json
from vitdeploy.devices import probe_cpu
peaks = [probe_cpu.peak_memory_bytes()]
ballast = bytearray(64 * 2**20)
peaks.append(probe_cpu.peak_memory_bytes())
del ballast
forgotten = probe_cpu.forget_peak()
peaks.append(probe_cpu.peak_memory_bytes())
print(json.dumps([forgotten, *peaks]))
"""


def test_the_peak_is_that_of_the_process_and_can_be_forgotten_where_the_kernel_lets():
    # A process of its own: the tests before this one have a peak too.
    answer = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True)
    forgotten, before, high, after = json.loads(answer.stdout)
    assert high >= before + 32 * 2**20
    if not forgotten:  # not every sandbox's kernel has /proc/self/clear_refs
        pytest.skip("this kernel does not forget a process's peak")
    assert after < before + 32 * 2**20
