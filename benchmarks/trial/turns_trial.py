"""A pair of trials by turns, the parent's side: start the driver on the device, wait, and read each side's trial."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec

from vitdeploy.benchmarks.trial import turns, worker, worker_trial
from vitdeploy.benchmarks.trial.request import LostTrial, TrialRequest
from vitdeploy.devices import cooling
from vitdeploy.errors import DeviceError, VitdeployError
from vitdeploy.processes import child_reply
from vitdeploy.processes.child_reply import ChildError
from vitdeploy.processes.connection import Connection
from vitdeploy.results import validity
from vitdeploy.results.record import Trial

TURN_S = 0.06
"""How long a turn is sampled. Source: issue "Shared machines": turns of 60 ms gave ±1 % where whole trials gave ±20 %;
2 to 16 inferences of EfficientViT-B1 all worked. Shorter than a scheduler's neighbor is long, longer than the caches
take to fill."""


Outcome = Trial | LostTrial | VitdeployError | None
"""Of one side; None: another side's error ended it."""


@dataclass(frozen=True, slots=True)
class DoesNotFit:
    """The sides do not fit into the device's memory together."""

    words: str


class _Side(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    trial: Trial | None = None
    error: ChildError | None = None


class _Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sides: tuple[_Side, ...]
    does_not_fit: str | None


def run_turns(
    requests: Sequence[TrialRequest], link: Connection, *, probe: str, turn_s: float, cool_c: float | None
) -> list[Outcome] | DoesNotFit:
    """Run the trials of one pair in turns, each in a fresh process on the device; one outcome for each request.

    Raises:
        VitdeployError: the driver's own error, or `ToolchainFailed` where it ended without a reply.
    """
    plans = [worker_trial.worker_job(request, link, probe=probe, cool_c=cool_c) for request in requests]
    shared = [replace(plan, seed=plans[0].seed) for plan in plans]  # both sides compute on the same inputs
    return drive(requests, shared, link, turn_s=turn_s)


def drive(
    requests: Sequence[TrialRequest],
    plans: Sequence[worker.TrialJob],
    link: Connection,
    *,
    turn_s: float,
    yardstick_turn_s: float | None = None,
) -> list[Outcome] | DoesNotFit:
    """Start the driver and wait for it; one outcome for each plan.

    Args:
        requests: of the cases; with ``yardstick_turn_s`` the last plan is a yardstick's, and has none.

    Raises:
        VitdeployError: the driver's own error, or `ToolchainFailed` where it ended without a reply.
    """
    first = requests[0]
    job = turns.TurnsJob(
        sides=[msgspec.to_builtins(plan) for plan in plans],
        probe=plans[0].probe,
        turn_ns=round(turn_s * 1e9),
        min_time_ns=round(first.protocol.min_time_s * 1e9),
        min_count=validity.FEWEST_SAMPLES,
        seed=zlib.crc32(first.slot.id.encode()),  # another order in each run: what an order does must not repeat
        yardstick_turn_ns=None if yardstick_turn_s is None else round(yardstick_turn_s * 1e9),
    )
    limit_s = cooling.WAIT_S + sum(request.limit_s for request in requests)
    name = f"{first.case.name}, {'pair' if yardstick_turn_s is None else 'trial'} {first.slot.index + 1}"
    try:
        result = child_reply.start(link, turns.__name__, job, timeout_s=limit_s)
    except DeviceError as error:
        lost: list[Outcome] = [request.slot.lost(error) for request in requests]
        return lost + [None] * (len(plans) - len(requests))
    reply = child_reply.read(result, _Reply, what=f"the driver of {name}", log=first.log)
    if reply.does_not_fit is not None:
        return DoesNotFit(reply.does_not_fit)
    if result.stderr and any(side.error for side in reply.sides):
        child_reply.keep_log(first.log, name, result)
    return [
        side.trial or (child_reply.error_of(side.error, name, result, first.log) if side.error else None)
        for side in reply.sides
    ]
