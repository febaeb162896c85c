"""GPU facts from recorded outputs and from a Jetson's files laid out in a folder."""

from pathlib import Path

import pytest

from tests.doubles.nvidia_tools import NVPMODEL, RELEASE, SMI
from tests.doubles.tegrastats import ORIN
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.devices import computer_facts, gpu, nvidia_facts


def test_a_server_gpu_is_told_by_nvidia_smi():
    assert nvidia_facts.server_facts(SMI) == {
        "gpu": "NVIDIA A100-SXM4-80GB",
        "gpus": 2,
        "gpu_slice": None,
        "gpu_multiprocessors": None,
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


THOR = "NVIDIA Thor, 11.0, 580.00, 1575, 70.00, Enabled, 12, 51\n"


def laid_out(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    "files",
    [
        {"proc/device-tree/compatible": "nvidia,p4071-0000+p3834-0008\0nvidia,p3834-0008\0nvidia,tegra264\0"},
        {"proc/device-tree/model": "NVIDIA Jetson AGX Thor Developer Kit\0"},
        {"sys/class/dmi/id/product_name": "NVIDIA Jetson AGX Thor Developer Kit\n"},
        {"etc/nv_tegra_release": "# R38 (release), REVISION: 2.0, GCID: 41844464, BOARD: generic, EABI: aarch64\n"},
    ],
)
def test_a_thor_is_a_jetson_by_any_of_its_files(files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    outputs = {"nvidia-smi": THOR, "nvpmodel": "NV Power Mode: 70W\n2\n", "dpkg-query": "38.2.0-20250821174705"}
    monkeypatch.setattr(nvidia_facts, "_output", lambda *command: outputs[command[0]])
    monkeypatch.setattr(nvidia_facts, "_line", lambda *command: "")
    laid_out(tmp_path, {**files, "sys/class/devfreq/gpu-gpc-0/max_freq": "1575000000\n"})
    computing = gpu.Gpu(name="NVIDIA Thor", compute_capability="11.0", multiprocessors=20)
    facts = nvidia_facts.jetson_facts(tmp_path, computing)
    assert (facts["compute_capability"], facts["l4t"], facts["gpu_multiprocessors"]) == ("11.0", "38.2.0", 20)
    assert (facts["power_mode"], facts["power_mode_id"], facts["power_cap"]) == ("70W", 2, "70 W")
    assert (facts["gpu_clock_max_hz"], facts["gpu_percent"]) == (1_575_000_000, 12)
    outputs["nvpmodel"] = "NV Power Mode: MAXN\n0\n"
    highest = nvidia_facts.jetson_facts(tmp_path, computing)
    assert DeviceFacts(highest).differing(DeviceFacts(facts)) == ["power_mode", "power_mode_id"]


def test_a_server_is_no_jetson(tmp_path: Path):
    root = laid_out(tmp_path, {"sys/class/dmi/id/product_name": "PowerEdge XE8545\n"})
    assert nvidia_facts.jetson_facts(root) == {}


def test_the_mode_that_nvpmodel_printed_is_kept_where_it_fails_afterwards(tmp_path: Path):
    tool = tmp_path / "nvpmodel"
    tool.write_text(
        "#!/bin/sh\necho 'NV Fan Mode:quiet'\necho 'NV Power Mode: MODE_15W_DESKTOP'\necho 7\n"
        "echo 'NVPM ERROR: Error opening /sys/kernel/nvpmodel_emc_cap/emc_iso_cap: 13'\nexit 244\n"
    )
    tool.chmod(0o755)
    text = nvidia_facts._output(str(tool), "-q")
    assert (nvidia_facts.power_mode(text), nvidia_facts.power_mode_id(text)) == ("MODE_15W_DESKTOP", 7)


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("NV Power Mode: MAXN_SUPER\n2\n", "MAXN_SUPER"),
        ("NV Power Mode:\n2\n", "mode 2"),
        ("", None),
        ("error\n", None),
    ],
)
def test_a_power_mode_is_its_name_else_its_number(text: str, mode: str | None):
    assert nvidia_facts.power_mode(text) == mode
