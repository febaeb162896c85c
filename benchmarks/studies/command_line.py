"""Command line of the studies: parser, errors, image sizes, and tables for a terminal or for Markdown."""

import argparse
import functools
import os
import sys
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec

from rich.console import Console
from rich.table import Table

from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import ModelSpec, Size
from vitdeploy.errors import NoValidMeasurement, VitdeployError

P = ParamSpec("P")

WIDTH = 200
"""Columns of a printed table, also where the output is no terminal."""

SEGMENTATION_SIZE = (512, 1024)
"""Default of segmentation: half the published height and width, and the size of the project's own goals."""


def parser(file: str, document: str | None) -> argparse.ArgumentParser:
    """The parser of a study, from its module's ``__file__`` and ``__doc__``."""
    return argparse.ArgumentParser(
        prog=f"python -m {__package__}.{Path(file).stem}",
        description=document,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def with_errors(main: Callable[P, int]) -> Callable[P, int]:
    """``main``, with an error printed as two lines on stderr and returned as its exit code."""

    @functools.wraps(main)
    def command(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs)
        except VitdeployError as error:
            print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
            return error.exit_code

    return command


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A model that a study could not time."""

    model: str
    why: str


def why_failed(error: Exception) -> str:
    """What a model's failure says, in one line."""
    if isinstance(error, VitdeployError):
        return error.message
    words = str(error).strip().splitlines()
    return f"{type(error).__name__}: {words[0] if words else 'no words'}"


def say(line: str) -> None:
    """A line of progress on stderr, at once."""
    print(line, file=sys.stderr, flush=True)


@contextmanager
def each_model(model: str, left_out: list[LeftOut]) -> Generator[None]:
    """One model of several: whatever fails leaves it out, with its reason, and stops no other."""
    try:
        yield
    except Exception as error:  # noqa: BLE001 (torch's exporter and the converters have errors of many kinds)
        left_out.append(LeftOut(model=model, why=why_failed(error)))
        say(f"{model}: left out, {left_out[-1].why}")


def end(left_out: Sequence[LeftOut], rows: int) -> int:
    """Print what was left out, below the table; the exit code of the study: 8 where nothing was timed."""
    for model in left_out:
        print(f"{model.model}: left out, {model.why}")
    return 0 if rows else NoValidMeasurement.exit_code


def size_words(size: Size) -> str:
    """``HxW``."""
    return f"{size[0]}x{size[1]}"


def size_of(spec: ModelSpec, text: str | None) -> Size:
    """The size that ``text`` names, checked; without one, the model's own or `SEGMENTATION_SIZE`.

    Raises:
        UsageError: ``text`` is no size.
        Impossible: the model does not take it.
    """
    if text is None:
        return SEGMENTATION_SIZE if spec.task == "segmentation" else spec.size
    size = registry.parse_size(text)
    registry.check_size(spec, size)
    return size


def environment(place: Path) -> dict[str, str]:
    """Environment of a child process whose store is in ``place``, so that nothing is taken from the user's."""
    return {**os.environ, "XDG_CACHE_HOME": str((place / "cache").resolve())}


def print_table(
    title: str | None, heads: Sequence[str], rows: Iterable[Sequence[str]], *, left: Sequence[str] = ()
) -> None:
    """Print a table; the first column and those in ``left`` start at the left, all others end at the right."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for head in heads:
        table.add_column(head, justify="left" if head in (heads[0], *left) else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    Console(width=WIDTH).print(table)


def markdown(
    heads: Sequence[str], rows: Iterable[Sequence[str]], aligned: Mapping[str, str] | None = None
) -> list[str]:
    """Lines of a Markdown table; ``aligned`` maps a head to ``--:`` where its column ends at the right."""
    rules = ((aligned or {}).get(head, "---") for head in heads)
    return [f"| {' | '.join(heads)} |", f"|{'|'.join(rules)}|", *(f"| {' | '.join(row)} |" for row in rows)]
