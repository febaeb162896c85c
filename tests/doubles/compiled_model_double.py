#!/usr/bin/env python3
"""TEST DOUBLE of LiteRT's CompiledModel benchmark_model: runs the file by LiteRT's CompiledModel, in the tool's format.

The format is that of LiteRT v2.2.0, litert/tools/benchmark_litert_model.{h,cc}. What goes wrong is planted in files of
the phone's folder, ``$VITDEPLOY_TEST_ROOT/faults/``.
"""

import os
import struct
import sys
import time
from pathlib import Path

ROOT = Path(os.environ.get("VITDEPLOY_TEST_ROOT", "."))
FLAGS = {
    "num_runs": "50", "min_secs": "1", "max_secs": "150", "num_threads": "-1", "warmup_runs": "1",
    "warmup_min_secs": "0.5", "graph": "", "use_cpu": "true", "use_gpu": "false", "use_npu": "false",
    "dispatch_library_path": "", "require_full_delegation": "false", "use_profiler": "false",
    "result_file_path": "", "model_runtime_info_output_file": "", "input_layer_value_range": "",
}  # fmt: skip
PROFILE = """INFO: [./litert/tools/benchmark_litert_model.h:194]
============================== Run Order ==============================
\t                             [node type]\t  [first]\t [avg ms]\t     [%]\t  [cdf%]\t  [mem KB]\t[times called]\t[Name]
\t                         AllocateTensors\t    0.291\t    0.291\t  0.022%\t  3.331%\t   452.000\t        0\tAllocateTensors/0
\t            Convolution (NHWC, F32) GEMM\t    0.538\t    0.382\t 92.948%\t 97.018%\t     0.000\t        1\tDelegate/Convolution (NHWC, F32) GEMM:1

============================== Summary by node type ==============================

Timings (microseconds): count=3166 first=947 curr=406 min=390 max=947 avg=411.071 std=14"""  # noqa: E501 (as it is printed)


def fault(name: str) -> str | None:
    path = ROOT / "faults" / name
    return path.read_text() if path.exists() else None


def varint(value: int) -> bytes:
    value %= 2**64
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def message(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def floats(values: dict[int, float]) -> bytes:
    return b"".join(varint(number << 3 | 5) + struct.pack("<f", value) for number, value in values.items())


def whole(values: dict[int, int]) -> bytes:
    return b"".join(varint(number << 3) + varint(value) for number, value in values.items())


def result_bytes(times_ms: dict[int, float], *, runs: int, warmup_runs: int, memory_kb: int | None) -> bytes:
    """A BenchmarkResult: fields of LatencyMetrics by number, and the counts."""
    memory = b"" if memory_kb is None else message(3, whole({1: 1, 2: memory_kb}))
    return message(2, floats(times_ms)) + memory + message(4, floats({1: 1.0}) + whole({2: runs, 3: warmup_runs}))


def runtime_info_bytes(nodes: int, taken_by: dict[int, list[int]]) -> bytes:
    """A ModelRuntimeDetails: so many own nodes, and which of them each delegate's node took."""
    taker = {node: nodes + place for place, taken in taken_by.items() for node in taken}
    own = [whole({1: node} | ({9: taker[node]} if node in taker else {})) for node in range(nodes)]
    name = message(1, b"TfLiteXNNPackDelegate")
    delegates = [whole({1: nodes + place}) + message(8, name) for place in taken_by]
    return message(2, whole({1: 0, 5: 1}) + b"".join(message(3, node) for node in [*own, *delegates]))


def block(times_us: list[int]) -> str:
    ordered = sorted(times_us)
    p5, median, p95 = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.05, 0.5, 0.95))
    tail = f"p5={p5} median={median} p95={p95}"
    if ordered[0] == ordered[-1]:
        return f"count={len(ordered)} curr={ordered[0]}{'(all same)' if len(ordered) > 1 else ''} {tail}"
    mean = sum(ordered) / len(ordered)
    return (
        f"count={len(ordered)} first={times_us[0]} curr={times_us[-1]} min={ordered[0]} max={ordered[-1]} "
        f"avg={mean:g} std=1 {tail}"
    )


def usage() -> int:
    known = {name: value for name, value in FLAGS.items() if not (fault("old") is not None and "range" in name)}
    print("ERROR: Failed to parse flag 'num_runs' against argv '--num_runs=?'", file=sys.stderr)
    lines = "".join(f"\t--{name}={value}\tstring\toptional\t-\n" for name, value in known.items())
    print(f"ERROR: usage: {sys.argv[0]} <flags>\nFlags:\n{lines}", file=sys.stderr)
    print("ERROR: Benchmarking failed.", file=sys.stderr)
    return 1


def log(place: int, line: str) -> None:
    print(f"INFO: [./litert/tools/benchmark_litert_model.h:{place}] {line}", file=sys.stderr)


def main() -> int:
    flags = FLAGS | {
        name: value for name, _, value in (word.removeprefix("--").partition("=") for word in sys.argv[1:])
    }
    print("INFO: STARTING!")
    if not flags["num_runs"].isdecimal():
        return usage()
    if unknown := [word for word in sys.argv[1:] if word.removeprefix("--").partition("=")[0] not in FLAGS]:
        print(f"WARN: Unconsumed cmdline flags: {' '.join(unknown)}")
    assert (flags["use_cpu"], flags["use_gpu"], flags["use_npu"]) == ("true", "false", "false")
    from ai_edge_litert.compiled_model import CompiledModel
    from ai_edge_litert.interpreter import Interpreter
    from ai_edge_litert.options import CpuOptions, Options

    began = time.perf_counter_ns()
    options = Options(cpu_options=CpuOptions(num_threads=int(flags["num_threads"])))
    model = CompiledModel.from_file(flags["graph"], options=options)
    buffers, outputs = model.create_input_buffers(0), model.create_output_buffers(0)
    init_us = (time.perf_counter_ns() - began) // 1000
    print(f"INFO: Initialized session in {init_us / 1000:g}ms.")
    interpreter = Interpreter(model_path=flags["graph"])
    nodes = sum(detail["op_name"] != "DELEGATE" for detail in interpreter._get_ops_details())
    info = runtime_info_bytes(nodes, {0: list(range(nodes))})
    Path(flags["model_runtime_info_output_file"]).write_bytes(info)

    def run(count: int, seconds: float) -> list[int]:
        print(
            f"INFO: Running benchmark for at least {count} iterations and at least {seconds:g} seconds but terminate "
            f"if exceeding {flags['max_secs']} seconds."
        )
        times_us: list[int] = []
        until = time.perf_counter() + seconds
        while len(times_us) < count or time.perf_counter() < until:
            start = time.perf_counter_ns()
            model.run_by_index(0, buffers, outputs)
            times_us.append(max(1, (time.perf_counter_ns() - start) // 1000))
        print(f"INFO: {block(times_us)}\n", flush=True)
        return times_us

    warm = run(int(flags["warmup_runs"]), float(flags["warmup_min_secs"]))
    timed = run(int(flags["num_runs"]), float(flags["min_secs"]))
    log(94, "\n========== BENCHMARK RESULTS ==========")
    log(99, f"Model initialization: {init_us / 1000:.2f} ms")
    log(105, f"Inference (avg):      {sum(timed) / len(timed) / 1000:.2f} ms ({len(timed)} runs)")
    log(139, "======================================\n")
    if flags["use_profiler"] == "true":
        print(PROFILE, file=sys.stderr)
    times_ms = {
        1: sum(timed) / len(timed) / 1000,
        5: sorted(timed)[len(timed) // 2] / (500 if fault("other_result") is not None else 1000),
        8: init_us / 1000,
        9: warm[0] / 1000,
        10: sum(warm) / len(warm) / 1000,
    }
    if fault("no_result") is None:
        written = result_bytes(times_ms, runs=len(timed), warmup_runs=len(warm), memory_kb=7240)
        Path(flags["result_file_path"]).write_bytes(written)
    return 0


if __name__ == "__main__":
    sys.exit(main())
