"""Download progress on a terminal: a bar with size and rate, or a line in the bar that is shown already."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from vitdeploy import units
from vitdeploy.processes import progress

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

LEAST_PAUSE_S = 0.1
"""Between two changes of what is shown."""

_shown: list[Callable[[str], None]] = []
"""What shows a line in the bar that is on the terminal now; rich shows one bar at once."""


@contextmanager
def inside(show: Callable[[str], None]) -> Generator[None, None, None]:
    """While another bar is shown, downloads are a line in it."""
    _shown.append(show)
    try:
        yield
    finally:
        _shown.pop()


@contextmanager
def watching(console: "Callable[[], Console]", *, quiet: bool) -> Generator[None, None, None]:
    """Show the downloads inside of the block, if stderr is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield
        return
    bar = _Bar(console)
    with progress.watching_bytes(bar.arrived):
        try:
            yield
        finally:
            bar.end()


class _Bar:
    """The bar of one download after the other; it begins with the first bytes."""

    def __init__(self, console: "Callable[[], Console]") -> None:
        self._console = console
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._label: str | None = None
        self._began_s = self._told_s = 0.0
        self._began_bytes = 0

    def arrived(self, done_bytes: int, total_bytes: int | None, label: str) -> None:
        """Show how much of a file is here."""
        now_s = time.monotonic()
        if label != self._label:
            self.end()
            self._label, self._began_s, self._began_bytes = label, now_s, done_bytes
        elif now_s - self._told_s < LEAST_PAUSE_S and done_bytes != total_bytes:
            return
        self._told_s = now_s
        if _shown:
            rate = (done_bytes - self._began_bytes) / max(now_s - self._began_s, LEAST_PAUSE_S)
            _shown[-1](f"{label}: {words(done_bytes, total_bytes, rate)}")
        else:
            self._advance(done_bytes, total_bytes, label)
        if done_bytes == total_bytes:
            self.end()

    def end(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
        self._bar = self._task = self._label = None

    def _advance(self, done_bytes: int, total_bytes: int | None, label: str) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        if self._bar is None or self._task is None:
            columns = (
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                DownloadColumn(binary_units=True),
                TransferSpeedColumn(),
            )
            self._bar = Progress(*columns, console=self._console(), transient=True)
            self._task = self._bar.add_task(label, total=total_bytes, completed=done_bytes)
            self._bar.start()
        self._bar.update(self._task, completed=done_bytes, total=total_bytes)


def words(done_bytes: int, total_bytes: int | None, rate: float) -> str:
    """``3.1 MiB of 18.5 MiB, 2.3 MiB/s``."""
    of = f" of {units.size_bytes(total_bytes)}" if total_bytes is not None else ""
    return f"{units.size_bytes(done_bytes)}{of}, {units.size_bytes(rate)}/s"
