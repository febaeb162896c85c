"""Runs beside a yardstick on a clock that is held: the product's own turns, on a machine whose pace is planted."""

import random
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from tests.doubles import make_run
from tests.doubles.fakes import FakeClock, FakeSession
from vitdeploy.benchmarks.trial import loop, turn_worker
from vitdeploy.results import record
from vitdeploy.results.record import Run, Trial, Turns

CASE_NS, YARDSTICK_NS = 10_000_000, 2_000_000
TURNS = 20
NETWORK = "1" * 64

Pace = Callable[[int], float]
"""Moment in nanoseconds → how many times as long everything takes."""


def trial(number: int, *, pace: Pace = lambda now_ns: 1.0, slower: float = 1.0, beside: bool = True) -> Trial:
    """A trial of a case of 10 ms that is ``slower`` times as slow, begun 5 s after the one before."""
    clock, noise = FakeClock(), random.Random(number)
    clock.advance(number * 5_000_000_000)
    started_ns = clock()

    def session(level_ns: float) -> FakeSession:
        return FakeSession(clock, lambda _: round(level_ns * pace(clock() - started_ns) * noise.gauss(1, 0.004)))

    streams = [
        loop.Stream(session=session(level_ns), pool=[{"image": np.zeros((1, 3, 8, 8), np.float32)}])
        for level_ns in (CASE_NS * slower, YARDSTICK_NS)
    ]
    taken = turn_worker.TurnSamples(), turn_worker.TurnSamples()
    places: tuple[list[int], list[int]] = [], []
    order = [side for _ in range(TURNS) for side in noise.sample((0, 1), 2)]
    for place, side in enumerate(order):
        turn_worker.take_turn(streams[side], loop.host_to_host, taken[side], (60_000_000, 12_000_000)[side], clock)
        places[side].append(place)
    turns = [
        Turns(counts=tuple(side.counts), places=tuple(own), first_ns=tuple(side.first_ns))
        for side, own in zip(taken, places, strict=True)
    ]
    case, yardstick = (tuple(side.samples_ns) for side in taken)
    its: dict[str, Any] = {"turns": turns[0], "yardstick_ns": yardstick, "yardstick_turns": turns[1]}
    return make_run.trial(number, 10.0, samples_ns=case, wall_ns=sum(case), **(its if beside else {}))


def run(
    name: str,
    first: int,
    *,
    pace: Pace = lambda now_ns: 1.0,
    slower: float = 1.0,
    beside: bool = True,
    network: str = NETWORK,
    trials: int = 5,
) -> Run:
    """A run of EfficientViT-B1; ``first`` numbers its trials, which are drawn by their number."""
    made = make_run.run(
        make_run.result(
            *(trial(first + place, pace=pace, slower=slower, beside=beside) for place in range(trials)),
        ),
        name=name,
    )
    yardstick = record.Yardstick(networks={"onnx-fp32": network}, off={}) if beside else None
    return msgspec.structs.replace(made, yardstick=yardstick)


def phases(share: float) -> Pace:
    """A machine that is so many times as slow, and 4 % slower still in some phases of 0.4 s."""

    def pace(now_ns: int) -> float:
        is_slow = random.Random(f"{share}:{now_ns // 400_000_000}").random() < 0.5
        return share * (1.04 if is_slow else 1.0)

    return pace
