"""Shards of an evaluation: what a worker does for one, and the files in which the client keeps finished ones."""

import socket
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTask:
    """One part of the pictures that is to be evaluated."""

    run_id: str
    """Names the worker's folder: the same of a resumed sweep."""
    key: str
    """Names the evaluation."""
    index: int
    count: int
    digests: tuple[str, ...]
    """Of the artifacts' manifests: what the store of the worker's host has them by."""
    order: EvalRequest
    lock_wait_s: float


class ShardRecords(msgspec.Struct, frozen=True, kw_only=True):
    """The records of a part, and what evaluated it."""

    facts: Mapping[str, Any]
    threads: int
    records: bytes
    """A file of image records, as `api_eval.evaluate_shard` leaves it."""


@tasks.returning_errors
def evaluate_task(ticket: ShardTask) -> ShardRecords | MissingArtifacts:
    """Evaluate one part, or go on with it where this host was interrupted.

    Raises:
        DeviceError: the device is busy or lost; another try may find it again.
    """
    store = Store()
    lacking = tuple(one for one in ticket.digests if store.find(one) is None)
    if lacking:
        return MissingArtifacts(worker=tasks.worker_address(), host=socket.gethostname(), digests=lacking)
    out = worker_folder(ticket.run_id) / f"{ticket.key}-{ticket.index}.jsonl"
    folders = [store.folder(one) for one in ticket.digests]
    told = evaluate_shard(folders, ticket.order, ticket.index, ticket.count, out, lock_wait_s=ticket.lock_wait_s)
    return ShardRecords(facts=told.facts, threads=told.threads, records=out.read_bytes())


class ShardFiles:
    """The client's folder of the parts of one evaluation. A part is there whole or not at all."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder, self._count = folder, count

    def missing(self) -> list[int]:
        """The parts that are not there."""
        return [index for index in range(self._count) if not self._about(index).is_file()]

    def keep(self, index: int, shard: ShardRecords) -> None:
        """Write a part down; what evaluated it comes last, so that a part that has it is whole.

        Raises:
            UnreadableFile: the folder cannot be written.
        """
        documents.write_bytes(self.path(index), shard.records)
        documents.write_bytes(self._about(index), msgspec.json.encode({"facts": shard.facts, "threads": shard.threads}))

    def path(self, index: int) -> Path:
        """A part's file of records."""
        return self._folder / f"{index}.jsonl"

    def paths(self) -> list[Path]:
        """All parts' files of records."""
        return [self.path(index) for index in range(self._count)]

    def told(self) -> list[ShardReply]:
        """What evaluated each part that is there."""
        found = [self._about(index) for index in range(self._count)]
        return [ShardReply(**msgspec.json.decode(path.read_bytes())) for path in found if path.is_file()]

    def _about(self, index: int) -> Path:
        return self._folder / f"{index}.facts.json"
