"""One trial as the parent sees it: tell a worker, wait, and make out what became of it."""

from dataclasses import dataclass
from pathlib import Path

import msgspec

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks.trial import worker
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import Compute
from vitdeploy.devices import cooling
from vitdeploy.errors import DeviceError
from vitdeploy.processes import child_reply
from vitdeploy.processes.child_reply import Unread
from vitdeploy.processes.connection import Connection
from vitdeploy.results import record
from vitdeploy.results.record import Case, Trial

WORKER_LIMIT_S = 900.0
"""A worker that needs longer, beyond ten times its sampling time, is killed. Source: a choice;
a quarter of an hour lets ten inferences of a minute each finish.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSlot:
    """The ``index``-th trial of the row at ``place``, run as the ``order``-th of the whole run."""

    place: int
    index: int
    order: int
    id: str
    pair: int | None = None
    """The pair of a duel that it belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """A trial without samples for a reason that another try may not meet: killed, or out of time."""

    message: str
    hint: str


def take(
    turn: TrialSlot,
    case: Case,
    artifact: Artifact,
    *,
    compute: Compute,
    probe: str,
    link: Connection,
    protocol: record.Protocol,
    log: Path,
    cool_c: float | None = None,
) -> Trial | Lost:
    """Run one trial in a fresh process on the device.

    What a failed worker said on stderr is appended to ``log``.

    Raises:
        VitdeployError: the worker's own error, or `ToolchainFailed` where it ended without a word.
    """
    job = worker_job(turn, case, artifact, compute=compute, probe=probe, link=link, protocol=protocol, cool_c=cool_c)
    name = f"trial {turn.index + 1}"
    try:
        done = child_reply.start(
            link,
            worker.__name__,
            job,
            timeout_s=cooling.WAIT_S + WORKER_LIMIT_S + 10 * (protocol.sustained_s or protocol.min_time_s),
        )
    except DeviceError as error:
        return Lost(message=f"{name} was lost: {error.message}", hint=error.hint)
    reply = child_reply.decode(done, Trial)
    if isinstance(reply, Trial):
        return reply
    child_reply.keep_log(log, f"{case.name}, {name}", done)
    if isinstance(reply, Unread) and done.exit_code < 0:
        return Lost(
            message=f"the worker of {name} was killed by {child_reply.signal_name(done)}",
            hint=f"Look for the cause in {log}, and for the out-of-memory killer in `dmesg`.",
        )
    raise child_reply.error_of(reply, f"the worker of {name}", done, log)


def worker_job(
    turn: TrialSlot,
    case: Case,
    artifact: Artifact,
    *,
    compute: Compute,
    probe: str,
    link: Connection,
    protocol: record.Protocol,
    cool_c: float | None = None,
) -> worker.TrialJob:
    """What the worker is told; the artifact's files are put on the device."""
    assert compute != "phone", "a phone is timed by its own tool"
    runtime = registry.find_target(case.target).runtime
    assert runtime is not None, f"{case.target} has no runtime"
    manifest = artifact.manifest
    file = link.push(artifact.file, sha256=manifest.sha256)
    beside = {link.push(artifact.folder / b.file, sha256=b.sha256): b.sha256 for b in manifest.beside}
    return worker.TrialJob(
        trial={"id": turn.id, "order": turn.order, "pair": turn.pair, "build": None},
        file=file,
        digests={file: manifest.sha256, **beside},
        manifest=msgspec.to_builtins(manifest),
        runtime=runtime,
        probe=probe,
        threads=case.threads,
        streams=case.streams,
        graph=case.graph,
        boundary=case.boundary,
        min_time_s=protocol.min_time_s,
        min_count=record.FEWEST_SAMPLES,
        warmup_limit_s=protocol.warmup_limit_s,
        sustained_s=protocol.sustained_s,
        seed=protocol.seed + turn.index,
        cool_c=cool_c,
        device=compute,
    )
