"""Consistency of a run: what its fields cannot be together, looked at wherever one is read or a device answers.

`quantities` refuses single values; here are the rules between fields. What is merely derived is not compared with the
file but derived again (`derivation.rederive`).
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from vitdeploy.artifacts import manifest_faults
from vitdeploy.catalog.fact_table import TABLE, DeviceFacts
from vitdeploy.errors import UnreadableFile
from vitdeploy.results import validity

if TYPE_CHECKING:
    from vitdeploy.results.record import Case, Result, Run, Stages, Trial, Turns

Fault = tuple[str, str]
"""Path of a field as decoding errors name it (``$.results[0].case.device``), and why its value cannot be true."""

EARLIEST = datetime(2020, 1, 1, tzinfo=timezone.utc)
"""Before vitdeploy and all that it runs on."""

AHEAD = timedelta(days=1)
"""A clock may be ahead of ours by so much."""

ROUNDING = 0.01
"""Share by which the samples of a trial may exceed the time they were taken in: tools print rounded figures."""

LONGEST_PAUSE_NS = 10**9
"""Between two samples inputs are copied and stages read; no more than so much is lost to that a sample, beside as much
again as the sample took. Source: a choice; 25 MB of input take 10 ms to copy."""

_MOST_OF_STAGES = 10
"""Stages are parts of a sample, and told by another clock; so many times a sample they cannot take. A busy host can
read its own clock late: a right trial must not be lost for that, and a wrong unit is a thousand times off."""

_FINEST_EQUAL = 1e-5
"""No machine repeats itself within this share, time after time: equal samples are told in larger steps."""

FLEET = "fleet"
"""Link of the device that stands for all devices of a sweep. Source: `fleet.api.new_run`."""


def faults(run: "Run") -> Iterator[Fault]:
    """Everything in a run that cannot be true together, the first field first."""
    if why := moment_fault(run.started_utc):
        yield "$.started_utc", why
    yield from number_faults("$.device.facts", run.device.facts)
    yield from number_faults("$.host", run.host)
    one_device = run.device.facts.get(DeviceFacts.link.name) != FLEET
    trial_ids: dict[str, str] = {}
    cases: dict[tuple[Case, str | None], str] = {}
    for place, result in enumerate(run.results):
        path = f"$.results[{place}]"
        if one_device and result.case.device != run.device.name:
            yield f"{path}.case.device", f"{result.case.device!r} in a run of {run.device.name!r}"
        first = cases.setdefault((result.case, result.side), path)
        if first != path:
            yield f"{path}.case", f"the same case as {first}"
        if result.parity is not None:
            yield from ((f"{path}.parity.{field}", why) for field, why in manifest_faults.parity_faults(result.parity))
        yield from _unnamed_yardsticks(path, run, result)
        yield from _row_faults(path, result.case, result.artifact_sha256, result.trials, trial_ids)
    yield from _duel_faults(run)
    yield from _group_faults(run)


def shared_trial(run: "Run", other: "Run") -> str | None:
    """Path of a trial of ``run`` that has the very samples of a trial of ``other``; None: no trial is shared.

    Processes that were timed apart never have them: one of the runs is a copy of the other under another id.
    """
    theirs = {
        _pattern(trial.samples_ns)
        for result in other.results
        for trial in result.trials
        if _tells_apart(trial.samples_ns)
    }
    for place, result in enumerate(run.results):
        for number, trial in enumerate(result.trials):
            if _tells_apart(trial.samples_ns) and _pattern(trial.samples_ns) in theirs:
                return f"$.results[{place}].trials[{number}].samples_ns"
    return None


class TrialOwners:
    """Which run each trial of several files belongs to: no trial belongs to two."""

    def __init__(self) -> None:
        self._owners: dict[bytes, tuple[Path, str]] = {}

    def add(self, path: Path, run_id: str, trials: frozenset[bytes]) -> None:
        """Add the trials of a file, by their `fingerprints`.

        Raises:
            UnreadableFile: a file of another id has one of them.
        """
        for trial in trials:
            earlier, owner = self._owners.setdefault(trial, (path, run_id))
            if owner != run_id:
                raise UnreadableFile(
                    f"{path} holds trials of {earlier} under another id: {run_id} and {owner}", "Leave the copy out."
                )


def fingerprints(run: "Run") -> frozenset[bytes]:
    """What trials of a run are known by under whatever id; those that chance could repeat are left out."""
    trials = [trial.samples_ns for result in run.results for trial in result.trials]
    return frozenset(
        hashlib.blake2b(_pattern(samples), digest_size=16).digest() for samples in trials if _tells_apart(samples)
    )


def _duel_faults(run: "Run") -> Iterator[Fault]:
    if run.duel is None:
        return
    if run.duel.pairs > run.duel.most_pairs:
        yield "$.duel.pairs", f"{run.duel.pairs} of at most {run.duel.most_pairs}"
    if all(result.status != "failed" for result in run.results):
        there = max((len(result.trials) for result in run.results), default=0)
        lost = sum(reason.code == validity.LOST for result in run.results for reason in result.reasons)
        if run.duel.pairs > there + lost:
            yield "$.duel.pairs", f"{run.duel.pairs}, and {there} pairs are in the file"
    sides = [[result.case for result in run.results if result.side == side] for side in ("A", "B")]
    for place, (before, after) in enumerate(zip(*sides, strict=False)):
        if before != after and after in sides[0]:
            yield "$.results", f"couple {place} of the duel holds {before.name} and {after.name}"


def _group_faults(run: "Run") -> Iterator[Fault]:
    """Groups, and the couples of a duel, whose rows cannot have taken turns together."""
    if run.duel is not None and run.groups:
        yield "$.groups", "groups in a duel, whose couples are its groups"
    owners: dict[int, int] = {}
    for number, group in enumerate(run.groups):
        path = f"$.groups[{number}]"
        for place in group.rows:
            if place >= len(run.results):
                yield f"{path}.rows", f"row {place} of {len(run.results)}"
            elif (first := owners.setdefault(place, number)) != number or group.rows.count(place) > 1:
                yield f"{path}.rows", f"row {place} is in $.groups[{first}] too"
        if group.whole is not None and group.turn_s is None:
            yield f"{path}.whole", f"{group.whole!r}, of rows that were not to take turns"
        members = [run.results[place] for place in group.rows if place < len(run.results)]
        if group.turn_s is None and any(trial.turns is not None for row in members for trial in row.trials):
            yield f"{path}.turn_s", "none, of rows with trials in turns"
        yield from _together_faults(path, [row.trials for row in members])
    for number, couple in enumerate(run.couples):
        yield from _together_faults(f"couple {number} of $.results", [row.trials for row in couple])


def _together_faults(path: str, rows: Sequence[Sequence["Trial"]]) -> Iterator[Fault]:
    """Trials of one pair, each in turns with the others, that had the same turn or not as many turns."""
    by_pair: dict[int, list[Turns]] = {}
    for trial in (trial for row in rows for trial in row):
        if trial.pair is not None and trial.turns is not None:
            by_pair.setdefault(trial.pair, []).append(trial.turns)
    for pair, turns in by_pair.items():
        places = [place for side in turns for place in side.places]
        if len(set(places)) != len(places):
            yield path, f"two trials of pair {pair} had one turn"
        elif len({len(side.counts) for side in turns}) > 1:
            yield path, f"{' and '.join(str(len(side.counts)) for side in turns)} turns in pair {pair}"


def _unnamed_yardsticks(path: str, run: "Run", result: "Result") -> Iterator[Fault]:
    """Trials beside a yardstick that the run does not name: it could be any."""
    if run.yardstick is not None and result.case.target in run.yardstick.networks:
        return
    for number, trial in enumerate(result.trials):
        if trial.yardstick_ns is not None:
            yield f"{path}.trials[{number}].yardstick_ns", f"the run names no yardstick of {result.case.target}"


def _row_faults(
    path: str, case: "Case", sha256: str | None, trials: Sequence["Trial"], trial_ids: dict[str, str]
) -> Iterator[Fault]:
    pairs: dict[int, str] = {}
    samples: dict[bytes, str] = {}
    kinds = sorted({trial.sample_kind for trial in trials})
    if len(kinds) > 1:
        yield f"{path}.trials", f"samples of several kinds: {', '.join(kinds)}"
    for number, trial in enumerate(trials):
        here = f"{path}.trials[{number}]"
        first = trial_ids.setdefault(trial.id, here)
        if first != here:
            yield f"{here}.id", f"{trial.id!r}, the trial of {first}"
        if trial.pair is not None and (first := pairs.setdefault(trial.pair, here)) != here:
            yield f"{here}.pair", f"{trial.pair}, as of {first}"
        if _tells_apart(trial.samples_ns) and (first := samples.setdefault(_pattern(trial.samples_ns), here)) != here:
            yield f"{here}.samples_ns", f"the samples of {first}"
        yield from ((f"{here}.{field}", why) for field, why in trial_faults(trial, case, sha256))


def trial_faults(trial: "Trial", case: "Case", sha256: str | None) -> Iterator[Fault]:
    """Everything in one trial of a case and a file that cannot be true; fields are named without a path."""
    if trial.artifact_sha256 != sha256:
        yield "artifact_sha256", f"{trial.artifact_sha256[:12]}…: another file than the row's, {str(sha256)[:12]}…"
    if why := moment_fault(trial.started_utc):
        yield "started_utc", why
    if not trial.samples_ns:
        yield "samples_ns", "no samples"
        return
    if (trial.sample_kind == "block_median") != (trial.block_inferences is not None):
        yield "block_inferences", f"{trial.block_inferences} with samples that are each of the kind {trial.sample_kind}"
    busy_ns = sum(trial.samples_ns) / case.streams
    # Of a block the sample is the median and the wall time the mean: half of its inferences took the median or longer.
    least_ns = busy_ns / 2 if trial.sample_kind == "block_median" else busy_ns
    if trial.wall_ns < least_ns * (1 - ROUNDING):
        yield "wall_ns", f"{trial.wall_ns} ns for samples of {busy_ns:.0f} ns"
    longest_ns = 2 * busy_ns + LONGEST_PAUSE_NS * trial.inferences
    if trial.wall_ns > longest_ns:
        yield "wall_ns", f"{trial.wall_ns} ns for {len(trial.samples_ns)} samples of {busy_ns:.0f} ns together"
    if trial.stages_ns is not None:
        yield from _stage_faults(trial, trial.stages_ns)
    if trial.parity is not None:
        yield from ((f"parity.{field}", why) for field, why in manifest_faults.parity_faults(trial.parity))
    if _equal(trial.samples_ns) and trial.resolution_ns is not None:
        value_ns = trial.samples_ns[0]
        if trial.resolution_ns < value_ns * _FINEST_EQUAL:
            yield "resolution_ns", f"{trial.resolution_ns} ns, with {len(trial.samples_ns)} samples of {value_ns} ns"
    if trial.turns is not None:
        yield from _turn_faults("turns", trial.turns, len(trial.samples_ns))
    yield from _yardstick_faults(trial)


def _stage_faults(trial: "Trial", stages: "Stages") -> Iterator[Fault]:
    lengths = {len(stages.h2d), len(stages.compute), len(stages.d2h)}
    if lengths != {len(trial.samples_ns)}:
        yield "stages_ns", f"{sorted(lengths)} stages for {len(trial.samples_ns)} samples"
    stages_ns, samples_ns = sum(map(sum, (stages.h2d, stages.compute, stages.d2h))), sum(trial.samples_ns)
    if stages_ns > _MOST_OF_STAGES * samples_ns and trial.sample_kind == "inference":
        yield "stages_ns", f"stages of {stages_ns} ns for samples of {samples_ns} ns"


def _turn_faults(field: str, turns: "Turns", samples: int) -> Iterator[Fault]:
    if sum(turns.counts) != samples:
        yield f"{field}.counts", f"{sum(turns.counts)} samples in turns for {samples} samples"
    if len(turns.places) != len(turns.counts) or len(turns.first_ns) != len(turns.counts):
        lengths = f"{len(turns.places)} places and {len(turns.first_ns)} first inferences"
        yield f"{field}.places", f"{lengths} for {len(turns.counts)} turns"
    elif len(set(turns.places)) != len(turns.places):
        yield f"{field}.places", "one place for several turns"


def _yardstick_faults(trial: "Trial") -> Iterator[Fault]:
    samples, turns = trial.yardstick_ns, trial.yardstick_turns
    if samples is None and turns is None:
        return
    if not samples or turns is None or trial.turns is None:
        yield "yardstick_ns", "a yardstick without samples, or that took no turns"
        return
    yield from _turn_faults("yardstick_turns", turns, len(samples))
    if len(turns.counts) != len(trial.turns.counts):
        yield "yardstick_turns.counts", f"{len(turns.counts)} turns beside {len(trial.turns.counts)} of the case"
    if set(turns.places) & set(trial.turns.places):
        yield "yardstick_turns.places", "the place of a turn of the case"
    if samples == trial.samples_ns:
        yield "yardstick_ns", "the samples of the case"


def moment(text: str) -> datetime:
    """A moment from its text. Raises `ValueError` where it is none."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def moment_fault(text: str) -> str | None:
    """Why a moment cannot be true; None: it can."""
    try:
        at = moment(text)
    except ValueError:
        return f"{text!r} is no date and time"
    if at.tzinfo is None:
        return f"{text!r} has no offset from UTC"
    now = datetime.now(timezone.utc)
    if at < EARLIEST or at > now + AHEAD > EARLIEST + AHEAD:  # a clock before 2020 tells no future
        return f"{text} is before {EARLIEST:%Y} or in the future"
    return None


def _tells_apart(samples_ns: Sequence[int]) -> bool:
    """Whether two trials cannot have these very samples: enough of them, most of them different."""
    return len(samples_ns) >= 10 and len(set(samples_ns)) > len(samples_ns) / 2


def _pattern(samples_ns: Sequence[int]) -> bytes:
    """What a copy keeps where all of its samples are moved by one amount: the steps from sample to sample."""
    return np.diff(np.asarray(samples_ns, dtype=np.int64)).tobytes()


def _equal(samples_ns: Sequence[int]) -> bool:
    """Whether enough samples are there, and all have one value."""
    return len(samples_ns) >= 10 and len(set(samples_ns)) == 1


def number_faults(path: str, facts: Mapping[str, Any]) -> Iterator[Fault]:
    """Numbers among facts that no machine has; facts are of any type, so no type of ours refuses them.

    Args:
        path: of the facts.
    """
    for name, value in facts.items():
        fact = TABLE.get(name.rpartition(" ")[2])  # behind its device's name in a run of many
        if fact is not None and fact.is_amount and fact.holds(value) and value < 0:
            yield f"{path}.{name}", f"{value} is no amount of that"
        if isinstance(value, Mapping):
            yield from number_faults(f"{path}.{name}", cast("Mapping[str, Any]", value))
        elif isinstance(value, int | float) and abs(value) > _LARGEST_FACT:
            yield f"{path}.{name}", "a number beyond any fact"


_LARGEST_FACT = 2**60
