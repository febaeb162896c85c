"""Child processes, the parent's side: start one, wait, keep its log, and make out what became of it.

What the child does is in `child_process`. Its reply is taken even where the process crashed after it; its error is
raised as itself; without a reply the signal, the memory or the last line of its log say why.
"""

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import platformdirs

from vitdeploy import documents, errors
from vitdeploy.errors import DeviceError, ToolchainFailed, VitdeployError
from vitdeploy.processes.connection import CommandResult, Connection, cannot_start, kill_group
from vitdeploy.processes.device_words import one_line

T = TypeVar("T")

LARGEST_LINE = 300
"""Characters of a log's line in a message."""


LONGEST_MESSAGE = 2000
"""Characters of a child's message or hint."""

_KINDS: Mapping[str, type[VitdeployError]] = {
    kind.__name__: kind
    for kind in errors.error_classes()
    if kind not in (VitdeployError, errors.Interrupted, errors.Regression, errors.NothingToCompare, errors.Inconclusive)
}
"""Errors that a child can have met. The others are verdicts on a command of ours, or the user's own Ctrl-C: no device
may end us with them.
"""


class ChildError(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An error on its way from a child to its parent."""

    kind: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class MissingReply:
    """What a child left that is no reply."""

    words: str
    unreadable: bool = False
    """Whether there was one, which cannot be read."""


class _Reply(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a child writes to stdout: one of the two."""

    reply: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: ChildError | None = None


def ask(
    link: Connection, module: str, job: Any, kind: type[T], *, what: str, timeout_s: float, log: Path | None = None
) -> T:
    """Have a module of ours do a job behind a link, and return its reply.

    Args:
        kind: what the reply is decoded as.
        what: the process, for messages and as its title in the log.
        log: what a failed process said on stderr is appended to it.

    Raises:
        DeviceError: the device was lost, or time was up.
        VitdeployError: the error that the process answered with, of its own class.
        ToolchainFailed: it left no reply, or one that cannot be read.
    """
    return read(start(link, module, job, timeout_s=timeout_s), kind, what=what, log=log)


def start(link: Connection, module: str, job: Any, *, timeout_s: float) -> CommandResult:
    """Have a module of ours do a job behind a link; its reply is still to be read.

    Raises:
        DeviceError: the device was lost, or time was up.
    """
    return link.run([*link.interpreter(), "-m", module], stdin=encode(job), timeout_s=timeout_s)


def read(result: CommandResult, kind: type[T], *, what: str, log: Path | None = None) -> T:
    """The reply of a process that has ended. Arguments and errors as of `ask`."""
    reply = decode(result, kind)
    if not isinstance(reply, ChildError | MissingReply):
        return reply
    if log is not None:
        keep_log(log, what, result)
    raise error_of(reply, what, result, log)


def decode(result: CommandResult, kind: type[T]) -> T | ChildError | MissingReply:
    """What a process left on stdout: its reply as ``kind``, the error that it met, or what is neither."""
    if not result.stdout.strip():
        return MissingReply("no reply", unreadable=result.exit_code == 0)
    if len(result.stdout) > documents.LARGEST_BYTES:
        return MissingReply(f"a reply of {len(result.stdout)} characters, more than any", unreadable=True)
    try:
        answer = msgspec.json.decode(result.stdout, type=_Reply)
        if isinstance(answer.reply, msgspec.Raw):
            return msgspec.json.decode(answer.reply, type=kind)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return MissingReply(f"a reply that cannot be read ({one_line(str(error))})", unreadable=True)
    return answer.error or MissingReply("an empty reply", unreadable=True)


def run_local(
    command: Sequence[str],
    job: Any = None,
    *,
    what: str,
    timeout_s: float,
    log: Path,
    own_group: bool = True,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    descriptors: Sequence[int] = (),
) -> CommandResult:
    """Start a process here that ends with this one, and wait for it; what it prints goes to ``log`` meanwhile.

    Args:
        job: what it reads from stdin; None: it gives no reply, so its stdout belongs to the log as well.
        own_group: give it a process group, which is killed whole when time is up or we are interrupted.
        folder: where it runs; None: here.
        environment: its variables; None: ours.
        descriptors: open files of ours that it gets beside its streams.

    Raises:
        DeviceError: the process cannot be started.
        ToolchainFailed: time was up.
        UnreadableFile: the log cannot be written.
    """
    try:
        stream = log.open("wb")
    except OSError as error:
        raise documents.cannot_write(log, error) from error
    with stream:
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL if job is None else subprocess.PIPE,
                stdout=stream if job is None else subprocess.PIPE,
                stderr=stream,
                start_new_session=own_group,
                pass_fds=descriptors,
            )
        except OSError as error:
            raise cannot_start(command[0], error.strerror or str(error), error.errno) from error
        try:
            stdout, _ = process.communicate(None if job is None else encode(job).encode(), timeout=timeout_s)
        except BaseException as error:
            kill_group(process.pid) if own_group else process.kill()
            process.wait()
            if isinstance(error, subprocess.TimeoutExpired):
                raise ToolchainFailed(f"{what} took more than {timeout_s:g} s", f"Read {log}.") from error
            raise
    stderr = log.read_text(errors="replace")
    return CommandResult(exit_code=process.returncode, stdout=(stdout or b"").decode(errors="replace"), stderr=stderr)


def encode(job: Any) -> str:
    """A job as JSON in ASCII, whatever the link's encoding: plain values, dataclasses, structs and paths."""
    return json.dumps(msgspec.to_builtins(job, enc_hook=os.fspath))


def error_of(reply: ChildError | MissingReply, what: str, result: CommandResult, log: Path | None) -> VitdeployError:
    """The error that a child met, as itself again, or the one of a child that left no reply."""
    if isinstance(reply, MissingReply):
        return failure(what, result, log, reply)
    kind = _KINDS.get(reply.kind, DeviceError if result.device else ToolchainFailed)
    return kind(one_line(reply.message, LONGEST_MESSAGE), one_line(reply.hint, LONGEST_MESSAGE))


def last_line(text: str) -> str:
    """The line of a log that tells most: the last one that names an error, else the last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line or "error" in line]
    return one_line((telling or lines or ["no output on stderr"])[-1], LARGEST_LINE)


def log_file(name: str) -> Path:
    """Where a local process of this one keeps its log.

    Raises:
        UnreadableFile: the folder cannot be made.
    """
    folder = Path(platformdirs.user_cache_dir("vitdeploy")) / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise documents.cannot_write(folder, error) from error
    return folder / f"{name}-{os.getpid()}.log"


def keep_log(log: Path, title: str, result: CommandResult) -> None:
    """Append what a command said on stderr to the log.

    Raises:
        UnreadableFile: it cannot be written.
    """
    try:
        with log.open("a") as stream:
            stream.write(f"== {title}: exit code {result.exit_code}\n{result.stderr}\n")
    except OSError as error:
        raise documents.cannot_write(log, error) from error


def failure(
    what: str, result: CommandResult, log: Path | None, reply: MissingReply | None = None
) -> ToolchainFailed | DeviceError:
    """The error of a process that ended badly; ``reply`` is what it left in the place of one."""
    hint = f"Read {log}." if log else "Try again."
    if result.exit_code == -signal.SIGKILL:  # nobody here sends it to a process within its time: the system does
        return ToolchainFailed(
            f"{what} was killed: the machine ran out of memory, most likely",
            f"Free memory, or choose a smaller --size or --batch. {hint}",
        )
    if reply is not None and reply.unreadable and result.device:  # what answers so is not a toolchain's failure
        return DeviceError(f"{what} on {result.device} left {one_line(reply.words)}", hint)
    how = f"was killed by {signal_name(result)}" if result.exit_code < 0 else f"ended with exit code {result.exit_code}"
    left = f" and left {reply.words}" if reply else ""
    return ToolchainFailed(f"{what} {how}{left}: {last_line(result.stderr)}", hint)


def signal_name(result: CommandResult) -> str:
    """The signal that ended a process."""
    try:
        return signal.Signals(-result.exit_code).name
    except ValueError:
        return f"signal {-result.exit_code}"
