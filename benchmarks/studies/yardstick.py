"""What the yardstick wins: how much each case's figures scatter from round to round, with and without it.

    python -m vitdeploy.benchmarks.studies.yardstick [--models NAME…] [--targets NAME…] [--rounds N] [--pause S]
                                                    [--out yardstick.json]

A round is two runs of all cases, one in turns with the yardstick and one without, in random order. Each round is added
to ``--out``, so several calls spread rounds over a day; ``--rounds 0`` prints the table of what is there.
"""

import math
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from vitdeploy import documents
from vitdeploy.api.cases import BenchRequest, plan
from vitdeploy.api.jobs import jobs_for
from vitdeploy.benchmarks import bench
from vitdeploy.benchmarks.studies import command_line
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.benchmarks.yardstick.files import Yardsticks
from vitdeploy.catalog import registry
from vitdeploy.devices import device_facts, inventory
from vitdeploy.errors import UnreadableFile
from vitdeploy.results import effects, stats, verdict
from vitdeploy.results.record import Result, Run, Trial

MODELS = ("efficientvit_b0", "efficientvit_b1", "efficientvit_l1", "efficientvit_seg_b0_cityscapes")
TARGETS = ("onnx-fp32", "tflite-fp32")

Floats = NDArray[np.float64]

TENTH = 0.1
"""The quantile that is held beside the median: neighbors only ever make an inference slower."""

HEADS = (
    "case",
    "rounds",
    "median ms",
    "alone ±",
    "median ±",
    "tenth ±",
    "yardstick ±",
    "ratio ±",
    "of medians ±",
    "slope",
    "beside/alone",
    "false claims",
    "by ratio",
    "width",
    "its width",
)


class Round(msgspec.Struct, frozen=True):
    """Two runs of the same cases."""

    beside: Run
    """In turns with the yardstick."""
    alone: Run


class Rounds(msgspec.Struct):
    """The file of the study."""

    rounds: list[Round] = []


def measure(jobs: Sequence[Job], *, trials: int, min_time_s: float) -> Round:
    """One round of all cases."""
    runs: dict[bool, Run] = {}
    with tempfile.TemporaryDirectory() as folder:
        for is_beside in random.sample((True, False), 2):
            runs[is_beside] = bench.run(
                jobs,
                device=inventory.find("local"),
                protocol=bench.make_protocol(trials=trials, min_time_s=min_time_s, seed=time.time_ns() % 2**31),
                out=Path(folder) / f"{is_beside}.json",
                yardsticks=Yardsticks("on") if is_beside else None,
                progress=command_line.say,
            )
    return Round(beside=runs[True], alone=runs[False])


def rows(rounds: Sequence[Round]) -> list[tuple[str, ...]]:
    """A line of the table for each case that was timed beside a yardstick in at least two rounds."""
    pairs: dict[str, list[tuple[Result, Result]]] = {}
    for both in rounds:
        for beside, alone in zip(both.beside.results, both.alone.results, strict=True):
            if beside.trials and alone.trials and all(trial.yardstick_ns for trial in beside.trials):
                pairs.setdefault(beside.case.name, []).append((beside, alone))
    return [_row(name, *zip(*couples, strict=True)) for name, couples in pairs.items() if len(couples) > 1]


def _row(name: str, beside: Sequence[Result], alone: Sequence[Result]) -> tuple[str, ...]:
    medians, yardsticks = _levels(beside, effects.log_median), _levels(beside, effects.log_yardstick)
    lone = _levels(alone, effects.log_median)
    claims = [_claims(beside, value) for value in (effects.log_median, effects.log_yardsticks)]
    return (
        name,
        str(len(beside)),
        f"{math.exp(np.mean(medians)) / 1e6:.2f}",
        scatter(lone),
        scatter(medians),
        scatter(_levels(beside, log_tenth)),
        scatter(yardsticks),
        scatter(_levels(beside, effects.log_yardsticks)),
        scatter(medians - yardsticks),
        f"{np.cov(yardsticks, medians)[0, 1] / np.var(yardsticks, ddof=1):.2f}",
        _change(medians - lone),
        *(f"{false} of {count}" for false, count, _ in claims),
        *(f"±{width:.1%}" for *_, width in claims),
    )


def _levels(results: Sequence[Result], value: Callable[[Trial], float]) -> Floats:
    """The mean over the trials of each result."""
    return np.array([np.mean([value(trial) for trial in result.trials]) for result in results], dtype=np.float64)


def log_tenth(trial: Trial) -> float:
    """Logarithm of the quantile `TENTH` of a trial's samples."""
    return math.log(float(np.quantile(trial.samples_ns, TENTH)))


def scatter(logs: Floats) -> str:
    """Standard deviation of the rounds, in percent."""
    return f"{np.std(logs, ddof=1):.1%}"


def _change(logs: Floats) -> str:
    """Mean change over the rounds with its 95 % interval."""
    low, high = stats.mean_interval(logs) or (math.nan, math.nan)
    return f"{math.expm1(float(np.mean(logs))):+.1%} [{math.expm1(low):+.1%}, {math.expm1(high):+.1%}]"


def _claims(results: Sequence[Result], value: Callable[[Trial], float]) -> tuple[int, int, float]:
    """Of all pairs of rounds, which timed one file: how many were called slower or faster, and the median width."""
    verdicts: list[str] = []
    widths: list[float] = []
    for base, head in combinations(results, 2):
        change = effects.effect(base.trials, head.trials, interleaved=False, value=value)
        if change is not None:
            (decision,) = verdict.decide(
                {head.case: change}, max_slowdown=verdict.MAX_SLOWDOWN, alpha=verdict.ALPHA
            ).values()
            verdicts.append(decision.verdict)
            widths.append(math.expm1(change.half_width(verdict.ALPHA)))
    false = sum(name in ("slower", "faster") for name in verdicts)
    return false, len(verdicts), float(np.median(widths)) if widths else math.nan


def print_rounds(rounds: Sequence[Round]) -> None:
    """Print the table."""
    command_line.print_table(
        f"{len(rounds)} rounds; ± is the standard deviation of the rounds' figures, or half of an interval",
        list(HEADS),
        rows(rounds),
    )


def _read(path: Path) -> Rounds:
    try:
        return msgspec.json.decode(path.read_bytes(), type=Rounds)
    except (OSError, msgspec.DecodeError) as error:
        raise UnreadableFile(f"{path} cannot be read: {error}", "Choose another place with --out.") from error


def _jobs(models: Sequence[str], targets: Sequence[str], size: str | None, artifacts: Path) -> list[Job]:
    """The cases; what is not exported yet is exported."""
    device = inventory.find("local")
    facts = device_facts.facts_of(device)
    jobs: list[Job] = []
    for name in models:
        words = command_line.size_words(command_line.size_of(registry.find_model(name), size))
        request = BenchRequest(targets=tuple(targets), size=words, artifacts=artifacts)
        planned = plan([name], request)
        jobs += jobs_for(planned, request, device, facts, progress=command_line.say, keep_going=False)
    return jobs


@command_line.with_errors
def main(words: Sequence[str] | None = None) -> int:
    """Measure rounds and print the table after each; returns the exit code."""
    parser = command_line.parser(__file__, __doc__)
    parser.add_argument("--models", nargs="+", default=list(MODELS), metavar="NAME")
    parser.add_argument("--targets", nargs="+", default=list(TARGETS), metavar="NAME")
    parser.add_argument("--size", default=None, metavar="HxW")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--pause", type=float, default=0.0, metavar="S", help="between two rounds")
    parser.add_argument("--trials", type=int, default=bench.TRIALS)
    parser.add_argument("--min-time", type=float, default=1.0, metavar="S")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    parser.add_argument("--out", type=Path, default=None, metavar="FILE.json", help="rounds are added to it")
    options = parser.parse_args(words)
    book = _read(options.out) if options.out and options.out.exists() else Rounds()
    jobs = _jobs(options.models, options.targets, options.size, options.artifacts) if options.rounds else []
    for number in range(options.rounds):
        time.sleep(options.pause if number else 0.0)
        begin = time.monotonic()
        book.rounds.append(measure(jobs, trials=options.trials, min_time_s=options.min_time))
        command_line.say(f"round {len(book.rounds)}: {time.monotonic() - begin:.0f} s")
        if options.out:
            documents.write_bytes(options.out, msgspec.json.encode(book))
    print_rounds(book.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
