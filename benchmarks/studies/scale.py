"""Time of large inputs: whole processes that compare many cases, and pages of many rows and of many runs.

    python -m vitdeploy.benchmarks.studies.scale RUN.json [--cases 2000] [--rows 500] [--runs 1000]

The runs are copies of the given one in a temporary folder: made up, and thrown away. The aims are 5 s for a comparison
of 2000 cases, 10 s for the page of 500 rows, and 3 MB for the pages of 1000 runs.
"""

import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from vitdeploy.benchmarks.studies import command_line
from vitdeploy.benchmarks.studies.command_line import with_errors
from vitdeploy.benchmarks.studies.history_speed import SPREAD, copy_of, write_runs
from vitdeploy.results import record


def timed(words: list[str]) -> float:
    """Seconds of a vitdeploy process, whatever its verdict is."""
    began = time.perf_counter()
    argv = [sys.executable, "-m", "vitdeploy", *words, "--quiet"]
    done = subprocess.run(argv, check=False, stdout=subprocess.DEVNULL)
    if done.returncode not in (0, 10):
        raise subprocess.CalledProcessError(done.returncode, argv)
    return time.perf_counter() - began


@with_errors
def main() -> int:
    """Print the times and the sizes."""
    parser = command_line.parser(__file__, __doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--runs", type=int, default=1000)
    given = parser.parse_args()
    generator = random.Random(0)  # noqa: S311 - made-up figures
    run = record.load(given.run)

    def factor(number: int) -> float:
        del number
        return generator.lognormvariate(0, SPREAD)

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for name, cases in (("base", given.cases), ("head", given.cases), ("rows", given.rows)):
            record.save(copy_of(run, name, cases=cases, factors=factor), folder / f"{name}.json")
        seconds = timed(["compare", str(folder / "base.json"), str(folder / "head.json")])
        print(f"compare, {given.cases} cases: {seconds:.1f} s")
        page = folder / "page.html"
        seconds = timed(["report", str(folder / "rows.json"), "--format", "html", "--out", str(page)])
        print(f"report --format html, {given.rows} rows: {seconds:.1f} s, {page.stat().st_size / 1e6:.1f} MB")
        (folder / "runs").mkdir()
        write_runs(run, folder / "runs", runs=given.runs, cases=1)
        for form in ("history", "html"):
            files = [str(folder / "runs")] if form == "history" else [str(p) for p in (folder / "runs").iterdir()]
            seconds = timed(["report", *files, "--format", form, "--out", str(page)])
            print(f"report --format {form}, {given.runs} runs: {seconds:.1f} s, {page.stat().st_size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
