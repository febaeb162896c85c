"""Time of the history page of many runs: a whole process, from files on disk to the page.

    python -m vitdeploy.benchmarks.studies.history_speed RUN.json [--runs 1000] [--cases 50] [--times 5]

The runs are copies of the given one in a temporary folder, under other dates, commits and sizes, with medians that
move: made up, and thrown away. Every figure is derived again from its samples: half a millisecond a row.
"""

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import msgspec

from vitdeploy.benchmarks.studies import command_line
from vitdeploy.benchmarks.studies.command_line import with_errors
from vitdeploy.results import record
from vitdeploy.results.record import Run

SPREAD = 0.005
"""Of a case's median between runs, as a share."""


def copy_of(run: Run, name: str, *, cases: int, factors: Callable[[int], float]) -> Run:
    """A run of ``cases`` rows made of the given one's first valid row, each with its samples times a factor."""
    base = next(result for result in run.results if result.status == "valid" and result.trials)
    rows: list[record.Result] = []
    for number in range(cases):
        trials: list[record.Trial] = []
        for index, trial in enumerate(base.trials):
            samples = tuple(round(factors(number) * sample) for sample in trial.samples_ns)
            wall_ns = max(trial.wall_ns, sum(samples))
            changes = {"id": f"{name}/{number}/{index}", "samples_ns": samples, "wall_ns": wall_ns, "stages_ns": None}
            trials.append(msgspec.structs.replace(trial, **changes))
        case = msgspec.structs.replace(base.case, size=(32 * (number + 1), 32))
        rows.append(msgspec.structs.replace(base, case=case, trials=tuple(trials)))
    return msgspec.structs.replace(run, id=name, results=tuple(rows))


def write_runs(run: Run, folder: Path, *, runs: int, cases: int) -> None:
    """Write copies of a run, a tenth of their cases slower from the middle on."""
    generator = random.Random(0)  # noqa: S311 - made-up figures
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)

    for place in range(runs):
        slower = place > runs / 2

        def factor(number: int, slower: bool = slower) -> float:
            return generator.lognormvariate(0, SPREAD) * (1.03 if slower and number % 10 == 0 else 1.0)

        copy = msgspec.structs.replace(
            copy_of(run, f"{place}", cases=cases, factors=factor),
            started_utc=(start + timedelta(hours=place)).isoformat(),
            commit=f"{place:040x}",
        )
        (folder / f"{place}.json").write_bytes(msgspec.json.encode(copy))


def measure(folder: Path, times: int) -> list[float]:
    """Seconds of each process."""
    argv = [sys.executable, "-m", "vitdeploy", "report", str(folder), "--format", "history"]
    argv += ["--out", str(folder.parent / "history.html"), "--quiet"]
    seconds: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        subprocess.run(argv, check=True)
        seconds.append(time.perf_counter() - began)
    return seconds


@with_errors
def main() -> int:
    """Print the median and the range."""
    parser = command_line.parser(__file__, __doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--cases", type=int, default=50)
    parser.add_argument("--times", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "runs"
        folder.mkdir()
        write_runs(record.load(options.run), folder, runs=options.runs, cases=options.cases)
        size_mib = sum(path.stat().st_size for path in folder.iterdir()) / 2**20
        seconds = measure(folder, options.times)
        page_kib = (folder.parent / "history.html").stat().st_size / 1024
    print(f"{options.runs} runs of {options.cases} cases, {size_mib:.0f} MiB, to a page of {page_kib:.0f} KiB:")
    middle, least, most = statistics.median(seconds), min(seconds), max(seconds)
    print(f"{middle:.2f} s ({least:.2f} … {most:.2f}), median of {options.times} whole processes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
