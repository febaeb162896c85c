"""Google's Interpreter `benchmark_model` beside our own loop on the same TFLite file: whether both time the same thing.

    python -m vitdeploy.benchmarks.studies.tool_against_loop --tool FILE [--models NAME…] [--size HxW] [--pairs 6]
                                                    [--threads 2] [--artifacts DIR] [--keep DIR]

The tool is a build for this machine. It gets exactly the words that a phone gets, on the same cores; our loop is the
worker of ``tflite-fp32`` without copies. Both run in fresh processes that alternate (ABBA), each pair gives a ratio,
and the interval is Student's t over their logarithms. The tool's outputs are compared with those of our runtime.
``--keep`` writes what it printed there, with its command, as data for tests.
"""

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitdeploy import units
from vitdeploy.api.export import export
from vitdeploy.api.export_request import ExportRequest
from vitdeploy.artifacts.manifest import Artifact, digest_of
from vitdeploy.benchmarks.studies import command_line, loop_cost, paired_times
from vitdeploy.benchmarks.studies.command_line import print_table, say, with_errors
from vitdeploy.catalog.spec import TensorSpec
from vitdeploy.devices import phone_cores
from vitdeploy.devices.phone import benchmark_model, prepared_phone, tool_output
from vitdeploy.devices.phone.benchmark_model import ToolRequest
from vitdeploy.devices.phone.tool_output import BenchmarkOutput
from vitdeploy.errors import Impossible, ToolchainFailed
from vitdeploy.images import inputs
from vitdeploy.runtimes import on_tflite
from vitdeploy.runtimes.session import SessionOptions

MODELS = ("efficientvit_b0", "efficientvit_b1", "efficientvit_l1", "efficientvit_seg_b0_cityscapes")

TARGET = "tflite-fp32"

MIN_TIME_S = 2.0
"""Sampling time of a process."""

LIMIT_S = 300.0

HEADS = (
    "model",
    "size",
    "threads",
    "pairs",
    "tool ms",
    "ours ms",
    "tool / ours",
    "95 % interval",
    "difference",
    "delegate",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """One file, one input, and the request to the tool."""

    artifact: Artifact
    request: ToolRequest
    outputs: Sequence[TensorSpec]
    expected: Sequence[NDArray[Any]]
    """What our runtime computes of the input."""


def prepare(artifact: Artifact, tool: Path, folder: Path, *, threads: int) -> Prepared:
    """Write an input, and compute its outputs with our runtime."""
    manifest = artifact.manifest
    with on_tflite.open_session(
        artifact.file, msgspec.to_builtins(manifest), SessionOptions(threads=threads)
    ) as session:
        (feed, *_) = inputs.make_pool(session.inputs, seed=0)
        specs, results = session.inputs, session.outputs
        session.put(feed)
        session.run()
        session.wait()
        got = session.get()
        expected = [np.array(got[spec.name]) for spec in results]
    files = prepared_phone.write_inputs(specs, feed, folder)
    request = ToolRequest(
        tool=str(tool),
        graph=str(artifact.file),
        threads=threads,
        mask=phone_cores.core_mask(sorted(os.sched_getaffinity(0))),
        inputs=specs,
        input_files=[str(file) for file in files],
        output_file=str(folder / "output"),
    )
    return Prepared(artifact=artifact, request=request, outputs=results, expected=expected)


def by_tool(prepared: Prepared, *, profile: bool = False) -> tuple[BenchmarkOutput, str]:
    """One process of the tool: its figures, and what it printed.

    Raises:
        ToolchainFailed: it failed, or printed what no version prints.
    """
    words = benchmark_model.timing_command(prepared.request, min_time_s=MIN_TIME_S, profile=profile)
    done = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=LIMIT_S, text=True, check=False
    )
    if done.returncode != 0:
        raise ToolchainFailed(f"benchmark_model ended with exit code {done.returncode}", done.stdout[-500:])
    return benchmark_model.parse_output(done.stdout), done.stdout


def largest_difference(prepared: Prepared) -> float:
    """Of the tool's outputs to ours, in standard deviations of ours."""
    outputs = prepared_phone.read_outputs(Path(prepared.request.output_file), prepared.outputs)
    pairs = zip(outputs, prepared.expected, strict=True)
    return max(float(np.abs(theirs.reshape(ours.shape) - ours).max() / ours.std()) for theirs, ours in pairs)


def row(prepared: Prepared, *, pairs: int, threads: int) -> tuple[str, ...]:
    """Time both in turn; one line of the table."""
    said: list[BenchmarkOutput] = []

    def tool_ms(_: int) -> float:
        said.append(by_tool(prepared)[0])
        return tool_output.median_us(said[-1]) / 1e3

    def our_ms(pair: int) -> float:
        return loop_cost.worker_median_ms(
            prepared.artifact, pair, threads=threads, min_time_s=MIN_TIME_S, boundary="compute"
        )

    theirs, ours = loop_cost.alternating(tool_ms, our_ms, pairs)
    times = paired_times.compare(theirs, ours)
    low, high = times.interval or (None, None)
    variant = prepared.artifact.manifest.variant
    return (
        variant.full_model,
        variant.size_words,
        str(threads),
        str(pairs),
        f"{times.first_ms:.3f}",
        f"{times.second_ms:.3f}",
        f"{times.ratio:.3f}",
        units.interval(low, high, times.ratio),
        f"{largest_difference(prepared):.1e}",
        said[-1].delegate or "not said",
    )


def keep(prepared: Prepared, tool: Path, folder: Path) -> None:
    """Write what the tool prints, plain and with operators' times, and its command, without a path of this machine."""
    folder.mkdir(parents=True, exist_ok=True)
    request = prepared.request
    here: Mapping[str, str] = {
        request.tool: "benchmark_model",
        request.graph: "model.tflite",
        **{file: f"input{place}" for place, file in enumerate(request.input_files)},
        request.output_file: "output",
    }
    for name, profile in (("plain", False), ("profile", True)):
        words = benchmark_model.timing_command(request, min_time_s=MIN_TIME_S, profile=profile)
        text = f"$ {shlex.join(words)}\n{by_tool(prepared, profile=profile)[1]}"
        for path, shown in here.items():
            text = text.replace(path, shown)
        (folder / f"{prepared.artifact.manifest.model}_{name}.txt").write_text(text)
    say(f"kept in {folder}; the tool's sha256 is {digest_of(tool)}")


def _artifact(model: str, size: str | None, folder: Path) -> Artifact:
    (made,) = export([model], ExportRequest(target=TARGET, size=size, out=folder))
    if made.artifact is None:
        raise made.error or Impossible(f"{model} was not exported", "Export it alone.")
    return made.artifact


@with_errors
def main(words: Sequence[str] | None = None) -> int:
    """Measure and print the table."""
    parser = command_line.parser(__file__, __doc__)
    parser.add_argument("--tool", type=Path, required=True, metavar="FILE")
    parser.add_argument("--models", nargs="+", default=list(MODELS), metavar="NAME")
    parser.add_argument("--size", default=None, metavar="HxW")
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    parser.add_argument("--keep", type=Path, default=None, metavar="DIR")
    options = parser.parse_args(words)
    tool = options.tool.resolve()
    lines: list[tuple[str, ...]] = []
    for model in options.models:
        artifact = _artifact(model, options.size, options.artifacts)
        with tempfile.TemporaryDirectory() as folder:
            prepared = prepare(artifact, tool, Path(folder), threads=options.threads)
            if options.keep:
                keep(prepared, tool, options.keep)
            lines.append(row(prepared, pairs=options.pairs, threads=options.threads))
    print_table(None, HEADS, lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
