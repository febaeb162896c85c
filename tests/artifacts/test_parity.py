"""Parity: finite, close beside the spread of the reference, and agreeing in the task's own metric."""

import numpy as np
import pytest

from vitdeploy.artifacts import parity
from vitdeploy.catalog import registry

TOLERANCE = registry.find_target("onnx-fp32").tolerance
REFERENCE = np.random.default_rng(0).normal(0, 3, (1, 19, 16, 16)).astype(np.float32)


def judged(output: np.ndarray, task: str = "segmentation"):
    return parity.judge(task, [(REFERENCE, output)], TOLERANCE)  # pyright: ignore[reportArgumentType]


def test_the_same_output_passes():
    found = judged(REFERENCE)
    assert found.passed
    assert (found.max_abs, found.metric.value, found.cosine) == (0, 1.0, pytest.approx(1))


def test_rounding_noise_passes():
    assert judged(REFERENCE + np.float32(1e-5)).passed


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_fails(value: float):
    output = REFERENCE.copy()
    output[0, 3, 2, 1] = value
    found = judged(output)
    assert not found.passed
    assert not found.finite


def test_silent_zeros_fail():
    found = judged(np.zeros_like(REFERENCE))
    assert not found.passed


def test_an_error_that_leaves_every_argmax_alone_still_fails():
    found = judged(REFERENCE * np.float32(1.05))
    assert found.metric.value == 1.0
    assert not found.passed
    assert "deviation" in (found.reason or "")


def test_one_wrong_pixel_in_a_hundred_fails():
    output = REFERENCE.copy()
    output[0, :, 0, :3] = -output[0, :, 0, :3]
    assert not judged(output).passed


def test_nothing_compared_is_not_a_pass():
    assert not parity.judge("classification", [], TOLERANCE).passed


def test_images_are_judged_by_psnr():
    reference = np.linspace(0, 1, 300, dtype=np.float32).reshape(1, 3, 10, 10)
    output = reference + np.float32(0.01)
    found = parity.judge("super-resolution", [(reference, output)], TOLERANCE)
    assert found.metric.value == pytest.approx(40, abs=0.01)  # 20·log10(1/0.01)
    assert not found.passed


def test_what_is_no_image_on_a_0_to_1_scale_has_a_peak_of_its_own():
    scaled = np.linspace(-10, 10, 300, dtype=np.float32).reshape(1, 3, 10, 10)  # of a deviation of 5.8
    found = parity.judge("super-resolution", [(scaled, scaled * np.float32(1.01))], TOLERANCE)
    of_scale = np.linspace(0, 1, 300, dtype=np.float32).reshape(1, 3, 10, 10)
    alike = parity.judge("super-resolution", [(of_scale, of_scale + np.float32(0.005))], TOLERANCE)
    assert found.metric.value == pytest.approx(20 * np.log10(2 * scaled.std() / (0.01 * np.sqrt(np.mean(scaled**2)))))
    assert alike.metric.value == pytest.approx(20 * np.log10(1 / 0.005), abs=0.01)


def test_one_pixel_of_an_image_may_be_further_off_in_half_precision_than_a_logit():
    half = registry.find_target("onnx-fp16").tolerance
    reference = np.linspace(0, 1, 30_000, dtype=np.float32).reshape(1, 3, 100, 100)
    output = reference.copy()
    output[0, 0, 50, 50] += 0.7 * reference.std()
    assert parity.judge("super-resolution", [(reference, output)], half).passed
    assert not parity.judge("segmentation", [(reference, output)], half).passed
    output[0, 0, 50, 50] += 0.7 * reference.std()
    assert not parity.judge("super-resolution", [(reference, output)], half).passed


def test_labels_agree_by_share():
    labels = np.zeros((1, 10, 10), dtype=np.int64)
    other = labels.copy()
    other[0, 0, 0] = 1
    evidence = parity.Evidence("segmentation")
    evidence.add(labels, other)
    assert evidence.metric == 0.99


def test_other_shapes_are_an_error():
    with pytest.raises(ValueError, match="against reference"):
        judged(REFERENCE[:, :, :8])
