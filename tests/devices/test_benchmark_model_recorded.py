"""What Google's own Interpreter tool printed on this project's files: complete, with the command that it was given.

Where it was built: tests/data/benchmark_model/README.md. tests/devices/test_android_userland.py runs such a build.
"""

import shlex
from pathlib import Path

import pytest

from vitdeploy.catalog.spec import TensorSpec
from vitdeploy.devices.phone import benchmark_model, tool_output
from vitdeploy.devices.phone.benchmark_model import ToolRequest
from vitdeploy.errors import ToolchainFailed

FOLDER = Path(__file__).parents[1] / "data" / "benchmark_model" / "recorded"
SIZES = {"efficientvit_b0": (224, 224), "efficientvit_seg_b0_cityscapes": (1024, 2048)}


def recorded(name: str) -> tuple[list[str], str]:
    """The words of the command, and what it printed."""
    first, _, printed = (FOLDER / f"{name}.txt").read_text().partition("\n")
    assert first.startswith("$ ")
    return shlex.split(first[2:]), printed


@pytest.mark.parametrize(
    ("name", "count", "median_us", "mean_us", "init_us", "first_us"),
    [
        ("efficientvit_b0_plain", 1030, 1814, 1906.66, 12917, 2263),
        ("efficientvit_b0_profile", 1012, 1894, 1906.04, 12264, 2116),
        ("efficientvit_seg_b0_cityscapes_plain", 22, 91035, 91475.1, 85223, 91406),
    ],
)
def test_what_the_tool_printed_is_read(
    name: str, count: int, median_us: float, mean_us: float, init_us: float, first_us: float
):
    found = benchmark_model.parse_output(recorded(name)[1])
    assert (found.block.count, tool_output.median_us(found), found.block.avg_us) == (count, median_us, mean_us)
    assert (found.init_us, found.first_us) == (init_us, first_us)
    assert found.delegate == "all"


@pytest.mark.parametrize("name", ["efficientvit_b0", "efficientvit_seg_b0_cityscapes"])
def test_a_phone_gets_the_words_that_the_tool_was_given(name: str):
    height, width = SIZES[name]
    request = ToolRequest(
        tool="benchmark_model",
        graph="model.tflite",
        threads=2,
        mask="3",
        inputs=[TensorSpec(name="image", shape=(1, height, width, 3), dtype="float32", layout="NHWC")],
        input_files=["input0"],
        output_file="output",
    )
    assert recorded(f"{name}_plain")[0] == benchmark_model.timing_command(request, min_time_s=2)


def test_an_option_that_the_tool_does_not_know_is_no_figure():
    with pytest.raises(ToolchainFailed, match=r"does not know --flag_from_future"):
        benchmark_model.parse_output(recorded("unknown_flag")[1])


def test_an_input_of_another_size_is_no_figure():
    printed = recorded("short_input")[1]
    assert "FATAL: The size of input0 is 100000 bytes" in printed
    with pytest.raises(ToolchainFailed, match="0 summaries"):
        benchmark_model.parse_output(printed)
