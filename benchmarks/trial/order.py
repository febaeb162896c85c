"""Order of a run's trials: rounds of all rows, the rows of a pair or group beside each other."""

import random
from collections.abc import Iterator, Sequence

from vitdeploy.benchmarks.trial.request import TrialSlot
from vitdeploy.results import record

ROUNDS = "round-robin, shuffled anew each round"
PAIRS = "interleaved pairs; random order, reversed in every second pair"

Unit = tuple[int, ...]
"""Places of the rows whose trials of a round belong together."""


def schedule(rows: int, run_id: str, protocol: record.Protocol, groups: Sequence[Unit] = ()) -> list[list[TrialSlot]]:
    """All trials of a run in their order, those that belong together in one list."""
    return [
        slots for index in range(protocol.trials) for slots in round_of(rows, run_id, protocol, index, groups=groups)
    ]


def round_of(
    rows: int, run_id: str, protocol: record.Protocol, index: int, *, groups: Sequence[Unit] = ()
) -> list[list[TrialSlot]]:
    """The ``index``-th trial of every row, in an order that is drawn anew for each round.

    In a duel every second round turns the order of the one before round (ABBA or BAAB), so that a steady drift cancels.
    The order depends on the protocol's seed, the number of rows and the groups alone, so a resumed run has the same.
    Source: randomized interleaving keeps a slow drift of the machine out of the differences, peers.md C.1.

    Args:
        groups: rows that belong together; a row that is in none is alone. Their trials of a round are a pair.
    """
    paired = protocol.order == PAIRS
    drawn = index - index % 2 if paired else index
    generator = random.Random(f"{protocol.seed}:{drawn}")  # noqa: S311 (an order, not a secret)
    units = list(_units(rows, groups))
    generator.shuffle(units)
    units = [generator.sample(unit, len(unit)) for unit in units]
    if paired and index % 2:
        units = [unit[::-1] for unit in reversed(units)]
    orders = iter(range(rows * index, rows * (index + 1)))
    return [
        [
            TrialSlot(
                place=place,
                index=index,
                order=next(orders),
                id=f"{run_id}/{place}/{index}",
                pair=index if len(unit) > 1 else None,
            )
            for place in unit
        ]
        for unit in units
    ]


def _units(rows: int, groups: Sequence[Unit]) -> Iterator[Unit]:
    """Groups and single rows, by their first place."""
    by_first = {group[0]: group for group in groups}
    grouped = {place for group in groups for place in group}
    for place in range(rows):
        if place in by_first:
            yield by_first[place]
        elif place not in grouped:
            yield (place,)
