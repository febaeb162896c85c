"""Progress on a terminal: what begins is a line that is replaced; elsewhere it is for ``-v``."""

import io
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest
from rich.console import Console

from vitdeploy.cli import console

Bar = Callable[[], AbstractContextManager[Any]]


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def terminal_of(monkeypatch: pytest.MonkeyPatch) -> _Terminal:
    """The terminal that stderr is from now on; called in the test, since pytest sets stderr after the fixtures."""
    stream = _Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    shown = Console(file=stream, force_terminal=True, width=100, _environ={"TERM": "xterm"})
    monkeypatch.setattr(console, "_stderr", lambda: shown)
    console.configure(quiet=False, verbose=0)
    return stream


@pytest.mark.parametrize("shown", [console.working, console.bar])
def test_what_begins_is_in_the_bar_and_leaves_no_line(shown: Bar, monkeypatch: pytest.MonkeyPatch):
    terminal = terminal_of(monkeypatch)
    with shown():
        console.progress("efficientvit_b0: trace …")
        console.progress("efficientvit_b0: exported")
    text = terminal.getvalue()
    assert "trace …" in text
    assert "exported\x1b[0m\n" in text
    assert text.endswith("\x1b[2K")  # the bar is taken away
    before = len(text)
    console.progress("efficientvit_b0: trace …")
    assert len(terminal.getvalue()) == before


@pytest.mark.parametrize(("verbose", "lines"), [(0, ["done"]), (1, ["trace …", "done"])])
def test_in_a_pipe_what_begins_is_for_verbose(verbose: int, lines: list[str], capsys: pytest.CaptureFixture[str]):
    console.configure(quiet=False, verbose=verbose)
    console._stderr.cache_clear()  # pyright: ignore[reportPrivateUsage]
    with console.working() as progress:
        progress("trace …")
        progress("done")
    assert capsys.readouterr().err.splitlines() == lines
    console.configure(quiet=False, verbose=0)
    console._stderr.cache_clear()  # pyright: ignore[reportPrivateUsage]
