"""Every kind of answer has wrong files planted in it, at every tolerance that a target has, and parity refuses each."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from vitdeploy.artifacts import answers, parity
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import Task

RANDOM = np.random.default_rng(0)
Array = np.ndarray[Any, Any]


def smooth(*shape: int) -> Array:
    """Blobs of some pixels with a little grain, as maps of networks have them."""
    coarse = RANDOM.normal(0, 3, (*shape[:-2], shape[-2] // 8, shape[-1] // 8))
    fine = coarse.repeat(8, axis=-2).repeat(8, axis=-1)
    return (fine + RANDOM.normal(0, 0.5, shape)).astype(np.float32)


LOGITS = smooth(2, 5, 32, 32)
RARE = np.zeros((2, 1, 32, 32), np.bool_)
RARE[..., 8:12, 2:20] = True
IMAGE = np.clip(smooth(2, 3, 32, 32) / 12 + 0.5, 0, 1)
BYTES = (IMAGE * 255).round().astype(np.uint8)

REFERENCES: dict[str, tuple[Task, Array]] = {
    "scores of pixels": ("segmentation", LOGITS),
    "scores of images": ("classification", RANDOM.normal(0, 3, (6, 10)).astype(np.float32)),
    "bytes of scores": ("segmentation", (LOGITS * 8 + 128).clip(0, 255).astype(np.uint8)),
    "one channel": ("segmentation", smooth(2, 1, 32, 32)),
    "one probability": ("segmentation", (1 / (1 + np.exp(-smooth(2, 1, 32, 32)))).astype(np.float32)),
    "labels (n, h, w)": ("segmentation", LOGITS.argmax(1).astype(np.int32)),
    "labels (n, 1, h, w) of int64": ("segmentation", LOGITS.argmax(1)[:, None].astype(np.int64)),
    "labels of bytes": ("segmentation", LOGITS.argmax(1)[:, None].astype(np.uint8)),
    "labels of images": ("classification", np.array([3, 1, 4, 1, 5, 9, 2, 6])),
    "best five of each image": ("classification", RANDOM.integers(0, 1000, (6, 5))),
    "mask": ("segmentation", LOGITS[:, :1] > 0),
    "rare mask": ("segmentation", RARE),
    "image": ("super-resolution", IMAGE.astype(np.float32)),
    "image of bytes": ("super-resolution", BYTES),
    "image of int64": ("super-resolution", BYTES.astype(np.int64)),
    "masks of prompts": ("segment-anything", smooth(2, 4, 32, 32)),
}

FAULTS: dict[str, Callable[[Array], Array]] = {
    "all zero": np.zeros_like,
    "reversed order": lambda one: np.ascontiguousarray(one[..., ::-1]),
    "rolled through half of the last axis": lambda one: np.roll(one, one.shape[-1] // 2, axis=-1),
    "negated": lambda one: ~one if one.dtype == np.bool_ else one.max() - one,
}
EXACT_FAULTS: dict[str, Callable[[Array], Array]] = {
    "shifted by one": lambda one: np.roll(one, 1, axis=-1),
    "one more everywhere": lambda one: (
        ~one if one.dtype == np.bool_ else (one + np.ones(1, one.dtype)).astype(one.dtype)
    ),
    "second half lost": lambda one: np.where(np.arange(one.shape[-1]) < one.shape[-1] * 0.5, one, one.dtype.type(0)),
}


@pytest.mark.parametrize("kind", REFERENCES)
@pytest.mark.parametrize("target", ["onnx-fp32", "onnx-fp16", "onnx-bf16"])
def test_the_reference_passes_and_gross_faults_do_not(kind: str, target: str):
    task, reference = REFERENCES[kind]
    tolerance = registry.find_target(target).tolerance
    assert parity.judge(task, [(reference, reference.copy())], tolerance).passed
    for name, fault in FAULTS.items():
        if target == "onnx-bf16" and task == "super-resolution":
            continue  # 25 dB and 4 deviations are the floor of 8 bits: docs/numbers.md
        assert not parity.judge(task, [(reference, fault(reference))], tolerance).passed, name


@pytest.mark.parametrize("kind", REFERENCES)
@pytest.mark.parametrize("fault", EXACT_FAULTS)
def test_small_faults_do_not_pass_where_fp32_is_promised(kind: str, fault: str):
    task, reference = REFERENCES[kind]
    wrong = EXACT_FAULTS[fault](reference)
    if np.array_equal(wrong, reference):
        pytest.skip("this answer has nothing there")
    assert not parity.judge(task, [(reference, wrong)], registry.find_target("onnx-fp32").tolerance).passed


@pytest.mark.parametrize("kind", [kind for kind, (_, one) in REFERENCES.items() if one.ndim > 1 and one.shape[1] > 2])
def test_two_channels_that_are_swapped_fail(kind: str):
    task, reference = REFERENCES[kind]
    wrong = reference.copy()
    wrong[:, [0, 1]] = wrong[:, [1, 0]]
    assert not parity.judge(task, [(reference, wrong)], registry.find_target("onnx-fp32").tolerance).passed


def test_an_argmax_over_the_wrong_axis_fails():
    square = smooth(2, 32, 32, 32)
    pair = square.argmax(1), square.argmax(2)
    assert not parity.judge("segmentation", [pair], registry.find_target("onnx-fp16").tolerance).passed


@pytest.mark.parametrize("kind", [kind for kind, (_, one) in REFERENCES.items() if one.dtype.kind == "f"])
@pytest.mark.parametrize("side", [0, 1])
def test_what_is_no_number_fails_on_either_side(kind: str, side: int):
    task, reference = REFERENCES[kind]
    pair = [reference, reference.copy()]
    pair[side].reshape(-1)[3:4] = np.nan
    REFERENCES[kind] = task, reference if side else pair[1]
    result = parity.judge(task, [(pair[0], pair[1])], registry.find_target("onnx-bf16").tolerance)
    assert not result.passed
    assert "NaN" in (result.reason or "")


def test_bytes_do_not_wrap_around():
    reference = np.zeros((1, 3, 8, 8), np.uint8)
    reference[..., 4:] = 255
    result = parity.judge(
        "super-resolution",
        [(reference, reference + np.ones(1, np.uint8))],
        registry.find_target("onnx-fp16").tolerance,
    )
    assert result.max_abs == 255
    assert not result.passed


@pytest.mark.parametrize("reference", [IMAGE.astype(np.float32), BYTES])
def test_an_image_whose_every_error_is_small_is_refused_by_its_psnr(reference: Array):
    wrong = reference + (reference.max() * 0.1).astype(reference.dtype) * RANDOM.choice([-1, 1], reference.shape)
    result = parity.judge("super-resolution", [(reference, wrong)], registry.find_target("onnx-fp16").tolerance)
    assert result.error_std is not None
    assert result.error_std < 1
    assert "PSNR" in (result.reason or "")


def test_bytes_may_be_rounded_the_other_way_now_and_then():
    output = BYTES.copy()
    output[0, 0, 0, 0] += 1 if output[0, 0, 0, 0] < 255 else -1
    rounding = parity.judge("super-resolution", [(BYTES, output)], registry.find_target("onnx-fp16").tolerance)
    assert rounding.passed
    assert rounding.metric.value is not None


def test_a_rare_mask_that_is_lost_is_refused_though_most_pixels_agree():
    result = parity.judge("segmentation", [(RARE, np.zeros_like(RARE))], registry.find_target("onnx-bf16").tolerance)
    assert result.metric.value is not None
    assert result.metric.value > result.metric.floor
    assert "labels differ" in (result.reason or "")


def test_one_channel_is_judged_by_its_threshold_and_says_so():
    reference = smooth(1, 1, 32, 32)
    result = parity.judge("segmentation", [(reference, -reference)], registry.find_target("onnx-fp16").tolerance)
    assert result.metric.name == parity.THRESHOLDED
    assert result.metric.value is not None
    assert result.metric.value < 0.1
    assert answers.threshold_of(reference) == 0
    assert answers.threshold_of(1 / (1 + np.exp(-reference))) == 0.5


# How few pixels there are.


def test_a_near_tie_may_be_decided_either_way():
    reference = np.zeros((1, 2, 8, 16), np.float32)
    reference[0, 0] = RANDOM.normal(0, 1, (8, 16))
    reference[0, 0, 0, :4] = 1e-5  # by 4.6e-5 deviations, four pixels of 128 are another class
    output = reference.copy()
    output[0, 0, 0, :4] = -3e-5
    result = parity.judge("segmentation", [(reference, output)], registry.find_target("onnx-fp32").tolerance)
    assert result.passed, result.reason
    assert result.metric.value == 1


def test_a_pixel_that_is_no_tie_counts_at_small_sizes_too():
    reference = smooth(1, 5, 8, 16)
    output = reference.copy()
    output[0, :, 0, :2] = -output[0, :, 0, :2]
    assert not parity.judge("segmentation", [(reference, output)], registry.find_target("onnx-fp32").tolerance).passed


def test_one_label_of_few_may_be_another_one_but_not_two():
    reference = RANDOM.integers(0, 5, (1, 8, 16))
    output = reference.copy()
    output[0, 0, 0] += 1
    tolerance = registry.find_target("onnx-fp32").tolerance
    assert parity.judge("segmentation", [(reference, output)], tolerance).passed
    output[0, 0, 1] += 1
    assert not parity.judge("segmentation", [(reference, output)], tolerance).passed


# The reference itself.


@pytest.mark.parametrize("kind", REFERENCES)
def test_a_reference_that_does_not_repeat_is_refused_for_that(kind: str):
    task, reference = REFERENCES[kind]
    evidence = parity.Evidence(task)
    evidence.add_repeated(reference, reference.copy())
    evidence.add(reference, reference)
    tolerance = registry.find_target("onnx-bf16").tolerance
    assert parity.verdict(evidence, tolerance, "torch").passed
    evidence.add_repeated(reference, np.ascontiguousarray(reference[..., ::-1]))
    reason = parity.verdict(evidence, tolerance, "torch").reason or ""
    assert "two answers to one input" in reason


def test_a_reference_of_nan_is_refused_for_that_and_not_for_repeating_itself():
    reference = np.full((1, 5, 8, 8), np.nan, np.float32)
    evidence = parity.Evidence("segmentation")
    evidence.add_repeated(reference, reference.copy())
    evidence.add(reference, reference)
    tolerance = registry.find_target("onnx-fp32").tolerance
    assert parity.verdict(evidence, tolerance, "torch").reason == "the reference itself holds NaN or Inf"


def test_a_constant_reference_has_the_spread_of_its_value():
    constant = np.full((1, 3, 8, 8), 0.5, np.float32)
    tolerance = registry.find_target("onnx-fp32").tolerance
    assert parity.judge("super-resolution", [(constant, constant + np.float32(1e-7))], tolerance).passed
    assert not parity.judge("super-resolution", [(constant, constant * np.float32(1.01))], tolerance).passed
    zero = np.zeros_like(constant)
    assert not parity.judge("super-resolution", [(zero, zero + np.float32(0.1))], tolerance).passed
