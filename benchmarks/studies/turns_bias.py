"""Whether turns answer the question that whole trials answer: ratios of unlike files, measured both ways.

    python -m vitdeploy.benchmarks.studies.turns_bias [--rounds N] [--log FILE]

The sides of a pair differ in the memory they use; if the turns of one side left the caches cold for the other, the
ratio by turns would differ from the ratio of processes that run alone. Each round measures every pair by turns and by
whole trials, in random order. With ``--log`` the table is of all rounds in that file, those of earlier calls too;
``--rounds 0`` only prints it.
"""

import argparse
import dataclasses
import math
import random
import tempfile
from dataclasses import dataclass
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from vitdeploy.api.cases import BenchRequest, plan
from vitdeploy.api.export import export
from vitdeploy.api.export_request import ExportRequest
from vitdeploy.api.jobs import jobs_for
from vitdeploy.benchmarks import duel
from vitdeploy.benchmarks.trial import turns_trial
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.devices import device_facts, inventory
from vitdeploy.errors import ToolchainFailed
from vitdeploy.processes.progress import silent, silent_trial
from vitdeploy.results import effects, record, stats

PAIRS = 3
"""Of fresh processes, in each round and way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One file of a pair."""

    model: str
    size: str
    attention: str = "relu"
    plain: bool = False
    """Without the rewrites."""

    @property
    def words(self) -> str:
        """The file in words."""
        return f"{self.model}{'+softmax' if self.attention == 'softmax' else ''}{' plain' if self.plain else ''}"


SMALL = "224x224"
STREET = "512x1024"

KINDS: tuple[tuple[Side, Side], ...] = (
    (Side(model="efficientvit_b1", size=SMALL), Side(model="efficientvit_b0", size=SMALL)),
    (Side(model="efficientvit_b1", size=SMALL, attention="softmax"), Side(model="efficientvit_b1", size=SMALL)),
    (Side(model="efficientvit_l1", size=SMALL), Side(model="efficientvit_b1", size=SMALL)),
    (
        Side(model="efficientvit_seg_b0_cityscapes", size=STREET, plain=True),
        Side(model="efficientvit_seg_b0_cityscapes", size=STREET),
    ),
)
"""Source: issue "Shared machines": pairs that differ in memory footprint."""


class Logged(msgspec.Struct, frozen=True):
    """A line of the log: the log ratio of one pair, one way, in one round."""

    kind: str
    by: record.By
    log_ratio: float


def log_ratio(jobs: tuple[Job, Job], by: record.By, folder: Path) -> float:
    """Logarithm of the second side's time over the first side's, of one short duel."""
    planned = record.Duel(
        names=("A", "B"),
        pairs=PAIRS,
        most_pairs=PAIRS,
        alpha=0.01,
        max_slowdown=0.02,
        stopped=None,
        by=by,
        turn_s=turns_trial.TURN_S if by == "turns" else None,
    )
    run = duel.run(
        jobs,
        planned,
        min_time_s=duel.MIN_TIME_S[by],
        early=False,
        device=inventory.find("local"),
        out=folder / f"{random.getrandbits(64):x}.json",
        progress=silent,
        on_trial=silent_trial,
    )
    ((base, head),) = run.couples
    differences = list(effects.pair_differences(base.trials, head.trials).values())
    return math.fsum(differences) / len(differences)


def table(logged: list[Logged]) -> Table:
    """One line a pair: both ratios, and the difference of the two ways with its interval."""
    shown = Table("pair", "rounds", "by turns", "by trials", "turns over trials", "95 % interval")
    for kind in dict.fromkeys(line.kind for line in logged):
        ways = {
            by: [line.log_ratio for line in logged if line.kind == kind and line.by == by] for by in ("turns", "trials")
        }
        biases = [turn - trial for turn, trial in zip(ways["turns"], ways["trials"], strict=False)]
        interval = stats.mean_interval(biases)
        means = {by: math.exp(math.fsum(values) / len(values)) for by, values in ways.items() if values}
        shown.add_row(
            kind,
            str(len(biases)),
            *(f"{means[by]:.4f}" if by in means else "none" for by in ways),
            f"{math.expm1(math.fsum(biases) / len(biases)):+.2%}" if biases else "none",
            f"{math.expm1(interval[0]):+.2%} … {math.expm1(interval[1]):+.2%}" if interval else "none",
        )
    return shown


def _job_of(side: Side, artifacts: Path) -> Job:
    device = inventory.find("local")
    wanted = ExportRequest(target="onnx-fp32", size=side.size, attention=side.attention, out=artifacts)
    (outcome,) = export([side.model], wanted)
    if side.plain and outcome.artifact is not None:
        rewrites = tuple(outcome.artifact.manifest.rewrites)
        (outcome,) = export([side.model], dataclasses.replace(wanted, without=rewrites))
    if outcome.artifact is None:
        raise outcome.error or ToolchainFailed(f"{side.words} could not be exported", "Read the messages above.")
    request = BenchRequest(artifacts=artifacts)
    planned = plan([str(outcome.artifact.folder)], request)
    (job,) = jobs_for(planned, request, device, device_facts.facts_of(device), progress=print, keep_going=False)
    return job


def main() -> None:
    """Run the rounds and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--kinds", nargs="+", type=int, default=list(range(len(KINDS))), help="places in KINDS")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    parser.add_argument("--log", type=Path, default=None, help="each ratio as a line of JSON, appended")
    options = parser.parse_args()
    logged: list[Logged] = []
    if options.log and options.log.exists():
        logged = [msgspec.json.decode(line, type=Logged) for line in options.log.read_bytes().splitlines()]
    places: list[int] = options.kinds if options.rounds else []
    kinds = [KINDS[place] for place in places]
    jobs = [(_job_of(first, options.artifacts), _job_of(second, options.artifacts)) for first, second in kinds]
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            for kind, pair in zip(kinds, jobs, strict=True):
                ways: list[record.By] = ["turns", "trials"]
                random.shuffle(ways)
                for by in ways:
                    words = f"{kind[1].words} over {kind[0].words}"
                    line = Logged(kind=words, by=by, log_ratio=log_ratio(pair, by, Path(folder)))
                    logged.append(line)
                    if options.log:
                        with options.log.open("ab") as stream:
                            stream.write(msgspec.json.encode(line) + b"\n")
    Console(width=120).print(table(logged))


if __name__ == "__main__":
    main()
