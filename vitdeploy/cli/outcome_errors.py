"""The error of a command that did its work and ends with another code than 0: what decided, for the two lines."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vitdeploy.errors import VitdeployError, error_classes

if TYPE_CHECKING:
    from vitdeploy.devices.findings import Finding
    from vitdeploy.results.comparison import Compared
    from vitdeploy.results.record import Result


def of_results(results: "Sequence[Result]", code: int) -> list[VitdeployError]:
    """Why a run ends with ``code``: the rows that ask for it; none for 0."""
    if not code:
        return []
    from vitdeploy.benchmarks import bench

    rows = [result for result in results if bench.exit_code_of(result) == code]
    others = [result for result in results if bench.exit_code_of(result) not in (0, code)]
    reason = next((reason for row in rows for reason in row.reasons), None)
    words = f"{len(rows)} of {len(results)} rows {'is' if len(rows) == 1 else 'are'} not valid"
    words += f" (and {len(others)} for other reasons)" if others else ""
    if rows and reason is not None:
        words += f": {rows[0].case.name}: {reason.message}"
    return [_error(code, words, reason.hint if reason is not None else "Read the rows' reasons above.")]


def of_verdicts(compared: "Compared", code: int) -> list[VitdeployError]:
    """Why a comparison ends with ``code``: the cases whose verdict asks for it; none for 0."""
    if not code:
        return []
    verdicts, hint = {
        10: (("slower",), "Find the change, or accept it by `vitdeploy accept RUN.json --because TEXT`."),
        11: (("inconclusive", "unpaired"), "Read the reasons above, and measure what is missing again."),
        12: (("inconclusive", "unpaired"), "Measure more trials, or leave --strict out."),
    }[code]
    rows = [row for row in compared.comparisons if row.verdict in verdicts]
    shown = " or ".join(sorted({row.verdict for row in rows})) or "none can be compared"
    words = f"{len(rows)} of {len(compared.comparisons)} cases: {shown}"
    if rows:
        words += f": {rows[0].case.name}: {rows[0].reason}"
    return [_error(code, words, hint)]


def of_findings(findings: "Sequence[Finding]", code: int) -> list[VitdeployError]:
    """Why the doctor ends with ``code``; none for 0."""
    return [_error(code, finding.found, finding.advice) for finding in findings if code and finding.exit_code == code]


def _error(code: int, message: str, hint: str) -> VitdeployError:
    kind = next(kind for kind in error_classes() if kind.exit_code == code)
    return kind(message, hint)
