"""Help as a newcomer needs it: every option explained, every example works, nothing cut at 80 columns; completion."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from vitdeploy.cli import app, help_pages
from vitdeploy.cli.main import main

ROOT = Path(__file__).parents[2]


def leaves(command: Any, path: str = "vitdeploy") -> list[tuple[str, Any]]:
    """Path and command of every command, groups too."""
    below = getattr(command, "commands", {})
    return [(path, command), *(leaf for name, child in below.items() for leaf in leaves(child, f"{path} {name}"))]


COMMANDS = leaves(typer.main.get_command(app.app))
EXAMPLES = [(path, line) for path, command in COMMANDS for line in help_pages.text_of(command.help).examples]
each_command = pytest.mark.parametrize(("path", "command"), COMMANDS, ids=[path for path, _ in COMMANDS])


@each_command
def test_every_option_and_argument_is_explained_and_has_a_readable_value(path: str, command: Any):
    for entry in command.params:
        row = help_pages.row_of(entry)
        assert row.text.strip(), (path, row.words)
        assert "VALUE" not in row.words, (path, row.words)


@each_command
def test_every_command_has_an_example_and_a_summary_that_fits(path: str, command: Any):
    text = help_pages.text_of(command.help)
    assert text.examples, path
    assert all(line.startswith(f"{path} ") or path in {line, "vitdeploy"} for line in text.examples)
    if path != "vitdeploy":
        assert len(text.summary) <= 66, text.summary


@each_command
def test_help_fits_eighty_columns(path: str, command: Any, say: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, shown, err = say(*path.split()[1:], "-h")
    assert (code, err) == (0, "")
    said = shown.partition("\nExamples:\n")[0]
    assert max(map(len, said.splitlines())) <= 80
    assert "..." not in said
    assert shown == say(*path.split()[1:], "--help")[1]


@pytest.mark.parametrize(("path", "line"), EXAMPLES, ids=[line for _, line in EXAMPLES])
def test_every_example_can_be_planned(path: str, line: str, say: Any):
    command = dict(COMMANDS)[path if path != "vitdeploy" else " ".join(line.split()[:2])]
    words = shlex.split(line)[1:]
    plans = any("--dry-run" in entry.opts for entry in command.params) and "--dry-run" not in words
    code, _, err = say(*words, *(["--dry-run"] if plans else []))
    needs_device = "--device" in words
    names_file = any("/" in word or re.search(r"\.(json|toml)$", word) for word in words)
    assert code in {0, *((7,) if needs_device else ()), *((9, 2) if names_file else ())}, err
    assert "no such option" not in err


def test_every_command_is_in_one_section():
    placed = [name for names in app.SECTIONS.values() for name in names]
    assert sorted(placed) == sorted(dict(COMMANDS)["vitdeploy"].commands)


@pytest.mark.parametrize("argv", [(), ("cache",)])
def test_a_bare_command_shows_its_help(say: Any, argv: tuple[str, ...]):
    code, out, err = say(*argv)
    assert (code, err) == (0, "")
    assert out.startswith("Usage: vitdeploy")


def test_an_unknown_command_below_another_offers_those_of_its_own(say: Any):
    code, _, err = say("cache", "lst")
    assert code == 2
    assert "Did you mean ls?" in err
    assert "`vitdeploy cache --help`" in err


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("vitdeploy export efficientvit_b", {"efficientvit_b0", "efficientvit_b3"}),
        ("vitdeploy export --target tfl", {"tflite-fp32"}),
        ("vitdeploy bench --device or", {"orin"}),
        ("vitdeploy bench --suite ci", {"ci", "cityscapes"}),
        ("vitdeploy bench --attention so", {"softmax"}),
        ("vitdeploy report run.json --format mark", {"markdown"}),
        ("vitdeploy reproduce imag", {"imagenet"}),
        ("vitdeploy dev", {"devices"}),
        ("vitdeploy cache g", {"gc"}),
        ("vitdeploy bench --resu", {"--resume"}),
    ],
)
def test_bash_completes_names(line: str, expected: set[str], tmp_path: Path):
    done = complete(line, tmp_path)
    assert done.returncode == 0, done.stderr
    assert expected <= set(done.stdout.split()), done.stdout
    last = line.rsplit(maxsplit=1)[-1]
    assert all(word.startswith(last) for word in done.stdout.split())


def complete(line: str, folder: Path, *python: str) -> subprocess.CompletedProcess[str]:
    """What bash asks when the tabulator is pressed at the end of ``line``. Source: typer, ``BashComplete``."""
    asked = {"_VITDEPLOY_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split()) - 1)}
    return subprocess.run(
        [sys.executable, *python, "-m", "vitdeploy"],
        env={**os.environ, **asked, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("line", ["vitdeploy bench --suite d", "vitdeploy bench --device l", "vitdeploy duel eff"])
def test_completion_imports_nothing_heavy(line: str, tmp_path: Path):
    imported = complete(line, tmp_path, "-X", "importtime").stderr
    heavy = {"numpy", "torch", "onnx", "pandas", "altair", "jinja2", "dask"}
    assert not heavy & {row.rpartition("|")[2].strip() for row in imported.splitlines()}


def test_a_broken_device_file_breaks_no_completion(tmp_path: Path):
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "mine.toml").write_text("nothing = [")
    done = complete("vitdeploy bench --device l", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_completion_script_is_shown():
    assert main(["--version"]) == 0
    done = subprocess.run(
        [sys.executable, "-m", "vitdeploy", "--show-completion", "bash"],
        env={**os.environ, "PYTHONPATH": str(ROOT), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "complete_bash" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["export"], "For example `vitdeploy export efficientvit_b1 --target onnx-fp32`."),
        (["compare"], "For example `vitdeploy compare before.json after.json`."),
        (["export", "efficientvit_b1", "--target"], "`vitdeploy export --help`"),
        (["help"], "`vitdeploy --help`"),
        (["export", "b1", "--target", "onnx-fp32"], "Did you mean efficientvit_b1"),
        (["export", "efficientvit_b0", "--target", "onxx"], "Did you mean onnx-bf16, onnx-fp16 or onnx-fp32?"),
        (["exprot"], "Did you mean export, reproduce or report?"),
        (["bench", "efficientvit_b1", "onnx-fp32"], "Give it as --target onnx-fp32."),
        (["bench", "efficientvit_b1", "--target", "tflite"], "tflite-fp32"),
    ],
)
def test_a_hint_says_what_to_type(say: Any, argv: list[str], said: str):
    code, _, err = say(*argv)
    assert code == 2
    assert said in err.splitlines()[1]
