"""The demo: its commands with and without official weights, and downloads that end in time."""

from pathlib import Path

import pytest

from tests.doubles.hub_double import HubDouble
from vitdeploy.benchmarks import suite
from vitdeploy.benchmarks.studies import demo
from vitdeploy.benchmarks.studies.demo import DemoPicture
from vitdeploy.benchmarks.suite import Entry
from vitdeploy.catalog import checkpoints

SEGMENTATION = "efficientvit_seg_b0_cityscapes"


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The commands that would run; an export writes where its artifact would lie."""
    ran: list[tuple[str, ...]] = []

    def run(*words: str, allowed: object = ()) -> None:
        ran.append(words)
        if words[0] == "export":
            Path(words[words.index("--json") + 1]).write_text('[{"folder": "artifact"}]')

    monkeypatch.setattr(demo, "run", run)
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
    assert [words[0] for words in commands] == ["bench", *["export", "predict"] * 2, "report", "report"]
    assert "--weights" not in commands[0]
    assert all("official" in words for words in commands if words[0] == "export")
    assert commands[-1].count("--prediction") == 2


def test_the_timed_files_have_official_weights_where_all_of_them_are_here(
    commands: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    missing(monkeypatch, {})
    monkeypatch.setattr(demo, "all_are_here", lambda entries: True)
    demo.make(tmp_path, None, 1.0)
    assert commands[0][commands[0].index("--weights") + 1] == "official"


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
    assert [words[1] for words in commands if words[0] == "export"] == [SEGMENTATION]
    assert "--prediction" not in commands[-1]
    assert not [words for words in commands if "--weights" in words]


def test_a_file_is_taken_for_the_segmentation_and_nothing_is_downloaded(
    commands: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setattr(demo, "missing_weights", None)
    demo.make(tmp_path, Path("b0.pt"), 1.0)
    exports = [words for words in commands if words[0] == "export"]
    assert [words[1] for words in exports] == [SEGMENTATION]
    assert exports[0][exports[0].index("--weights") + 1] == "b0.pt"
    assert commands[-1].count("--prediction") == 1


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
