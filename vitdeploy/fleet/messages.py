"""Messages between a sweep and its workers, and the protocol of what runs the tasks (a `Pool`)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol

from vitdeploy.benchmarks.trial.request import TrialSlot
from vitdeploy.catalog.spec import Compute
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import DeviceError, VitdeployError
from vitdeploy.results.record import Case
from vitdeploy.results.record import Protocol as RunProtocol

MEMORY = "memory"
"""The resource of a worker that exports: bytes. Source: docs.dask.org, "Worker Resources", whose example it is."""

GIB = 2**30


def resource(device: str) -> str:
    """The resource of a worker that serves a device; there is 1 of it, which a task holds alone."""
    return f"device:{device}"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSurvey:
    """Facts of a device, read by the worker that serves it."""

    device: Device
    facts: Mapping[str, Any]
    """Those that stay the same while nobody changes the machine."""
    threads: int
    power_mode: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactFiles:
    """Files of an artifact in transfer, with their bytes, and where they lie below a folder of artifacts."""

    folder: str
    digest: str
    """SHA-256 of its manifest, which holds those of all its files."""
    files: Mapping[str, bytes]
    seconds: float = 0.0

    @property
    def size_bytes(self) -> int:
        """Of all files together."""
        return sum(map(len, self.files.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialTask:
    """One trial to take."""

    slot: TrialSlot
    case: Case
    compute: Compute
    digest: str
    """Of the artifact's manifest: what the store of the worker's host has it by."""
    protocol: RunProtocol
    facts_digest: str
    """Of the device's facts as it was surveyed: another machine than that is refused."""
    lock_wait_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MissingArtifacts:
    """Artifacts that the store of a worker's host lacks; they are to be sent there."""

    worker: str
    """Its address."""
    host: str
    """Workers of one host share a store."""
    digests: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceChanged:
    """The machine behind a device's name is not the one that was surveyed."""

    facts: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PermanentError:
    """An error that another try would meet again."""

    error: VitdeployError


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A function call for some worker."""

    key: str
    """Names the call: two of one key are one."""
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    resources: Mapping[str, float] = field(default_factory=dict[str, float])
    """What it holds of its worker while it runs."""
    priority: int = 0
    """Higher first."""
    retries: int = 0
    """How often it is run again when it raises."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskResult:
    """What became of a task."""

    key: str
    value: Any = None
    error: VitdeployError | None = None


class PoolLost(DeviceError):
    """What ran the tasks is gone; `Pool.reopen` may find it again."""


class Pool(Protocol):
    """Workers with resources, somewhere. Every wait has an end."""

    def __enter__(self) -> "Pool": ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def submit(self, tasks: Sequence[Task]) -> None:
        """Have tasks run wherever their resources are; those that wait for workers do not count as lost."""
        ...

    def send(
        self, key: str, function: Callable[..., Any], bundle: Callable[[], ArtifactFiles], digest: str, to: str
    ) -> None:
        """Have the worker ``to`` call ``function`` of the bundle; it leaves here once, however many want it."""
        ...

    def done(self, timeout_s: float) -> list[TaskResult]:
        """What was finished since the last call; waits for something so long.

        Raises:
            PoolLost: nothing more will be, and what was submitted is forgotten.
        """
        ...

    def cancel(self, keys: Sequence[str]) -> None:
        """Do not start these tasks; those that run go on unheard."""
        ...

    def serving(self) -> Mapping[str, Mapping[str, float]]:
        """Resource → address of each host whose workers offer it now → the most that one of them has.

        Raises:
            PoolLost: it does not say.
        """
        ...

    def reopen(self, timeout_s: float) -> None:
        """Find it again after `PoolLost`.

        Raises:
            DeviceError: it is not there within that time.
        """
        ...

    def tell_all(self, function: Callable[..., Any], *arguments: Any) -> None:
        """Have every worker call ``function`` at once, whatever it does; failures do not matter."""
        ...
