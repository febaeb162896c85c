"""Data sets in parts on many devices: real Dask processes, killed in the middle, and the figures of the whole."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles import eval_sets
from tests.doubles.fleet_lab import Lab, told, wait_until
from vitdeploy.api import evaluate
from vitdeploy.cli.main import main
from vitdeploy.errors import UnreadableFile, UsageError
from vitdeploy.evaluation import reading, record
from vitdeploy.evaluation.request import EvalRequest
from vitdeploy.fleet import plan as planning

pytest.importorskip("distributed", reason="Dask (extra fleet) is not installed")
pytest.importorskip("onnxruntime", reason="the pictures are seen by ONNX Runtime")

SIZE = (64, 128)
PICTURES = 8
EVALS = """title = "Accuracy"
wait_s = {wait_s}
[[evals]]
artifacts = ["seg"]
devices = ["one", "two"]
dataset = "cityscapes"
root = "{root}"
shards = {shards}
reference = {reference}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    made = Lab(tmp_path / "lab")
    eval_sets.nearest_color(made.folder / "seg", "efficientvit_seg_b0_cityscapes", size=SIZE, classes=19)
    pairs = {}
    for place in range(PICTURES):
        truth = eval_sets.block_map(place, SIZE, 19)
        seen = truth.copy()
        seen[:, : 8 * place] = 3  # each picture is wrong in another share
        pairs[f"aachen/p_{place:06d}"] = (seen, truth)
    eval_sets.cityscapes_set(made.folder / "city", pairs)
    yield made
    made.end()


def planned(lab: Lab, *, shards: int = 3, reference: bool = False, wait_s: float = 60) -> Path:
    path = lab.folder / "accuracy.toml"
    words = {"root": lab.folder / "city", "shards": shards, "reference": str(reference).lower(), "wait_s": wait_s}
    path.write_text(EVALS.format(**words))
    return path


def made_by(lab: Lab) -> dict[str, record.Evaluation]:
    """Device → its evaluation."""
    found = [reading.load(path) for path in (lab.folder / "run.evals").glob("*.json")]
    return {one.device.name: one for one in found}


def whole(lab: Lab) -> record.Evaluation:
    """The same by `eval`, in one piece."""
    out = lab.folder / "whole.json"
    order = EvalRequest(dataset="cityscapes", root=lab.folder / "city", out=out, reference=False, threads=1)
    return evaluate.evaluate_artifact([lab.folder / "seg"], order).evaluation


def parts(lab: Lab) -> int:
    return len(list((lab.folder / "run.evals" / "parts").glob("*/*.facts.json")))


@pytest.mark.parametrize(
    ("before", "after", "kind", "words"),
    [
        ('"cityscapes"', '"cityscape"', UsageError, "cityscape"),
        ('["seg"]', '["nothing"]', UnreadableFile, "nothing"),
        ("shards = 3", "shards = 0", UnreadableFile, "shards"),
        ("[[evals]]", "[evals]", UnreadableFile, "evals"),
    ],
)
def test_what_evals_name_must_be_there(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, before: str, after: str, kind: type[Exception], words: str
):
    monkeypatch.chdir(lab.folder)
    path = planned(lab)
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(kind, match=words):
        planning.evaluations(planning.read(path))


@pytest.mark.parametrize("words", [("--dry-run",), ()], ids=["dry run", "run"])
def test_a_folder_that_is_no_data_set_is_said_before_anything_is_timed(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
):
    monkeypatch.chdir(lab.folder)
    path = planned(lab)
    path.write_text(
        path.read_text().replace(f"{lab.folder}/city", "seg") + '[[rows]]\nmodels = ["conv"]\ndevices = ["one"]\n'
    )
    assert main(["sweep", str(path), "--out", "run.json", *words]) == 9
    said = capsys.readouterr().err
    assert "cityscapes on one: seg is no Cityscapes: looked for leftImg8bit/val" in said
    assert not (lab.folder / "run.json").exists()


@pytest.mark.slow
def test_parts_on_two_devices_and_fp32_torch_where_there_is_memory(lab: Lab):
    pytest.importorskip("torch", reason="torch is the reference")
    client = lab.sweep(planned(lab, reference=True), there=False)
    said = told(client)
    assert client.returncode == 0, said
    found = made_by(lab)
    assert set(found) == {"one", "two"}, said
    for one in found.values():
        assert one.figures[0].value == whole_figure(lab)
        assert one.figures[0].drop is not None, "fp32 torch saw the same pictures"
        assert one.threads == 1
        assert one.device.facts["cpu"]
    assert not parts(lab), "what is collected leaves no parts"
    assert sorted(path.suffix for path in (lab.folder / "run.evals").glob("*one*.html")) == [".html"]


def whole_figure(lab: Lab) -> float | None:
    out = lab.folder / "whole.json"
    made = reading.load(out) if out.exists() else whole(lab)
    return made.figures[0].value


@pytest.mark.slow
def test_a_client_and_a_worker_that_are_killed_cost_their_part_only(lab: Lab):
    lab.scheduler()
    workers = [lab.worker(f"device:{name}=1") for name in ("one", "one", "two")]
    plan = planned(lab, shards=8)
    client = lab.sweep(plan)
    wait_until(lambda: parts(lab) >= 2)
    os.killpg(client.pid, signal.SIGKILL)
    client.communicate()
    os.killpg(workers[0].pid, signal.SIGKILL)
    there = parts(lab)
    again = lab.sweep(plan, "--resume", "--json", "out.json")
    said = told(again)
    assert again.returncode == 0, said
    assert "parts are there" in said
    assert there >= 2
    found = made_by(lab)
    assert {name: one.figures[0].value for name, one in found.items()} == dict.fromkeys(
        ("one", "two"), whole_figure(lab)
    )
    assert {one.dataset.scored for one in found.values()} == {PICTURES}
    document = json.loads((lab.folder / "out.json").read_text())
    assert document["run"] is None
    assert len(document["evaluations"]) == 2


@pytest.mark.slow
def test_a_device_that_no_worker_serves_is_an_error_and_the_other_is_evaluated(lab: Lab):
    lab.scheduler()
    lab.worker("device:one=1")
    client = lab.sweep(planned(lab, wait_s=8))
    said = told(client)
    assert client.returncode == 7, said
    assert "no worker served device:two for 8 s" in said
    assert set(made_by(lab)) == {"one"}
