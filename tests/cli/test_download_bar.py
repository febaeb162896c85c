"""Download progress: size and rate on a terminal, nothing elsewhere, and a line in a bar that is shown already."""

import io
import sys
import time
from collections.abc import Callable

import pytest
from rich.console import Console

from vitdeploy.cli import download_bar
from vitdeploy.processes.progress import bytes_arrived

MIB = 2**20
Show = Callable[..., str]


class _Stream(io.StringIO):
    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture
def show(monkeypatch: pytest.MonkeyPatch) -> Show:
    """What stderr shows of a download of 2 MiB."""

    def download(*, terminal: bool = True, quiet: bool = False) -> str:
        stream = _Stream(terminal=terminal)
        monkeypatch.setattr(download_bar, "LEAST_PAUSE_S", 0.001)
        monkeypatch.setattr(sys, "stderr", stream)
        console = Console(file=stream, force_terminal=True, width=100, _environ={"TERM": "xterm"})
        with download_bar.watching(lambda: console, quiet=quiet):
            for done in (0, MIB, 2 * MIB):
                bytes_arrived(done, 2 * MIB, "small_net")
                time.sleep(0.01)  # a rate needs time to pass
        return stream.getvalue()

    return download


def test_a_terminal_shows_size_and_rate(show: Show):
    shown = show()
    assert "small_net" in shown
    assert "2.0/2.0 MiB" in shown
    assert "/s" in shown


def test_nothing_is_shown_where_nobody_looks(show: Show):
    assert show(quiet=True) == show(terminal=False) == ""


def test_another_bar_takes_it_as_a_line(show: Show):
    lines: list[str] = []
    with download_bar.inside(lines.append):
        assert show() == ""
    assert lines[-1].startswith("small_net: 2.0 MiB of 2.0 MiB, ")
