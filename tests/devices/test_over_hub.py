"""Hosted phones, end to end against a double of qai-hub's client: no account was used, and none is needed here."""

import importlib
import inspect
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.doubles import artifacts, qai_hub_double
from vitdeploy.api import device_add, device_details, doctor, report
from vitdeploy.api.device_add import AddRequest
from vitdeploy.benchmarks import bench
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.devices import device_facts, inventory
from vitdeploy.errors import DeviceError, Impossible, UsageError
from vitdeploy.inference import client
from vitdeploy.results import comparison, record
from vitdeploy.results.record import Run

LEAF = "vitdeploy.devices.over_hub"


@pytest.fixture(autouse=True)
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The double in the package's place, with nothing planted."""
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert (extra tflite) is not installed")
    for kept in (qai_hub_double.FAULTS, qai_hub_double.JOBS, qai_hub_double.UPLOADS):
        kept.clear()
    monkeypatch.setitem(sys.modules, "qai_hub", qai_hub_double)
    monkeypatch.delitem(sys.modules, LEAF, raising=False)
    monkeypatch.setattr(inventory.packages, "require", lambda names: None)
    yield qai_hub_double
    sys.modules.pop(LEAF, None)


def timed(folder: Path, device: str = "hub:snapdragon-8gen1", *, trials: int = 1, **changes: Any) -> Run:
    made = artifacts.conv_relu_tflite(folder / "artifact")
    settings = {"boundary": "compute", "threads": 4} | changes
    job = Job(case=artifacts.case_of(made, device=device, **settings), compute="phone", artifact=made)
    protocol = bench.make_protocol(trials=trials, min_time_s=0.05)
    return bench.run([job], device=inventory.find(device), protocol=protocol, out=folder / f"{len(device)}.json")


def test_a_job_gives_samples_and_parity_on_the_real_phone(tmp_path: Path, service: Any, capsys: Any):
    run = timed(tmp_path, trials=3)
    (result,) = run.results
    assert (result.status, bench.exit_code_of(result)) == ("valid", 0)
    (remark,) = [reason for reason in result.reasons if reason.code == "hosted"]
    assert remark.message == "clocks, cores, cooling and other load of a hosted phone are not under our control"
    for trial in result.trials:
        assert (trial.sample_kind, len(trial.samples_ns)) == ("inference", 20)
        assert trial.parity is not None
        assert trial.parity.passed
        assert (trial.load_ns, trial.peak_memory_bytes) == (4_000_000, 9 * 2**20)
        assert trial.facts["job"] == "jdouble1"
    assert run.device.facts["phone"] == "Samsung Galaxy S22 5G"  # a single phone before a family, the newest system
    assert run.device.facts["os"] == "Android 13"
    assert run.device.facts["link"] == "hub"
    assert len(service.UPLOADS) == 1
    (first, *_) = service.JOBS
    assert first["options"].startswith(
        "--compute_unit cpu --tflite_delegates xnnpack --tflite_options number_of_threads=4 "
    )
    assert (first["device"].name, first["device"].os) == ("Samsung Galaxy S22 5G", "13")
    assert capsys.readouterr().out == ""
    path = next(tmp_path.glob("*.json"))
    assert record.load(path) == run


def test_another_output_there_makes_the_row_invalid(tmp_path: Path, service: Any):
    service.FAULTS["scale"] = 1.1
    (result,) = timed(tmp_path).results
    assert result.status == "invalid"
    assert "parity-failed" in [reason.code for reason in result.reasons]


def test_a_hosted_phone_is_never_compared_with_another_device(tmp_path: Path):
    ours = timed(tmp_path)
    other = timed(tmp_path, "hub:samsung-galaxy-s23")
    assert {"device", "phone"} <= set(comparison.differences(ours, other))
    facts = {**ours.device.facts, "link": "adb"}
    own = msgspec.structs.replace(ours, device=msgspec.structs.replace(ours.device, facts=facts))
    assert "link" in comparison.differences(ours, own)  # even by a device file of the same name
    paths = [tmp_path / "hosted.json", tmp_path / "own.json"]
    facts = {**other.device.facts, "link": "adb"}
    record.save(ours, paths[0])
    record.save(msgspec.structs.replace(other, device=msgspec.structs.replace(other.device, facts=facts)), paths[1])
    assert "hub:snapdragon-8gen1" in report.report(paths[:1]).text
    for runs, baseline in ((paths, None), (paths[:1], paths[1])):
        with pytest.raises(Impossible, match="stand in no table with others"):
            report.report(runs, baseline=baseline)


@pytest.mark.parametrize(
    ("fault", "value", "code", "words"),
    [
        ("failed", "out of memory", "toolchain-failed", "jdouble1 failed on hub:snapdragon-8gen1: out of memory"),
        ("summary", {"all_inference_times": []}, "toolchain-failed", "no times of single inferences"),
        ("summary", {"all_inference_times": [10**12]}, "toolchain-failed", "times that are none"),
        ("summary", {"all_inference_times": "fast"}, "toolchain-failed", "no times of single inferences"),
        ("outputs", None, "toolchain-failed", "no outputs, not 1"),
        ("outputs", {"a": [np.zeros(3)]}, "toolchain-failed", "another shape"),
        ("slow", True, "trial-lost", "timed out"),
        ("refused", True, "trial-lost", "does not support TFLite"),
    ],
)
def test_what_goes_wrong_there_has_a_name(tmp_path: Path, service: Any, fault: str, value: Any, code: str, words: str):
    service.FAULTS[fault] = value
    (result,) = timed(tmp_path).results
    assert result.status == "failed"
    assert words in " ".join(reason.message for reason in result.reasons if reason.code == code)


def test_no_account_no_network_and_no_such_phone_are_said(service: Any):
    with pytest.raises(DeviceError, match="it has, among others: snapdragon-8gen1, snapdragon-8gen2, ") as unknown:
        inventory.connect(inventory.find("hub:snapdragon-999"))
    assert unknown.value.exit_code == 7
    service.FAULTS["account"] = True
    with pytest.raises(DeviceError, match=r"client\.ini not found") as refused:
        inventory.connect(inventory.find("hub:snapdragon-8gen1"))
    assert "qai-hub configure" in refused.value.hint
    service.FAULTS.clear()
    service.FAULTS["offline"] = True
    with pytest.raises(DeviceError, match="Could not connect"):
        inventory.connect(inventory.find("hub:snapdragon-8gen1"))
    with pytest.raises(UsageError, match="names no hosted phone"):
        inventory.find("hub:")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"target": "onnx-fp32"}, "does not run on a hosted phone"),
        ({"boundary": "host-to-host"}, "without its copies"),
        ({"streams": 2}, "one inference at a time"),
    ],
)
def test_what_a_hosted_phone_cannot_do_is_exit_4(tmp_path: Path, changes: dict[str, Any], words: str):
    (result,) = timed(tmp_path, **changes).results
    assert words in result.reasons[0].message
    assert bench.exit_code_of(result) == 4


def test_outputs_of_several_inputs_come_back_in_one_job(tmp_path: Path, service: Any):
    made = artifacts.conv_relu_tflite(tmp_path / "artifact")
    (spec,) = made.manifest.inputs
    feeds = [{spec.name: np.full(spec.shape, value, np.float32)} for value in (0.5, 1.0)]
    device = inventory.find("hub:snapdragon-8gen1")
    ran: dict[str, str] = {}
    with inventory.connect(device) as link:
        infer = client.inference_on(
            device, link, device_facts.read_facts(device, link), threads=4, log=tmp_path / "log", on_facts=ran.update
        )
        first, second = infer(made, feeds)
        with pytest.raises(Impossible, match="runs no command"):
            link.run(["ls"], timeout_s=1)
    assert len(service.JOBS) == 1
    assert service.JOBS[0]["profile"] is False
    (name,) = first
    assert not np.array_equal(first[name], second[name])
    assert ran == {"runtime": "AI Hub's TFLite, job jdouble1"}


def test_a_hosted_phone_gets_a_device_file_and_the_doctor_says_what_is_not_controlled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    added = device_add.add(AddRequest(name="hosted", hub="snapdragon-8gen1"))
    device = inventory.find("hosted")
    assert (device.link, device.host, device.threads) == ("hub", "snapdragon-8gen1", inventory.HUB_THREADS)
    assert device.targets == ("tflite-fp32",)
    shown = device_details.device_details("hub:snapdragon-8gen1")
    assert (shown.not_configured, [target.needs for target in shown.targets]) == (
        None,
        ["an account of Qualcomm AI Hub"],
    )
    assert added.device.facts == {"phone": "Samsung Galaxy S22 5G", "soc_model": "snapdragon-8gen1"}
    found = {finding.what: finding.found for finding in doctor.doctor("hosted")}
    assert found["control"].startswith("clocks, cores, cooling")
    with pytest.raises(UsageError, match="names no hosted phone"):
        device_add.add(AddRequest(name="other", hub="Galaxy S21"))


def test_the_double_takes_what_the_real_client_takes():
    real = _real()
    for name in ("get_devices", "upload_model", "submit_inference_job", "set_verbose"):
        theirs = inspect.signature(getattr(real.Client, name)).parameters
        ours = inspect.signature(getattr(qai_hub_double.Client, name)).parameters
        assert set(ours) <= set(theirs), name
    for name in ("wait", "download_output_data", "download_profile"):
        assert callable(getattr(real.InferenceJob, name))
    assert issubclass(real.UserError, real.Error)


def _real() -> Any:
    del sys.modules["qai_hub"]
    try:
        return importlib.import_module("qai_hub")
    except ImportError:
        pytest.skip("qai-hub (extra qai-hub) is not installed")
