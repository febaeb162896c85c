"""The table beside what a user would pick: what is missing is a row, a wrong file is marked, shares are right."""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

if any(importlib.util.find_spec(name) is None for name in ("torch", "onnx", "onnxruntime", "skimage", "sklearn")):
    pytest.skip("torch, ONNX Runtime or the photographs are not installed", allow_module_level=True)

import torch
from torch import nn

from tests.doubles import artifacts
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks.studies import files_by_turns, machine_rates, paired_times, rival_files, rival_proof, rivals
from vitdeploy.benchmarks.studies.machine_rates import Rates, Work
from vitdeploy.benchmarks.studies.paired_times import PairedTimes
from vitdeploy.benchmarks.studies.rival_files import OURS, RIVALS
from vitdeploy.catalog import registry
from vitdeploy.errors import MissingPackage, NoValidMeasurement
from vitdeploy.processes.connection import CommandResult
from vitdeploy.processes.local import LocalConnection

SIZE = (32, 32)


class Timed:
    """A run whose figures are given."""

    def __init__(self, medians_ms: dict[str, float]) -> None:
        self._medians_ms = medians_ms
        self.rows: dict[str, Any] = {}

    def compared(self, first: str, second: str) -> PairedTimes:
        if first not in self._medians_ms:
            raise NoValidMeasurement(f"{first} has no figure", "Make the files again.")
        return paired_times.compare([self._medians_ms[first]] * 3, [self._medians_ms[second]] * 3)

    def peak_bytes(self, name: str) -> int:
        return 2**20


def toy(folder: Path) -> tuple[Artifact, nn.Module]:
    """A file of one convolution, and the module that it is of."""
    artifact = artifacts.conv_relu(folder)
    conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    weight = np.random.Generator(np.random.PCG64(0)).normal(size=(8, 3, 3, 3)).astype(np.float32)
    conv.weight.data = torch.from_numpy(weight)
    return artifact, nn.Sequential(conv, nn.ReLU()).eval()


def test_a_file_is_held_against_the_module_and_a_wrong_one_fails(tmp_path: Path):
    artifact, module = toy(tmp_path / "toy")
    assert rival_proof.prove(module, artifact, None, SIZE).passed
    with torch.no_grad():
        module[0].weight[0, 0, 0, 0] += 0.5  # type: ignore[index, operator]
    refused = rival_proof.prove(module, artifact, None, SIZE)
    assert not refused.passed
    marked = Artifact(artifact.folder, msgspec.structs.replace(artifact.manifest, parity=refused))
    assert rivals._error(marked).endswith(" fails")


def test_the_runtime_of_a_file_is_replaced_and_of_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    jobs: list[dict[str, Any]] = []

    def run(self: Any, argv: Sequence[str], *, stdin: str = "", timeout_s: float) -> CommandResult:
        jobs.append(json.loads(stdin))
        return CommandResult(exit_code=0, stdout="", stderr="")

    monkeypatch.setattr(LocalConnection, "run", run)
    first, second = tmp_path / "first", tmp_path / "second"
    link = rival_proof.RuntimesConnection({first: "rival", second: None}, lock_folder=tmp_path)
    sides = [{"file": str(path), "runtime": "usual"} for path in (first, second, tmp_path / "third")]
    link.run(["python"], stdin=json.dumps({"sides": sides}), timeout_s=1)
    link.run(["python"], stdin=json.dumps(sides[0]), timeout_s=1)
    assert [side["runtime"] for side in jobs[0]["sides"]] == ["rival", "usual", "usual"]
    assert jobs[1]["runtime"] == "rival"


def test_shares_of_the_machines_rates():
    conv = nn.Conv2d(3, 8, 3, padding=1, bias=False)
    work = machine_rates.work_of(conv, (4, 4), macs=3456)
    assert work == Work(macs=3456, layer_bytes=4 * (3 * 16 + 3 * 8 * 9 + 8 * 16))
    products, copies = Rates(macs_per_s=3.456e6, bytes_per_s=3.136e6).shares(work, time_ms=2.0)
    assert products == pytest.approx(0.5)
    assert copies == pytest.approx(work.layer_bytes / 0.002 / 3.136e6)


def test_what_is_not_installed_or_fails_is_a_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    artifact, module = toy(tmp_path / "toy")
    parity = rival_proof.prove(module, artifact, None, SIZE)
    artifact = Artifact(artifact.folder, msgspec.structs.replace(artifact.manifest, parity=parity))

    def ready(name: str, *_: Any) -> Artifact:
        if name == "openvino":
            raise MissingPackage("missing here: openvino", "Install it.")
        if name == "onnx2tf":
            raise RuntimeError("no such operator")
        return artifact

    times = {"torch": 4.0, "onnx": 3.0, OURS: 2.0, machine_rates.PRODUCT: 20.0, machine_rates.COPY: 10.0}
    monkeypatch.setattr(rival_files, "ready", ready)
    monkeypatch.setattr(rivals, "timed", lambda *_, **__: Timed(times))  # pyright: ignore[reportUnknownLambdaType]
    monkeypatch.setattr(rivals, "_work", lambda *_: Work(macs=10**8, layer_bytes=10**7))  # pyright: ignore[reportUnknownLambdaType]
    names = ["torch", "onnx", "openvino", "onnx2tf", "executorch"]
    assert rivals.main(["--models", "efficientvit_b0", "--rivals", *names]) == 0
    lines = capsys.readouterr().out.splitlines()
    (torch_line,) = [line for line in lines if RIVALS["torch"].title in line]
    assert "2.00x" in torch_line
    (ours,) = [line for line in lines if RIVALS[OURS].title in line]
    assert "x " not in ours.partition(RIVALS[OURS].title)[2].partition("%")[0], "ours is not compared with itself"
    for name, words in (("openvino", "not installed"), ("onnx2tf", "failed"), ("executorch", "failed")):
        (line,) = [line for line in lines if f" {RIVALS[name].title} " in line]
        assert words in line
    assert any("GFLOP/s" in line and "GB/s" in line for line in lines)


def test_the_machines_own_files_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(machine_rates, "SIDE", 64)
    monkeypatch.setattr(machine_rates, "COPIED", 4096)
    files = machine_rates.files(tmp_path, registry.find_model("efficientvit_b0"), SIZE)
    link = LocalConnection(lock_folder=tmp_path)
    run = files_by_turns.timed(files, pairs=3, threads=1, min_time_s=0.02, connection=link)
    rates = machine_rates.rates(run)
    assert rates.macs_per_s > 0
    assert rates.bytes_per_s > 0
