"""Whether the side of a pair that loads first is slower, and how much pairs scatter: of runs of equal sides in turns.

    python -m vitdeploy.benchmarks.studies.load_order RUN.json…

`vitdeploy calibrate MODEL --out RUN.json` makes such a run: a file against itself. Of each pair the log ratio is taken
turn by turn, as a duel does; *second over first* has it by which process was loaded later. The interval is Student's t
over the pairs.
"""

import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

from vitdeploy.benchmarks.studies import command_line
from vitdeploy.benchmarks.studies.command_line import print_table, with_errors
from vitdeploy.errors import NoValidMeasurement
from vitdeploy.results import effects, record, stats
from vitdeploy.results.record import Run

HEADS = ("run", "pairs", "head over base", "second over first", "95 % interval", "scatter")


def row(name: str, run: Run) -> tuple[str, ...]:
    """One line of the table.

    Raises:
        NoValidMeasurement: fewer than two pairs took turns.
    """
    changes: list[float] = []
    by_load: list[float] = []
    for base, head in run.couples:
        pairs = {trial.pair: trial for trial in base.trials}
        for after in head.trials:
            before = pairs.get(after.pair)
            if before is None or before.turns is None or after.turns is None:
                continue
            change = effects.log_change([before], [after])
            changes.append(change)
            by_load.append(change if before.started_utc < after.started_utc else -change)
    if len(changes) < 2:
        raise NoValidMeasurement(f"{name} has {len(changes)} pairs that took turns", "Name a run of `calibrate`.")
    interval = stats.mean_interval(by_load)
    return (
        name,
        str(len(changes)),
        f"{math.expm1(math.fsum(changes) / len(changes)):+.2%}",
        f"{math.expm1(math.fsum(by_load) / len(by_load)):+.2%}",
        " … ".join(f"{math.expm1(end):+.2%}" for end in interval) if interval else "none",
        f"{statistics.stdev(changes):.2%}",
    )


@with_errors
def main(words: Sequence[str] | None = None) -> int:
    """Read the runs and print the table."""
    parser = command_line.parser(__file__, __doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN.json")
    options = parser.parse_args(words)
    print_table(None, HEADS, [row(path.name, record.load(path)) for path in options.runs])
    return 0


if __name__ == "__main__":
    sys.exit(main())
