"""Trials by a TEST DOUBLE of trtexec on this machine: long ones are several processes, and its warnings are kept."""

import json
from pathlib import Path

import pytest

from tests.doubles import artifacts
from vitdeploy.benchmarks import bench
from vitdeploy.benchmarks.trial import trtexec_trial
from vitdeploy.benchmarks.trial.request import TrialRequest, TrialSlot
from vitdeploy.errors import ToolchainFailed
from vitdeploy.processes.local import LocalConnection
from vitdeploy.results import record
from vitdeploy.results.record import Trial

TRTEXEC = """#!/bin/sh
echo "&&&& RUNNING TensorRT.trtexec [TensorRT v101400] # $0 $*"
for word in "$@"; do
  case $word in --exportTimes=*) cp {folder}/times.json "${{word#--exportTimes=}}"; echo "$*" >> {folder}/calls;; esac
done
echo "[11/29/2026-20:00:00] [W] * GPU compute time is unstable, with coefficient of variance = 6.31%." >&2
{end}
"""
PASSED = 'echo "&&&& PASSED TensorRT.trtexec [TensorRT v101400]"'


def trial(tmp_path: Path, *, end: str = PASSED, sustained_s: float | None = None) -> Trial:
    rows: list[dict[str, float]] = []
    for number in range(200):
        begin = 3000 + 2.5037 * number
        moments = (begin, begin + 0.2, begin + 0.204, begin + 2.204, begin + 2.208, begin + 2.308)
        names = ("startH2dMs", "endH2dMs", "startComputeMs", "endComputeMs", "startD2hMs", "endD2hMs")
        rows.append({name: float(f"{value:.6g}") for name, value in zip(names, moments, strict=True)})
        rows[-1].update(h2dMs=0.2, computeMs=2.0, d2hMs=0.1, latencyMs=2.3)
    (tmp_path / "times.json").write_text(json.dumps(rows))
    tool = tmp_path / "trtexec"
    tool.write_text(TRTEXEC.format(folder=tmp_path, end=end))
    tool.chmod(0o755)
    artifact = artifacts.plain_file(tmp_path / "a")
    request = TrialRequest(
        slot=TrialSlot(place=0, index=0, order=0, id="x"),
        case=artifacts.case_of(artifact),
        artifact=artifact,
        compute="cuda",
        protocol=bench.make_protocol(sustained_s=sustained_s),
        log=tmp_path / "log",
    )
    taken = trtexec_trial.run_trial(request, LocalConnection(), str(tool))
    assert isinstance(taken, Trial)
    return taken


def test_a_usual_trial_is_one_process_whose_warnings_and_resolution_are_kept(tmp_path: Path):
    taken = trial(tmp_path)
    assert taken.facts["blocks"] == "1"
    assert taken.facts["warnings"] == "* GPU compute time is unstable, with coefficient of variance = 6.31%."
    assert taken.resolution_ns is not None
    assert abs(taken.samples_ns[0] - 2_308_000) <= taken.resolution_ns < 2000
    assert "--duration=1" in (tmp_path / "calls").read_text()


def test_a_long_trial_is_several_processes_that_end_before_their_times_are_coarse(tmp_path: Path):
    taken = trial(tmp_path, sustained_s=60)
    calls = [line.split() for line in (tmp_path / "calls").read_text().splitlines()]
    spans = [{word.partition("=")[0]: word.partition("=")[2] for word in words} for words in calls]
    assert [span["--warmUp"] for span in spans] == ["3000", "200", "200"]
    assert sum(int(span["--duration"]) for span in spans) == 60
    assert all(int(span["--duration"]) <= 33 for span in spans), "2.3 ms are resolved to a thousandth up to 32.8 s"
    assert len(taken.samples_ns) == 3 * 200
    assert taken.facts["blocks"] == "3, a process each"


def test_a_trial_of_old_runs_has_no_resolution_and_loads(tmp_path: Path):
    import msgspec

    stored = msgspec.to_builtins(trial(tmp_path))
    del stored["resolution_ns"]
    assert msgspec.convert(stored, record.Trial).resolution_ns is None


def test_a_trial_that_fails_has_the_words_of_stderr(tmp_path: Path):
    end = 'echo "[11/29/2026-20:00:00] [E] Unknown option: --infStreams 1" >&2; exit 1'
    with pytest.raises(ToolchainFailed, match="Unknown option: --infStreams 1"):
        trial(tmp_path, end=end)
    assert "coefficient of variance" in (tmp_path / "log").read_text()
