"""The demo: its commands with and without official weights, and downloads that end in time."""

from pathlib import Path

import msgspec
import pytest

from tests.doubles import artifacts, make_run
from tests.doubles.hub_double import HubDouble
from vitdeploy.benchmarks import suite
from vitdeploy.benchmarks.studies import demo, demo_rounds
from vitdeploy.benchmarks.studies.demo import DemoPicture
from vitdeploy.benchmarks.suite import Entry
from vitdeploy.catalog import checkpoints
from vitdeploy.errors import ToolchainFailed
from vitdeploy.reports import report
from vitdeploy.results import record

SEGMENTATION = "efficientvit_seg_b0_cityscapes"

FIRST_ROUND = make_run.run(make_run.row("efficientvit_b1", "onnx-fp32", 7.4, seed=1))


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The commands that would run; an export writes where its artifact would lie."""
    ran: list[tuple[str, ...]] = []

    def run(*words: str, allowed: object = (), one_of_several: bool = False) -> None:
        ran.append(words)
        if words[:2] == ("bench", "--suite"):
            record.save(FIRST_ROUND, Path(words[words.index("--out") + 1]))
        if words[0] == "export" and "--json" in words:
            Path(words[words.index("--json") + 1]).write_text('[{"folder": "artifact"}]')

    monkeypatch.setattr(demo, "run", run)
    monkeypatch.setattr(demo_rounds, "busy_words", lambda: None)
    return ran


def missing(monkeypatch: pytest.MonkeyPatch, reasons: dict[str, str]) -> None:
    monkeypatch.setattr(demo, "missing_weights", lambda wanted, within_s: reasons)


def test_the_suite_has_a_segmentation_and_a_super_resolution():
    names = [picture.name for picture in demo.pictures(suite.find(demo.SUITE).entries)]
    assert names == ["segmentation", "super-resolution"]
    (masks,) = demo.pictures([Entry(model="efficientvit_sam_l0", size=(512, 512))])
    assert masks.options[0] == "--point"


def test_with_weights_the_page_shows_all_pictures(
    commands: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    missing(monkeypatch, {})
    monkeypatch.setattr(demo, "all_are_here", lambda entries: False)
    demo.make(tmp_path, None, 1.0)
    assert [words[0] for words in commands] == [*["export"] * 11, "bench", "predict", "predict", "report", "report"]
    assert len({words for words in commands if words[0] == "export"}) == 11, "the second row of B1 is of the same file"
    of_pictures = [words for words in commands if words[0] == "export" and "--json" in words]
    assert [words for words in commands if "--weights" in words] == of_pictures
    assert all("official" in words for words in of_pictures)
    assert commands[-1].count("--prediction") == 2


def test_the_timed_files_have_official_weights_where_all_of_them_are_here(
    commands: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    missing(monkeypatch, {})
    monkeypatch.setattr(demo, "all_are_here", lambda entries: True)
    demo.make(tmp_path, None, 1.0)
    made = [words for words in commands if words[0] in ("export", "bench")]
    assert len(made) == 12
    assert all(words[words.index("--weights") + 1] == "official" for words in made)


def test_without_weights_one_line_says_why_not_and_the_page_shows_no_picture(
    commands: list[tuple[str, ...]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    missing(monkeypatch, {SEGMENTATION: "no network", "bsrn_x4": "no network"})
    monkeypatch.setattr(demo, "all_are_here", lambda entries: False)
    demo.make(tmp_path, None, 1.0)
    line = f"no official weights of {SEGMENTATION} and bsrn_x4: no network; going on with random ones"
    assert capsys.readouterr().out.splitlines() == [line]
    assert [words[1] for words in commands if words[0] == "export" and "--json" in words] == [SEGMENTATION]
    assert "--prediction" not in commands[-1]
    assert not [words for words in commands if "--weights" in words]


def test_a_file_is_taken_for_the_segmentation_and_nothing_is_downloaded(
    commands: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(demo, "missing_weights", None)
    demo.make(tmp_path, Path("b0.pt"), 1.0)
    exports = [words for words in commands if words[0] == "export" and "--json" in words]
    assert [words[1] for words in exports] == [SEGMENTATION]
    assert exports[0][exports[0].index("--weights") + 1] == "b0.pt"
    assert commands[-1].count("--prediction") == 1


def test_one_export_that_fails_ends_the_demo_when_the_others_are_done(monkeypatch: pytest.MonkeyPatch):
    done: list[str] = []

    def run(word: str, *_: str, one_of_several: bool) -> None:
        if word == "b":
            raise ToolchainFailed("`vitdeploy b` ended with exit code 5", "")
        done.append(word)

    monkeypatch.setattr(demo, "run", run)
    with pytest.raises(ToolchainFailed, match="exit code 5"):
        demo.run_side_by_side([["a"], ["b"], ["c"]])
    assert sorted(done) == ["a", "c"]


def throttled(row: record.Result) -> record.Result:
    """The row as of a machine whose clock was throttled."""
    trials = tuple(msgspec.structs.replace(trial, throttled=True) for trial in row.trials)
    return record.rederive(msgspec.structs.replace(row, trials=trials))


def test_invalid_rows_are_measured_again_with_the_other_targets_of_their_model(tmp_path: Path):
    rows = {}
    for target in ("onnx-fp32", "torch-fp32"):
        for model in ("efficientvit_b1", "efficientvit_l1"):
            made = artifacts.plain_file(tmp_path / "artifacts" / model / target, f"{model} {target}".encode())
            row = make_run.of_file(make_run.row(model, target, 7.4, seed=len(rows)), made.manifest.sha256)
            rows[model, target] = row
    first = rows["efficientvit_b1", "onnx-fp32"]
    streams = make_run.row("efficientvit_b1", "onnx-fp32", 9.0, seed=9, streams=2)
    streams = make_run.of_file(streams, first.artifact_sha256 or "")
    broken = make_run.row("efficientvit_b2", "onnx-fp32", 7.4, seed=6, parity=make_run.FAILED)
    again = throttled(first)
    assert again.status == "invalid"
    measured = [again, *(row for key, row in rows.items() if row is not first), throttled(streams), broken]
    record.save(make_run.run(*measured), tmp_path / "run.json")
    folder = tmp_path / "artifacts/efficientvit_b1"
    assert demo_rounds.second_round(tmp_path / "run.json", tmp_path / "artifacts") == [
        [str(folder / "onnx-fp32"), str(folder / "torch-fp32")],
        [str(folder / "onnx-fp32"), "--streams", "2"],
    ]
    quiet = make_run.run(*rows.values())
    record.save(quiet, tmp_path / "quiet.json")
    assert demo_rounds.second_round(tmp_path / "quiet.json", tmp_path / "artifacts") == []


def test_the_second_round_is_in_the_report(
    commands: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    missing(monkeypatch, {})
    monkeypatch.setattr(demo, "all_are_here", lambda entries: False)
    monkeypatch.setattr(demo_rounds, "second_round", lambda path, folder: [["a", "b"], ["c", "--streams", "2"]])
    demo.make(tmp_path, None, 1.0)
    assert [words[1] for words in commands if words[0] == "bench"] == ["--suite", "a", "c"]
    files = [str(tmp_path / name) for name in ("run.json", "run-2.json", "run-3.json")]
    assert list(commands[-1][1:4]) == files


def test_a_row_that_was_measured_again_replaces_the_invalid_one_and_says_so():
    row = make_run.row("efficientvit_b1", "onnx-fp32", 7.4, seed=1)
    first = make_run.run(throttled(row), make_run.row("efficientvit_l1", "onnx-fp32", 70.0, seed=2), name="first")
    second = make_run.run(row, name="second")
    built = report.build([first, second])
    assert [shown.result.status for shown in built.rows] == ["valid", "valid"]
    assert built.warnings[0].startswith("efficientvit_b1 onnx-fp32 224x224 was invalid in the run first (")
    assert built.warnings[0].endswith("its figure is of the run second.")
    alone = report.build([first])
    assert [shown.result.status for shown in alone.rows].count("invalid") == 1


def test_a_busy_machine_is_told_and_a_quiet_one_is_not():
    said = demo_rounds.words_of(1.13, 2, {"busiest_other": "cc1plus 0.98"})
    assert said is not None
    assert "other work takes 1.1 of 2 cores, most of it cc1plus with 0.98" in said
    assert demo_rounds.words_of(0.05, 2, {}) is None


@pytest.fixture
def segmentation() -> DemoPicture:
    return DemoPicture(model=SEGMENTATION, size="512x1024", name="segmentation", options=())


def serve(hub: HubDouble, content: bytes, **faults: object) -> None:
    (checkpoint,) = checkpoints.checkpoints_of(SEGMENTATION)
    assert checkpoint.hub is not None
    assert checkpoint.revision is not None
    hub.add_to_hub(
        checkpoint.hub, checkpoint.file, content, revision=checkpoint.revision, digest=checkpoint.sha256, **faults
    )


def test_what_is_not_to_be_had_has_its_reason(hub: HubDouble, segmentation: DemoPicture):
    pytest.importorskip("huggingface_hub", reason="the package huggingface_hub (extra hub) is not installed")
    reasons = demo.missing_weights([segmentation], 60.0)
    assert "the server answers 404" in reasons[SEGMENTATION]


def test_a_slow_download_is_ended(hub: HubDouble, segmentation: DemoPicture):
    pytest.importorskip("huggingface_hub", reason="the package huggingface_hub (extra hub) is not installed")
    serve(hub, bytes(2924013), pause_s=0.2)  # half a minute in all
    reasons = demo.missing_weights([segmentation], 4.0)
    assert reasons == {SEGMENTATION: "they did not come within 4 s"}
