"""The document of a self-test: each check of a device with what was seen, and nothing that says whose device it is.

# Self-test schema history (newest first):
#   1  first version
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from vitdeploy import documents
from vitdeploy.results.quantities import SchemaNumber, Utc
from vitdeploy.results.record import Version

SCHEMA = 1

State = Literal["passed", "failed", "not possible"]


class CheckResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One check."""

    name: str
    """Of the check: ``link``, ``parity``, …."""
    proves: str
    """What holds where it passed."""
    state: State
    """``not possible``: there is nothing to check on this device."""
    seen: str
    """What was seen; of a check that was not possible, why."""
    hint: str = ""
    """What to do about it; empty where nothing failed."""
    figures: Mapping[str, float] = {}
    """What was measured; units are in the names."""
    seconds: float
    """How long the check took."""


class SelfTest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All checks of one device."""

    schema: SchemaNumber
    """1."""
    started_utc: Utc
    """When it began, by the clock of the machine that asked."""
    vitdeploy: Version
    """Which vitdeploy tested."""
    device: str
    """Name of a device that ships; ``own``: the name is the user's."""
    link: str
    """``local``, ``ssh`` or ``adb``."""
    remark: str = ""
    """What this machine really is, added by whoever keeps the file."""
    facts: Mapping[str, Any]
    """Kind of machine and its software: no fact that tells one machine from others of its kind."""
    model: str
    """What was exported and timed, with random weights."""
    size: tuple[int, int]
    """Height and width of its input."""
    targets: Sequence[str]
    """Targets that were tested; empty: nothing that runs one is installed there."""
    checks: Sequence[CheckResult]
    """In the order in which they were made."""
    seconds: float
    """How long all of it took."""

    def in_state(self, state: State) -> tuple[CheckResult, ...]:
        """The checks that ended so."""
        return tuple(check for check in self.checks if check.state == state)

    @property
    def words(self) -> str:
        """``9 passed, 0 failed, 6 not possible``."""
        states: tuple[State, ...] = ("passed", "failed", "not possible")
        return ", ".join(f"{len(self.in_state(state))} {state}" for state in states)

    @property
    def machine(self) -> str:
        """The most specific name that the facts have of the machine."""
        names = (self.facts.get(name) for name in ("board", "phone", "gpu", "cpu"))
        return next((str(name) for name in names if name), "a machine that does not say what it is")


def load(path: Path) -> SelfTest:
    """Read a self-test.

    Raises:
        UnreadableFile: it cannot be read, is of a newer schema, or has unknown fields.
    """
    return documents.read(path, SelfTest, schema=SCHEMA, what="self-test")
