"""The parts of an evaluation against the libraries and formulas that the field uses."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.doubles import eval_sets
from tests.doubles.doubled import doubled
from vitdeploy.api import evaluate
from vitdeploy.catalog.preprocessing import Preprocessing
from vitdeploy.catalog.spec import TensorSpec
from vitdeploy.evaluation import classification, cubic, dataset, segmentation, super_resolution
from vitdeploy.evaluation.request import EvalRequest
from vitdeploy.images import photos
from vitdeploy.inference import worker
from vitdeploy.results import stats


@pytest.mark.parametrize(("old", "new"), [((16, 32), (128, 256)), ((64, 86), (512, 683)), ((96, 50), (33, 70))])
def test_cubic_interpolation_is_torchs(old: tuple[int, int], new: tuple[int, int]):
    torch = pytest.importorskip("torch")
    maps = np.random.default_rng(0).normal(size=old).astype(np.float32)
    theirs = torch.nn.functional.interpolate(torch.from_numpy(maps)[None, None], size=new, mode="bicubic")
    assert np.abs(cubic.enlarged(maps, new) - theirs[0, 0].numpy()).max() < 5e-5  # torch computes places in fp32


def test_logits_are_enlarged_before_the_argmax_as_torch_does():
    torch = pytest.importorskip("torch")
    logits = np.random.default_rng(1).normal(size=(19, 8, 16)).astype(np.float32)
    theirs = torch.nn.functional.interpolate(torch.from_numpy(logits)[None], size=(70, 130), mode="bicubic")
    same = segmentation.labels_of(logits, (70, 130)) == theirs[0].argmax(dim=0).numpy()
    assert same.mean() > 0.9999
    small = logits.argmax(axis=0)  # a graph that decides itself
    assert (segmentation.labels_of(small, (16, 32)) == small.repeat(2, axis=0).repeat(2, axis=1)).all()


def test_pictures_are_normalized_on_the_device_as_here():
    from vitdeploy.catalog import registry

    photo = np.random.default_rng(2).integers(0, 256, (32, 64, 3), dtype=np.uint8)
    spec = TensorSpec(name="image", shape=(1, 3, 32, 64), dtype="float32", layout="NCHW")
    found = worker.normalized(photo, spec, Preprocessing())
    assert (found == photos.normalized([photo], registry.find_model("efficientvit_b0").preprocessing)[0]).all()
    wide = TensorSpec(name="image", shape=(1, 40, 80, 3), dtype="float32", layout="NHWC")
    padded = worker.normalized(photo, wide, Preprocessing())
    assert (padded[:32, :64].transpose(2, 0, 1) == found).all()
    assert (padded[32:] == 0).all()
    raw = TensorSpec(name="image", shape=(1, 3, 40, 64), dtype="uint8", layout="NCHW")
    bytes_ = worker.normalized(photo, raw, Preprocessing())
    assert bytes_.dtype == np.uint8
    assert bytes_[:, 39, 0].tolist() == [124, 116, 104]


def test_the_center_is_cut_as_torchvision_cuts_it():
    # torchvision: Resize(236) of 300x401 is 236x315, and CenterCrop(224) begins at 6 and round(45.5) = 46
    photo = np.random.default_rng(3).integers(0, 256, (300, 401, 3), dtype=np.uint8)
    resized = np.asarray(Image.fromarray(photo).resize((315, 236), Image.Resampling.BICUBIC))
    assert (classification.cut(photo, (224, 224), 0.95) == resized[6 : 6 + 224, 46 : 46 + 224]).all()
    assert classification.cut(photo[:100], (224, 192), 1.0).shape == (224, 192, 3)


def test_psnr_and_ssim_are_those_of_the_libraries():
    torch = pytest.importorskip("torch")
    from skimage import metrics
    from torchmetrics.functional.image import structural_similarity_index_measure

    from vitdeploy.evaluation import by_skimage

    generator = np.random.default_rng(4)
    large = np.asarray(Image.fromarray(photos.open_named("sample:coffee")).resize((96, 64)))
    other = np.clip(large + generator.normal(0, 9, large.shape), 0, 255).astype(np.uint8)
    psnr, ssim = super_resolution.compare(other, large, 2, by_skimage.ssim)
    one, two = (super_resolution.luminance(p)[2:-2, 2:-2] for p in (other, large))
    assert psnr == pytest.approx(metrics.peak_signal_noise_ratio(two, one, data_range=255))
    batch = [torch.from_numpy(p)[None, None] for p in (one, two)]
    _, whole = structural_similarity_index_measure(
        *batch, sigma=1.5, kernel_size=11, data_range=255.0, return_full_image=True
    )
    # torchmetrics averages windows that hang over the border as well; the papers' scripts do not.
    assert ssim == pytest.approx(float(whole[..., 5:-5, 5:-5].mean()), abs=1e-6)
    assert super_resolution.compare(large, large, 2, by_skimage.ssim) == (super_resolution.PERFECT_DB, 1.0)
    # MATLAB: rgb2ycbcr([1 1 1]) is 235/255, of black 16/255
    assert super_resolution.luminance(np.full((1, 1, 3), 255, np.uint8))[0, 0] == pytest.approx(235)


@pytest.mark.parametrize("size", [(24, 32), (16, 20), (40, 40)], ids=["whole", "tiles", "padded"])
def test_super_resolution_of_pairs_is_known_whatever_the_artifacts_size(tmp_path: Path, size: tuple[int, int]):
    from vitdeploy.evaluation import by_skimage

    folders = {kind: tmp_path / "set" / kind for kind in ("HR", "LR_bicubic/X2")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    expected = []
    for name in ("coffee", "astronaut"):
        large = np.asarray(Image.fromarray(photos.open_named(f"sample:{name}")).resize((65, 48)))
        low = np.asarray(Image.fromarray(large[:, :64]).resize((32, 24), Image.Resampling.BICUBIC))
        Image.fromarray(large).save(folders["HR"] / f"{name}.png")  # odd: what is no multiple of 2 is cut off
        Image.fromarray(low).save(folders["LR_bicubic/X2"] / f"{name}x2.png")
        enlarged = low.repeat(2, axis=0).repeat(2, axis=1)
        expected.append(super_resolution.compare(enlarged, large[:, :64], 2, by_skimage.ssim))
    Image.new("RGB", (64, 48)).save(folders["HR"] / "alone.png")
    made = doubled(tmp_path / "a", size)
    order = EvalRequest(dataset="sr", root=tmp_path / "set", out=tmp_path / "e.json", reference=False, threads=1)
    outcome = evaluate.evaluate_artifact([made.folder], order)
    figures = {one.name: one.value for one in outcome.evaluation.figures}
    assert figures["PSNR"] == pytest.approx(np.mean([psnr for psnr, _ in expected]))
    assert figures["SSIM"] == pytest.approx(np.mean([ssim for _, ssim in expected]))
    assert [one.image for one in outcome.evaluation.problems] == ["alone.png"]
    assert any("tiles" in warning for warning in outcome.evaluation.warnings) == (size != (24, 32))


@pytest.mark.parametrize(("whole", "size"), [(100, 30), (31, 30), (30, 30), (64, 20), (1000, 17)])
def test_tiles_give_every_pixel_once(whole: int, size: int):
    starts = super_resolution._starts(whole, size)
    shares = [
        (start + low, start + high) for start in starts for low, high in [super_resolution._share(start, starts, size)]
    ]
    assert shares[0][0] == 0
    assert shares[-1][1] == whole
    assert all(before[1] == after[0] for before, after in itertools.pairwise(shares))


def test_limits_and_shards_take_every_picture_once():
    items = [dataset.DataSetItem(name=str(place), image=Path(str(place))) for place in range(11)]
    parts = [dataset.shard(items, index, 4) for index in range(4)]
    assert sorted(int(one.name) for part in parts for one in part) == list(range(11))
    assert [one.name for one in dataset.limited(items, 4)] == ["0", "2", "5", "8"]
    assert dataset.limited(items, 99) == items


def test_paired_intervals_cover_the_truth_about_as_often_as_they_say():
    generator = np.random.default_rng(5)
    covered = {"mean": 0, "proportions": 0, "bootstrap": 0}
    rounds = 200
    for _ in range(rounds):
        differences = generator.normal(0.3, 1, 40)
        low, high = stats.mean_interval(differences) or (math.nan, math.nan)
        covered["mean"] += low <= 0.3 <= high
        first = generator.random(300) < 0.8
        second = np.where(generator.random(300) < 0.05, ~first, first)  # the true drop is 0.05 * (0.8 - 0.2)
        low, high = stats.paired_proportions_interval(int(np.sum(first & ~second)), int(np.sum(second & ~first)), 300)
        covered["proportions"] += low <= 0.03 <= high
    for _ in range(60):
        truth = generator.random((80, 1, 1)) + np.array([[[0.0]]])
        other = truth - 0.1 + generator.normal(0, 0.2, truth.shape)
        interval = stats.paired_bootstrap_interval(truth, other, lambda sums: sums[:, 0, 0] / 80)
        assert interval is not None
        covered["bootstrap"] += interval[0] <= 0.1 <= interval[1]
    assert 0.9 < covered["mean"] / rounds < 0.99
    assert 0.9 < covered["proportions"] / rounds < 0.99
    assert 0.85 < covered["bootstrap"] / 60 <= 1


def test_an_interval_does_not_shrink_to_a_point_where_no_picture_differs():
    low, high = stats.paired_proportions_interval(0, 0, 100)
    assert low < 0 < high
    assert stats.mean_interval([0.1, 0.2]) is None
    one: Any = np.ones((2, 3))
    assert stats.paired_bootstrap_interval(one, one, lambda sums: sums[:, 0]) is None


def test_the_jackknife_is_the_standard_error_of_a_mean():
    values = np.random.default_rng(6).normal(size=20)
    left_out = [np.delete(values, place).mean() for place in range(20)]
    low, high = stats.jackknife_interval(float(values.mean()), left_out) or (math.nan, math.nan)
    expected = stats.mean_interval(values) or (math.nan, math.nan)
    assert (low, high) == pytest.approx(expected)


def test_a_batch_that_is_not_full_is_filled_and_its_filling_is_not_counted(tmp_path: Path):
    maps = [eval_sets.block_map(place, (32, 64), 19) for place in range(5)]
    root = eval_sets.cityscapes_set(tmp_path / "c", {f"a/p_{i}": (one, one) for i, one in enumerate(maps)})
    made = eval_sets.nearest_color(tmp_path / "a", "efficientvit_seg_b0_cityscapes", size=(32, 64), classes=19, batch=4)
    order = EvalRequest(dataset="cityscapes", root=root, out=tmp_path / "e.json", reference=False, threads=1)
    found = evaluate.evaluate_artifact([made.folder], order).evaluation
    assert found.dataset.scored == 5
    assert found.figures[0].value == pytest.approx(100.0)
