"""Where output goes: closed, full or broken streams, poor encodings and odd places change no verdict's code."""

import json
import os
import socket
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from tests.doubles import make_run
from vitdeploy.results import record

ROOT = Path(__file__).parents[2]
PROGRAM = f"'{sys.executable}' -m vitdeploy"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, the second 10 % slower, so that `compare` ends with 10."""
    folder = tmp_path_factory.mktemp("runs")
    for seed, (name, median_ms) in enumerate((("base", 7.4), ("same", 7.4), ("head", 8.2)), 1):
        row = make_run.row("efficientvit_b1", "onnx-fp32", median_ms, seed=seed)
        record.save(make_run.run(row, name=name), folder / f"{name}.json")
    return folder


def shell(folder: Path, line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    line = line.replace("VD", PROGRAM)
    return subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )


COMPARE = "VD compare base.json head.json"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (COMPARE, 10),
        (f"{COMPARE} >/dev/full", 10),
        (f"{COMPARE} >&-", 10),
        (f"{COMPARE} 2>&-", 10),
        (f"{COMPARE} >&- 2>&- <&-", 10),
        (f"{COMPARE} 2>/dev/full", 10),
        (f"{COMPARE} | true; exit ${{PIPESTATUS[0]}}", 10),
        (f"{COMPARE} --json - | true; exit ${{PIPESTATUS[0]}}", 10),
        (f"{COMPARE} --json - >/dev/full", 10),
        (f"{COMPARE} --json /dev/full", 10),
        ("VD compare base.json same.json >/dev/full", 0),
        ("VD compare base.json none.json 2>&-", 9),
        ("VD report base.json >/dev/full", 9),
        ("VD report base.json | true; exit ${PIPESTATUS[0]}", 0),
        ("VD report base.json >&-", 0),
        ("VD models >/dev/full", 9),
        ("VD models --json - | head -c 10 >/dev/null; exit ${PIPESTATUS[0]}", 0),
        ("VD --help | true; exit ${PIPESTATUS[0]}", 0),
        ("VD --help >/dev/full", 9),
        ("VD nothing 2>/dev/full", 2),
    ],
)
def test_what_is_wrong_with_a_stream_changes_no_verdict(folder: Path, line: str, code: int):
    done = shell(folder, line)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"SOURCE_DATE_EPOCH": "x"},
        {"SOURCE_DATE_EPOCH": ""},
    ],
    ids=str,
)
def test_a_terminal_that_lacks_characters_shows_others(folder: Path, environment: dict[str, str]):
    done = shell(folder, COMPARE, **environment)
    assert done.returncode == 10, done.stderr
    assert "slower" in done.stdout


def test_devices_and_pipes_are_written_to_and_links_followed(folder: Path, tmp_path: Path):
    runs = f"{folder}/base.json {folder}/head.json"
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("target")
    (tmp_path / "folder").mkdir()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket"))
    listener.listen()
    received: list[bytes] = []
    reader = threading.Thread(target=lambda: received.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    assert shell(tmp_path, f"VD compare {runs} --json pipe").returncode == 10
    reader.join(timeout=30)
    assert json.loads(received[0])["exit_code"] == 10
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert shell(tmp_path, f"VD compare {runs} --json link").returncode == 10
    assert (tmp_path / "link").is_symlink()
    assert json.loads((tmp_path / "target").read_text())["exit_code"] == 10
    assert shell(tmp_path, f"VD compare {runs} --json socket").returncode == 10
    assert json.loads(listener.accept()[0].makefile().read())["exit_code"] == 10
    listener.close()
    assert shell(tmp_path, f"VD compare {runs} --json folder").returncode == 2
    assert shell(tmp_path, f"VD report {folder}/base.json --format csv --out folder").returncode == 2
    stdout = shell(tmp_path, f"VD compare {runs} --json /dev/stdout | cat")
    assert json.loads(stdout.stdout)["exit_code"] == 10
    both = shell(tmp_path, f"VD report {folder}/base.json --format csv --out /dev/fd/3 3>third; cat third")
    assert "model" in both.stdout
    if os.geteuid() == 0 and hasattr(os, "mknod"):
        os.mknod(tmp_path / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
        shell(tmp_path, f"VD report {folder}/base.json --format csv --out null")
        assert stat.S_ISCHR((tmp_path / "null").stat().st_mode)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (f"VD report base.json --format csv --out {'x' * 255}", 0),
        (f"VD report base.json --format csv --out {'x' * 256}", 9),
        (f"VD accept base.json --because why --baselines {'x' * 256}", 9),
        ("VD accept base.json --because $'z\\xff'", 2),
        ("mkdir gone; cd gone; rmdir ../gone; VD report ../base.json --format html", 9),
        ("VD report $'z\\xff.json'", 9),
    ],
)
def test_names_that_cannot_be_are_no_bug(folder: Path, line: str, code: int):
    done = shell(folder, line)
    assert done.returncode == code, done.stderr
    assert "internal error" not in done.stderr


def test_a_page_is_written_without_its_charts_where_they_cannot_be_drawn(folder: Path):
    """The JavaScript engine reserves more address space than this, and ends its process."""
    done = shell(folder, "ulimit -v 16000000; VD report base.json head.json --format html --out page.html")
    page = (folder / "page.html").read_text()
    assert done.returncode == 0, done.stderr
    assert "Charts are left out" in page
    assert "8.20" in page
    assert "data:image/svg" not in page
    done = shell(folder, "VD report base.json head.json --format html --out page.html")
    page = (folder / "page.html").read_text()
    assert "Charts are left out" not in page
    assert "data:image/svg" in page


PRESSED = """
import os, signal, sys

MODULE = sys.argv.pop(1)

class Press:
    def find_spec(self, name, path=None, target=None):
        if name == MODULE:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
sys.meta_path.insert(0, Press())
from vitdeploy.cli.main import run
run()
"""


@pytest.mark.parametrize("module", ["vitdeploy.cli.app", "typer", "vitdeploy.cli.options", "vitdeploy.api", "rich"])
def test_ctrl_c_says_a_word_from_the_first_moment(folder: Path, module: str):
    done = subprocess.run(
        [sys.executable, "-c", PRESSED, module, "compare", "base.json", "head.json"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        timeout=60,
        check=False,
    )
    assert done.returncode == 130
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"], done.stderr
