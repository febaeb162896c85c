"""A command's output as an interactive session shows it: short aligned text, or HTML tables."""

import base64
from collections.abc import Sequence
from pathlib import Path

from vitdeploy.cli.console import Annotation, CommandOutput, Verbatim
from vitdeploy.cli.table_layout import Table
from vitdeploy.reports import plain_tables, shown_text

WIDTH = 100
"""Columns from which the text does without the details of a table."""

MOST_PICTURE_BYTES = 4 * 2**20
"""A larger picture is named and not shown: it would lie in the notebook's file."""


def text(name: str, output: CommandOutput) -> str:
    """The first table of an output under the name of its class, and the last line, which names the file."""
    tables = [part for part in output.human if isinstance(part, Table)]
    parts = [_words(part) for part in output.human if not isinstance(part, Table)]
    lines = [shown_text.line(words) for words in parts if words.strip() and "\n" not in words]
    if not tables:
        return f"{name}: {lines[0] if lines else 'nothing'}"
    title = tables[0].title
    shown = [f"{name}: {shown_text.line(title)}" if title else name, *_fitted(tables[0])]
    ends_with_line = bool(lines) and not isinstance(output.human[-1], Table) and "\n" not in parts[-1]
    return "\n".join([*shown, *(lines[-1:] if ends_with_line else [])])


def html(output: CommandOutput, picture: Path | None = None) -> str:
    """All tables and lines of an output, with its picture where there is one; every text is escaped."""
    parts = [
        plain_tables.html(part.heads, part.rows, part.right, title=part.title)
        if isinstance(part, Table)
        else "".join(f"<div>{plain_tables.html_text(line)}</div>" for line in _words(part).splitlines())
        for part in output.human
        if not isinstance(part, Annotation)
    ]
    return "\n".join([*parts, *([_picture(picture)] if picture is not None else [])])


def _words(part: str | Verbatim | Annotation) -> str:
    return part if isinstance(part, str) else part.text if isinstance(part, Verbatim) else part.line


def _fitted(table: Table) -> Sequence[str]:
    """The lines of a table, without details where it is wide."""
    heads, rows, right = list(table.heads), [list(row) for row in table.rows], set(table.right)
    lines = list(plain_tables.aligned(heads, rows, sorted(right)))
    for head in table.details:
        if max(map(len, lines)) <= WIDTH:
            break
        if head in heads:
            place = heads.index(head)
            heads.pop(place)
            rows = [row[:place] + row[place + 1 :] for row in rows]
            right = {column - (column > place) for column in right if column != place}
            lines = list(plain_tables.aligned(heads, rows, sorted(right)))
    return lines


def _picture(path: Path) -> str:
    """The picture as a data address; nothing where it is gone or large."""
    try:
        if path.stat().st_size > MOST_PICTURE_BYTES:
            return ""
        data = base64.b64encode(path.read_bytes()).decode()
    except OSError:
        return ""
    name = plain_tables.html_text(path.name)
    return f'<img src="data:image/png;base64,{data}" alt="{name}" style="max-width: 100%">'
