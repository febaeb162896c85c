"""Trial requests: the case and artifact that a trial times, and its slot in the run; the same for every tool."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.catalog.spec import Compute
from vitdeploy.errors import DeviceError
from vitdeploy.results import record
from vitdeploy.results.record import Case

LIMIT_S = 900.0
"""A process that needs longer, beyond ten times its sampling time, is killed. Source: a choice;
a quarter of an hour lets ten inferences of a minute each finish.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LostTrial:
    """A trial without samples for a reason that another try may not meet: killed, or out of time."""

    message: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSlot:
    """The ``index``-th trial of the row at ``place``, run as the ``order``-th of the whole run."""

    place: int
    index: int
    order: int
    id: str
    pair: int | None = None
    """The pair of a duel that it belongs to."""

    @property
    def name(self) -> str:
        """For messages and logs."""
        return f"trial {self.index + 1}"

    @property
    def recorded(self) -> dict[str, Any]:
        """The fields of `record.Trial` that say which trial it is."""
        return {"id": self.id, "order": self.order, "pair": self.pair, "build": None}

    def lost(self, error: DeviceError) -> LostTrial:
        """The trial whose device was lost."""
        return LostTrial(message=f"{self.name} was lost: {error.message}", hint=error.hint)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRequest:
    """One trial to be run."""

    slot: TrialSlot
    case: Case
    artifact: Artifact
    compute: Compute
    protocol: record.Protocol
    log: Path
    """What the process printed is appended to it."""

    @property
    def limit_s(self) -> float:
        """After which its process is killed."""
        return LIMIT_S + 10 * (self.protocol.sustained_s or self.protocol.min_time_s)
