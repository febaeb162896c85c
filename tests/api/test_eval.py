"""Accuracy on small data sets in their true formats, whose figures are known by construction."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.doubles import checkpoints, eval_sets
from vitdeploy.api import evaluate
from vitdeploy.api import evaluate_images as api_eval_items
from vitdeploy.api import evaluate_reference as api_eval_reference
from vitdeploy.artifacts import manifest
from vitdeploy.cli.main import main
from vitdeploy.errors import Impossible, UnreadableFile, UsageError
from vitdeploy.evaluation import image_records, reading, record
from vitdeploy.evaluation.request import EvalRequest

SIZE = (64, 128)


@pytest.fixture
def city(tmp_path: Path) -> tuple[Path, Path, list[tuple[NDArray[Any], NDArray[Any]]]]:
    """A Cityscapes of five pictures, an artifact that sees what was painted, and what it sees and what is right."""
    pairs = {}
    for place in range(5):
        truth = eval_sets.block_map(place, SIZE, 19)
        seen = truth.copy()
        seen[:, : 8 * place] = 3  # each picture is wrong in another share
        truth[:8] = 255  # nobody counts the first rows
        pairs[f"{'aachen' if place < 2 else 'bochum'}/p_{place:06d}"] = (seen, truth)
    root = eval_sets.cityscapes_set(tmp_path / "city", pairs)
    made = eval_sets.nearest_color(tmp_path / "seg", "efficientvit_seg_b0_cityscapes", size=SIZE, classes=19)
    return root, made.folder, list(pairs.values())


def order(root: Path, out: Path, dataset: str = "cityscapes", **changes: Any) -> EvalRequest:
    return EvalRequest(dataset=dataset, root=root, out=out, **{"reference": False, "threads": 1, **changes})


def known_mean_iou(pairs: list[tuple[NDArray[Any], NDArray[Any]]], classes: int) -> float:
    """By torchmetrics, which knows nothing of us."""
    torch = pytest.importorskip("torch")
    from torchmetrics.classification import MulticlassJaccardIndex

    metric = MulticlassJaccardIndex(classes, average="macro", ignore_index=255)
    for seen, truth in pairs:
        metric.update(torch.from_numpy(seen.astype(np.int64)), torch.from_numpy(truth.astype(np.int64)))
    return 100 * float(metric.compute())


def test_cityscapes_is_what_torchmetrics_says_of_the_same_pixels(city, tmp_path: Path):
    root, folder, pairs = city
    outcome = evaluate.evaluate_artifact([folder], order(root, tmp_path / "e.json"))
    found = outcome.evaluation
    assert outcome.error is None
    assert (found.dataset.scored, found.dataset.asked) == (5, 5)
    assert found.figures[0].name == "mIoU"
    assert found.figures[0].value == pytest.approx(known_mean_iou(pairs, 19), abs=1e-4)
    (check,) = found.cross_checks
    assert check.ours == pytest.approx(check.theirs, abs=1e-4)
    assert check.images == 5
    assert [bad.image for bad in found.worst][:2] == ["bochum/p_000004", "bochum/p_000003"]
    by_hand = {}
    for label in range(19):
        both = sum(int(np.sum((s == label) & (t == label))) for s, t in pairs)
        either = sum(int(np.sum(((s == label) | (t == label)) & (t != 255))) for s, t in pairs)
        by_hand[label] = 100 * both / either
    assert [one.value for one in found.classes] == pytest.approx(list(by_hand.values()))
    assert reading.load(outcome.path) == found


def test_a_file_that_is_broken_or_missing_is_named_and_counted(city, tmp_path: Path):
    root, folder, pairs = city
    (root / "leftImg8bit/val/aachen/p_000000_leftImg8bit.png").write_bytes(b"no picture")
    (root / "gtFine/val/bochum/p_000002_gtFine_labelIds.png").unlink()
    truncated = root / "gtFine/val/bochum/p_000003_gtFine_labelIds.png"
    truncated.write_bytes(truncated.read_bytes()[:60])
    outcome = evaluate.evaluate_artifact([folder], order(root, tmp_path / "e.json"))
    found = outcome.evaluation
    assert found.dataset.scored == 2
    why = {one.image: (one.status, one.why) for one in found.problems}
    assert {name: status for name, (status, _) in why.items()} == {
        "aachen/p_000000": "unreadable",
        "bochum/p_000002": "missing",
        "bochum/p_000003": "unreadable",
    }
    assert isinstance(outcome.error, UnreadableFile)
    assert "3 pictures were not scored" in outcome.error.message
    assert "aachen/p_000000" in outcome.error.message
    assert found.figures[0].value == pytest.approx(known_mean_iou([pairs[1], pairs[4]], 19), abs=1e-4)


@pytest.mark.parametrize(
    ("dataset", "made", "said"),
    [
        ("cityscapes", [], "leftImg8bit/val/CITY"),
        ("cityscapes", ["leftImg8bit/val/aachen"], "gtFine/val"),
        ("cityscapes", ["leftImg8bit/train", "gtFine/train"], "found gtFine/, leftImg8bit/"),
        ("ade20k", ["images/training"], "annotations/validation"),
        ("imagenet", ["val/cat", "val/dog"], "nXXXXXXXX"),
        ("imagenet", ["val/n01440764", "val/n01443537"], "2 class folders, not 1000"),
        ("sr", ["LR"], "HR"),
    ],
)
def test_a_wrong_layout_is_told_by_what_was_looked_for_and_found(
    tmp_path: Path, dataset: str, made: list[str], said: str
):
    root = tmp_path / "data"
    root.mkdir()
    for name in made:
        (root / name).mkdir(parents=True)
    model = {"ade20k": "efficientvit_seg_b1_ade20k", "imagenet": "efficientvit_b0"}
    changes: dict[str, Any] = {"task": "super-resolution"} if dataset == "sr" else {}
    folder = eval_sets.nearest_color(
        tmp_path / "a",
        model.get(dataset, "efficientvit_seg_b0_cityscapes"),
        size=SIZE,
        classes=19,
        pooled=dataset == "imagenet",
        **changes,
    ).folder
    with pytest.raises(UnreadableFile) as caught:
        evaluate.evaluate_artifact([folder], order(root, tmp_path / "e.json", dataset))
    assert said in caught.value.message
    assert "looked for" in caught.value.message
    assert "found" in caught.value.message
    assert not (tmp_path / "e.json").exists()


def test_an_evaluation_that_was_killed_goes_on_and_ends_as_if_it_had_not_been(city, tmp_path: Path):
    root, folder, _ = city
    whole = evaluate.evaluate_artifact([folder], order(root, tmp_path / "whole.json")).evaluation
    images = tmp_path / "cut.images.jsonl"
    lines = (tmp_path / "whole.images.jsonl").read_bytes().splitlines(keepends=True)
    images.write_bytes(b"".join(lines[:3]) + lines[3][:17])  # killed in the middle of the third record
    seen: list[tuple[int, int]] = []
    cut = evaluate.evaluate_artifact(
        [folder],
        order(root, tmp_path / "cut.json", resume=True),
        on_image=lambda done, total, label: seen.append((done, total)),
    ).evaluation
    assert seen[-1] == (5, 5)
    assert cut.figures == whole.figures
    assert cut.images_sha256 == whole.images_sha256
    assert sorted(lines) == sorted(images.read_bytes().splitlines(keepends=True))


def cut_records(root: Path, folder: Path, out: Path) -> None:
    """An evaluation that was killed after two pictures."""
    whole = out.with_name("whole.json")
    evaluate.evaluate_artifact([folder], order(root, whole))
    lines = whole.with_name("whole.images.jsonl").read_bytes().splitlines(keepends=True)
    out.with_name(f"{out.stem}.images.jsonl").write_bytes(b"".join(lines[:3]))


def test_resume_without_a_name_finds_the_evaluation_that_was_interrupted(
    city, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root, folder, _ = city
    monkeypatch.chdir(tmp_path)
    evals = tmp_path / "evals"
    evals.mkdir()
    name = "efficientvit_seg_b0_cityscapes-onnx-fp32-cityscapes-local-20260131-235959"
    cut_records(root, folder, evals / f"{name}.json")
    lines: list[str] = []
    request = order(root, cast("Path", None), resume=True)
    with pytest.raises(UsageError, match="no interrupted run"):
        evaluate.evaluate_artifact([folder], dataclasses.replace(request, limit=4))
    outcome = evaluate.evaluate_artifact([folder], request, progress=lines.append)
    assert outcome.path == Path("evals") / f"{name}.json"
    assert "2 pictures are there" in " ".join(lines)
    assert outcome.evaluation.dataset.scored == 5
    with pytest.raises(UsageError, match="no interrupted run"):  # it is whole now
        evaluate.evaluate_artifact([folder], request)


def test_force_replaces_an_evaluation_with_all_that_belongs_to_it(city, tmp_path: Path):
    root, folder, _ = city
    out = tmp_path / "e.json"
    first = evaluate.evaluate_artifact([folder], order(root, out, limit=3))
    with pytest.raises(UsageError, match="exists") as refused:
        evaluate.evaluate_artifact([folder], order(root, out))
    assert "--force" in refused.value.hint
    second = evaluate.evaluate_artifact([folder], order(root, out, force=True))
    assert first.evaluation.dataset.scored == 3
    assert reading.load(out) == second.evaluation
    assert second.evaluation.dataset.scored == 5
    assert (second.path, second.page) == (out, out.with_suffix(".html"))
    assert not [file.name for file in tmp_path.iterdir() if "replacement" in file.name]
    assert len(list((tmp_path / "e.worst").iterdir())) == min(5, api_eval_items.MOST_DRAWN)


def test_force_replaces_what_an_interrupted_evaluation_left(city, tmp_path: Path):
    root, folder, _ = city
    out = tmp_path / "e.json"
    cut_records(root, folder, out)
    with pytest.raises(UsageError, match="exists"):
        evaluate.evaluate_artifact([folder], order(root, out))
    evaluate.evaluate_artifact([folder], order(root, out, force=True))
    assert reading.load(out).dataset.scored == 5


@pytest.mark.parametrize("length", [0, 20])
def test_an_evaluation_whose_first_line_was_cut_begins_anew(city, tmp_path: Path, length: int):
    """Planted: killed, or without space, before the first line of the records was there."""
    root, folder, _ = city
    prepared = evaluate.check_request([manifest.open_artifact(folder)], order(root, tmp_path / "e.json"))
    images = tmp_path / "e.images.jsonl"
    image_records.ImageRecords(images, api_eval_items.head_of(prepared, "local")).begin(resume=False)
    images.write_bytes(images.read_bytes()[:length])
    outcome = evaluate.evaluate_artifact([folder], order(root, tmp_path / "e.json", resume=True))
    assert outcome.evaluation.dataset.scored == 5


def test_a_picture_that_could_not_be_read_is_tried_again_by_resume(city, tmp_path: Path):
    root, folder, _ = city
    whole = evaluate.evaluate_artifact([folder], order(root, tmp_path / "whole.json")).evaluation
    path = root / "leftImg8bit/val/aachen/p_000000_leftImg8bit.png"
    good = path.read_bytes()
    path.write_bytes(bytes(len(good)))  # as a share that fails for a while
    first = evaluate.evaluate_artifact([folder], order(root, tmp_path / "e.json"))
    assert first.evaluation.dataset.scored == 4
    path.write_bytes(good)
    seen: list[int] = []
    again = evaluate.evaluate_artifact(
        [folder],
        order(root, tmp_path / "e.json", resume=True),
        on_image=lambda done, total, label: seen.append(done),
    )
    assert again.error is None
    assert seen == [5], "the four others are not done again"
    assert again.evaluation.figures == whole.figures
    assert again.evaluation.images_sha256 == whole.images_sha256


def test_records_of_another_evaluation_are_not_gone_on_with(city, tmp_path: Path):
    root, folder, _ = city
    evaluate.evaluate_artifact([folder], order(root, tmp_path / "e.json", limit=2))
    (tmp_path / "e.json").unlink()
    with pytest.raises(UsageError, match="items_sha256"):
        evaluate.evaluate_artifact([folder], order(root, tmp_path / "e.json", resume=True))
    with pytest.raises(UsageError, match="exists"):
        evaluate.evaluate_artifact([folder], order(root, tmp_path / "e.json"))


def test_shards_by_many_workers_are_the_whole(city, tmp_path: Path):
    root, folder, _ = city
    whole = evaluate.evaluate_artifact([folder], order(root, tmp_path / "whole.json")).evaluation
    asked = order(root, tmp_path / "parts.json")
    parts = [tmp_path / f"part{i}.jsonl" for i in range(3)]
    told, *_ = [evaluate.evaluate_shard([folder], asked, i, 3, part) for i, part in enumerate(parts)]
    again = tmp_path / "again.jsonl"
    evaluate.evaluate_shard([folder], asked, 1, 3, again)  # a worker that was thought dead
    found = evaluate.collect([folder], asked, [*parts, again], reply=told).evaluation
    assert found.figures == whole.figures
    assert found.images_sha256 == whole.images_sha256
    with pytest.raises(UnreadableFile, match="in no part"):
        evaluate.collect([folder], order(root, tmp_path / "few.json"), parts[:2])


def test_the_drop_is_paired_over_the_same_pictures(city, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root, folder, pairs = city
    better = eval_sets.nearest_color(
        tmp_path / "ref", "efficientvit_seg_b0_cityscapes", size=SIZE, classes=19, target="torch-fp32"
    )
    # The reference's records are made by hand: it is right everywhere.
    from vitdeploy.evaluation import segmentation

    monkeypatch.setattr(api_eval_reference, "reference_artifacts", lambda *_: (better,))

    def right(prepared: Any, device: Any, out: Path, **rest: Any) -> None:
        kept = image_records.ImageRecords(out, api_eval_items.head_of(prepared, "local"))
        kept.begin(resume=True)
        for item, (_, truth) in zip(sorted(prepared.items, key=lambda one: one.name), pairs, strict=True):
            kept.add(record.ImageRecord(image=item.name, score=1.0, counts=segmentation.count(truth, truth, 19)))

    original = api_eval_items.evaluate_items
    monkeypatch.setattr(
        api_eval_items,
        "evaluate_items",
        lambda *given, **rest: (right if rest.get("label") else original)(*given, **rest),
    )
    found = evaluate.evaluate_artifact([folder], order(root, tmp_path / "e.json", reference=True)).evaluation
    figure = found.figures[0]
    assert figure.reference == pytest.approx(100.0)
    assert figure.value is not None
    assert figure.drop == pytest.approx(100.0 - figure.value)
    assert figure.drop is not None
    assert figure.drop_ci95 is not None
    low, high = figure.drop_ci95
    assert 0 < low < figure.drop < high
    assert found.worst[0].reference == 1.0
    assert all(one.reference == pytest.approx(100.0) for one in found.classes)


@pytest.mark.slow
def test_ade20k_takes_the_official_sizes_pads_what_has_none_and_names_what_does_not_fit(tmp_path: Path):
    from vitdeploy.evaluation import ade20k

    assert ade20k.official_size(256, 341) == (512, 704)
    assert ade20k.official_size(512, 512) == (512, 512)
    assert ade20k.official_size(683, 512) == (704, 512)
    pairs = {}
    for place, size in enumerate([(512, 512), (512, 544), (512, 1024)]):
        truth = eval_sets.block_map(place, size, 150, block=16)
        seen = truth.copy()
        seen[:64] = 7
        truth[-32:] = 255
        pairs[f"ADE_val_{place + 1:08d}"] = (seen, truth)
    root = eval_sets.ade20k_set(tmp_path / "ade", pairs)
    made = [
        eval_sets.nearest_color(tmp_path / f"a{w}", "efficientvit_seg_b1_ade20k", size=(512, w), classes=150).folder
        for w in (512, 640)
    ]
    outcome = evaluate.evaluate_artifact(made, order(root, tmp_path / "e.json", "ade20k"))
    found = outcome.evaluation
    how = {one.image: one.how for one in image_records.records(tmp_path / "e.images.jsonl")}
    assert how == {
        "ADE_val_00000001": None,
        "ADE_val_00000002": "512x544 padded to 512x640",
        "ADE_val_00000003": None,
    }
    assert [one.status for one in found.problems] == ["uncovered"]
    assert "512x1024" in (found.problems[0].why or "")
    assert isinstance(outcome.error, Impossible)
    scored = list(pairs.values())[:2]
    assert found.figures[0].value == pytest.approx(known_mean_iou(scored, 150), abs=0.05)  # JPEG moves a few pixels
    lines = evaluate.eval_plan(made, order(root, tmp_path / "plan.json", "ade20k"))
    assert "512x1024: 1 pictures, no artifact: vitdeploy export … --size 512x1024" in lines
    assert "512x544: 1 pictures, padded to 512x640" in lines


def test_imagenet_folders_and_devkit_and_kaggle_say_the_same(tmp_path: Path):
    from scipy import io

    pictures = [(3, 3), (3, 5), (7, 7), (400, 400), (499, 2)]
    root = eval_sets.imagenet_folders(tmp_path / "folders", pictures)
    made = eval_sets.nearest_color(tmp_path / "a", "efficientvit_b0", size=(32, 32), classes=1000, pooled=True, batch=2)
    found = evaluate.evaluate_artifact([made.folder], order(root, tmp_path / "e.json", "imagenet")).evaluation
    assert {figure.name: figure.value for figure in found.figures}["top-1"] == pytest.approx(60.0)
    assert {one.name: (one.value, one.count) for one in found.classes if one.count}[eval_class(3)] == (50.0, 2)
    # The devkit numbers the classes in another order.
    wnids, shuffled = eval_sets.wnids(), list(np.random.Generator(np.random.PCG64(1)).permutation(1000))
    devkit = tmp_path / "devkit"
    data = devkit / "ILSVRC2012_devkit_t12" / "data"
    data.mkdir(parents=True)
    fields = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("num_children", "O")]
    rows = [(place + 1, wnids[number], 0) for place, number in enumerate(shuffled)] + [(1001, "n00001740", 9)]
    io.savemat(str(data / "meta.mat"), {"synsets": np.array(rows, dtype=fields)})
    (devkit / "val").mkdir()
    for place, path in enumerate(sorted((root / "val").glob("*/*.JPEG"), key=lambda one: one.name)):
        path.rename(devkit / "val" / f"ILSVRC2012_val_{place + 1:08d}.JPEG")
    truth = "\n".join(str(shuffled.index(true) + 1) for true, _ in pictures)
    (data / "ILSVRC2012_validation_ground_truth.txt").write_text(truth + "\n")
    same = evaluate.evaluate_artifact([made.folder], order(devkit, tmp_path / "d.json", "imagenet")).evaluation
    assert same.figures == found.figures
    assert same.classes == found.classes
    kaggle = tmp_path / "kaggle"
    (kaggle / "ILSVRC/Data/CLS-LOC").mkdir(parents=True)
    (devkit / "val").rename(kaggle / "ILSVRC/Data/CLS-LOC/val")
    (kaggle / "LOC_synset_mapping.txt").write_text("".join(f"{wnid} something\n" for wnid in wnids))
    lines = [f"ILSVRC2012_val_{p + 1:08d},{wnids[t]} 1 2 3 4" for p, (t, _) in enumerate(pictures)]
    lines.append(f"ILSVRC2012_val_{6:08d},{wnids[0]} 1 2 3 4")  # a picture that is not there
    (kaggle / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *lines]) + "\n")
    outcome = evaluate.evaluate_artifact([made.folder], order(kaggle, tmp_path / "k.json", "imagenet"))
    assert outcome.evaluation.figures == found.figures
    assert [one.status for one in outcome.evaluation.problems] == ["missing"]


def eval_class(number: int) -> str:
    from vitdeploy.images import labels

    return labels.names("imagenet")[number]


def test_the_command_prints_the_figures_and_writes_what_it_shows(city, tmp_path: Path, capsys: pytest.CaptureFixture):
    root, folder, _ = city
    out = tmp_path / "e.json"
    argv = ["eval", str(folder), "--dataset", "cityscapes", "--root", str(root), "--no-reference", "--threads", "1"]
    assert main([*argv, "--dry-run", "--out", str(out)]) == 0
    assert "5 of 5 pictures of cityscapes" in capsys.readouterr().out
    assert not out.exists()
    assert main([*argv, "--out", str(out), "--json", str(tmp_path / "said.json")]) == 0
    said = capsys.readouterr().out
    assert "mIoU" in said
    assert str(out) in said
    assert json.loads((tmp_path / "said.json").read_text()) == json.loads(out.read_text())
    assert main([*argv, "--out", str(out)]) == 2
    assert main(["eval", str(folder), "--dataset", "imagenet", "--root", str(root)]) == 4
    assert "cityscapes" in capsys.readouterr().err
    assert main(["eval", str(folder), "--dataset", "citiscapes", "--root", str(root)]) == 2
    assert "cityscapes" in capsys.readouterr().err


@pytest.mark.slow
def test_memory_does_not_grow_with_the_data_set(tmp_path: Path):
    """Six times the pictures may not take noticeably more memory: the groups are bounded by bytes."""
    size = (512, 1024)
    truth = eval_sets.block_map(0, size, 19)
    made = eval_sets.nearest_color(tmp_path / "a", "efficientvit_seg_b0_cityscapes", size=size, classes=19, stride=8)
    peaks = []
    for count in (4, 24):
        root = eval_sets.cityscapes_set(tmp_path / f"c{count}", {"aachen/p_000000": (truth, truth)})
        for kind, end in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds")):
            first = root / kind / "val/aachen" / f"p_000000_{end}.png"
            for place in range(1, count):
                os.link(first, first.with_name(f"p_{place:06d}_{end}.png"))
        code = (
            "import resource, sys\nfrom pathlib import Path\nfrom vitdeploy.api.evaluate import evaluate_artifact\n"
            "from vitdeploy.evaluation import evaluate\n"
            "evaluate.GROUP_BYTES = 12 * 2**20\n"
            "from vitdeploy.evaluation.request import EvalRequest\n"
            f"root, out = Path({str(root)!r}), Path({str(tmp_path / f'e{count}.json')!r})\n"
            "request = EvalRequest(dataset='cityscapes', root=root, out=out, reference=False, threads=1)\n"
            f"found = evaluate_artifact([Path({str(made.folder)!r})], request).evaluation\n"
            "print(found.dataset.scored, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        scored, peak_kib = map(int, done.stdout.split())
        assert scored == count
        peaks.append(peak_kib)
    assert peaks[1] - peaks[0] < 16 * 1024, peaks  # 20 more pictures are 31 MiB of bytes alone


WEIGHTS = checkpoints.FOLDER / "efficientvit_seg_b0_cityscapes.pt"


@pytest.mark.slow
@pytest.mark.skipif(not WEIGHTS.exists(), reason=f"{WEIGHTS} is not here (set VITDEPLOY_TEST_WEIGHTS)")
def test_the_real_checkpoint_finds_the_sky(tmp_path: Path):
    from vitdeploy.api import export
    from vitdeploy.api.export_request import ExportRequest
    from vitdeploy.images import photos

    root = tmp_path / "city"
    left, fine = root / "leftImg8bit/val/china", root / "gtFine/val/china"
    left.mkdir(parents=True)
    fine.mkdir(parents=True)
    photo = Image.fromarray(photos.open_named("sample:china")).resize((1024, 512), Image.Resampling.BICUBIC)
    for place in range(3):
        photo.save(left / f"china_{place:06d}_leftImg8bit.png")
        ids = np.zeros((512, 1024), np.uint8)
        ids[:90, 600:] = 23  # sky
        ids[470:, 300:500] = 0
        Image.fromarray(ids).save(fine / f"china_{place:06d}_gtFine_labelIds.png")
    made = export.export(
        ["efficientvit_seg_b0_cityscapes"],
        ExportRequest(target="onnx-fp32", size="512x1024", weights=WEIGHTS, out=tmp_path / "artifacts"),
    )[0].artifact
    assert made is not None
    found = evaluate.evaluate_artifact(
        [made.folder], order(root, tmp_path / "e.json", reference=True, weights=WEIGHTS)
    ).evaluation
    sky = next(one for one in found.classes if one.name == "sky")
    assert sky.value is not None
    assert sky.value > 90
    assert sky.reference == pytest.approx(sky.value, abs=0.5)
    assert found.figures[0].drop == pytest.approx(0, abs=0.5)


def test_an_artifact_of_another_task_or_other_classes_is_refused(city, tmp_path: Path):
    root, folder, _ = city
    other = eval_sets.nearest_color(tmp_path / "o", "efficientvit_seg_b1_ade20k", size=SIZE, classes=150).folder
    with pytest.raises(Impossible, match="150 classes of ade20k"):
        evaluate.evaluate_artifact([other], order(root, tmp_path / "e.json"))
    found = manifest.open_artifact(folder)
    assert msgspec.structs.asdict(found.manifest)["task"] == "segmentation"
