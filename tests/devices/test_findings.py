"""What the doctor says of machines over SSH: a Jetson and one without a GPU, from facts, and a real link."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.doubles import ssh_server
from tests.doubles.ssh_server import SshServer
from vitdeploy.api.doctor import doctor as ask_doctor
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.cli.main import main
from vitdeploy.devices import findings, inventory

ORIN: dict[str, Any] = {
    "python": "3.10.12",
    "cpu": "ARMv8",
    "cores_physical": 12,
    "cores_logical": 12,
    "memory_bytes": 64 * 2**30,
    "disk_free_bytes": 20 * 2**30,
    "os": "Ubuntu 22.04.5 LTS",
    "governor": "schedutil",
    "load_1min": 0.1,
    "packages": {"vitdeploy": "0.1", "numpy": "1.26.4", "tensorrt": "10.3.0"},
    "board": "NVIDIA Jetson AGX Orin Developer Kit",
    "gpu": "Orin integrated GPU",
    "compute_capability": "8.7",
    "l4t": "36.4.0",
    "power_mode": "MAXN",
    "gpu_clock_max_hz": 1_300_500_000,
    "gpu_percent": 0.0,
    "gpu_temperature_c": 45.5,
}
TARGETS = ("onnx-fp32", "trt-fp16")


def told(**changes: Any) -> dict[str, findings.Finding]:
    trtexec = changes.pop("trtexec", "")
    listed = findings.ssh_findings(
        DeviceFacts({**ORIN, **changes}), address="you@board", targets=TARGETS, trtexec=trtexec
    )
    return {finding.what: finding for finding in listed}


def test_a_jetson_is_told_with_its_versions_power_mode_clock_heat_space_and_link():
    found = told()
    assert {what: finding.found for what, finding in found.items()} == {
        "link": "ssh to you@board",
        "python": "3.10.12",
        "cpu": "ARMv8",
        "cores physical": "12",
        "memory": "64.0 GiB",
        "os": "Ubuntu 22.04.5 LTS",
        "frequency governor": "schedutil",
        "load of the last minute": "0.10 on 12 cores",
        "gpu": "NVIDIA Jetson AGX Orin Developer Kit, Orin integrated GPU, capability 8.7",
        "driver": "Linux for Tegra 36.4.0",
        "power mode": "MAXN",
        "gpu clock": "up to 1300 MHz",
        "gpu now": "0 % busy, 46 °C",
        "packages": "numpy 1.26.4",
        "tensorrt": "10.3.0",
        "free space": "20.0 GiB",
    }
    assert not [finding for finding in found.values() if finding.state == "problem"]


@pytest.mark.parametrize(
    ("changes", "what", "state", "words"),
    [
        ({"packages": {"tensorrt": "8.6.2"}}, "tensorrt", "problem", "JetPack 6.1"),
        ({"packages": {}}, "tensorrt", "note", "python3-libnvinfer"),
        ({"packages": {}, "trtexec": "/usr/src/tensorrt/bin/trtexec"}, "tensorrt", "ok", ""),
        ({"gpu_percent": 61.0}, "gpu now", "problem", "Stop other work"),
        ({"gpu_percent": None}, "gpu now", "note", ""),
        ({"disk_free_bytes": 2**20}, "free space", "problem", "Free space"),
        ({"power_mode": None}, "power mode", "note", ""),
        ({"load_1min": 9.0}, "load of the last minute", "problem", "Stop other work"),
    ],
)
def test_what_would_spoil_a_run_there_is_told(changes: dict[str, Any], what: str, state: str, words: str):
    finding = told(**changes)[what]
    assert finding.state == state
    assert words in finding.advice


def test_a_machine_without_a_gpu_or_engines_is_asked_for_neither():
    facts = {key: value for key, value in ORIN.items() if key not in ("compute_capability", "gpu", "board")}
    found = {
        finding.what for finding in findings.ssh_findings(DeviceFacts(facts), address="host", targets=("onnx-fp32",))
    }
    assert not {"gpu", "gpu now", "tensorrt"} & found
    assert {"link", "python", "free space"} <= found


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    if not ssh_server.available():
        pytest.skip("no OpenSSH server and client here")
    (tmp_path / "sshd").mkdir()
    made = SshServer(tmp_path / "sshd")
    monkeypatch.setenv("PATH", made.path)
    yield made
    made.stop()


def test_the_doctor_asks_the_machine_behind_the_link(
    server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    python = tmp_path / "python-of-the-device"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    device = msgspec.structs.replace(
        inventory.find("orin"), host="127.0.0.1", user=server.user, port=server.port, python=str(python), facts={}
    )
    monkeypatch.setattr(inventory, "devices", lambda: {"orin": device})
    found = {finding.what: finding for finding in ask_doctor("orin")}
    assert found["link"].found == f"ssh to {server.user}@127.0.0.1"
    assert found["python"].found == sys.version.split()[0]
    assert found["free space"].found != "not visible"
    assert main(["doctor", "--device", "orin"]) == 0
    assert "ssh to" in capsys.readouterr().out
    server.stop()
    assert main(["doctor", "--device", "orin"]) == 7
    assert "nothing listens" in capsys.readouterr().out


def test_a_device_that_is_not_configured_is_exit_7_with_the_line_to_write(capsys: pytest.CaptureFixture[str]):
    assert main(["doctor", "--device", "orin", "--json", "-"]) == 7
    assert "VITDEPLOY_ORIN_HOST" in capsys.readouterr().out
