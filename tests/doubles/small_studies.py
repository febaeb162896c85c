"""`python -m tests.doubles.small_studies VERB …`: the program, whose studies have three cases instead of dozens."""

import msgspec

from vitdeploy.benchmarks import attention, reproduce
from vitdeploy.cli import main
from vitdeploy.studies.published import PublishedTable

ROWS = 2
"""Rows of a published table that are left."""


def shorten() -> None:
    """One feature map and no network for ``attention --quick``; the first rows of a table for `reproduce`."""
    attention.__dict__.update(QUICK_MODULE_SIDES=(8,), QUICK_NETWORK_SIDES=())
    whole = reproduce.find

    def first_rows(name: str) -> PublishedTable:
        table = whole(name)
        rows = table.rows[:ROWS]
        names = {row.name for row in rows}
        claims = tuple(claim for claim in table.claims if {claim.slow, claim.fast} <= names)
        return msgspec.structs.replace(table, rows=rows, claims=claims)

    reproduce.__dict__.update(find=first_rows)


if __name__ == "__main__":
    shorten()
    main.run()
