"""Stages of a child process: it says which one begins, and its parent shows that and measures the seconds of each.

The names go through a pipe of their own, one a line: stdout carries the reply and stderr is the log. The child writes
some bytes a stage, and nothing where nobody listens.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

_pipe: list[int] = []
"""The pipe of this process to its parent; empty where the parent does not listen."""

CLOSING_S = 5.0
"""How long a parent waits for the end of the pipe of a process that has ended: one that it started may hold it open."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage of a process, and how long it took."""

    name: str
    seconds: float


def write_to(descriptor: int | None) -> None:
    """Tell the parent at the other end of a pipe; None: it does not listen."""
    _pipe[:] = [] if descriptor is None else [descriptor]


def begin(name: str) -> None:
    """Say that a stage of this process begins."""
    for descriptor in _pipe:
        with contextlib.suppress(OSError):  # the parent has ended
            os.write(descriptor, f"{name}\n".encode())


class StageWatch:
    """The parent's end of the pipe: the stages that began, and when.

    Args:
        first: the stage before the process says anything: its start.
        on_stage: called as each stage begins, from a thread of its own.
    """

    def __init__(self, first: str, on_stage: Callable[[str], None]) -> None:
        self._on_stage = on_stage
        self._reading, self.descriptor = os.pipe()
        self._begun = [(first, time.monotonic())]
        self._ended_s: float | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._read, daemon=True)

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages in the order in which they first began; the seconds of those with one name are added."""
        ends = [*(begin_s for _, begin_s in self._begun[1:]), self._ended_s or time.monotonic()]
        seconds: dict[str, float] = {}
        for (name, begin_s), end_s in zip(self._begun, ends, strict=True):
            seconds[name] = seconds.get(name, 0.0) + end_s - begin_s
        return tuple(Stage(name=name, seconds=value) for name, value in seconds.items())

    def start(self) -> None:
        """Show the first stage, and listen."""
        self._on_stage(self._begun[0][0])
        self._thread.start()

    def end(self) -> None:
        """The process has ended.

        Raises:
            Exception: what ``on_stage`` raised.
        """
        self._ended_s = time.monotonic()
        os.close(self.descriptor)
        self._thread.join(CLOSING_S)
        if self._error is not None:
            raise self._error

    def _read(self) -> None:
        with os.fdopen(self._reading, encoding="utf-8", errors="replace") as stream:
            for line in stream:
                name = line.strip()
                self._begun.append((name, time.monotonic()))
                if self._error is None:
                    try:
                        self._on_stage(name)
                    except Exception as error:  # noqa: BLE001  # raised in `end`; a full pipe would stop the process
                        self._error = error


@contextlib.contextmanager
def watching(first: str, on_stage: Callable[[str], None]) -> Generator[StageWatch]:
    """Listen to a process that is started inside of the block and gets the watch's descriptor.

    Raises:
        Exception: what ``on_stage`` raised.
    """
    watch = StageWatch(first, on_stage)
    watch.start()
    try:
        yield watch
    finally:
        watch.end()


def words(stages: tuple[Stage, ...]) -> str:
    """``trace 4.2, prove 1.3``: stages that show in seconds with one decimal."""
    return ", ".join(f"{stage.name} {stage.seconds:.1f}" for stage in stages if stage.seconds >= 0.05)
