"""Hosted phones: what a link to a phone of somebody else's farm promises, and what nobody controls there.

Such a phone takes no command and no file of ours but a model with its inputs: a job, which gives outputs and times.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from numpy.typing import NDArray

from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.catalog.spec import TensorSpec
from vitdeploy.errors import Impossible
from vitdeploy.processes.connection import CommandResult, Connection

TARGET: Final = "tflite-fp32"
"""The format that is run there, by TFLite with XNNPACK on the processor."""

NOT_CONTROLLED: Final = "clocks, cores, cooling and other load of a hosted phone are not under our control"

JOB_LIMIT_S: Final = 3600.0
"""A job that takes longer, in the queue and on the phone, is given up. Source: a choice; a queue takes minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAnswer:
    """What a job gave."""

    job: str
    """Its name at the service: whoever has the account can look it up."""
    outputs: Sequence[Mapping[str, NDArray[Any]]]
    """Of each input."""
    samples_us: tuple[int, ...]
    """Every timed inference; empty where none was asked for."""
    load_us: int
    first_load_us: int
    peak_memory_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """What a job runs."""

    file: Path
    sha256: str
    inputs: Sequence[TensorSpec]
    outputs: Sequence[TensorSpec]
    feeds: Sequence[Mapping[str, NDArray[Any]]]
    threads: int
    timed: bool
    """Whether inferences are timed too; without, outputs come sooner."""


class HostedConnection(Connection):
    """A link to a hosted phone. It has no shell, no files and no lock: the service lets one job at a time run there."""

    name: str

    @abstractmethod
    def facts(self) -> DeviceFacts:
        """What the service says of the phone.

        Raises:
            DeviceError: it does not answer, or has no such phone.
        """

    @abstractmethod
    def run_job(self, request: JobRequest) -> JobAnswer:
        """Run a model there, and wait for what it gives.

        Raises:
            DeviceError: the service does not answer, refuses, or the job takes too long.
            ToolchainFailed: the job failed, or its answer cannot be read.
        """

    def interpreter(self) -> tuple[str, ...]:
        """A hosted phone runs no Python. Raises `Impossible`, always."""
        raise self._no("runs no Python")

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout_s: float) -> CommandResult:
        """A hosted phone runs no command. Raises `Impossible`, always."""
        del argv, stdin, timeout_s
        raise self._no("runs no command of ours")

    def push(self, path: Path, *, sha256: str) -> str:
        """A hosted phone keeps no file. Raises `Impossible`, always."""
        del path, sha256
        raise self._no("keeps no file of ours")

    def pull(self, remote: str, path: Path) -> None:
        """A hosted phone has no file of ours. Raises `Impossible`, always."""
        del remote, path
        raise self._no("has no file of ours")

    def lock(self, *, timeout_s: float) -> AbstractContextManager[None]:
        """Nothing to hold: jobs wait in the service's queue."""
        del timeout_s
        return nullcontext()

    def close(self) -> None:
        """Nothing is held open."""

    def _no(self, what: str) -> Impossible:
        return Impossible(f"{self.name} is a hosted phone and {what}", "Use `bench`, `check` or `predict` on it.")
