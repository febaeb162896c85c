"""`cache ls` tells entries apart; `cache gc` removes what was not used for a month, and only when it may."""

from collections.abc import Callable
from typing import Any

import pytest
import typer

from vitdeploy.api.cache import CacheRow
from vitdeploy.cli import cache

ROWS = [
    CacheRow(
        name="m onnx-fp32 1x1", size_bytes=2**20, used="2026-01-31", key="ab" * 32, options="softmax", path="/s/a"
    ),
    CacheRow(name="m onnx-fp32 1x1", size_bytes=2**20, used="2026-01-31", key="cd" * 32, options="seed 0", path="/s/c"),
]


@pytest.fixture
def removed(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The days of each removal that was carried out."""
    days: list[float] = []

    def cache_gc(*, older_than_days: float, dry_run: bool = False, progress: Callable[[str], None]) -> list[CacheRow]:
        del progress
        if not dry_run:
            days.append(older_than_days)
        return ROWS

    monkeypatch.setattr("vitdeploy.api.cache.cache_gc", cache_gc)
    return days


def test_entries_of_one_name_are_told_apart(say: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("vitdeploy.api.cache.cache_ls", lambda: ROWS)
    _, out, _ = say("cache", "ls")
    first, second = out.splitlines()[1:3]
    for words in ("softmax", "abababababab", "/s/a"):
        assert words in first
        assert words not in second


def test_nothing_is_removed_unasked(say: Any, removed: list[float]):
    code, out, err = say("cache", "gc")
    assert (code, out) == (2, "")
    assert "2 artifacts, 2.0 MiB not used for 30 days" in err
    assert "--yes" in err
    assert not removed
    assert say("cache", "gc", "--dry-run")[0] == 0
    assert not removed
    assert say("cache", "gc", "--yes")[0] == 0
    assert say("cache", "gc", "-y", "--older-than", "0")[0] == 0
    assert removed == [30.0, 0.0]


@pytest.mark.parametrize(("answer", "code", "count"), [(True, 0, 1), (False, 130, 0)])
def test_who_sits_there_is_asked(
    say: Any, removed: list[float], monkeypatch: pytest.MonkeyPatch, answer: bool, code: int, count: int
):
    def confirm(text: str, *, abort: bool, err: bool) -> None:
        assert "Remove 2 artifacts" in text
        assert abort
        assert err
        if not answer:
            raise typer.Abort

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr(cache.typer, "confirm", confirm)
    assert say("cache", "gc")[0] == code
    assert len(removed) == count


def test_nothing_to_remove_is_no_question(say: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("vitdeploy.api.cache.cache_gc", lambda **_: [])
    code, out, err = say("cache", "gc")
    assert (code, err) == (0, "")
    assert "0 removed" in out
