"""LiteRT's CompiledModel benchmark_model: told from the Interpreter tool, and its output and files read strictly.

The two outputs are as public documentation has them, printed by the real tool; nobody published the files that it
writes, so those are written here after its protocol buffers.
"""

# ruff: noqa: E501 - the lines are as they were printed

import subprocess
import sys

import pytest

from tests.doubles import compiled_model_double as double
from vitdeploy.devices.phone import compiled_model_tool, result_files, tool_kind, tool_output
from vitdeploy.devices.phone.compiled_model_tool import CompiledModelRequest
from vitdeploy.errors import Impossible, ToolchainFailed
from vitdeploy.runtimes import operator_table

LINUX = """\
INFO: STARTING!
INFO: Log parameter values verbosely: [0]
INFO: Num threads: [4]
INFO: [litert/tools/benchmark_litert_model.cc:137] Loading model from: blaze_face_short_range.tflite
INFO: [litert/core/environment.cc:29] Creating LiteRT environment with options
WARNING: [litert/runtime/accelerators/auto_registration.cc:46] NPU accelerator could not be loaded and registered: kLiteRtStatusErrorInvalidArgument.
I0000 00:00:1758455104.504065   62590 accelerator_registry.cc:51] RegisterAccelerator: ptr=0x559f093a7dd0, name=CpuAccelerator
INFO: [litert/runtime/accelerators/auto_registration.cc:109] CPU accelerator registered.
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
INFO: The input model file size (MB): 0.229746
INFO: Initialized session in 5.757ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=526 first=2125 curr=969 min=910 max=2125 avg=949.861 std=68 p5=915 median=939 p95=990

INFO: Running benchmark for at least 50 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=1054 first=1015 curr=942 min=910 max=1102 avg=947.132 std=23 p5=915 median=942 p95=991

INFO: [./litert/tools/benchmark_litert_model.h:72]
========== BENCHMARK RESULTS ==========
INFO: [./litert/tools/benchmark_litert_model.h:73] Model initialization: 5.76 ms
INFO: [./litert/tools/benchmark_litert_model.h:77] Warmup (avg):         0.95 ms (526 runs)
INFO: [./litert/tools/benchmark_litert_model.h:79] Inference (avg):      0.95 ms (1054 runs)
INFO: [./litert/tools/benchmark_litert_model.h:107] Overall footprint:    7.07 MB
INFO: [./litert/tools/benchmark_litert_model.h:117] ======================================
"""
"""Source: LiteRT, g3doc/instructions/BUILD_INSTRUCTIONS.md."""

ANDROID = """\
VERBOSE: Replacing 1 out of 1 node(s) with delegate (TfLiteXNNPackDelegate) node, yielding 1 partitions for subgraph 0.
INFO: The input model file size (MB): 3.27774
INFO: Initialized session in 4.478ms.
INFO: Running benchmark for at least 1 iterations and at least 0.5 seconds but terminate if exceeding 150 seconds.
INFO: count=1055 first=1033 curr=473 min=443 max=1033 avg=465.319 std=18 p5=459 median=463 p95=478

INFO: Running benchmark for at least 1000 iterations and at least 1 seconds but terminate if exceeding 150 seconds.
INFO: count=2112 first=463 curr=459 min=442 max=979 avg=464.545 std=13 p5=460 median=462 p95=478

INFO: [./litert/tools/benchmark_litert_model.h:81]
========== BENCHMARK RESULTS ==========
INFO: [./litert/tools/benchmark_litert_model.h:82] Model initialization: 4.48 ms
INFO: [./litert/tools/benchmark_litert_model.h:126] ======================================

INFO: [./litert/tools/benchmark_litert_model.h:179]
============================== Run Order ==============================
\t                             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t        LiteRT::Run[buffer registration]\t    0.020\t    0.014\t  3.309%\t  3.309%\t     0.000\t        1\tLiteRT::Run[buffer registration]/0
\t                         AllocateTensors\t    0.291\t    0.291\t  0.022%\t  3.331%\t   452.000\t        0\tAllocateTensors/0
\t                     Static Reshape (NC)\t    0.085\t    0.003\t  0.739%\t  4.070%\t     0.000\t        1\tDelegate/Static Reshape (NC):0
\t         Fully Connected (NC, PF32) GEMM\t    0.538\t    0.382\t 92.948%\t 97.018%\t     0.000\t        1\tDelegate/Fully Connected (NC, PF32) GEMM:1
\t                LiteRT::Run[Buffer sync]\t    0.013\t    0.012\t  2.982%\t100.000%\t     0.000\t        1\tLiteRT::Run[Buffer sync]/0

============================== Top by Computation Time ==============================
\t                             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t         Fully Connected (NC, PF32) GEMM\t    0.538\t    0.382\t 92.948%\t 92.948%\t     0.000\t        1\tDelegate/Fully Connected (NC, PF32) GEMM:1

Timings (microseconds): count=3166 first=947 curr=406 min=390 max=947 avg=411.071 std=14
"""
"""On an Android phone with SME2, core 7, with ``--use_profiler``. Source: Arm's learning paths, "Benchmark the LiteRT
model"."""

INFO = double.runtime_info_bytes(60, {0: list(range(31)), 1: list(range(33, 60))})


def result_of(**changes: float) -> bytes:
    """The file beside `LINUX`."""
    values = {"avg": 0.947132, "median": 0.942, "runs": 1054, "warmup_runs": 526, "memory_kb": 7240} | changes
    times_ms = {1: values["avg"], 5: values["median"], 8: 5.757, 9: 2.125, 10: 0.949861}
    return double.result_bytes(
        times_ms,
        runs=int(values["runs"]),
        warmup_runs=int(values["warmup_runs"]),
        memory_kb=int(values["memory_kb"]),
    )


def test_the_printed_block_and_the_files_make_the_figure():
    output = compiled_model_tool.parse_output(LINUX, result_of(), INFO)
    assert tool_output.median_us(output) == 942
    assert (output.block.count, output.warmup.count, output.block.step_us) == (1054, 526, 1)
    assert (output.init_us, output.first_us) == pytest.approx((5757, 2125))
    assert output.memory_mb == pytest.approx(7.07, abs=0.005)
    assert output.delegate == "58 of 60 nodes in 2 partitions"


def test_a_profile_after_the_figure_is_no_third_block():
    times_ms = {1: 0.464545, 5: 0.462, 8: 4.478, 9: 1.033, 10: 0.465319}
    result = double.result_bytes(times_ms, runs=2112, warmup_runs=1055, memory_kb=None)
    output = compiled_model_tool.parse_output(ANDROID, result, double.runtime_info_bytes(1, {0: [0]}))
    assert (output.block.median_us, output.memory_mb, output.delegate) == (462, None, "1 of 1 nodes in 1 partition")
    times_ns = operator_table.ns_by_type(ANDROID)
    assert times_ns["Fully Connected (NC, PF32) GEMM"] == 382_000
    assert "AllocateTensors" not in times_ns  # once a process, not once an inference


@pytest.mark.parametrize(
    ("text", "result", "info", "words"),
    [
        (LINUX.replace("count=526", "n=526"), result_of(), INFO, "1 blocks before the summary"),
        (LINUX.replace("median=942", "median=9420"), result_of(), INFO, "values outside their own range"),
        (LINUX, result_of(runs=1055), INFO, "1055 inference runs, its output 1054"),
        (LINUX, result_of(warmup_runs=1), INFO, "1 warm-up runs, its output 526"),
        (LINUX, result_of(median=1.942), INFO, "inference's median is 1942 µs in its result file and 942"),
        (LINUX, result_of(avg=float("nan")), INFO, "inference's mean is nan"),
        (LINUX, b"", INFO, "no time 1"),
        (LINUX, result_of()[:-3], INFO, "ends within a field"),
        (LINUX, b"\xff" * 20, INFO, "no number at byte 0"),
        (LINUX, b"\x0b\x00", INFO, "a field of kind 3"),
        (LINUX, result_of(), b"", "lists 0 nodes"),
        (LINUX, result_of(), double.runtime_info_bytes(4, {0: []}), "0 of them delegated to 1 partitions"),
        (f"{LINUX}WARN: Unconsumed cmdline flags: --use_npu=false", result_of(), INFO, "does not know --use_npu"),
    ],
)
def test_what_contradicts_itself_is_no_figure(text: str, result: bytes, info: bytes, words: str):
    with pytest.raises(ToolchainFailed, match=words):
        compiled_model_tool.parse_output(text, result, info)


def test_a_graph_of_which_nothing_was_taken_is_said_so():
    assert result_files.read_delegation(double.runtime_info_bytes(7, {})).words == "none of 7 nodes"


def test_memory_that_shrank_is_none():
    assert compiled_model_tool.parse_output(LINUX, result_of(memory_kb=-12), INFO).memory_mb == 0


GOOGLES_WRITER = """
import sys
from ai_edge_litert import model_runtime_info_pb2 as schema
details = schema.ModelRuntimeDetails()
for subgraph_nodes in (3, 2):
    subgraph = details.subgraphs.add(subgraph_id=0, name="main", execution_plan=[0, 3])
    subgraph.edges.add(id=0, name="image", shape=[1, 224, 224, 3])
    for node in range(subgraph_nodes):
        subgraph.nodes.add(id=node, name="CONV_2D", type="3", inputs=[0, 1, 2], delegated_to_node_id=0)
    delegate = subgraph.nodes.add(id=9, name="TfLiteXNNPackDelegate")
    delegate.delegate_node_details.delegate_name = "TfLiteXNNPackDelegate"
    subgraph.nodes.add(id=10, name="RESIZE_BILINEAR", type="23")
sys.stdout.buffer.write(details.SerializeToString())
"""


def test_files_as_googles_own_code_writes_them_are_read():
    for package in ("google.protobuf", "ai_edge_litert"):
        pytest.importorskip(package, reason=f"{package} is not installed")
    # In a process of its own: TensorFlow's library has messages of the same names.
    written = subprocess.run([sys.executable, "-c", GOOGLES_WRITER], capture_output=True, check=True)
    assert result_files.read_delegation(written.stdout).words == "5 of 7 nodes in 2 partitions"


INTERPRETER_USAGE = """\
ERROR: Failed to parse flag 'num_runs' against argv '--num_runs=?'
ERROR: usage: ./benchmark_model <flags>
Flags:
\t--num_runs=50                            \tint32\toptional\texpected number of runs, see also min_secs, max_secs
\t--graph=                                 \tstring\toptional\tgraph file name
\t--input_layer_value_files=               \tstring\toptional\tA map-like string representing value file.
\t--require_full_delegation=false          \tbool\toptional\trequire delegate to run the entire graph
ERROR: Benchmarking failed.
"""
COMPILED_MODEL_USAGE = """\
ERROR: usage: ./benchmark_model <flags>
Flags:
\t--num_runs=50                            \tint32\toptional\texpected number of runs, see also min_secs, max_secs
\t--use_npu=false                          \tbool\toptional\tWhether to use NPU accelerator.
\t--gpu-precision=auto                     \tstring\toptional\tGPU precision option [auto|fp16|fp32].
\t--input_layer_value_range=               \tstring\toptional\tA map-like string representing value range.
"""
"""Both after the format string of ``Flags::Usage``."""


@pytest.mark.parametrize(
    ("usage", "kind"),
    [
        (INTERPRETER_USAGE, "interpreter"),
        (COMPILED_MODEL_USAGE, "compiled-model"),
        ("Segmentation fault", "interpreter"),
    ],
)
def test_a_tool_is_known_by_the_flags_that_it_lists(usage: str, kind: str):
    assert tool_kind.kind_of(usage) == kind


def test_a_version_that_may_ignore_the_threads_is_refused():
    with pytest.raises(Impossible, match="may ignore the threads"):
        tool_kind.kind_of(COMPILED_MODEL_USAGE.replace("input_layer_value_range", "other"))


def test_the_command_asks_for_the_cpu_and_for_both_files():
    request = CompiledModelRequest(
        tool="/f/tool", graph="/f/g", threads=4, mask="f0", result_file="/f/g.result", runtime_info_file="/f/g.info"
    )
    words = compiled_model_tool.timing_command(request, min_time_s=0.5)
    assert words[:3] == ["taskset", "f0", "/f/tool"]
    expected = {
        "--num_threads=4",
        "--use_cpu=true",
        "--use_gpu=false",
        "--use_npu=false",
        "--result_file_path=/f/g.result",
    }
    assert expected < set(words)
    assert not [word for word in words if "xnnpack" in word or "input" in word or "profil" in word]
