"""The demo on a busy machine: what other work takes, and a second round for rows that came out invalid."""

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from vitdeploy.artifacts.manifest import open_artifact
from vitdeploy.benchmarks.trial.case_trials import MOST_FOREIGN_CORES
from vitdeploy.devices import disturbance, probe_cpu
from vitdeploy.errors import VitdeployError
from vitdeploy.results import record
from vitdeploy.results.record import Result

LOOK_S: Final = 2.0
"""How long the machine is looked at before the demo begins."""

TIME_BUDGET_S: Final = 60
"""Of sampling in the second round, beside the first round's."""


def busy_words(look_s: float = LOOK_S) -> str | None:
    """What other work takes of this machine, in a sentence; None: it is quiet, or it cannot be seen."""
    before, busy, own = disturbance.read_counters(), probe_cpu.busy_ns(), time.process_time_ns()
    time.sleep(look_s)
    after = disturbance.read_counters()
    wall_ns = after.time_ns - before.time_ns
    cores = probe_cpu.foreign_cores(busy, probe_cpu.busy_ns(), time.process_time_ns() - own, wall_ns)
    if cores is None:
        return None
    return words_of(cores, os.cpu_count() or 1, disturbance.facts_between(before, after))


def words_of(foreign_cores: float, cores: int, facts: Mapping[str, str]) -> str | None:
    """The sentence about ``foreign_cores`` of ``cores``; None below what a trial is marked for."""
    if foreign_cores <= MOST_FOREIGN_CORES:
        return None
    name, _, share = facts.get("busiest_other", "").rpartition(" ")
    most = f", most of it {name} with {share}" if name else ""
    return (
        f"this machine is busy: other work takes {foreign_cores:.1f} of {cores} cores{most}. Intervals will be wider; "
        "rows that come out invalid are measured a second time"
    )


def second_round(path: Path, artifacts: Path) -> list[list[str]]:
    """The arguments of `bench` that measure invalid rows again, each list for rows of one number of streams.

    The other targets of an invalid row are measured with it: a ratio is taken within one run.

    Args:
        path: the run of the first round.
        artifacts: the folder that holds its artifacts.
    """
    run = record.load(path)
    invalid = [row for row in run.results if row.status == "invalid" and row.parity is not None and row.parity.passed]
    again = [row for row in run.results if row.artifact_sha256 and any(_beside(row, other) for other in invalid)]
    folders = _folders(artifacts)
    commands: list[list[str]] = []
    for streams in sorted({row.case.streams for row in again}):
        rows = [row for row in again if row.case.streams == streams and row.artifact_sha256 in folders]
        names = list(dict.fromkeys(str(folders[row.artifact_sha256]) for row in rows if row.artifact_sha256))
        if names:
            commands.append([*names, *(["--streams", f"{streams}"] if streams > 1 else [])])
    return commands


def _beside(row: Result, invalid: Result) -> bool:
    """Whether two rows are of one model at one size and number of streams."""

    def of(result: Result) -> tuple[object, ...]:
        case = result.case
        return case.model, case.part, case.attention, tuple(case.size), case.batch, case.streams

    return of(row) == of(invalid)


def _folders(artifacts: Path) -> dict[str, Path]:
    """Digest of a model file → its folder; what cannot be read is no artifact of the demo."""
    folders: dict[str, Path] = {}
    for manifest in sorted(artifacts.rglob("manifest.json")):
        try:
            artifact = open_artifact(manifest.parent, check_bytes=False)
        except VitdeployError:
            continue
        folders[artifact.manifest.sha256] = manifest.parent
    return folders


def options(rounds: Sequence[str], out: Path, artifacts: Path) -> list[str]:
    """The arguments of a second round's `bench`, with its budget and its file."""
    places = ["--out", str(out), "--artifacts", str(artifacts)]
    return ["bench", *rounds, "--time-budget", f"{TIME_BUDGET_S}", "--yardstick", "off", *places]
