"""Whether `bench`'s intervals hold: many runs of one file, and how many intervals cover the median of all of them.

    python -m vitdeploy.benchmarks.studies.bench_coverage [--models NAME …] [--runs N] [--pause S] [--log FILE]

Runs of different moments see different phases of a shared machine; an interval knows its own moment alone. With
``--log`` the table is of all runs in that file, those of earlier calls too; ``--runs 0`` only prints it.
"""

import argparse
import tempfile
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from vitdeploy.api.bench import bench
from vitdeploy.api.cases import BenchRequest
from vitdeploy.results import stats


class Logged(msgspec.Struct, frozen=True):
    """A line of the log: one row of one run."""

    model: str
    status: str
    median_ms: float | None
    interval_ms: tuple[float, float] | None
    trials: int
    noisy: bool
    seconds: float


def run_once(model: str, target: str, folder: Path, artifacts: Path) -> Logged:
    """One `bench` of a model with its defaults."""
    begin = time.monotonic()
    request = BenchRequest(targets=(target,), out=folder / f"{time.time_ns()}.json", artifacts=artifacts)
    (result,) = bench([model], request).run.results
    seconds = time.monotonic() - begin
    summary = result.summary
    return Logged(
        model=f"{model} {target}",
        status=result.status,
        median_ms=summary.median_ms if summary else None,
        interval_ms=summary.median_ci95_ms if summary else None,
        trials=len(result.trials),
        noisy=any(reason.code == "noisy" for reason in result.reasons),
        seconds=seconds,
    )


def table(logged: list[Logged]) -> Table:
    """One line a model."""
    shown = Table(
        "model", "runs", "no figure", "noisy", "median, ms", "range, ms", "± width", "cover the median", "s a run"
    )
    for model in dict.fromkeys(line.model for line in logged):
        lines = [line for line in logged if line.model == model]
        whole = [(line.median_ms, line.interval_ms) for line in lines if line.median_ms and line.interval_ms]
        medians = [median for median, _ in whole]
        pooled = stats.median(medians) if medians else 0.0
        covering = sum(low <= pooled <= high for _, (low, high) in whole)
        widths = [stats.half_share(interval) for _, interval in whole]
        shown.add_row(
            model,
            str(len(lines)),
            str(len(lines) - len(whole)),
            str(sum(line.noisy for line in lines)),
            f"{pooled:.2f}",
            f"{min(medians):.2f} … {max(medians):.2f}" if medians else "none",
            f"{stats.median(widths):.1%}" if widths else "none",
            f"{covering} of {len(whole)}",
            f"{stats.median([line.seconds for line in lines]):.0f}",
        )
    return shown


def main() -> None:
    """Run the study and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["efficientvit_b0", "efficientvit_b1"], metavar="NAME")
    parser.add_argument("--target", default="onnx-fp32")
    parser.add_argument("--runs", type=int, default=10, help="of each model")
    parser.add_argument("--pause", type=float, default=0.0, metavar="S", help="after each round of runs")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    parser.add_argument("--log", type=Path, default=None, help="each row as a line of JSON, appended")
    options = parser.parse_args()
    logged: list[Logged] = []
    if options.log and options.log.exists():
        logged = [msgspec.json.decode(line, type=Logged) for line in options.log.read_bytes().splitlines()]
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.runs):
            for model in options.models:
                logged.append(run_once(model, options.target, Path(folder), options.artifacts))
                if options.log:
                    with options.log.open("ab") as stream:
                        stream.write(msgspec.json.encode(logged[-1]) + b"\n")
            time.sleep(options.pause)
    Console(width=140).print(table(logged))


if __name__ == "__main__":
    main()
