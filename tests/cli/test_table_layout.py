"""Tables: whole in a pipe, fitted to a terminal without breaking a name, tab-separated; colours where they belong."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.doubles import make_run
from vitdeploy.api.bench import BenchOutcome
from vitdeploy.cli import bench
from vitdeploy.cli.table_layout import Table, lines_of, prose, tabbed
from vitdeploy.results import record

ROOT = Path(__file__).parents[2]
NAME = "efficientvit_seg_b0_cityscapes"

TABLE = Table(
    title="local, a processor",
    heads=("case", "median ms", "95 % interval", "parity", "status", "p99"),
    right=(1,),
    rows=[
        (f"{NAME} onnx-fp32 1024x2048", "134.20", "133.1 … 135.3", "ok, pixel agreement 99.98 %", "valid", "140.00"),
        ("efficientvit_b1 onnx-fp32 224x224", "7.40", "7.38 … 7.42", "ok, top-1 100 %", "invalid: throttled", "–"),
    ],
    details=("p99", "parity"),
)


def test_a_pipe_gets_every_row_in_one_line():
    lines = lines_of(TABLE)
    assert len(lines) == 4
    assert "ok, pixel agreement 99.98 %  valid" in lines[2]
    assert not any(line.endswith(" ") for line in lines)


def test_a_terminal_loses_details_first_and_says_so():
    lines = lines_of(TABLE, 100)
    assert max(map(len, lines)) <= 100
    assert "parity" not in lines[1]
    assert lines[-1] == "(left out: p99, parity; wider terminals and --json have them)"


@pytest.mark.parametrize("width", range(20, 140, 5))
def test_no_word_and_no_interval_is_broken_at_any_width(width: int):
    text = "\n".join(lines_of(TABLE, width))
    assert NAME in text.split()
    assert "133.1 … 135.3" in text
    longest = max(len(NAME), len("95 % interval: 133.1 … 135.3") + 2)
    assert max(map(len, text.splitlines())) <= max(width, longest)


words = st.text("abc_-/.0123456789", min_size=1, max_size=30)
cells = st.lists(words, max_size=4).map(" ".join)


@given(rows=st.lists(st.tuples(cells, cells, cells), max_size=4), width=st.integers(10, 120))
def test_every_word_of_every_cell_is_shown(rows: Sequence[tuple[str, ...]], width: int):
    shown = " ".join(lines_of(Table(heads=("a", "b", "c"), rows=rows), width)).split()
    for row in rows:
        for cell in row:
            assert set(cell.split()) <= set(shown)


def test_a_command_in_a_sentence_stays_whole():
    text = "The outputs mean nothing at all, really; `--weights official` takes the authors' own."
    for width in range(30, 80):
        assert any("`--weights official`" in line for line in prose(text, width))
    assert " ".join(prose(text, 30)) == text


def test_tabbed_has_every_column_and_no_other_tab():
    rows = [("a\tb", "1"), ("c\nd", "2")]
    assert tabbed(Table(heads=("name", "n"), rows=rows, details=("n",))) == ["name\tn", "a b\t1", "c d\t2"]


def test_colour_marks_states_only():
    lines = lines_of(TABLE, colour=True)
    assert re.search("\x1b\\[32mvalid", lines[2])
    assert re.search("\x1b\\[31minvalid", lines[3])
    assert "\x1b" not in "".join(lines_of(TABLE))


def test_a_bench_fits_eighty_columns():
    rows = [make_run.row(NAME, "onnx-fp32", 134.2, seed=1), make_run.row("efficientvit_b1", "onnx-fp32", 7.4, seed=2)]
    run = make_run.run(*rows, name="run")
    output = bench.bench_output(BenchOutcome(run=run, path=Path("run.json"), exit_code=0))
    table = output.human[0]
    assert isinstance(table, Table)
    lines = lines_of(table, 80)
    assert max(map(len, lines)) <= 80
    assert any("135" in line and "valid" in line for line in lines)
    assert list(output.next_command) == ["report", "run.json", "--format", "html"]


def test_a_reason_that_many_rows_have_is_said_once():
    busy = record.Reason(code="foreign-load", message="other processes were busy", hint="Stop them.")
    lines = bench.reason_lines([(f"case {number}", busy) for number in range(5)])
    assert lines == ["case 0 and 4 others: other processes were busy. Stop them."]
    lines = bench.reason_lines([("a", busy), ("b", busy), ("c", msgspec.structs.replace(busy, hint="Wait."))])
    assert lines == ["a, b: other processes were busy. Stop them.", "c: other processes were busy. Wait."]


def terminal(argv: Sequence[str], environment: Mapping[str, str], columns: int = 80) -> str:
    """What a command shows on a terminal."""
    controller, worker = pty.openpty()
    fcntl.ioctl(worker, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    plain = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "COLUMNS", "TERM")}
    process = subprocess.Popen(
        [sys.executable, "-m", "vitdeploy", *argv],
        env={**plain, "TERM": "xterm", "PYTHONPATH": str(ROOT), **environment},
        stdin=worker,
        stdout=worker,
        stderr=worker,
        close_fds=True,
    )
    os.close(worker)
    shown = b""
    while True:
        try:
            data = os.read(controller, 65536)
        except OSError:  # Linux's word for the end of a terminal
            break
        if not data:
            break
        shown += data
    os.close(controller)
    process.wait(timeout=60)
    return shown.decode().replace("\r\n", "\n")


def test_a_listing_on_a_terminal_has_whole_names_colour_and_the_next_command():
    shown = terminal(["models"], {})
    assert "\x1b[32myes" in shown
    plain = re.sub("\x1b\\[\\d+m", "", shown)
    assert max(len(line) for line in plain.splitlines()) <= 80
    assert re.search(f"^{NAME} ", plain, flags=re.MULTILINE)
    assert "next: vitdeploy export efficientvit_b1 --target onnx-fp32" in plain


@pytest.mark.parametrize(
    "environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"LC_ALL": "C", "NO_COLOR": "1"}], ids=str
)
def test_no_colour_where_none_is_wanted(environment: dict[str, str]):
    assert "\x1b" not in terminal(["suites"], environment)


def test_narrow_terminals_break_no_name():
    shown = terminal(["models", "--quiet"], {"NO_COLOR": "1"}, columns=40)
    assert re.search(f"^{NAME}$", shown, flags=re.MULTILINE)
    assert "next:" not in shown


@pytest.mark.parametrize("verb", ["models", "targets", "devices", "suites", "cache ls"])
def test_listings_are_read_by_programs(say: Any, verb: str):
    code, out, err = say(*verb.split(), "--format", "tsv")
    assert (code, err) == (0, "")
    assert len({line.count("\t") for line in out.splitlines()}) == 1
    code, out, _ = say(*verb.split(), "--format", "plain")
    assert code == 0
    code, _, err = say(*verb.split(), "--format", "csv")
    assert code == 2
    assert "--format tsv" in err
