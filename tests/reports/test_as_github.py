"""Comments, summaries and annotations stay within GitHub's limits, and what is cut is not what decided."""

import msgspec
import pytest

from tests.doubles import make_run
from vitdeploy.reports import as_github, report
from vitdeploy.reports.report import Report
from vitdeploy.results import record

LONG = "Non-zero status code returned while running Conv node. Failed to allocate memory. " * 20


def compared(cases: int, *, slower: int, failed: int, message: str = LONG) -> Report:
    """Cases that are the same, of which the last few are slower; and failed ones before them."""
    broken = [
        msgspec.structs.replace(row, case=msgspec.structs.replace(row.case, size=(32 * (place + 1), 64)))
        for place, row in enumerate([make_run.failed("efficientvit_b3", message, "Read the log.")] * failed)
    ]

    def rows(factor: float) -> list[record.Result]:
        return [
            make_run.row(
                "efficientvit_b1",
                "onnx-fp32",
                7.4 * (factor if place >= cases - slower else 1.0),
                seed=place + 1,
                count=20,
                size=(32 * (place + 1), 32),
            )
            for place in range(cases)
        ]

    base, head = make_run.run(*rows(1.0), name="base"), make_run.run(*broken, *rows(1.5), name="head")
    return report.build([head], baseline=base)


@pytest.mark.parametrize(("cases", "slower", "failed"), [(3, 1, 2), (3, 1, 400), (150, 3, 30), (0, 0, 150)])
def test_a_body_is_never_longer_than_a_comment_and_keeps_what_decided(cases: int, slower: int, failed: int):
    body = as_github.render(compared(cases, slower=slower, failed=failed)).decode()
    assert len(body.encode()) <= as_github.LARGEST_BYTES
    assert body.startswith(as_github.MARKER)
    assert body.count(as_github.SIGNS["slower"]) == slower
    shown = body.count("\n- failed: ")
    assert shown == failed or f"{failed - shown} failed" in body
    assert "…" in body or failed == 0


def test_what_is_left_out_is_counted_by_verdict():
    body = as_github.render(compared(130, slower=2, failed=1)).decode()
    same = body.count(as_github.SIGNS["same"]) + body.count(as_github.SIGNS["inconclusive"])
    assert same == 98, "a hundred verdicts, of which two are slower"
    assert "Left out here" in body


def test_a_step_has_at_most_ten_annotations_and_no_regression_is_left_out():
    commands = as_github.annotations(compared(6, slower=4, failed=40))
    assert len(commands) == as_github.MOST_ANNOTATIONS
    assert sum(command.startswith("::error title=slower") for command in commands) == 4
    assert "more::" in commands[-1]
    assert len(as_github.annotations(compared(3, slower=1, failed=2))) == 3


def test_more_than_ten_regressions_say_how_many_more():
    commands = as_github.annotations(compared(15, slower=15, failed=3))
    assert commands[-1].startswith("::error title=6 errors and 3 warnings more::")


def test_a_name_cannot_end_a_command_or_begin_another():
    row = make_run.failed("efficientvit_b3", "a\n::error::b\r\x0c##[add-mask]c %0A", "d")
    case = msgspec.structs.replace(row.case, model="onnx:x, y::z\n::stop-commands::")
    built = report.build([make_run.run(msgspec.structs.replace(row, case=case))])
    (command,) = as_github.annotations(built)
    assert len(command.splitlines()) == 1
    title, _, message = command.removeprefix("::warning title=").partition("::")
    assert "," not in title
    assert ":" not in title
    assert "%0A%3A%3Astop-commands" in title
    assert message.startswith("a%0A::error::b%0D")
    assert "##[" not in message
    assert "%250A" in message
    body = as_github.render(built).decode()
    assert not any(line.lstrip().startswith("::") for line in body.splitlines())
