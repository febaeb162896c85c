"""Every exit code but 0 comes with its two lines on stderr, and Ctrl-C with the command that goes on."""

from pathlib import Path

import pytest

from tests.doubles import make_run
from vitdeploy.api import output_path
from vitdeploy.api.bench import BenchOutcome
from vitdeploy.benchmarks.bench import exit_code_of
from vitdeploy.cli import bench, console, options, outcome_errors
from vitdeploy.cli.console import CommandOutput
from vitdeploy.cli.main import main
from vitdeploy.devices.findings import Finding
from vitdeploy.errors import DeviceError, Interrupted
from vitdeploy.results import record


def saved(folder: Path, name: str, median_ms: float) -> str:
    row = make_run.row("efficientvit_b1", "onnx-fp32", median_ms, seed=len(name), trials=8, count=100)
    path = folder / f"{name}.json"
    record.save(make_run.run(row, name=name), path)
    return str(path)


@pytest.mark.parametrize(("median_ms", "code", "words"), [(9.0, 10, "slower"), (7.45, 12, "inconclusive")])
def test_a_verdict_is_two_lines(
    median_ms: float, code: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    base, head = saved(tmp_path, "base", 7.4), saved(tmp_path, "headed", median_ms)
    assert main(["compare", base, head, "--strict", "--max-slowdown", "1%"]) == code
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith(f"error: 1 of 1 cases: {words}")
    assert hint.startswith("hint: ")


@pytest.mark.parametrize("json", [None, "-"])
def test_rows_that_are_not_valid_are_two_lines(json: str | None, capsys: pytest.CaptureFixture[str]):
    good = make_run.row("efficientvit_b1", "onnx-fp32", 7.4, seed=1, trials=5)
    bad = make_run.failed("efficientvit_b0", "the runtime refuses it", "Export it again.")
    run, code = make_run.run(good, bad), exit_code_of(bad)
    output = bench.bench_output(BenchOutcome(run=run, path=Path("run.json"), exit_code=code))
    assert console.show(output, json) == code
    said = capsys.readouterr().err
    assert said == (
        "error: 1 of 2 rows is not valid: " + bad.case.name + ": the runtime refuses it\nhint: Export it again.\n"
    )
    assert outcome_errors.of_results([good], 0) == []


def test_a_device_that_is_not_there_is_two_lines():
    findings = [Finding("cpu", "x"), Finding("device orin", "cannot reach orin", "problem", "Plug it in.", 7)]
    (error,) = outcome_errors.of_findings(findings, 7)
    assert (type(error), error.message, error.hint) == (DeviceError, "cannot reach orin", "Plug it in.")
    assert outcome_errors.of_findings(findings[:1], 0) == []


def test_ctrl_c_names_the_file_and_the_whole_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def work(resume: bool = False) -> CommandOutput:
        del resume
        with output_path.claimed(None, Path("runs/my run.json")) as out:
            out.write_text("{}")
            raise KeyboardInterrupt

    options.note_arguments(["bench", "efficientvit_b0", "--trials", "3"])
    with pytest.raises(Interrupted) as ended:
        options.verb(work)()
    expected = "vitdeploy bench efficientvit_b0 --trials 3 --out 'runs/my run.json' --resume"
    assert ended.value.hint == f"Go on with `{expected}`."


def test_ctrl_c_before_any_trial_is_the_same_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def work(resume: bool = False) -> CommandOutput:
        del resume
        with output_path.claimed(None, Path("runs/run.json")):
            raise KeyboardInterrupt

    options.note_arguments(["duel", "a b", "c"])
    with pytest.raises(Interrupted) as ended:
        options.verb(work)()
    assert ended.value.hint == "Run it again: `vitdeploy duel 'a b' c`."
