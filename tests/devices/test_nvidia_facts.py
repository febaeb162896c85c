"""GPU facts from recorded outputs and from a Jetson's files laid out in a folder."""

from pathlib import Path

import pytest

from tests.doubles.nvidia_tools import NVPMODEL, RELEASE, SMI
from tests.doubles.tegrastats import ORIN
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.devices import computer_facts, nvidia_facts


def test_a_server_gpu_is_told_by_nvidia_smi():
    assert nvidia_facts.server_facts(SMI) == {
        "gpu": "NVIDIA A100-SXM4-80GB",
        "gpus": 2,
        "compute_capability": "8.0",
        "driver": "550.54.15",
        "power_mode": "400.00 W limit",
        "gpu_clock_max_hz": 1_410_000_000,
        "persistence_mode": "Enabled",
        "gpu_percent": 3.0,
        "gpu_temperature_c": 41.0,
    }


def test_what_a_gpu_does_not_support_is_none_not_a_guess():
    found = nvidia_facts.server_facts("NVIDIA T1, 7.5, 550, [N/A], [N/A], [N/A], [N/A], [N/A]\n")
    assert (found["gpu_clock_max_hz"], found["power_mode"], found["gpu_percent"]) == (None, None, None)


@pytest.mark.parametrize("text", ["", "No devices were found\n", "a, b\n"])
def test_no_gpu_is_nothing(text: str):
    assert nvidia_facts.server_facts(text) == {}


def test_a_jetson_is_told_by_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, text in {
        "proc/device-tree/compatible": "nvidia,p3737-0000+p3701-0005\0nvidia,p3701-0005\0nvidia,tegra234\0",
        "proc/device-tree/model": "NVIDIA Jetson AGX Orin Developer Kit\0",
        "etc/nv_tegra_release": RELEASE,
        "sys/class/devfreq/17000000.gpu/max_freq": "1300500000\n",
    }.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def said(*command: str) -> str:
        return NVPMODEL if command[0] == "nvpmodel" else ""

    monkeypatch.setattr(nvidia_facts, "_output", said)
    monkeypatch.setattr(nvidia_facts, "_line", lambda *command: ORIN if command[0] == "tegrastats" else "")
    monkeypatch.setattr(nvidia_facts, "ROOT", tmp_path)
    found = computer_facts.read_facts()
    assert (found["gpu_percent"], found["gpu_temperature_c"]) == (61, 45.5)
    assert not {"gpu_percent", "gpu_temperature_c"} & DeviceFacts(found).stable().keys(), "they say how it is now"
    assert found["compute_capability"] == "8.7"
    assert found["board"] == "NVIDIA Jetson AGX Orin Developer Kit"
    assert found["l4t"] == "36.3.0"
    assert found["power_mode"] == "MAXN"
    assert found["gpu_clock_max_hz"] == 1_300_500_000


def test_a_machine_without_a_gpu_says_nothing_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def said(*command: str) -> str:
        del command
        return ""

    monkeypatch.setattr(nvidia_facts, "_output", said)
    monkeypatch.setattr(nvidia_facts, "ROOT", tmp_path)
    assert "compute_capability" not in computer_facts.read_facts()


def test_a_tool_that_prints_until_it_is_stopped_is_stopped_after_a_line(tmp_path: Path):
    tool = tmp_path / "tegrastats"
    tool.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nwhile :; do echo '{ORIN}'; sleep 0.05; done\n")
    tool.chmod(0o755)
    assert nvidia_facts._line(str(tool), "--interval", "100") == f"{ORIN}\n"
    assert not Path("/proc", (tmp_path / "pid").read_text().strip()).exists()
    assert nvidia_facts._line(str(tmp_path / "none")) == ""


def test_a_tool_that_says_nothing_is_stopped_in_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(nvidia_facts, "_LIMIT_S", 0.2)
    assert nvidia_facts._line("sleep", "30") == ""
