"""False alarms and power of a duel, on simulated duels whose true difference is known.

    python -m vitdeploy.benchmarks.studies.decision [--duels 2000] [--by turns|trials]

Every duel is simulated down to the samples: inferences correlated in time, slow ones among them, a spread between
fresh processes, a drift of the machine, a neighbor, a spread between builds. By turns both sides see the same drift and
the same neighbor, by whole trials each sees its own. The verdicts are those of `vitdeploy duel`, early looks included.
One table of false alarms where nothing changed, one of the changes that are found.
"""

import math
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from scipy import signal

from vitdeploy.benchmarks.calibrate import binomial_interval
from vitdeploy.benchmarks.duel import PAIRS, looks
from vitdeploy.benchmarks.studies import command_line, plain_records
from vitdeploy.benchmarks.studies.command_line import print_table, with_errors
from vitdeploy.catalog.variant import Variant
from vitdeploy.results import record, verdict
from vitdeploy.results.record import Result
from vitdeploy.results.verdict import Verdict

SAMPLES = 100
"""Inferences of a simulated trial; real ones have at least so many at the usual sampling time."""

TURN = 4
"""Inferences of a simulated turn."""

SLOWED = 1.5
"""So many times as long an inference takes beside a neighbor."""

ALPHA = verdict.ALPHA

POWER_PAIRS = (6, 10, 15, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """How a machine behaves. Deviations are on the log scale."""

    name: str
    within: float = 0.02
    """Deviation of the inferences of one process."""
    autocorrelation: float = 0.0
    run_spread: float = 0.005
    """Between fresh processes of the same file."""
    heavy: float = 0.0
    """Share of inferences that take half as long again; and t-distributed spreads with 3 degrees in their place."""
    drift: float = 0.0
    """Step of a random walk from trial to trial."""
    trend: float = 0.0
    """Steady change from trial to trial: a machine that warms up."""
    build_spread: float = 0.0
    """Between builds of the same engine; there are then as many builds as pairs."""
    neighbor: float = 0.0
    """Share of all turns that a neighbor slows down; how many it is differs from trial to trial."""


QUIET: Final = World(name="quiet: 2 % within a process, 0.5 % between")
WORLDS: Final = (
    QUIET,
    World(name="autocorrelation 0.5", autocorrelation=0.5),
    World(name="autocorrelation 0.9", autocorrelation=0.9),
    World(name="2 % between processes", run_spread=0.02),
    World(name="5 % between processes", run_spread=0.05),
    World(name="heavy tails", heavy=0.01, run_spread=0.01),
    World(name="drift 0.4 % a trial, random walk", drift=0.004),
    World(name="drift 0.4 % a trial, steady", trend=0.004),
    World(name="1 % between builds", build_spread=0.01),
    World(name="a neighbor in half of the turns", neighbor=0.5),
    World(
        name="all of it but the neighbor",
        autocorrelation=0.7,
        run_spread=0.02,
        heavy=0.01,
        drift=0.004,
        trend=0.002,
        build_spread=0.01,
    ),
)

CASE: Final = plain_records.case(Variant(model="simulated", attention="relu", target="onnx-fp32", size=(224, 224)))


def duel(
    world: World,
    change: float,
    generator: np.random.Generator,
    *,
    pairs: int,
    max_slowdown: float,
    by: record.By = "trials",
) -> Verdict:
    """The verdict of one simulated duel whose head is slower by ``change``, a share."""
    base, head = sides(world, change, generator, pairs, by)
    for count, share in looks(pairs, by).items():
        before, after = (msgspec.structs.replace(side, trials=side.trials[:count]) for side in (base, head))
        effect = verdict.versus(before, after, max_slowdown=max_slowdown, alpha=ALPHA * share)
        if effect.verdict != "inconclusive":
            return effect.verdict
    return "inconclusive"


def sides(
    world: World, change: float, generator: np.random.Generator, pairs: int, by: record.By = "trials"
) -> tuple[Result, Result]:
    """Both rows of one simulated duel."""
    between = _spread(generator, world.run_spread, 2 * pairs, heavy=world.heavy > 0)
    steps = np.arange(2 * pairs) * world.trend + np.cumsum(generator.normal(0, world.drift, 2 * pairs))
    # Trials run in the order ABBA or BAAB; each pair's places in time are 2i and 2i + 1.
    turned = generator.integers(0, 2, (pairs + 1) // 2).repeat(2)[:pairs] ^ (np.arange(pairs) % 2)
    places = 2 * np.arange(pairs)
    together = by == "turns"
    neighbors = _neighbors(world, generator, 2 * pairs)
    rows: list[Result] = []
    for side, taken in (("A", places + turned), ("B", places + 1 - turned)):
        seen = places if together else taken
        level = between[taken] + steps[seen] + (math.log1p(change) if side == "B" else 0.0)
        if world.build_spread:
            level += generator.normal(0, world.build_spread, pairs)
        samples = 1e7 * np.exp(level[:, None] + _inferences(world, generator, pairs) + neighbors[seen])
        builds = range(pairs) if world.build_spread else [None] * pairs
        rows.append(_result(samples.round().astype(int), side="A" if side == "A" else "B", builds=builds, by=by))
    return rows[0], rows[1]


def verdicts(
    world: World, change: float, *, duels: int, pairs: int, max_slowdown: float, by: record.By = "trials"
) -> Counter[Verdict]:
    """How often each verdict ends so many simulated duels."""
    generator = np.random.default_rng(0)
    return Counter(duel(world, change, generator, pairs=pairs, max_slowdown=max_slowdown, by=by) for _ in range(duels))


def _neighbors(world: World, generator: np.random.Generator, trials: int) -> NDArray[np.float64]:
    """``(trials, SAMPLES)`` deviations by a neighbor, turn by turn; nothing is drawn where there is none."""
    if not world.neighbor:
        return np.zeros((trials, SAMPLES))
    shares = generator.beta(2 * world.neighbor, 2 * (1 - world.neighbor), trials)
    slowed = generator.random((trials, SAMPLES // TURN)) < shares[:, None]
    return np.where(slowed.repeat(TURN, axis=1), math.log(SLOWED), 0.0)


def _inferences(world: World, generator: np.random.Generator, trials: int) -> NDArray[np.float64]:
    """``(trials, SAMPLES)`` deviations of single inferences, each trial an AR(1) process of its own."""
    rho = world.autocorrelation
    noise = generator.normal(0, world.within * math.sqrt(1 - rho**2), (trials, SAMPLES))
    noise[:, 0] /= math.sqrt(1 - rho**2)
    deviations: NDArray[np.float64] = signal.lfilter([1.0], [1.0, -rho], noise, axis=1)
    slow = generator.random((trials, SAMPLES)) < world.heavy
    return deviations + math.log(1.5) * slow


def _spread(generator: np.random.Generator, deviation: float, count: int, *, heavy: bool) -> NDArray[np.float64]:
    if heavy:  # Student's t with 3 degrees has a variance of 3
        return generator.standard_t(3, count) * deviation / math.sqrt(3)
    return generator.normal(0, deviation, count)


def _result(samples: NDArray[np.int_], *, side: record.Side, builds: Sequence[int | None], by: record.By) -> Result:
    trials = tuple(
        plain_records.trial(f"{side}/{pair}", row, order=pair, pair=pair, build=build)
        for pair, (row, build) in enumerate(zip(samples.tolist(), builds, strict=True))
    )
    if by == "turns":
        count = SAMPLES // TURN
        places = range(0 if side == "A" else 1, 2 * count, 2)
        turns = record.Turns(counts=(TURN,) * count, places=tuple(places), first_ns=(1,) * count)
        trials = tuple(msgspec.structs.replace(trial, turns=turns) for trial in trials)
    return Result(
        case=CASE, artifact_sha256=None, parity=None, status="valid", reasons=(), trials=trials, summary=None, side=side
    )


def false_alarms(duels: int, by: record.By) -> Iterator[tuple[str, ...]]:
    """Rows: a world without any change, and how often it is called slower or faster."""
    for world in WORLDS:
        for pairs in (6, PAIRS[by], 20):
            for bound in (0.02, 0.005):
                counts = verdicts(world, 0.0, duels=duels, pairs=pairs, max_slowdown=bound, by=by)
                low, high = binomial_interval(counts["slower"], duels)
                yield (
                    world.name,
                    str(pairs),
                    f"{bound:.1%}",
                    _percent(counts["slower"], duels),
                    f"{low:.2%} … {high:.2%}",
                    _percent(counts["same"], duels),
                )


def power(duels: int, by: record.By) -> Iterator[tuple[str, ...]]:
    """Rows: a true change, and how often it is found with `POWER_PAIRS` pairs at 0.5 % between processes."""
    for bound in (0.02, 0.01):
        for change in (0.003, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05):
            counts = [
                verdicts(QUIET, change, duels=duels, pairs=pairs, max_slowdown=bound, by=by) for pairs in POWER_PAIRS
            ]
            yield f"{bound:.1%}", f"{change:+.1%}", *(_percent(count["slower"], duels) for count in counts)


def _percent(count: int, of: int) -> str:
    return f"{count / of:.2%}"


@with_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Print both tables."""
    parser = command_line.parser(__file__, __doc__)
    parser.add_argument("--duels", type=int, default=2000)
    parser.add_argument("--by", default="turns", choices=("turns", "trials"), help="as of `vitdeploy duel`")
    options = parser.parse_args(arguments)
    duels: int = options.duels
    by: record.By = options.by
    heads = ("nothing changed", "pairs", "bound", "slower", "95 % interval", "same")
    print_table(f"False alarms at α {ALPHA:g}, {duels} duels a row, by {by}", heads, false_alarms(duels, by))
    heads = ("bound", "true change", *(f"{pairs} pairs" for pairs in POWER_PAIRS))
    print_table(f"Called slower, 0.5 % between processes, by {by}", heads, power(duels, by))
    return 0


if __name__ == "__main__":
    sys.exit(main())
