"""`compare` and `accept`: exit codes, refusals by field, and a baseline that is what somebody accepted."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.doubles import make_run
from vitdeploy import documents
from vitdeploy.api import cases, compare
from vitdeploy.api.cases import BenchRequest
from vitdeploy.api.compare import CompareRequest
from vitdeploy.cli.main import main
from vitdeploy.errors import NothingToCompare, NoValidMeasurement, UnreadableFile, UsageError
from vitdeploy.results import baselines, calibration, comparison, record
from vitdeploy.results.record import Run

VITDEPLOY = (sys.executable, "-m", "vitdeploy")


def a_run(median_ms: float = 7.4, *, seed: int = 1, name: str = "base", **facts: Any) -> Run:
    found: Mapping[str, Any] = {**make_run.FACTS, **facts}
    return make_run.run(
        make_run.row("efficientvit_b1", "onnx-fp32", median_ms, seed=seed, trials=8, count=100), name=name, facts=found
    )


def written(folder: Path, run: Run) -> Path:
    path = folder / f"{run.id}.json"
    record.save(run, path)
    return path


@pytest.mark.parametrize(
    ("median_ms", "options", "code", "said"),
    [
        (7.4, (), 0, "same"),
        (9.0, (), 10, "slower"),
        (6.0, (), 0, "faster"),
        (7.48, ("--max-slowdown", "1%"), 0, "inconclusive"),
        (7.48, ("--max-slowdown", "1%", "--strict"), 12, "inconclusive"),
        (9.0, ("--max-slowdown", "50%"), 0, "same"),
    ],
)
def test_the_exit_code_is_the_verdict(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], median_ms: float, options: tuple[str, ...], code: int, said: str
):
    base, head = written(tmp_path, a_run()), written(tmp_path, a_run(median_ms, seed=2, name="head"))
    assert main(["compare", str(base), str(head), *options]) == code
    shown = capsys.readouterr().out
    assert f" {said} " in shown
    assert "Historical" in shown


def test_the_machine_form_has_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    base, head = written(tmp_path, a_run()), written(tmp_path, a_run(9.0, seed=2, name="head"))
    assert main(["compare", str(base), str(head), "--json", "-"]) == 10
    found = json.loads(capsys.readouterr().out)
    assert found["exit_code"] == 10
    assert found["comparisons"][0]["verdict"] == "slower"
    assert found["comparisons"][0]["detectable"] > 1.02


def test_other_machines_are_refused_with_the_fields_and_their_values(tmp_path: Path):
    base, head = written(tmp_path, a_run()), written(tmp_path, a_run(name="head", cpu="Another", kernel="9"))
    with pytest.raises(NothingToCompare, match=r"cpu.*'Made-up CPU 9000' → 'Another'.*kernel"):
        compare.compare([base, head], CompareRequest())
    assert main(["compare", str(base), str(head)]) == 11


def test_runs_without_a_common_case_are_nothing_to_compare(tmp_path: Path):
    other = make_run.run(make_run.row("efficientvit_b2", "onnx-fp32", 7.4, seed=3), name="other")
    assert main(["compare", str(written(tmp_path, a_run())), str(written(tmp_path, other))]) == 11


def test_a_calibrated_drift_widens_historical_intervals():
    base, head = a_run(), a_run(7.7, seed=2, name="head")
    plain = comparison.runs(base, head, max_slowdown=0.02, alpha=0.01)
    wide = comparison.runs(base, head, max_slowdown=0.02, alpha=0.01, drift=0.05)
    assert plain.comparisons[0].verdict == "slower"
    assert wide.comparisons[0].verdict == "inconclusive"


def test_a_baseline_is_found_and_says_who_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = tmp_path / "baselines"
    accepted = baselines.accept(written(tmp_path, a_run()), because="first figures of the new machine", root=root)
    assert accepted.path == root / "local" / "demo.json"
    assert accepted.acceptance.artifacts == {"efficientvit_b1 onnx-fp32 224x224": f"{1:064x}"}
    head = written(tmp_path, a_run(9.0, seed=2, name="head"))
    assert main(["compare", str(head), "--baselines", str(root)]) == 10
    assert "first figures of the new machine" in capsys.readouterr().out


def test_without_a_baseline_it_is_11(tmp_path: Path):
    assert main(["compare", str(written(tmp_path, a_run())), "--baselines", str(tmp_path / "none")]) == 11


def test_a_changed_baseline_is_refused(tmp_path: Path):
    accepted = baselines.accept(written(tmp_path, a_run()), because="so", root=tmp_path / "b")
    text = accepted.path.read_text()
    accepted.path.write_text(text.replace('"seed": 0', '"seed": 1', 1))
    assert text != accepted.path.read_text()
    with pytest.raises(UnreadableFile, match=r"not what .* accepted"):
        baselines.find(a_run(), tmp_path / "b")


def test_a_run_without_a_valid_figure_is_no_baseline(tmp_path: Path):
    bad = make_run.run(make_run.row("efficientvit_b2", "onnx-fp32", 19.0, seed=6, parity=make_run.FAILED), name="bad")
    with pytest.raises(NoValidMeasurement, match="parity-failed"):
        baselines.accept(written(tmp_path, bad), because="please", root=tmp_path / "b")
    assert not (tmp_path / "b").exists()


def test_a_baseline_needs_a_reason(tmp_path: Path):
    with pytest.raises(UsageError, match="reason"):
        baselines.accept(written(tmp_path, a_run()), because="  ", root=tmp_path)


@pytest.mark.parametrize("name", ["../../etc", ".hidden", "a/b", ""])
def test_a_strangers_run_cannot_lead_out_of_the_directory(tmp_path: Path, name: str):
    run = a_run()
    (row,) = run.results
    row = msgspec.structs.replace(row, case=msgspec.structs.replace(row.case, device=name))
    hostile = msgspec.structs.replace(run, device=msgspec.structs.replace(run.device, name=name), results=(row,))
    with pytest.raises(UnreadableFile, match="no name of a device"):
        baselines.accept(written(tmp_path, hostile), because="x", root=tmp_path / "b")


def test_an_acceptance_that_fails_leaves_the_earlier_baseline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    baselines.accept(written(tmp_path, a_run()), because="old", root=tmp_path / "b")
    newer = written(tmp_path, a_run(9.0, seed=2, name="newer"))

    def full(path: Path, document: object) -> None:
        raise UnreadableFile(f"cannot write {path}: No space left on device", "Free space.")

    monkeypatch.setattr(documents, "write", full)
    with pytest.raises(UnreadableFile, match="No space"):
        baselines.accept(newer, because="new", root=tmp_path / "b")
    assert baselines.find(a_run(), tmp_path / "b").acceptance.because == "old"


@pytest.mark.parametrize(("renames", "because"), [(0, "old"), (1, "new"), (2, "new")])
def test_a_crash_between_two_renames_leaves_one_whole_baseline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, renames: int, because: str
):
    baselines.accept(written(tmp_path, a_run()), because="old", root=tmp_path / "b")
    newer = written(tmp_path, a_run(9.0, seed=2, name="newer"))
    replace, done = Path.replace, 0

    def crashing(path: Path, target: Path) -> Path:
        nonlocal done
        if path.name.endswith(".next"):
            if done == renames:
                raise KeyboardInterrupt
            done += 1
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", crashing)
    with contextlib.suppress(KeyboardInterrupt):
        baselines.accept(newer, because="new", root=tmp_path / "b")
    monkeypatch.undo()
    assert baselines.find(a_run(), tmp_path / "b").acceptance.because == because
    again = baselines.accept(tmp_path / "base.json", because="third", root=tmp_path / "b")
    assert again.replaced is not None
    assert again.replaced.because == because
    assert baselines.find(a_run(), tmp_path / "b").acceptance.because == "third"


def test_a_duel_is_no_baseline_and_leaves_the_one_that_is_there(tmp_path: Path):
    baselines.accept(written(tmp_path, a_run()), because="good", root=tmp_path / "b")
    dueled = msgspec.structs.replace(
        a_run(name="duel"),
        duel=record.Duel(names=("a", "b"), pairs=3, most_pairs=3, alpha=0.01, max_slowdown=0.02, stopped=None),
    )
    with pytest.raises(UsageError, match="is a duel"):
        baselines.accept(written(tmp_path, dueled), because="x", root=tmp_path / "b")
    assert baselines.find(a_run(), tmp_path / "b").acceptance.because == "good"


def test_accepting_says_what_it_replaced_and_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root = str(tmp_path / "b")
    assert main(["accept", str(written(tmp_path, a_run())), "--because", "first", "--baselines", root]) == 0
    short = make_run.run(make_run.row("efficientvit_b1", "onnx-fp32", 7.4, seed=5, trials=1), name="short")
    assert main(["accept", str(written(tmp_path, short)), "--because", "second", "--baselines", root]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "in the place of run base" in shown
    assert "1 of 5 trials were run" in shown


def test_a_run_is_not_compared_with_itself(tmp_path: Path):
    base = written(tmp_path, a_run())
    with pytest.raises(NothingToCompare, match="compared with itself"):
        compare.compare([base, base], CompareRequest())


def test_machines_of_which_nothing_is_known_are_not_the_same(tmp_path: Path):
    runs = [make_run.run(a_run().results[0], name=name, facts={"governor": None}) for name in ("base", "head")]
    with pytest.raises(NothingToCompare, match="says nothing of its machine"):
        compare.compare([written(tmp_path, run) for run in runs], CompareRequest())


@pytest.mark.parametrize("drift", [-0.5, 1e308, 3.0])
def test_a_calibration_that_cannot_be_true_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drift: float):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    facts = a_run().device.facts
    calibration.save(plain_calibration(facts, drift))
    paths = [written(tmp_path, a_run()), written(tmp_path, a_run(9.0, seed=2, name="head"))]
    with pytest.raises(UnreadableFile, match=r"\$\.drift"):
        compare.compare(paths, CompareRequest())


def plain_calibration(facts: Mapping[str, Any], drift: float) -> calibration.Calibration:
    return calibration.Calibration(
        schema=calibration.SCHEMA,
        device="local",
        facts=facts,
        run_id="calibration",
        case="efficientvit_b1 onnx-fp32 224x224",
        started_utc="2026-01-01T00:00:00+00:00",
        pairs=20,
        run_spread=0.01,
        drift=drift,
        autocorrelation=0.1,
        comparisons=2000,
        alpha=0.01,
        false_alarms=0,
        false_alarm_rate_ci95=(0.0, 0.01),
        false_alarms_any=10,
        false_alarm_any_rate_ci95=(0.0, 0.01),
        max_slowdown=0.02,
        detectable={"6": 1.03},
        recommended_pairs=None,
        recommended_max_slowdown=0.05,
    )


def test_the_error_of_a_duel_can_be_chosen_when_it_is_read(tmp_path: Path):
    rows = [
        msgspec.structs.replace(make_run.row("efficientvit_b1", "onnx-fp32", median_ms, seed=seed, trials=8), side=side)
        for side, seed, median_ms in (("A", 1, 7.4), ("B", 2, 7.5))
    ]
    dueled = msgspec.structs.replace(
        make_run.run(*rows, name="duel"),
        duel=record.Duel(names=("a", "b"), pairs=8, most_pairs=10, alpha=0.008, max_slowdown=0.02, stopped=None),
    )
    path = written(tmp_path, dueled)
    assert compare.compare([path], CompareRequest()).compared.alpha == 0.008
    assert compare.compare([path], CompareRequest(alpha=0.2)).compared.alpha == 0.2
    with pytest.raises(UsageError, match="--alpha"):  # its interval would have no width
        compare.compare([path], CompareRequest(alpha=0.5))


@pytest.mark.parametrize("days", ["-5", "nan", "inf"])
def test_days_that_are_none_remove_nothing(days: str):
    assert main(["cache", "gc", "--older-than", days]) == 2


def test_a_duel_is_not_compared_with_another_run():
    run = a_run()
    dueled = msgspec.structs.replace(
        run,
        duel=record.Duel(names=("a", "b"), pairs=3, most_pairs=3, alpha=0.01, max_slowdown=0.02, stopped=None),
    )
    with pytest.raises(NothingToCompare, match="is a duel"):
        comparison.runs(run, dueled, max_slowdown=0.02, alpha=0.01)


@pytest.mark.parametrize(
    ("name", "attention", "target", "size"),
    [
        ("efficientvit_b0", "relu", "onnx-fp32", (224, 224)),
        ("efficientvit_b0+softmax:torch-fp32", "softmax", "torch-fp32", (224, 224)),
        ("efficientvit_b0:onnx-fp32@160x160", "relu", "onnx-fp32", (160, 160)),
        ("efficientvit_b0@160x192", "relu", "onnx-fp32", (160, 192)),
    ],
)
def test_a_side_is_named_by_model_attention_target_and_size(
    name: str, attention: str, target: str, size: tuple[int, int]
):
    variant = cases.side(name, BenchRequest()).variant
    assert (variant.attention, variant.target, variant.size) == (attention, target, size)


@pytest.mark.parametrize(
    "name", ["efficientvit_b0:onnx-fp99", "nonsense", "efficientvit_b0@wide", "efficientvit_b0+hard"]
)
def test_a_side_that_is_none_is_a_usage_error(name: str):
    with pytest.raises(UsageError):
        cases.side(name, BenchRequest())


def test_the_plan_touches_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert main(["duel", "efficientvit_b0", "efficientvit_b0+softmax", "--dry-run"]) == 0
    assert main(["calibrate", "--dry-run"]) == 0
    assert "side B: efficientvit_b0 softmax onnx-fp32" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_rewrite_switched_off_is_found_slower_and_the_same_file_is_not(tmp_path: Path):
    """Two real exports of one model, the second without its exact upsampling; then the first against itself."""
    command = [*VITDEPLOY, "export", "efficientvit_seg_b0_cityscapes", "--target", "onnx-fp32", "--size", "256x512"]
    exported = {
        name: subprocess.run(
            [*command, *options, "--out", str(tmp_path / name), "--json", "-"],
            check=True,
            capture_output=True,
            text=True,
        )
        for name, options in (("good", ()), ("bad", ("--without", "cubic-as-products")))
    }
    folders = {name: json.loads(done.stdout)[0]["folder"] for name, done in exported.items()}

    def exit_code(a: str, b: str) -> int:
        out = str(tmp_path / f"{a}-{b}.json")
        duel = [*VITDEPLOY, "duel", folders[a], folders[b], "--pairs", "6", "--min-time", "0.5", "--out", out]
        assert subprocess.run(duel, check=False).returncode == 0
        return subprocess.run([*VITDEPLOY, "compare", out], check=False).returncode

    assert exit_code("good", "bad") == 10
    duel = record.load(tmp_path / "good-bad.json").duel
    assert duel is not None
    assert duel.attribution is not None
    assert duel.attribution.operators[0].name == "Resize"
    assert duel.attribution.graph["Resize"] == (0, 2)
    assert exit_code("good", "good") in (0, 11)  # 11: too noisy a machine to be quoted at all
