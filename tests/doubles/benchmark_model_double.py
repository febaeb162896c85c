#!/usr/bin/env python3
"""TEST DOUBLE of Google's benchmark_model: really runs the TFLite file, by ai-edge-litert, and prints LiteRT's format.

What goes wrong is planted in files of the phone's folder, ``$VITDEPLOY_TEST_ROOT/faults/``.
"""

import os
import sys
import time
from pathlib import Path

ROOT = Path(os.environ["VITDEPLOY_TEST_ROOT"])
KNOWN = {
    "graph", "num_threads", "use_xnnpack", "xnnpack_force_fp16", "num_runs", "min_secs", "max_secs", "warmup_runs",
    "warmup_min_secs", "enable_op_profiling", "input_layer", "input_layer_shape", "input_layer_value_files",
    "output_filepath",
}  # fmt: skip


def fault(name: str) -> str | None:
    path = ROOT / "faults" / name
    return path.read_text() if path.exists() else None


def say(line: str) -> None:
    print(f"INFO: {line}", flush=True)


def block(times_us: list[int]) -> str:
    ordered = sorted(times_us)
    shares = [ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.05, 0.5, 0.95)]
    tail = "" if fault("no_median") is not None else " p5={} median={} p95={}".format(*shares)
    if ordered[0] == ordered[-1]:
        return f"count={len(ordered)} curr={ordered[0]}{'(all same)' if len(ordered) > 1 else ''}{tail}"
    mean = sum(ordered) / len(ordered)
    std = int((sum((value - mean) ** 2 for value in ordered) / len(ordered)) ** 0.5)
    return (
        f"count={len(ordered)} first={times_us[0]} curr={times_us[-1]} min={ordered[0]} max={ordered[-1]} "
        f"avg={mean:g} std={std}{tail}"
    )


def profile(mean_ms: float) -> None:
    """LiteRT's table: what XNNPACK took as a whole, and its one operator in there."""
    say("Operator-wise Profiling Info for Regular Benchmark Runs:")
    print("============================== Run Order ==============================")
    print("\t[node type]\t[first]\t[avg ms]\t[%]\t[cdf%]\t[mem KB]\t[times called]\t[Name]")
    row = f"{mean_ms:.3f}\t{mean_ms:.3f}\t50.000%\t50.000%\t0.000\t1"
    print(f"\tConvolution (NHWC, F32) GEMM\t{row}\tDelegate/Convolution (NHWC, F32) GEMM:0")
    print(f"\tTfLiteXNNPackDelegate\t{row}\t[StatefulPartitionedCall:0]:2\n")
    print("============================== Summary by node type ==============================")


def main() -> int:
    words = [word.removeprefix("--").partition("=") for word in sys.argv[1:]]
    flags: dict[str, str] = {name: value for name, _, value in words}
    if not flags["num_runs"].isdecimal():  # as any value that cannot be read: all flags are listed
        print("ERROR: usage:", sys.argv[0], "<flags>\nFlags:", *(f"\n\t--{name}=" for name in KNOWN), file=sys.stderr)
        return 1
    if unknown := set(flags) - KNOWN:
        print(f"WARN: Unconsumed cmdline flags: {' '.join(sorted(unknown))}")
    if fault("garbage") is not None:
        print("\x00\x7fELF count=many\nSegmentation")
        return 0
    if fault("exit") is not None:
        print("ERROR: Failed to load model", file=sys.stderr)
        return int(fault("exit") or 1)
    import numpy as np
    from ai_edge_litert.interpreter import Interpreter

    began = time.perf_counter_ns()
    say("STARTING!")
    say(f"Graph: [{flags['graph']}]")
    interpreter = Interpreter(model_path=flags["graph"], num_threads=int(flags["num_threads"]))
    interpreter.allocate_tensors()
    say(f"Loaded model {flags['graph']}")
    say("Created TensorFlow Lite XNNPACK delegate for CPU.")
    say(
        "Explicitly applied XNNPACK delegate, and the model graph will be partially executed by the delegate w/ 1 "
        "delegate kernels."
    )
    init_us = (time.perf_counter_ns() - began) // 1000
    say(f"Initialized session in {init_us / 1000:g}ms.")
    details = interpreter.get_input_details()
    shapes = [tuple(map(int, shape.split(","))) for shape in flags["input_layer_shape"].split(":")]
    files = [pair.partition(":")[2] for pair in flags["input_layer_value_files"].split(",")]
    values = []
    for detail, shape, file in zip(details, shapes, files, strict=True):
        values.append(np.fromfile(file, dtype=detail["dtype"]).reshape(shape))
        assert tuple(detail["shape"]) == shape, "another shape than the file's"

    def run(count: int, seconds: float) -> list[int]:
        say(
            f"Running benchmark for at least {count} iterations and at least {seconds:g} seconds but terminate if "
            f"exceeding {flags['max_secs']} seconds."
        )
        times_us: list[int] = []
        until = time.perf_counter() + seconds
        while len(times_us) < count or time.perf_counter() < until:
            for detail, value in zip(details, values, strict=True):
                interpreter.set_tensor(detail["index"], value)
            start = time.perf_counter_ns()
            interpreter.invoke()
            times_us.append(max(1, (time.perf_counter_ns() - start) // 1000))
        say(f"{block(times_us)}\n")
        return times_us

    warm = run(int(flags["warmup_runs"]), float(flags["warmup_min_secs"]))
    if fault("hang") is not None:
        time.sleep(600)
    timed = run(int(flags["num_runs"]), float(flags["min_secs"]))
    if fault("throttle") is not None:
        for core in range(4, 8):
            (ROOT / f"sys/devices/system/cpu/cpu{core}/cpufreq/scaling_max_freq").write_text("1516800\n")
    say(
        f"Inference timings in us: Init: {init_us}, First inference: {warm[0]}, "
        f"Warmup (avg): {sum(warm) / len(warm):g}, Inference (avg): {sum(timed) / len(timed):g}"
    )
    say("Memory footprint delta from the start of the tool (MB): init=1.5 overall=3.25")
    if flags.get("enable_op_profiling") == "true" and fault("no_profiler") is None:
        profile(sum(timed) / len(timed) / 1000)
    with Path(flags["output_filepath"]).open("wb") as stream:
        for detail in interpreter.get_output_details():
            output = interpreter.get_tensor(detail["index"])
            stream.write((output * 1.1 if fault("wrong_output") is not None else output).astype(output.dtype).tobytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
