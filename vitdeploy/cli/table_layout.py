"""Tables as text: whole in a pipe, fitted to a terminal without breaking a name, or tab-separated.

A terminal that is too narrow loses the columns that are details, then cells wrap between words, and where even that
does not fit each row becomes a block of lines. A word (a name, a path, a figure) is never broken.
"""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace

GAP = "  "
"""Between columns."""

INDENT = "  "

_COLOURS = {
    "32": "valid ok yes passed faster same ready",
    "31": "invalid failed FAILED slower PROBLEM CHANGED NO broken",
    "33": "inconclusive unpaired note noisy DIFFERS deferred not",
}
"""SGR colour → first words of cells that have it. Source: ECMA-48, 8.3.117."""

_COLOUR_OF = {word: colour for colour, words in _COLOURS.items() for word in words.split()}

_NO_BREAK = "\xa0"

_INSIDE_FIGURE = re.compile(r"(?<=\d) (?=(?:%|ms|s|dB|B|KiB|MiB|GiB)(?:[ ,;.)]|$))|(?<=\d) (?=… )|(?<=\d …) (?=[-+\d])")
"""Spaces inside of ``2.8 MiB`` and ``7.45 … 7.56``."""

_COMMAND = re.compile(r"`[^`]{1,60}`")

_STATES = frozenset({"status", "verdict", "state", "usable here", "parity", "answer", ""})
"""Heads of columns whose cells begin with such a word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text under their heads; ``right`` are the columns of numbers."""

    title: str | None = None
    heads: Sequence[str]
    right: Sequence[int] = ()
    rows: Sequence[Sequence[str]]
    """One cell a head."""
    details: Sequence[str] = ()
    """Heads of columns that a narrow terminal does without, the first one first."""

    def __str__(self) -> str:
        return "\n".join(lines_of(self))


def lines_of(table: Table, width: int | None = None, *, colour: bool = False) -> list[str]:
    """The table as lines of at most ``width`` columns, words aside; None: as wide as it is."""
    table = _cleaned(table)
    title = [table.title] if table.title else []
    if width is None:
        return [*title, *_drawn(table, _natural(table), colour)]
    dropped: list[str] = []
    for head in table.details:
        if _total(_natural(table)) <= width:
            break
        if head in table.heads:
            table = _without(table, table.heads.index(head))
            dropped.append(head)
    widths = _fitted(table, width)
    note = wrapped(f"(left out: {', '.join(dropped)}; wider terminals and --json have them)", width) if dropped else []
    body = _blocks(table, width, colour) if widths is None else _drawn(table, widths, colour)
    return [*(part for line in title for part in wrapped(line, width)), *body, *note]


def tabbed(table: Table) -> list[str]:
    """The table as tab-separated lines, heads first, every column."""
    table = _cleaned(table)
    return ["\t".join(cells) for cells in (table.heads, *table.rows)]


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """``text`` in lines of at most ``width`` columns; longer words stay whole. Nothing stays one empty line."""
    lines = textwrap.wrap(
        _joined(text), max(width, 1), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )
    return [line.replace(_NO_BREAK, " ") for line in lines] or [""]


def prose(text: str, width: int) -> list[str]:
    """A sentence as `wrapped` has it, the commands in it whole, so that they can be copied."""
    return wrapped(_COMMAND.sub(lambda match: match[0].replace(" ", _NO_BREAK), text), width)


def _joined(text: str) -> str:
    """``text`` whose figures stay with their units, and the ends of intervals together."""
    return _INSIDE_FIGURE.sub(_NO_BREAK, text)


def _cleaned(table: Table) -> Table:
    from vitdeploy.reports.shown_text import line

    return replace(
        table,
        title=None if table.title is None else line(table.title),
        heads=[line(head) for head in table.heads],
        rows=[[line(cell) for cell in cells] for cells in table.rows],
    )


def _cells_wide(text: str) -> int:
    """Columns that a terminal needs for ``text``."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _columns(table: Table) -> list[list[str]]:
    return [[head, *(cells[place] for cells in table.rows)] for place, head in enumerate(table.heads)]


def _natural(table: Table) -> list[int]:
    return [max(map(_cells_wide, column)) for column in _columns(table)]


def _least(table: Table) -> list[int]:
    """Widths of the longest words."""
    return [
        max((_cells_wide(word) for cell in column for word in _joined(cell).split(" ")), default=0)
        for column in _columns(table)
    ]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _fitted(table: Table, width: int) -> list[int] | None:
    """Widths with which the table fits, the widest columns wrapped first; None: no word may be that long."""
    widths, least = _natural(table), _least(table)
    if _total(least) > width:
        return None
    while _total(widths) > width:
        _, place = max((wide, place) for place, wide in enumerate(widths) if wide > least[place])
        widths[place] -= 1
    return widths


def _without(table: Table, place: int) -> Table:
    """The table without a column."""
    return replace(
        table,
        heads=[head for index, head in enumerate(table.heads) if index != place],
        rows=[[cell for index, cell in enumerate(cells) if index != place] for cells in table.rows],
        right=[index - (index > place) for index in table.right if index != place],
    )


def _drawn(table: Table, widths: Sequence[int], colour: bool) -> list[str]:
    lines: list[str] = []
    for number, cells in enumerate((table.heads, *table.rows)):
        parts = [wrapped(cell, width) for cell, width in zip(cells, widths, strict=True)]
        for index in range(max(map(len, parts), default=0)):
            shown = [
                _padded(part[index] if index < len(part) else "", width, right=place in table.right)
                for place, (part, width) in enumerate(zip(parts, widths, strict=True))
            ]
            if colour:
                styles = ["1" if number == 0 else _colour(table.heads[place], cell) for place, cell in enumerate(cells)]
                shown = [_styled(text, style) for text, style in zip(shown, styles, strict=True)]
            lines.append(GAP.join(shown).rstrip())
    return lines


def _blocks(table: Table, width: int, colour: bool) -> list[str]:
    """Each row as a block: its first cell, then the others with their heads."""
    lines: list[str] = []
    for first, *cells in table.rows:
        lines += [_styled(line, "1") if colour else line for line in wrapped(first, width)]
        for head, cell in zip(table.heads[1:], cells, strict=True):
            if cell:
                shown = wrapped(f"{INDENT}{head}: {cell}" if head else f"{INDENT}{cell}", width, INDENT * 2)
                lines += [_styled(line, _colour(head, cell)) if colour else line for line in shown]
    return lines


def _padded(text: str, width: int, *, right: bool) -> str:
    padding = " " * (width - _cells_wide(text))
    return padding + text if right else text + padding


def _colour(head: str, cell: str) -> str:
    """The SGR colour of a cell; empty: none."""
    word = cell.split(maxsplit=1)[0].rstrip(":,") if cell.strip() else ""
    return _COLOUR_OF.get(word, "") if head in _STATES else ""


def _styled(text: str, style: str) -> str:
    return f"\x1b[{style}m{text}\x1b[0m" if style and text.strip() else text
