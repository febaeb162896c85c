"""The error tree: every failure a user can meet, its exit code and its hint.

    VitdeployError            1   internal error (a bug)
    ├── UsageError            2   an unknown command, option, model, target, device, suite or value
    ├── MissingPackage        3   a package or tool is missing
    ├── Impossible            4   this combination cannot work
    ├── ToolchainFailed       5   somebody else's tool failed
    ├── ParityFailed          6   the exported file does not compute what the model computes
    ├── DeviceError           7   not reachable, not configured, wrong, busy, too hot, lost; a download that failed
    ├── NoValidMeasurement    8   nothing could be measured that may be quoted
    ├── UnreadableFile        9   unreadable, newer schema, wrong digest, or does not fit the model
    ├── Regression           10   slower than the baseline
    ├── NothingToCompare     11   no baseline, or nothing comparable in it
    ├── Inconclusive         12   the data cannot tell (only with --strict)
    └── Interrupted         130   Ctrl-C (the shell's convention, 128 + SIGINT)

A message says what happened with the values; the hint is one imperative sentence.
"""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import ClassVar, TypeVar

T = TypeVar("T")

_FIRST_WINS = (1, 6, 5, 7, 9, 8, 3, 4)
"""Order in which exit codes of several failed rows win. Source: contract, "Exit codes"."""


class VitdeployError(Exception):
    """Base of all errors that are shown to a user as two lines."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, hint: str = "Report it with the command and the output of `--debug`.") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __reduce__(self) -> tuple[type["VitdeployError"], tuple[str, str]]:
        return type(self), (self.message, self.hint)


class UsageError(VitdeployError):
    """An unknown name or a value that means nothing."""

    exit_code = 2


class MissingPackage(VitdeployError):
    """A Python package or a tool that the work needs is not here."""

    exit_code = 3


class Impossible(VitdeployError):
    """Known names whose combination cannot work."""

    exit_code = 4


class ToolchainFailed(VitdeployError):
    """A converter, compiler or runtime failed; the message names its log."""

    exit_code = 5


class ParityFailed(VitdeployError):
    """The file was made, and it computes something else than the reference."""

    exit_code = 6


class DeviceError(VitdeployError):
    """The device is not reachable, not configured, wrong, busy, too hot or lost; or a server gives no weights."""

    exit_code = 7


class NoValidMeasurement(VitdeployError):
    """Every figure is invalid, so none may be quoted."""

    exit_code = 8


class UnreadableFile(VitdeployError):
    """A file is broken, newer than this version, changed, or belongs to another model."""

    exit_code = 9


class Regression(VitdeployError):
    """Slower than the baseline beyond the allowed slowdown."""

    exit_code = 10


class NothingToCompare(VitdeployError):
    """There is no baseline, or no case of it is comparable."""

    exit_code = 11


class Inconclusive(VitdeployError):
    """The data cannot tell; an error only with ``--strict``."""

    exit_code = 12


class Interrupted(VitdeployError):
    """The user pressed Ctrl-C."""

    exit_code = 130


def error_classes() -> tuple[type[VitdeployError], ...]:
    """All classes of the tree."""
    return VitdeployError, *VitdeployError.__subclasses__()


def reason_code(kind: type[VitdeployError]) -> str:
    """An error's class as a code in records: ``ToolchainFailed`` → ``toolchain-failed``."""
    return "".join(f"-{c.lower()}" if c.isupper() else c for c in kind.__name__).lstrip("-")


def unknown_name(kind: str, name: str, known: Iterable[str], listing: str) -> UsageError:
    """The error for a name that is in no table, with the nearest names as the hint.

    Args:
        kind: what the name should have been, e.g. ``"model"``.
        listing: the command that lists all of them.
    """
    near = nearest(name, known)
    meant = f"Did you mean {one_of(near)}? " if near else ""
    return UsageError(f"unknown {kind} {name!r}", f"{meant}`{listing}` lists them all.")


def nearest(name: str, known: Iterable[str]) -> list[str]:
    """Up to three names that ``name`` may have been meant for: like the whole, having it in them, or beginning so."""
    names = sorted(known)
    near = get_close_matches(name, names, n=3, cutoff=0.5)
    near = near or [other for other in names if len(name) > 1 and name.lower() in other][:3]
    if near or len(name) < 4:
        return near
    beginnings = get_close_matches(name, {other[: len(name)] for other in names}, n=1, cutoff=0.7)
    return [other for other in names if beginnings and other.startswith(beginnings[0])][:3]


def one_of(names: Sequence[str]) -> str:
    """``a, b or c``."""
    return " or ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def entry(kind: str, name: str, table: Mapping[str, T], listing: str) -> T:
    """What a table has under a name.

    Raises:
        UsageError: nothing, as `unknown_name` says it.
    """
    if name not in table:
        raise unknown_name(kind, name, table, listing)
    return table[name]


def worst_exit_code(codes: Iterable[int]) -> int:
    """The exit code of a command that finished all its rows, some of them failed; 0 when none did."""
    failed = {code for code in codes if code}
    return next((code for code in _FIRST_WINS if code in failed), min(failed, default=0))
