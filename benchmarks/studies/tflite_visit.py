"""One visit of a TFLite duel: load a file in a fresh process, run it for a while, and print the median nanoseconds.

    python -m vitdeploy.benchmarks.studies.tflite_visit FILE THREADS

A leaf over ai-edge-litert, untyped. Any file will do, also one that no manifest describes.
"""

# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import statistics
import sys
import time
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

WARMUP_S = 0.3
"""Before sampling: memory is touched, caches are warm, and the clock has risen."""

SAMPLING_S = 0.6
"""At least `FEWEST` inferences are sampled."""

FEWEST = 5


def visit(file: str, threads: int) -> float:
    """Median nanoseconds of one inference on noise."""
    interpreter: Any = Interpreter(model_path=file, num_threads=threads)
    interpreter.allocate_tensors()
    for entry in interpreter.get_input_details():
        noise = np.random.default_rng(0).standard_normal(entry["shape"], dtype=np.float32)
        interpreter.set_tensor(entry["index"], noise)
    _sampled(interpreter, WARMUP_S)
    return statistics.median(_sampled(interpreter, SAMPLING_S))


def _sampled(interpreter: Any, limit_s: float) -> list[int]:
    samples: list[int] = []
    while len(samples) < FEWEST or sum(samples) < limit_s * 1e9:
        begin = time.perf_counter_ns()
        interpreter.invoke()
        samples.append(time.perf_counter_ns() - begin)
    return samples


if __name__ == "__main__":
    print(visit(sys.argv[1], int(sys.argv[2])))
