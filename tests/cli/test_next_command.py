"""The next command that a verb offers works as it is pasted."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.doubles import make_run
from tests.named_commands import options_of
from vitdeploy.api.attention import AttentionOutcome
from vitdeploy.api.bench import BenchOutcome
from vitdeploy.api.compare import CompareOutcome
from vitdeploy.api.reproduce import ReproduceOutcome
from vitdeploy.benchmarks import reproduce as published_tables
from vitdeploy.cli import bench, cache, compare, console, devices, doctor, listings, studies, sweep
from vitdeploy.cli.console import CommandOutput
from vitdeploy.fleet.api import SweepOutcome
from vitdeploy.results import comparison, record
from vitdeploy.studies import attention_study, reproduction

PATH = Path("run.json")


def run(suite: str | None = None, seed: int = 1) -> record.Run:
    row = make_run.row("efficientvit_sr_x2", "onnx-fp32", 10.0, seed=seed, attention="relu", size=(48, 72))
    made = make_run.run(row, name=f"made-{seed}")
    return msgspec.structs.replace(made, protocol=msgspec.structs.replace(made.protocol, suite=suite))


def reproduced() -> CommandOutput:
    made = run(reproduction.suite_of("sr", quick=True))
    compared = reproduction.reproduce("sr", published_tables.find("sr"), made)
    return studies.reproduce_output(ReproduceOutcome(reproduction=compared, path=PATH, page=PATH))


def studied() -> CommandOutput:
    study = attention_study.study(run(attention_study.SUITE), published_tables.find("attention"))
    return studies.attention_output(AttentionOutcome(study=study, path=PATH, page=PATH))


def compared() -> CommandOutput:
    verdicts = comparison.runs(run(), run(seed=2), max_slowdown=0.02, alpha=0.01)
    return compare.compare_output(CompareOutcome(compared=verdicts, baseline=None, exit_code=0), [PATH, PATH])


OUTPUTS: dict[str, Callable[[], CommandOutput]] = {
    "models": listings.models_command,
    "targets": listings.targets_command,
    "devices": devices.devices_command,
    "suites": listings.suites_command,
    "doctor": lambda: doctor.doctor_command(None),
    "cache ls": cache.cache_ls_command,
    "reproduce, the list": studies.reproduce_command,
    "bench": lambda: bench.bench_output(BenchOutcome(run=run(), path=PATH, exit_code=0)),
    "sweep": lambda: sweep.sweep_output(SweepOutcome(run=run(), path=PATH, exit_code=0, taken=5, found=0, twice=0)),
    "compare": compared,
    "reproduce": reproduced,
    "attention": studied,
}


@pytest.mark.parametrize("verb", OUTPUTS)
def test_it_works_as_it_is_pasted(verb: str, say: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    record.save(run(), PATH)
    words = list(OUTPUTS[verb]().next_command)
    assert words, verb
    code, _, err = say(*words, *_plan_only(words))
    assert code == 0, err


def _plan_only(words: Sequence[str]) -> list[str]:
    """``--dry-run`` where the command works for long."""
    has_plan = words[0] != "cache" and "--dry-run" in options_of(words[0])
    return ["--dry-run"] if has_plan and "--dry-run" not in words else []


def test_it_is_for_who_sits_at_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    output = CommandOutput(document={}, next_command=("report", "a run.json"))
    console.configure(quiet=False, verbose=0)
    console.show(output, None)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    console.show(output, str(tmp_path / "file.json"))
    assert capsys.readouterr().err == "next: vitdeploy report 'a run.json'\n"
    for json, quiet in (("-", False), (None, True)):
        console.configure(quiet=quiet, verbose=0)
        console.show(output, json)
        assert "next:" not in capsys.readouterr().err
    console.configure(quiet=False, verbose=0)
