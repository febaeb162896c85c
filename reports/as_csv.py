"""A report as a table for spreadsheets: one line a case, units in the column names."""

import pandas as pd

from vitdeploy.reports import as_pandas, shown_text
from vitdeploy.reports.report import Report

SUFFIX = ".csv"

_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""A text that begins like this is run as a formula by spreadsheets. Source: owasp.org, "CSV Injection"."""


def render(report: Report) -> bytes:
    """The report as CSV; what may not be quoted has no figures, only its status and reasons."""
    cells = [{name: _cell(value) for name, value in row.items()} for row in as_pandas.rows(shown_text.cleaned(report))]
    table = pd.DataFrame(cells, columns=list(as_pandas.COLUMNS), dtype=object)  # whole numbers stay whole
    return table.to_csv(index=False, lineterminator="\n").encode()


def _cell(value: object) -> object:
    """``value``; a text that a spreadsheet would run is quoted, floats keep the digits that mean something."""
    if isinstance(value, str):
        text = shown_text.line(value)
        return f"'{text}" if text.lstrip().startswith(_FORMULA) else text
    return f"{value:.6g}" if isinstance(value, float) else value
