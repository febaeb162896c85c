"""An engine is opened where it belongs and refused elsewhere, with both sides in the message."""

from typing import Any

import pytest

from vitdeploy.artifacts import engine_binding
from vitdeploy.errors import Impossible

ORIN = engine_binding.bound_to(package="tensorrt", version="10.3.0", compute_capability=["8.7"], gpu="Orin")
AHEAD = engine_binding.bound_to(package="tensorrt_rtx", version="1.7.1.116", compute_capability=["8.0", "8.9"])
HERE = {"package": "tensorrt", "version": "10.3.0", "compute_capability": "8.7", "gpu": "Orin"}


def check(bound: Any, **changes: Any) -> tuple[str, ...]:
    return engine_binding.check(bound, **{**HERE, **changes})


def test_what_is_bound_is_what_a_manifest_says():
    assert ORIN == {"compute_capability": ["8.7"], "tensorrt": "10.3.0", "gpu": "Orin"}
    assert AHEAD == {"compute_capability": ["8.0", "8.9"], "tensorrt_rtx": "1.7.1.116"}


def test_an_engine_opens_at_home_and_an_unbound_file_anywhere():
    assert check(ORIN) == ()
    assert check({}, compute_capability=None) == ()
    rtx = {"package": "tensorrt_rtx", "version": "1.7.1.116"}
    assert all(check(AHEAD, **rtx, compute_capability=one) == () for one in ("8.0", "8.9"))


@pytest.mark.parametrize(
    ("bound", "changes", "said"),
    [
        (ORIN, {"compute_capability": "8.0", "gpu": "NVIDIA A100"}, r"bound to compute capability 8\.7.*has 8\.0"),
        (ORIN, {"compute_capability": None, "gpu": None}, "no NVIDIA GPU here"),
        (ORIN, {"version": "10.3.1"}, r"bound to tensorrt 10\.3\.0, and here is 10\.3\.1"),
        (ORIN, {"package": "tensorrt_rtx", "version": "1.7"}, r"built by tensorrt 10\.3\.0, and tensorrt_rtx 1\.7"),
        (
            AHEAD,
            {"package": "tensorrt_rtx", "version": "1.7.1.116", "compute_capability": "8.6"},
            r"8\.0 or 8\.9.*8\.6",
        ),
    ],
)
def test_elsewhere_it_is_refused_with_exit_4_and_both_sides(bound: Any, changes: Any, said: str):
    with pytest.raises(Impossible, match=said) as caught:
        check(bound, **changes)
    assert caught.value.exit_code == 4
    assert caught.value.hint.endswith(".")


def test_another_gpu_of_the_same_capability_is_a_note():
    (note,) = check(ORIN, gpu="Orin Nano")
    assert "Orin;" in note
    assert "Orin Nano" in note
    assert check({**ORIN, "gpu": None}, gpu="Orin Nano") == ()
