"""A trial beside the yardstick, the parent's side: the case and the small network take turns on the device."""

from dataclasses import replace

import msgspec

from vitdeploy.benchmarks.trial import turns_trial, worker_trial
from vitdeploy.benchmarks.trial.request import LostTrial, TrialRequest
from vitdeploy.benchmarks.trial.turns_trial import DoesNotFit
from vitdeploy.benchmarks.yardstick.files import YardstickFile
from vitdeploy.errors import VitdeployError
from vitdeploy.processes.connection import Connection
from vitdeploy.results.record import Trial

YARDSTICK_TURN_S = 0.012
"""How long a turn of the yardstick is sampled, beside its first inference: with 2 ms an inference, a fifth of the time
that it and a case's turn of 60 ms take together. Where its inferences are longer, the driver lengthens the case's."""

WARMUP_LIMIT_S = 0.05
"""Of the yardstick: its clocks are warmed up by the case, its caches by the first inference of each turn."""


class YardstickFailed(Exception):
    """The yardstick met an error, or does not fit beside the case, of which nothing is known."""


def run_trial(
    request: TrialRequest, link: Connection, file: YardstickFile, *, probe: str, cool_c: float | None
) -> Trial | LostTrial:
    """Run one trial in a fresh process on the device, in turns with the yardstick in another.

    Raises:
        YardstickFailed: the yardstick met an error, or does not fit beside the case.
        VitdeployError: the worker's own error, or `ToolchainFailed` where it or the driver ended without a reply.
    """
    case = worker_trial.worker_job(request, link, probe=probe, cool_c=cool_c)
    digests = file.push(link)
    yardstick = replace(
        case,
        trial={**request.slot.recorded, "id": f"{request.slot.id}/yardstick"},
        file=next(iter(digests)),
        digests=digests,
        manifest=file.manifest,
        boundary="host-to-host",
        warmup_limit_s=WARMUP_LIMIT_S,
        seed=0,
        cool_c=None,
    )
    outcomes = turns_trial.drive(
        [request], [case, yardstick], link, turn_s=turns_trial.TURN_S, yardstick_turn_s=YARDSTICK_TURN_S
    )
    if isinstance(outcomes, DoesNotFit):
        raise YardstickFailed(f"it could not be timed beside the case: {outcomes.words}")
    mine, its = outcomes
    if isinstance(mine, LostTrial):
        return mine
    if isinstance(mine, VitdeployError):
        raise mine
    if mine is None or not isinstance(its, Trial):
        why = its.message if isinstance(its, VitdeployError) else "its process ended without a reply"
        raise YardstickFailed(f"it could not be timed: {why}")
    return msgspec.structs.replace(mine, yardstick_ns=its.samples_ns, yardstick_turns=its.turns)
