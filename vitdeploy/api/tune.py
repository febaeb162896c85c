"""`export --tune`: rewrites chosen by timing, each form of the file in turns with the best one so far.

Greedy: one candidate after another, and each that is clearly faster is kept. The choice becomes options of `export`, so
the same choice is the same file, whoever makes it.
"""

import dataclasses
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vitdeploy import units
from vitdeploy.api import cases, turns
from vitdeploy.api.case_job import job_of
from vitdeploy.api.cases import BenchRequest, Planned
from vitdeploy.api.devices import reachable
from vitdeploy.artifacts.manifest import Artifact, Manifest, TunedChoice, Tuning
from vitdeploy.artifacts.store import Store
from vitdeploy.benchmarks import duel as duels
from vitdeploy.benchmarks.trial import turns_trial
from vitdeploy.catalog import rewrite_table
from vitdeploy.devices import device_facts, inventory
from vitdeploy.errors import NoValidMeasurement, ParityFailed, VitdeployError
from vitdeploy.exporters import pipeline, planning
from vitdeploy.exporters.planning import Plan
from vitdeploy.processes.progress import Progress, silent_trial
from vitdeploy.results import comparison, record
from vitdeploy.results.verdict import Comparison

PAIRS: Final = 8
"""At most, for each candidate; a clear answer ends it after `duel.FEWEST_PAIRS_BY_TURNS`."""

MIN_TIME_S: Final = 1.0
"""Sampling time of a side in each pair."""

LEAST_GAIN: Final = 0.01
"""A candidate is taken where it is shown to be faster by this share. Source: a choice; an A/A duel errs by less."""

ALPHA: Final = 0.05
"""Chance that a candidate which is no faster is taken."""

TILE: Final = 4
"""The tile of ``winograd-rows`` that is tried first, where `TILES` has a smaller one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A form of the file that may be faster: one thing left out, or one added that assumes another CPU."""

    without: str | None = None
    """As ``--without`` takes it."""
    also: str | None = None

    @property
    def words(self) -> str:
        """For progress and the manifest."""
        return f"without {self.without}" if self.without else f"with {self.also}"


Timer = Callable[[Artifact, Artifact], Comparison]
"""Compares the best file so far with a candidate's."""

Maker = Callable[[Plan], Artifact]
"""Exports a plan, and raises its error, one of parity too."""


def tuned(plan: Plan, make: Maker, timer: Timer, *, device: str, progress: Progress) -> tuple[Plan, Tuning | None]:
    """The plan of the fastest form, and how it was found; None: the file fails its proof, which its export says.

    Raises:
        VitdeployError: the file that the search starts from cannot be made, or cannot be timed.
    """
    try:
        best, artifact = plan, make(plan)
    except ParityFailed:
        return plan, None
    choices: list[TunedChoice] = []
    for candidate in candidates(artifact.manifest, plan):
        changed = _changed(best, candidate)
        try:
            other = make(changed)
        except VitdeployError as error:
            progress(f"{candidate.words}: left, {error.message}")
            continue
        if other.manifest.sha256 == artifact.manifest.sha256:
            continue
        compared = timer(artifact, other)
        taken = compared.verdict == "faster"
        low, high = compared.interval or (None, None)
        choices.append(TunedChoice(what=candidate.words, taken=taken, ratio=compared.ratio, low=low, high=high))
        ratio = "no figure" if compared.ratio is None else f"{compared.ratio:.3f} of the time before"
        progress(f"{candidate.words}: {ratio}, {'taken' if taken else 'left'}")
        if taken:
            best, artifact = changed, other
    return best, Tuning(device=device, choices=tuple(choices))


def candidates(manifest: Manifest, plan: Plan) -> list[Candidate]:
    """What may make a file faster, of the rewrites that it has, and of those that its CPU kept out."""
    found = [Candidate(without=name) for name in manifest.rewrites if rewrite_table.is_optional(name)]
    for layer, tile in manifest.winograd_rows.items():
        name = f"{planning.BY_LAYER}:{layer}"
        found += [Candidate(without=f"{name}:{TILE}")] if tile == TILE else []
        found += [Candidate(without=name)] if tile > 1 else []
    kept_out = set(plan.request.target.rewrites) - set(plan.steps[-1].rewrites) - set(plan.variant.without)
    return found + [Candidate(also=name) for name in plan.request.target.rewrites if name in kept_out]


def _changed(plan: Plan, candidate: Candidate) -> Plan:
    """The plan with a candidate's form."""
    request = plan.request
    without = list(request.variant.without)
    if candidate.without:
        # A layer that is left out whole needs no word on its tile.
        without = [name for name in without if not name.startswith(f"{candidate.without}:")] + [candidate.without]
    changed = dataclasses.replace(
        request,
        variant=dataclasses.replace(request.variant, without=tuple(without)),
        also=(*request.also, *([candidate.also] if candidate.also else [])),
        weights_sha256=plan.variant.weights.removeprefix("sha256:") if request.weights else None,
    )
    return planning.plans([changed])[0]


def tuned_plan(plan: Plan, store: Store, *, progress: Progress) -> tuple[Plan, Tuning | None]:
    """As `tuned`, with files of the store, timed on the device of the request or here.

    Raises:
        VitdeployError: the file that the search starts from cannot be made, or cannot be timed.
    """
    device = reachable(plan.request.device or "local")
    with tempfile.TemporaryDirectory(prefix="vitdeploy-tune-") as place:
        folder = Path(place)

        def make(form: Plan) -> Artifact:
            request = dataclasses.replace(form.request, out=folder / "files")
            outcome = pipeline.export(dataclasses.replace(form, request=request), store, progress=progress)
            if outcome.error is not None:
                raise outcome.error
            return outcome.artifact

        def timer(best: Artifact, other: Artifact) -> Comparison:
            return _compared(best, other, device, folder, progress)

        return tuned(plan, make, timer, device=device.name, progress=progress)


def _compared(
    best: Artifact, other: Artifact, device: inventory.Device, folder: Path, progress: Progress
) -> Comparison:
    """A duel of both files.

    Raises:
        NoValidMeasurement: one of them has no figure.
        DeviceError: the device is lost or busy.
    """
    sides = [Planned(variant=artifact.manifest.variant, streams=1, artifact=artifact) for artifact in (best, other)]
    request = cases.fitted(BenchRequest(device=device.name), device)
    facts = device_facts.facts_of(device)
    threads = inventory.threads_of(device, facts)
    by: record.By = "trials" if turns.obstacle(None, device, sides) else "turns"
    planned = record.Duel(
        names=("best", "candidate"),
        pairs=PAIRS,
        most_pairs=PAIRS,
        alpha=ALPHA,
        max_slowdown=LEAST_GAIN,
        stopped=None,
        by=by,
        turn_s=turns_trial.TURN_S if by == "turns" else None,
    )
    out = Path(tempfile.mkdtemp(dir=folder)) / "duel.json"
    run = duels.run(
        [job_of(side, request, device, facts, threads=threads, artifact=side.artifact, error=None) for side in sides],
        planned,
        min_time_s=MIN_TIME_S,
        early=True,
        device=device,
        out=out,
        progress=progress,
        on_trial=silent_trial,
    )
    failed = [reason.message for result in run.results if result.status == "failed" for reason in result.reasons]
    if failed:
        raise NoValidMeasurement(f"a file cannot be timed on {device.name}: {failed[0]}", "Export it without --tune.")
    (compared,) = comparison.duel(run).comparisons
    return compared


def plan_words(plan: Plan, store: Store) -> str:
    """How long tuning will take, for a dry run."""
    base = store.find(plan.key)
    device = plan.request.device or "local"
    each = units.seconds(2 * PAIRS * MIN_TIME_S)
    if base is None:
        least = len([name for name in plan.steps[-1].rewrites if rewrite_table.is_optional(name)])
        count = f"at most {least} forms, and two for each layer of {planning.BY_LAYER}, known once the graph is made"
    else:
        count = f"at most {len(candidates(base, plan))} forms"
    how = f"each is made as the file itself, and sampled in turns on {device} for up to {each}"
    return f"{plan.variant.full_model}: tune, {count}; {how}"
