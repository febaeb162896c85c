"""README's table of self-tests, made from docs/verified: one JSON a device that somebody ran `selftest` on.

``python -m tests.verified_table`` writes it anew.
"""

from collections.abc import Sequence
from pathlib import Path

from vitdeploy.results import selftest
from vitdeploy.results.selftest import SelfTest

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
FOLDER = ROOT / "docs" / "verified"

BEGIN = "<!-- self-tests: made by python -m tests.verified_table -->"
END = "<!-- end of self-tests -->"

AWAITED = ("orin", "a100", "snapdragon-8gen1", "snapdragon-855")
"""Devices of the paper that have a row before anybody has tested one."""

NOBODY = "nobody yet"


def documents(folder: Path = FOLDER) -> dict[Path, SelfTest]:
    """File → what it says."""
    return {path: selftest.load(path) for path in sorted(folder.glob("*.json"))}


def table(tests: dict[Path, SelfTest]) -> str:
    """The table, between its marks."""
    awaited = [name for name in AWAITED if name not in {test.device for test in tests.values()}]
    rows = [
        *(_row(path, test) for path, test in tests.items()),
        *((f"`{name}`", NOBODY, "", "", "") for name in awaited),
    ]
    heads = ("device", "what it is", "passed", "failed", "not possible")
    lines = [_line(heads), _line(["---"] * len(heads)), *map(_line, rows)]
    return "\n".join((BEGIN, *lines, END))


def _row(path: Path, test: SelfTest) -> Sequence[str]:
    name = test.remark if test.device == "own" else f"`{test.device}`"
    what = test.machine if test.device == "own" else ": ".join(filter(None, (test.remark, test.machine)))
    link = f"[{what}](docs/verified/{path.name})"
    names = ", ".join(check.name for check in test.in_state("failed"))
    wrong = f"{len(test.in_state('failed'))}{f': {names}' if names else ''}"
    return (name, link, str(len(test.in_state("passed"))), wrong, str(len(test.in_state("not possible"))))


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def with_table(readme: str, tests: dict[Path, SelfTest]) -> str:
    """The page with its table made anew."""
    before, mark, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    assert mark, f"README has no {BEGIN}"
    assert end, f"README has no {END}"
    return before + table(tests) + after


if __name__ == "__main__":
    README.write_text(with_table(README.read_text(encoding="utf-8"), documents()), encoding="utf-8")
