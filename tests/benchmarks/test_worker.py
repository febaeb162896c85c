"""The worker as a process: one job in, one reply out, whatever the runtime does."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.doubles import artifacts
from tests.doubles.worker_job import job_of
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.errors import ParityFailed, UnreadableFile
from vitdeploy.processes import child_process, child_reply
from vitdeploy.processes.child_reply import ChildError, MissingReply
from vitdeploy.processes.connection import CommandResult
from vitdeploy.results.record import Trial

ROOT = Path(__file__).parents[2]
MODULES = """
import json, sys
from vitdeploy.benchmarks.trial import worker
taken = worker.run_job(worker.TrialJob(**json.load(sys.stdin)))
print(json.dumps([len(taken["samples_ns"]), sorted({name.split(".")[0] for name in sys.modules})]))
"""


def start(job: dict[str, Any], *command: str) -> subprocess.CompletedProcess[str]:
    command = command or ("-m", "vitdeploy.benchmarks.trial.worker")
    return subprocess.run(
        [sys.executable, *command],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )


def reply_to(job: dict[str, Any]) -> tuple[Trial | ChildError | MissingReply, subprocess.CompletedProcess[str]]:
    done = start(job)
    return child_reply.decode(
        CommandResult(exit_code=done.returncode, stdout=done.stdout, stderr=done.stderr), Trial
    ), done


@pytest.fixture
def plain(tmp_path: Path) -> Artifact:
    return artifacts.plain_file(tmp_path / "plain")


@pytest.fixture
def toy(tmp_path: Path) -> Artifact:
    pytest.importorskip("onnx", reason="the toy model is made with onnx")
    pytest.importorskip("onnxruntime", reason="the toy model runs in ONNX Runtime")
    return artifacts.conv_relu(tmp_path / "toy")


@pytest.mark.parametrize(("streams", "boundary"), [(1, "host-to-host"), (2, "host-to-host"), (1, "compute")])
def test_a_trial_is_a_record_with_everything_in_it(toy: Artifact, streams: int, boundary: str):
    trial, done = reply_to(job_of(toy, streams=streams, threads=streams, boundary=boundary))
    assert done.returncode == 0, done.stderr
    assert isinstance(trial, Trial)
    assert trial.id == "run/0/0"
    assert trial.artifact_sha256 == toy.manifest.sha256
    assert len(trial.samples_ns) >= 10
    assert min(trial.samples_ns) > 0
    assert trial.wall_ns >= 50_000_000
    assert trial.load_ns > 0
    assert trial.first_ns > 0
    assert 10 * 2**20 < trial.peak_memory_bytes < 2**30
    assert len(trial.telemetry) == 2
    assert trial.facts["runtime"].startswith("onnxruntime")
    assert trial.facts["threads"] == "1"
    assert {"foreign_cores", "throttle", "inputs"} <= trial.facts.keys()


def test_the_worker_needs_nothing_but_numpy_and_its_runtime(toy: Artifact):
    done = start(job_of(toy), "-c", MODULES)
    count, modules = json.loads(done.stdout)
    assert count >= 10
    assert not {"msgspec", "scipy", "pandas", "PIL", "torch", "onnx", "typer", "rich"} & set(modules)


def test_a_torch_trial_needs_nothing_but_torch_beside(tmp_path: Path):
    pytest.importorskip("torch", reason="the state dict is loaded with torch")
    made = artifacts.state_dict(tmp_path / "torch")
    done = start(job_of(made, runtime="vitdeploy.runtimes.on_torch"), "-c", MODULES)
    assert done.returncode == 0, done.stderr
    _, modules = json.loads(done.stdout)
    assert not {"msgspec", "scipy", "pandas", "PIL", "typer", "rich"} & set(modules)


def test_what_frameworks_print_does_not_reach_the_reply(plain: Artifact):
    _, done = reply_to(job_of(plain, runtime="tests.doubles.fakes", fake={"prints": True, "exit": None}, min_count=10))
    assert "a framework says hello" in done.stderr
    assert "and so does native code" in done.stderr


@pytest.mark.parametrize(
    ("change", "kind", "code", "words"),
    [
        ({"digests": "changed"}, "UnreadableFile", 9, "was changed"),
        ({"runtime": "vitdeploy.runtimes.on_nothing"}, "MissingPackage", 3, "cannot be imported"),
        ({"fake": {"fail_at": 0}}, "ToolchainFailed", 5, "planted failure"),
        ({"fake": {"nan": True}}, "ParityFailed", 6, "NaN"),
    ],
)
def test_each_failure_is_an_error_with_its_exit_code(
    plain: Artifact, change: dict[str, Any], kind: str, code: int, words: str
):
    job = job_of(plain, **{"runtime": "tests.doubles.fakes", **change})
    if change.get("digests"):
        job["digests"] = {job["file"]: "0" * 64}
    reply, done = reply_to(job)
    assert isinstance(reply, ChildError)
    assert (reply.kind, done.returncode) == (kind, code)
    assert words in reply.message
    assert "Traceback" not in done.stderr


def test_a_real_output_of_nan_is_refused(tmp_path: Path):
    pytest.importorskip("onnx", reason="the toy model is made with onnx")
    pytest.importorskip("onnxruntime", reason="the toy model runs in ONNX Runtime")
    reply, _ = reply_to(job_of(artifacts.conv_relu(tmp_path, nan=True)))
    assert isinstance(reply, ChildError)
    assert reply.kind == ParityFailed.__name__


def test_a_missing_file_is_unreadable(tmp_path: Path):
    with pytest.raises(UnreadableFile, match="cannot read"):
        child_process.check_digests({str(tmp_path / "none"): "0" * 64})
