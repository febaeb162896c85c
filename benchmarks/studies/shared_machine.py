"""What duels find on the machine at hand, by turns and by whole trials: false claims, power and widths.

    python -m vitdeploy.benchmarks.studies.shared_machine [--models NAME …] [--duels N] [--planted 0 0.03 …] [--hog]

Each duel is of a model's file against itself; a planted slowdown is a busy wait after each inference of side B. Ways
and plants are run in turns, so that all see the same hours. ``--hog`` keeps one core busy in bursts of 0.2 to 3 s.
With ``--log`` the table is of all duels in that file, those of earlier calls too; ``--duels 0`` only prints it.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from vitdeploy.api.cases import BenchRequest, plan
from vitdeploy.api.jobs import jobs_for
from vitdeploy.benchmarks import duel
from vitdeploy.benchmarks.studies import planted_delay
from vitdeploy.benchmarks.trial import turns_trial
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.devices import device_facts, inventory
from vitdeploy.processes.connection import CommandResult
from vitdeploy.processes.local import LocalConnection
from vitdeploy.processes.progress import silent, silent_trial
from vitdeploy.results import comparison, record

HOG = """
import random, time
while True:
    end = time.perf_counter() + random.uniform(0.2, 3)
    while time.perf_counter() < end:
        pass
    time.sleep(random.uniform(0.2, 3))
"""


class PlantedConnection(LocalConnection):
    """This machine; side B of a duel is slowed down by a share."""

    def __init__(self, share: float, lock_folder: Path) -> None:
        super().__init__(lock_folder=lock_folder)
        self._share = share

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout_s: float) -> CommandResult:
        """Run a process; of a trial's job the runtime is replaced."""
        job: dict[str, Any] = json.loads(stdin) if stdin.startswith("{") else {}
        sides: list[dict[str, Any]] = job.get("sides", [job] if "trial" in job else [])
        for side in sides if self._share else ():  # nothing planted: both sides are the same in everything
            if side["trial"]["id"].split("/")[1] == "1":
                self._plant(side)
        return super().run(argv, stdin=json.dumps(job) if job else stdin, timeout_s=timeout_s)

    def _plant(self, side: dict[str, Any]) -> None:
        side["runtime"] = planted_delay.__name__
        side["manifest"]["planted_share"] = self._share


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Duels of one kind."""

    model: str
    by: record.By
    planted: float
    hogged: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Duelled:
    """What came of one duel."""

    verdict: str
    change: float | None
    interval: tuple[float, float] | None
    seconds: float
    pairs: int


class Logged(msgspec.Struct, frozen=True):
    """A line of the log: one duel."""

    row: Row
    duel: Duelled


def run_duel(job: Job, row: Row, folder: Path) -> Duelled:
    """One duel of a file against itself."""
    by_turns = row.by == "turns"
    pairs = duel.PAIRS[row.by]
    planned = record.Duel(
        names=(row.model, row.model),
        pairs=pairs,
        most_pairs=pairs,
        alpha=0.01,
        max_slowdown=0.02,
        stopped=None,
        by=row.by,
        turn_s=turns_trial.TURN_S if by_turns else None,
    )
    begin = time.monotonic()
    run = duel.run(
        [replace(job), replace(job)],
        planned,
        min_time_s=duel.MIN_TIME_S[row.by],
        early=True,
        device=inventory.find("local"),
        out=folder / f"{time.time_ns()}.json",
        progress=silent,
        on_trial=silent_trial,
        connection=PlantedConnection(row.planted, folder),
    )
    seconds = time.monotonic() - begin
    (compared,) = comparison.duel(run).comparisons
    return Duelled(
        verdict=compared.verdict,
        change=None if compared.ratio is None else compared.ratio - 1,
        interval=None if compared.interval is None else (compared.interval[0] - 1, compared.interval[1] - 1),
        seconds=seconds,
        pairs=run.duel.pairs if run.duel else 0,
    )


@contextlib.contextmanager
def hog(enabled: bool) -> Generator[None]:
    """A neighbor that keeps a core busy in bursts."""
    if not enabled:
        yield
        return
    process = subprocess.Popen([sys.executable, "-c", HOG])
    try:
        yield
    finally:
        process.kill()
        process.wait()


def read_log(path: Path | None) -> dict[Row, list[Duelled]]:
    """The duels of a log, by kind; none where there is no log yet."""
    rows: dict[Row, list[Duelled]] = {}
    if path is not None and path.exists():
        for line in path.read_bytes().splitlines():
            logged = msgspec.json.decode(line, type=Logged)
            rows.setdefault(logged.row, []).append(logged.duel)
    return rows


def table(rows: dict[Row, list[Duelled]]) -> Table:
    """One line a kind of duel."""
    heads = (
        *("model", "by", "hog", "planted", "duels", "slower", "faster", "same", "unclear", "change", "± width"),
        *("widest", "seconds"),
    )
    shown = Table(*heads, title=f"duels of a file against itself, {os.cpu_count()} cores")
    for row, duels in sorted(
        rows.items(), key=lambda item: (item[0].hogged, item[0].model, item[0].by, item[0].planted)
    ):
        verdicts = [result.verdict for result in duels]
        widths = [(result.interval[1] - result.interval[0]) / 2 for result in duels if result.interval]
        changes = [result.change for result in duels if result.change is not None]
        counts = [str(verdicts.count(name)) for name in ("slower", "faster", "same", "inconclusive")]
        shown.add_row(
            row.model,
            row.by,
            "yes" if row.hogged else "no",
            f"{row.planted:+.1%}",
            str(len(duels)),
            *counts,
            f"{statistics.median(changes):+.2%}" if changes else "none",
            f"{statistics.median(widths):.2%}" if widths else "none",
            f"{max(widths):.2%}" if widths else "none",
            f"{statistics.mean(result.seconds for result in duels):.0f}" if duels else "",
        )
    return shown


def main() -> None:
    """Run the study and print its table after each round of duels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["efficientvit_b0", "efficientvit_b1"], metavar="NAME")
    parser.add_argument("--size", default=None, metavar="HxW")
    parser.add_argument("--duels", type=int, default=5, help="of each kind")
    parser.add_argument("--planted", nargs="+", type=float, default=[0.0, 0.03], metavar="SHARE")
    parser.add_argument("--by", nargs="+", default=["turns", "trials"], choices=["turns", "trials"])
    parser.add_argument("--hog", action="store_true")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    parser.add_argument("--log", type=Path, default=None, help="each duel as a line of JSON, appended")
    options = parser.parse_args()
    device = inventory.find("local")
    request = BenchRequest(targets=("onnx-fp32",), size=options.size, artifacts=options.artifacts)
    planned = plan(options.models, request)
    jobs = jobs_for(planned, request, device, device_facts.facts_of(device), progress=print, keep_going=False)
    by_model = {job.case.model: job for job in jobs}
    kinds = [
        Row(model=model, by=by, planted=share, hogged=options.hog)
        for model in by_model
        for share in options.planted
        for by in options.by
    ]
    rows = read_log(options.log)
    with tempfile.TemporaryDirectory() as folder, hog(options.hog):
        for _ in range(options.duels):
            for row in kinds:
                duelled = run_duel(by_model[row.model], row, Path(folder))
                rows.setdefault(row, []).append(duelled)
                if options.log:
                    with options.log.open("ab") as stream:
                        stream.write(msgspec.json.encode(Logged(row=row, duel=duelled)) + b"\n")
    Console(width=140).print(table(rows))


if __name__ == "__main__":
    main()
