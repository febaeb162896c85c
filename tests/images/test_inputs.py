"""The inputs of a trial: distinct, seeded, image-like, bounded in memory."""

import numpy as np
import pytest

from vitdeploy.catalog.spec import Layout, TensorSpec
from vitdeploy.images import inputs


def image(shape: tuple[int, ...], dtype: str = "float32", layout: Layout = "NCHW") -> TensorSpec:
    return TensorSpec(name="image", shape=shape, dtype=dtype, layout=layout)


def test_a_pool_holds_64_small_inputs_and_they_differ():
    pool = inputs.make_pool((image((1, 3, 64, 64)),), seed=0)
    assert len(pool) == 64
    assert len({feeds["image"].tobytes() for feeds in pool}) == 64


def test_large_inputs_are_fewer_and_never_one():
    assert inputs.pool_size((image((1, 3, 1024, 2048)),)) == 10
    assert inputs.pool_size((image((8, 3, 4096, 4096)),)) == 2


def test_the_seed_decides():
    specs = (image((1, 3, 32, 64)),)
    first, again, other = (inputs.make_pool(specs, seed)[5]["image"] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_neighboring_pixels_are_alike_as_in_a_photograph():
    values = inputs.make_pool((image((1, 3, 128, 128)),), seed=0)[0]["image"]
    steps = np.abs(np.diff(values, axis=-1))
    assert np.median(steps) < 0.3 * values.std()
    assert steps.max() > values.std()


@pytest.mark.parametrize(
    ("spec", "low", "high"),
    [
        (image((1, 3, 64, 64)), -2.2, 2.7),
        (image((1, 3, 64, 64), "float16"), -2.2, 2.7),
        (image((1, 64, 64, 3), "uint8", "NHWC"), 0, 255),
        (TensorSpec(name="points", shape=(1, 5, 2), dtype="float32", layout="other"), 0, 1),
        (TensorSpec(name="labels", shape=(1, 5), dtype="int64", layout="other"), 0, 1),
    ],
)
def test_values_are_in_the_range_of_their_kind(spec: TensorSpec, low: float, high: float):
    values = inputs.make_pool((spec,), seed=0)[0][spec.name]
    assert values.shape == spec.shape
    assert values.dtype == spec.dtype
    assert values.flags.c_contiguous
    assert values.std() > 0
    assert low <= values.min() <= values.max() <= high
