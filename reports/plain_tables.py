"""A table as aligned text or as HTML without styles of a page: for interactive sessions."""

from collections.abc import Iterator, Sequence
from html import escape

from vitdeploy.reports import shown_text

MOST_ROWS = 12
"""Rows of a table that the text shows; the HTML has all."""

MOST_LETTERS = 64
"""Letters of a cell that the text shows."""


def aligned(heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int]) -> Iterator[str]:
    """The lines of a table, its columns aligned; ``right`` are the columns of numbers."""
    shown = [[_clipped(cell) for cell in row] for row in (heads, *rows[:MOST_ROWS])]
    widths = [max(len(row[column]) for row in shown) for column in range(len(heads))]
    for row in shown:
        cells = [
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
    if len(rows) > MOST_ROWS:
        yield f"… {len(rows) - MOST_ROWS} more rows"


def html(heads: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int], *, title: str | None = None) -> str:
    """A table as HTML; every text is escaped."""
    caption = f"<caption>{html_text(title)}</caption>" if title else ""
    head = _row("th", heads, right)
    body = "".join(_row("td", row, right) for row in rows)
    return f"<table>{caption}<thead>{head}</thead><tbody>{body}</tbody></table>"


def html_text(value: str) -> str:
    """Text in HTML."""
    return escape(shown_text.line(value))


def _row(tag: str, row: Sequence[str], right: Sequence[int]) -> str:
    sides = ("right" if column in right else "left" for column in range(len(row)))
    cells = (
        f'<{tag} style="text-align: {side}">{html_text(cell)}</{tag}>' for side, cell in zip(sides, row, strict=True)
    )
    return f"<tr>{''.join(cells)}</tr>"


def _clipped(cell: str) -> str:
    plain = shown_text.line(cell)
    return plain if len(plain) <= MOST_LETTERS else f"{plain[: MOST_LETTERS - 1]}…"
