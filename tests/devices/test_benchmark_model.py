"""Google's benchmark_model: the words that run it, and what every version of it prints, read strictly."""

from pathlib import Path

import pytest

from vitdeploy.catalog.spec import TensorSpec
from vitdeploy.devices.phone import benchmark_model, tool_output
from vitdeploy.errors import Impossible, ToolchainFailed

DATA = Path(__file__).parents[1] / "data" / "benchmark_model"
IMAGE = TensorSpec(name="image", shape=(1, 224, 224, 3), dtype="float32", layout="NHWC")


def text(name: str) -> str:
    return (DATA / f"{name}.txt").read_text()


@pytest.mark.parametrize(
    ("name", "count", "mean_us", "median_us", "init_us", "first_us", "memory_mb", "delegate"),
    [
        ("tflite_2019", 50, 600701, None, 18402, 612345, None, None),
        ("tflite_2021", 62, 16057.3, None, 9211, 18822, 27.4141, None),
        ("tflite_2023", 50, 2074550, None, 41770, 2105512, 214.297, "5 parts"),
        ("litert_2026", 20, 51020.6, 40991, 71904, 61044, 96.0625, "all"),
        ("litert_2026_all_same", 10, 7, 7, 402, 11, 0, "nothing"),
        ("litert_2026_profile", 20, 51020.6, 40991, 71904, 61044, 96.0625, "all"),
    ],
)
def test_every_version_is_read(
    name: str,
    count: int,
    mean_us: float,
    median_us: float | None,
    init_us: float,
    first_us: float,
    memory_mb: float | None,
    delegate: str | None,
):
    found = benchmark_model.parse_output(text(name))
    assert (found.block.count, found.block.avg_us, found.block.median_us) == (count, mean_us, median_us)
    assert (found.init_us, found.first_us, found.memory_mb, found.delegate) == (init_us, first_us, memory_mb, delegate)


def test_every_transcript_is_tried():
    assert len(list(DATA.glob("*.txt"))) == 6


@pytest.mark.parametrize(
    ("printed", "step_us"), [("40991", 1), ("40991.5", 1), ("4.0991e+04", 1), ("1.23981e+06", 10), ("1.2e+07", 100)]
)
def test_the_step_of_the_median_is_the_clocks_or_that_of_the_printed_digits(printed: str, step_us: float):
    block = f"curr=40988 min=40610 max=2e+07 avg=51020.6 std=43771 p5=40610 median={printed} p95=42077"
    before, _, after = text("litert_2026").partition("curr=40988 ")
    output = benchmark_model.parse_output(before + block + after[after.index("\n") :])
    assert output.block.step_us == step_us


def test_the_median_is_the_figure_and_a_mean_is_no_substitute():
    assert tool_output.median_us(benchmark_model.parse_output(text("litert_2026"))) == 40991
    with pytest.raises(Impossible, match="prints no median") as refused:
        tool_output.median_us(benchmark_model.parse_output(text("tflite_2023")))
    assert refused.value.exit_code == 4


def test_the_warm_up_is_not_the_figure():
    found = benchmark_model.parse_output(text("litert_2026"))
    assert (found.warmup.count, found.warmup.median_us) == (12, 41402)


def test_lines_of_windows_and_of_logcat_are_lines():
    for changed in (
        text("litert_2026").replace("\n", "\r\n"),
        text("litert_2026").replace("INFO: ", "I tflite  : "),
        text("litert_2026").replace("INFO: ", ""),
    ):
        assert benchmark_model.parse_output(changed) == benchmark_model.parse_output(text("litert_2026"))


def _without(lines: str) -> str:
    return "\n".join(line for line in text("litert_2026").splitlines() if lines not in line)


@pytest.mark.parametrize(
    ("garbage", "words"),
    [
        ("", "0 summaries"),
        ("\x7fELF\x00 count=many", "0 summaries"),
        ("Segmentation fault", "0 summaries"),
        (_without("count="), "0 blocks before the summary"),
        (_without("count=12"), "1 blocks before the summary"),
        (_without("Inference timings"), "0 summaries"),
        (text("litert_2026") * 2, "2 summaries"),
        (text("litert_2026").replace("count=20", "count=0"), "no block"),
        (text("litert_2026").replace("count=20", "count=-2"), "no block"),
        (text("litert_2026").replace("median=40991", "median=nan"), "no block"),
        (text("litert_2026").replace("median=40991", "median=9"), "outside their own range"),
        (text("litert_2026").replace("avg=51020.6", "avg=41020.6"), "mean is 51020.6 in the summary"),
        (text("litert_2026").replace("min=40610", "min=0"), "not positive"),
        (text("litert_2026").replace("p95=42077", "p95=42077 p99=43000"), "no block"),
        (text("litert_2026_all_same").replace("(all same)", ""), "without a mean"),
        (text("litert_2026_all_same").replace("median=7", "median=8"), "not the only value"),
    ],
)
def test_what_is_no_output_is_refused(garbage: str, words: str):
    with pytest.raises(ToolchainFailed, match=words):
        benchmark_model.parse_output(garbage)


def test_a_truncated_output_is_never_a_figure():
    whole = text("litert_2026")
    end = whole.index("Inference (avg): 51020.6") + len("Inference (avg): 51020")
    for length in range(0, end, 7):
        with pytest.raises(ToolchainFailed):
            benchmark_model.parse_output(whole[:length])


def test_a_build_that_does_not_know_an_option_is_refused_unless_the_option_switches_off():
    unknown = "WARN: Unconsumed cmdline flags: --output_filepath=/x --xnnpack_force_fp16=false\n"
    with pytest.raises(ToolchainFailed, match="does not know --output_filepath"):
        benchmark_model.parse_output(unknown + text("litert_2026"))
    harmless = "WARN: Unconsumed cmdline flags: --xnnpack_force_fp16=false\n"
    assert benchmark_model.parse_output(harmless + text("litert_2026")).block.count == 20


def test_the_words_say_cores_threads_and_arithmetic_and_name_real_inputs():
    points = TensorSpec(name="points:0", shape=(1, 2), dtype="float32", layout="other")
    request = benchmark_model.ToolRequest(
        tool="/tool",
        graph="/graph",
        threads=4,
        mask="f0",
        inputs=(IMAGE, points),
        input_files=("/a", "/b"),
        output_file="/out",
    )
    words = benchmark_model.timing_command(request, min_time_s=0.25)
    assert words[:4] == ["taskset", "f0", "/tool", "--graph=/graph"]
    assert {"--num_threads=4", "--use_xnnpack=true", "--xnnpack_force_fp16=false", "--min_secs=0.25"} <= set(words)
    assert "--input_layer=image,points_0" in words
    assert "--input_layer_shape=1,224,224,3:1,2" in words
    assert "--input_layer_value_files=image:/a,points_0:/b" in words
    assert words[-1] == "--output_filepath=/out"
