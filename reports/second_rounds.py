"""Rows that were measured again: an invalid row gives way to a valid one of the same file and case in another run."""

from collections.abc import Sequence

from vitdeploy.results.record import Result, Run

Pair = tuple[Run, Result]


def replaced(runs: Sequence[Run]) -> list[tuple[Pair, Run]]:
    """Each invalid row with its run, and the run whose valid figure of the case replaces it.

    The rows of a duel stay: its verdict is of their pairs.
    """
    pairs = [(run, result) for run in runs if not run.couples for result in run.results]
    valid = {(result.case, result.artifact_sha256): run for run, result in pairs if result.status == "valid"}
    return [
        ((run, result), other)
        for run, result in pairs
        if result.status == "invalid"
        and (other := valid.get((result.case, result.artifact_sha256))) is not None
        and other.id != run.id
    ]


def notes(rows: Sequence[tuple[Pair, Run]]) -> list[str]:
    """What was measured again, and why, in sentences."""
    return [
        f"{result.case.name} was invalid in the run {run.id} "
        f"({'; '.join(reason.code for reason in result.reasons)}); its figure is of the run {other.id}."
        for (run, result), other in rows
    ]
