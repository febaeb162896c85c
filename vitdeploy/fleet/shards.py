"""Shards of an evaluation: what a worker does for one, and the files in which the client keeps finished ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from vitdeploy import documents
from vitdeploy.api.evaluate import evaluate_shard
from vitdeploy.api.evaluate_images import ShardReply
from vitdeploy.artifacts.store import Store
from vitdeploy.evaluation.request import EvalRequest
from vitdeploy.fleet import tasks
from vitdeploy.fleet.messages import MissingArtifacts
from vitdeploy.fleet.trial_files import worker_folder
from vitdeploy.results.quantities import CountOrZero


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTask:
    """One shard of the pictures to evaluate."""

    run_id: str
    """Names the worker's folder: the same of a resumed sweep."""
    key: str
    """Names the evaluation."""
    index: int
    count: int
    digests: tuple[str, ...]
    """Of the artifacts' manifests: what the store of the worker's host has them by."""
    request: EvalRequest
    lock_wait_s: float


class ShardRecords(msgspec.Struct, frozen=True, kw_only=True):
    """The records of a shard, with the device facts."""

    facts: Mapping[str, Any]
    threads: int
    records: bytes
    """A file of image records, as `api.evaluate.evaluate_shard` leaves it."""


@tasks.returning_errors
def evaluate_task(task: ShardTask) -> ShardRecords | MissingArtifacts:
    """Evaluate one shard, or go on with it where this host was interrupted.

    Raises:
        DeviceError: the device is busy or lost; another try may find it again.
    """
    if (missing := tasks.not_stored(task.digests)).digests:
        return missing
    out = worker_folder(task.run_id) / f"{task.key}-{task.index}.jsonl"
    folders = [Store().folder(digest) for digest in task.digests]
    reply = evaluate_shard(folders, task.request, task.index, task.count, out, lock_wait_s=task.lock_wait_s)
    return ShardRecords(facts=reply.facts, threads=reply.threads, records=out.read_bytes())


class _ShardFacts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept beside the records of a shard."""

    facts: Mapping[str, Any]
    threads: CountOrZero


class ShardFiles:
    """The client's folder of the shards of one evaluation. A shard is there whole or not at all."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder, self._count = folder, count

    def missing(self) -> list[int]:
        """The shards that are not there."""
        return [index for index in range(self._count) if self._reply(index) is None]

    def keep(self, index: int, shard: ShardRecords) -> None:
        """Write a shard; its facts come last, so that a shard that has them is whole.

        Raises:
            UnreadableFile: the folder cannot be written.
        """
        documents.write_bytes(self.path(index), shard.records)
        facts = _ShardFacts(facts=shard.facts, threads=shard.threads)
        documents.write_bytes(self._about(index), msgspec.json.encode(facts))

    def path(self, index: int) -> Path:
        """A shard's file of records."""
        return self._folder / f"{index}.jsonl"

    def paths(self) -> list[Path]:
        """The files of records of all shards."""
        return [self.path(index) for index in range(self._count)]

    def replies(self) -> list[ShardReply]:
        """The device facts and threads of each shard that is there."""
        replies = map(self._reply, range(self._count))
        return [reply for reply in replies if reply is not None]

    def _reply(self, index: int) -> ShardReply | None:
        """None where a shard is not there, or its file was cut or edited: it is evaluated again."""
        try:
            about = msgspec.json.decode(self._about(index).read_bytes(), type=_ShardFacts)
        except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return ShardReply(facts=dict(about.facts), threads=about.threads)

    def _about(self, index: int) -> Path:
        return self._folder / f"{index}.facts.json"
