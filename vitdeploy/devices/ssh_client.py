"""OpenSSH's client as processes of ours: a script for the device's shell, a file from there, a question to our agent.

The device is a stranger: each wait has a limit of time and of bytes, and each answer a schema.
"""

import contextlib
import secrets
import shlex
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import IO, Final, TypeVar

import msgspec

from vitdeploy.devices import ssh_errors
from vitdeploy.devices.login_shell import LONGEST_GREETING_BYTES, MarkedOutput, command_for_any_shell
from vitdeploy.errors import DeviceError, MissingPackage, UnreadableFile
from vitdeploy.processes.bounded_streams import OutOfTime, Streams, TooMuch, close_pipes
from vitdeploy.processes.connection import CommandResult, cannot_start
from vitdeploy.processes.device_words import last_line, one_line

T = TypeVar("T")

LARGEST_ANSWER_BYTES: Final = 256 * 2**20
"""Of one command's outputs as JSON. Source: twice `bounded_streams.LARGEST_OUTPUT_BYTES`."""

_SHELL_OUTPUT_BYTES: Final = 2**20
"""Of what the device's own tools print: sizes, names, errors."""

_LATE_WORDS_S: Final = 1.0
"""How long the rest of a command's stderr is waited for once its stdout is whole."""

_PROXY_WORDS_S: Final = 20.0
"""How long a failed way through a jump host is tried again, for its words."""

_END_S: Final = 2.0
"""A process whose pipes were closed, or whose link was cut, ends within this, or is killed."""


class SshClient:
    """The client with its options, for one device."""

    def __init__(self, name: str, target: str, words: Sequence[str], *, limit_s: float | None = None) -> None:
        """Keep what every command needs.

        Args:
            name: the device's, for messages.
            target: USER@HOST, for hints.
            words: ``ssh``, its options and the host.
            limit_s: nothing is waited for longer than this after now; None: each wait has its own limit.
        """
        self._name, self._target, self._words = name, target, words
        self._limit_s = limit_s
        self._end = None if limit_s is None else time.monotonic() + limit_s

    def within(self, timeout_s: float) -> float:
        """A wait's own limit, or what is left of the client's."""
        return timeout_s if self._end is None else max(0.0, min(timeout_s, self._end - time.monotonic()))

    def shell(self, script: str, *, source: Path | None = None, timeout_s: float) -> CommandResult:
        """Run a script in the device's own shell: before the agent is there, and for files.

        Args:
            source: a file that is its stdin.

        Raises:
            DeviceError: the link was lost, or the device runs no command, prints too much or does not answer.
            UnreadableFile: ``source`` cannot be read.
        """
        output = MarkedOutput()
        received = bytearray()
        try:
            with source.open("rb") if source else contextlib.nullcontext(subprocess.DEVNULL) as stdin:
                result = self._run(
                    output,
                    script,
                    stdin,
                    on_stdout=lambda block: received.extend(output.strip(block)),
                    until=lambda: output.result(received, b"") is not None,
                    largest_bytes=LONGEST_GREETING_BYTES + _SHELL_OUTPUT_BYTES,
                    timeout_s=timeout_s,
                )
        except OSError as error:
            raise UnreadableFile(f"cannot read {source}: {error.strerror}", "Check the file.") from error
        answer = output.result(received, result)
        assert answer is not None, "waited for"
        return answer

    def fetch(self, remote: str, size: int, write: Callable[[bytes], object], *, timeout_s: float) -> bool:
        """Hand a file of the device to ``write`` in blocks, never more than ``size`` bytes.

        Returns:
            Whether it had just that size.

        Raises:
            DeviceError: the link was lost, or the device did not send it in time.
        """
        output, tail = MarkedOutput(), bytearray()
        remaining = size

        def take(block: bytes) -> None:
            nonlocal remaining
            data = output.strip(block)
            write(data[:remaining])
            tail.extend(data[remaining:])
            remaining -= min(remaining, len(data))

        self._run(
            output,
            f"cat {shlex.quote(remote)}",
            subprocess.DEVNULL,
            on_stdout=take,
            until=lambda: not remaining and output.result(tail, b"") is not None,
            largest_bytes=size + LONGEST_GREETING_BYTES,
            timeout_s=timeout_s,
            or_ended=True,
        )
        end = output.result(tail, b"")
        return remaining == 0 and end is not None and (end.stdout, end.exit_code) == ("", 0)

    @contextlib.contextmanager
    def question(self, command: Callable[[str], Sequence[str]], data: bytes) -> "Generator[Question]":
        """A program of ours there that answers in one marked line; it is ended with the block.

        Args:
            command: its words, from the mark.
            data: what it reads; its stdin stays open afterwards.
        """
        mark = secrets.token_hex(12)
        # The shell stays: it turns a signal that ended the program into a code, which ssh alone would not tell.
        with self._started(f"{shlex.join(command(mark))}; exit $?", subprocess.PIPE) as process:
            streams = Streams(process, largest_bytes=LARGEST_ANSWER_BYTES)
            try:
                streams.send(data, close=False)
                yield Question(self, process, streams, mark.encode())
            finally:
                streams.close()

    def lost(self, process: "subprocess.Popen[bytes]", stderr: bytes, what: str) -> DeviceError:
        """The error of a command that ended, or said nothing, before its answer was complete."""
        try:
            exit_code = process.wait(timeout=_END_S)
        except subprocess.TimeoutExpired:
            exit_code = ssh_errors.LINK_FAILED
        words = stderr[-ssh_errors.LONGEST_BYTES :].decode(errors="replace")
        last = last_line(words)
        if exit_code == ssh_errors.LINK_FAILED:
            if ssh_errors.PROXY_FAILED in words:
                words = self._words_of_proxy() or words
            if (cause := ssh_errors.cause_of(words, self._target)) is not None:
                return DeviceError(f"{self._name} ({self._target}): {cause[0]}", cause[1])
            return DeviceError(f"the link to {self._name} was lost during {what}: {last}", "Go on with --resume.")
        if exit_code < 0:
            return DeviceError(f"ssh was killed here by signal {-exit_code} during {what}", "Go on with --resume.")
        if (signal := ssh_errors.signal_of(exit_code)) is not None:
            why = ": it ran out of memory, most likely" if signal == "SIGKILL" else ""
            return DeviceError(
                f"python on {self._name} was killed by {signal} during {what}{why}",
                "Free memory there, or choose a smaller case; go on with --resume.",
            )
        return DeviceError(
            f"{self._name} runs no command for us, {what} ended with exit code {exit_code}: {last}",
            f"Log in there once by hand: `ssh {self._target}`.",
        )

    def _words_of_proxy(self) -> str:
        """What a jump host or proxy command says: with a shared connection, ssh sends that to /dev/null."""
        program, *options = self._words
        try:
            process = subprocess.Popen(
                [program, "-o", "ControlPath=none", *options, "true"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError:
            return ""
        streams = Streams(process)
        try:
            streams.wait(time.monotonic() + self.within(_PROXY_WORDS_S))
        except OutOfTime:
            process.kill()
        finally:
            streams.close()
            _end(process)
        return bytes(streams.stderr[-ssh_errors.LONGEST_BYTES :]).decode(errors="replace")

    def no_answer(self, timeout_s: float) -> DeviceError:
        """The error of a device that said nothing in time."""
        limit_s = timeout_s if self._limit_s is None else min(timeout_s, self._limit_s)
        return DeviceError(f"{self._name} did not answer in {limit_s:.0f} s", "Check the link.")

    def unreadable(self, why: str) -> DeviceError:
        """The error of an answer that is none."""
        return DeviceError(
            f"{self._name} answered what cannot be read: {one_line(why)}",
            f"Look at what its login shell and its Python print: `ssh {self._target}`.",
        )

    def _run(
        self,
        output: MarkedOutput,
        script: str,
        stdin: "int | IO[bytes]",
        *,
        on_stdout: Callable[[bytes], None],
        until: Callable[[], bool],
        largest_bytes: int,
        timeout_s: float,
        or_ended: bool = False,
    ) -> bytes:
        """Run a script until ``until`` says that all is there, or it ended where ``or_ended`` allows that.

        Returns:
            What came on stderr.
        """
        with self._started(output.script(script), stdin) as process:
            streams = Streams(process, largest_bytes=largest_bytes, on_stdout=on_stdout)
            try:
                streams.wait(time.monotonic() + self.within(timeout_s), until=until)
                with contextlib.suppress(OutOfTime):  # a login shell may have sent stderr elsewhere
                    late_s = time.monotonic() + self.within(_LATE_WORDS_S)
                    streams.wait(late_s, until=lambda: output.has_all_words(streams.stderr))
            except OutOfTime as error:
                process.kill()
                raise self.no_answer(timeout_s) from error
            except TooMuch as error:
                raise self.unreadable(f"more than {largest_bytes} bytes") from error
            finally:
                streams.close()
            if not until() and not (or_ended and output.begun):
                words = output.words(streams.stderr)
                raise self.lost(process, words if words.strip() else output.greeting, "a command")
            return bytes(streams.stderr)

    @contextlib.contextmanager
    def _started(self, script: str, stdin: "int | IO[bytes]") -> "Generator[subprocess.Popen[bytes]]":
        """A script there with pipes; it is ended with the block."""
        try:
            process = subprocess.Popen(
                [*self._words, command_for_any_shell(script)],
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is ours: the far side ends with its stdin
            )
        except FileNotFoundError as error:
            raise MissingPackage("ssh is not here", "Install OpenSSH's client.") from error
        except OSError as error:
            raise cannot_start("ssh", error.strerror or str(error), error.errno) from error
        try:
            yield process
        finally:
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Close our ends of its pipes, which ends it, or kill it."""
    close_pipes(process)
    try:
        process.wait(timeout=_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


class Question:
    """What runs on the device for one answer, and for as long as the block that asked lasts."""

    def __init__(self, client: SshClient, process: "subprocess.Popen[bytes]", streams: Streams, mark: bytes) -> None:
        self._client, self._streams, self._mark = client, streams, mark
        self._begin = self._end = -1
        self._searched = 0
        self.process = process
        """The client's process: its end is the link's."""

    def answer(self, kind: type[T], what: str, *, timeout_s: float) -> T:
        """Wait for the answer.

        Args:
            kind: what it is decoded as.
            what: is being done, for messages.

        Raises:
            DeviceError: the link was lost, nothing came in time, too much did, or what came cannot be read.
        """
        try:
            self._streams.wait(time.monotonic() + self._client.within(timeout_s), until=self._is_whole)
        except OutOfTime as error:
            self.process.kill()
            raise self._client.no_answer(timeout_s) from error
        except TooMuch as error:
            raise self._client.unreadable(f"more than {LARGEST_ANSWER_BYTES} bytes") from error
        if not self._is_whole():
            raise self._client.lost(self.process, bytes(self._streams.stderr), what)
        line = bytes(self._streams.stdout[self._begin + len(self._mark) : self._end])
        self._streams.stdout.clear()
        try:
            return msgspec.json.decode(line, type=kind)
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise self._client.unreadable(str(error)) from error

    def _is_whole(self) -> bool:
        """Whether the line with the mark has come; each byte is looked at once, whatever the answer's length."""
        stdout = self._streams.stdout
        if self._begin < 0:
            self._begin = stdout.find(self._mark, max(0, self._searched - len(self._mark)))
            self._searched = self._begin if self._begin >= 0 else len(stdout)
        if self._begin >= 0 > self._end:
            self._end = stdout.find(b"\n", self._searched)
            self._searched = len(stdout)
        return self._end >= 0
