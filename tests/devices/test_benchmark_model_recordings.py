"""What benchmark_model printed on devices of others, read by the parser: the lines with figures, as they were printed.

From public issues and documentation (`Recording.source`): phones, boards and versions that we never had. The
complete outputs in ``tests/data/benchmark_model`` are written after the tool's format strings; these are not.
"""

# ruff: noqa: E501 - the lines are as they were printed

from dataclasses import dataclass

import pytest

from vitdeploy.devices.phone import benchmark_model, tool_output
from vitdeploy.devices.phone.tool_output import InferenceBlock
from vitdeploy.errors import Impossible, ToolchainFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One output, and what a person reads in it."""

    source: str
    lines: str
    warmup: InferenceBlock
    block: InferenceBlock
    init_us: float
    memory_mb: float | None
    delegate: str | None


def block(
    count: int, first: float, mean: float, low: float, high: float, median: float | None = None
) -> InferenceBlock:
    return InferenceBlock(count=count, first_us=first, avg_us=mean, min_us=low, max_us=high, median_us=median)


RECORDINGS = {
    "android-2019": Recording(
        source="github.com/yuenshome/yuenshome.github.io/issues/77, MobileNet v1 on an Android phone, one thread",
        lines="""\
resolved reporter
Initialized session in 9.933ms
Running benchmark for at least 4 iterations and at least 0.5 seconds
count=7 first=127425 curr=66709 min=66709 max=127425 avg=76605.9 std=20944

Running benchmark for at least 10 iterations and at least 1 seconds
count=15 first=66753 curr=66800 min=66699 max=66838 avg=66767.6 std=39

Average inference timings in us: Warmup: 76605.9, Init: 9933, no stats: 66767.6
""",
        warmup=block(7, 127425, 76605.9, 66709, 127425),
        block=block(15, 66753, 66767.6, 66699, 66838),
        init_us=9933,
        memory_mb=None,
        delegate=None,
    ),
    "android-2020": Recording(
        source="github.com/tensorflow/tensorflow/issues/42507, ESPCN on an Android phone, four threads",
        lines="""\
Initialized session in 0.855ms.
Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
count=15 first=49060 curr=33682 min=32825 max=49060 avg=34825.1 std=3930

Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
count=50 first=32891 curr=33978 min=32641 max=34005 avg=33209.4 std=450

Inference timings in us: Init: 855, First inference: 49060, Warmup (avg): 34825.1, Inference (avg): 33209.4
Peak memory footprint (MB): init=0 overall=12.8672
Profiling Info for Benchmark Initialization:
""",
        warmup=block(15, 49060, 34825.1, 32825, 49060),
        block=block(50, 32891, 33209.4, 32641, 34005),
        init_us=855,
        memory_mb=12.8672,
        delegate=None,
    ),
    "raspberry-pi-2021": Recording(
        source="github.com/google/XNNPACK/issues/999, an int8 detector on a Raspberry Pi, four threads",
        lines="""\
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
The input model file size (MB): 3.67827
Initialized session in 18.777ms.
count=9 first=64791 curr=56295 min=54873 max=65831 avg=57758.2 std=4065

count=50 first=58154 curr=53809 min=53077 max=60727 avg=55043.2 std=1562

Inference timings in us: Init: 18777, First inference: 64791, Warmup (avg): 57758.2, Inference (avg): 55043.2
Memory footprint delta from the start of the tool (MB): init=8.97656 overall=18.7227
""",
        warmup=block(9, 64791, 57758.2, 54873, 65831),
        block=block(50, 58154, 55043.2, 53077, 60727),
        init_us=18777,
        memory_mb=18.7227,
        delegate=None,
    ),
    "ti-am62x-older": Recording(
        source="Texas Instruments' Processor SDK documentation for AM62x, TFLite benchmark, an older edition",
        lines="""\
INFO: XNNPACK delegate created.
INFO: Explicitly applied XNNPACK delegate, and the model graph will be partially executed by the delegate w/ 1 delegate kernels.
INFO: Initialized session in 592.232ms.
INFO: count=1 curr=633430

INFO: count=50 first=605745 curr=618849 min=568228 max=722188 avg=602943 std=27690

INFO: Inference timings in us: Init: 592232, First inference: 633430, Warmup (avg): 633430, Inference (avg): 602943
""",
        warmup=block(1, 633430, 633430, 633430, 633430, 633430),
        block=block(50, 605745, 602943, 568228, 722188),
        init_us=592232,
        memory_mb=None,
        delegate="1 part",
    ),
    "ti-am62x": Recording(
        source="Texas Instruments' Processor SDK documentation for AM62x, TFLite benchmark",
        lines="""\
INFO: Use xnnpack: [0]
INFO: Initialized session in 5.579ms.
INFO: count=1 curr=1357602 p5=1357602 median=1357602 p95=1357602

INFO: count=50 first=1249964 curr=1240143 min=1238588 max=1252566 avg=1.24027e+06 std=2565 p5=1238753 median=1239807 p95=1247415

INFO: Inference timings in us: Init: 5579, First inference: 1357602, Warmup (avg): 1.3576e+06, Inference (avg): 1.24027e+06
INFO: Memory footprint delta from the start of the tool (MB): init=6.36328 overall=109.832
""",
        warmup=block(1, 1357602, 1357602, 1357602, 1357602, 1357602),
        block=block(50, 1249964, 1240270, 1238588, 1252566, 1239807),
        init_us=5579,
        memory_mb=109.832,
        delegate=None,
    ),
    "android-aarch64": Recording(
        source="a public log of android_aarch64_benchmark_model on an Android phone (tiny_muaalem_float32.tflite)",
        lines="""\
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
VERBOSE: Replacing 2168 out of 2168 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 partitions for subgraph 0.
INFO: Initialized session in 119.515ms.
INFO: count=9 first=87112 curr=51629 min=51629 max=87112 avg=58147.4 std=11478 p5=51629 median=51962 p95=87112

INFO: Running benchmark for at least 1000 iterations and at least 1 seconds but terminate if exceeding 150 seconds.



INFO: count=1000 first=52162 curr=49785 min=49088 max=686105 avg=63743.2 std=60716 p5=49620 median=51891 p95=68628

INFO: Inference timings in us: Init: 119515, First inference: 87112, Warmup (avg): 58147.4, Inference (avg): 63743.2
INFO: Memory footprint delta from the start of the tool (MB): init=55.4961 overall=55.4961
""",
        warmup=block(9, 87112, 58147.4, 51629, 87112, 51962),
        block=block(1000, 52162, 63743.2, 49088, 686105, 51891),
        init_us=119515,
        memory_mb=55.4961,
        delegate=None,
    ),
}

FAILED = """\
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
VERBOSE: Replacing 2136 out of 2168 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 65 partitions for subgraph 0.
ERROR: Node number 57 (BATCH_MATMUL) failed to prepare.
ERROR: Failed to allocate tensors!
ERROR: Benchmarking failed.
"""
"""From the same log: an int8 file that the tool does not take."""


@pytest.mark.parametrize("name", RECORDINGS)
def test_what_a_device_printed_is_read(name: str):
    recording = RECORDINGS[name]
    found = benchmark_model.parse_output(recording.lines)
    assert (found.warmup, found.block) == (recording.warmup, recording.block)
    assert (found.init_us, found.memory_mb, found.delegate) == (
        recording.init_us,
        recording.memory_mb,
        recording.delegate,
    )


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_figure_is_made_of_a_median_only(name: str):
    found = benchmark_model.parse_output(RECORDINGS[name].lines)
    if found.block.median_us is None:
        with pytest.raises(Impossible, match="prints no median"):
            tool_output.median_us(found)
    else:
        assert tool_output.median_us(found) == found.block.median_us


def test_one_slow_inference_on_a_phone_shows_why_the_mean_is_no_figure():
    found = benchmark_model.parse_output(RECORDINGS["android-aarch64"].lines).block
    assert found.median_us is not None
    assert found.avg_us / found.median_us > 1.2


def test_a_failure_that_a_device_printed_is_no_figure():
    with pytest.raises(ToolchainFailed, match="0 summaries"):
        benchmark_model.parse_output(FAILED)
