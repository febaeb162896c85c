"""The commands of README and docs, read out of them: each is run as it stands as far as it can be here.

A command of vitdeploy is planned by ``--dry-run`` in an empty folder, which checks its names, options and values; one
for a device that is not configured here ends with exit 7, one that names a file that is not here with exit 9 (a
module that is not here: 2). A study's
options are looked up in its source, and its ``--help`` is run in the slow tests.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.named_commands import command_names, options_of
from vitdeploy.cli.main import main
from vitdeploy.devices import inventory

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
PLACEHOLDER = re.compile(r"…|\||\[|[<>]|\b[A-Z][A-Z_]*\b(?!=)")
"""Words that stand for something of the reader's: ``ARTIFACT``, ``RUN.json``, ``--device …``."""

PROGRAMS = ("vitdeploy", "python -m", "make", "pip install")
LISTS = ("models", "targets", "devices", "devices show", "suites", "reproduce")


def commands_of(page: Path) -> list[str]:
    """Lines of code blocks and code spans that begin with one of `PROGRAMS`; comments and line breaks are taken off."""
    text = page.read_text()
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    lines += [line.strip() for line in re.findall(r"^(?:    |\t)(.+)$", text, flags=re.MULTILINE)]
    plain = re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)
    lines += [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", plain)]
    starts = tuple(f"{program} " for program in PROGRAMS)
    return [re.split(r"\s+#\s|\s{3,}", line)[0] for line in lines if line.startswith(starts)]


COMMANDS = sorted({(page.name, command) for page in PAGES for command in commands_of(page)})


def beginning(program: str) -> list[Any]:
    return [pytest.param(command, id=f"{page}: {command}") for page, command in COMMANDS if command.startswith(program)]


def test_the_documents_have_commands():
    assert len(COMMANDS) > 60
    assert {command.split()[1] for _, command in COMMANDS if command.startswith("vitdeploy ")} > {"export", "duel"}


@pytest.mark.parametrize("command", beginning("vitdeploy "))
def test_the_verb_and_its_options_exist(command: str):
    words = command.replace("[", " ").replace("]", " ").split()[1:]
    is_below = len(words) > 1 and f"{words[0]} {words[1]}" in command_names()
    verb = " ".join(words[:2]) if is_below else words[0]
    if "|" in verb or words[0][0].isupper() or not words[0].isascii():
        return
    assert verb in command_names(), command
    for word in words:
        if word.startswith("--"):
            assert word.partition("=")[0] in options_of(verb), command


@pytest.mark.parametrize("command", beginning("vitdeploy "))
def test_it_can_be_planned(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    words = shlex.split(command)[1:]
    if PLACEHOLDER.search(command) or words[0] not in command_names() or (len(words) == 1 and words[0] not in LISTS):
        pytest.skip("it stands for others")
    verb = " ".join(words[:2]) if " ".join(words[:2]) in command_names() else words[0]
    plans = "--dry-run" in options_of(verb)
    if verb not in LISTS and not plans:
        pytest.skip("its options are looked up; it has no plan")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "b0.pt").write_bytes(b"stands for a checkpoint")
    code = main([*words, *(["--dry-run"] if plans and (verb not in LISTS or len(words) > 1) else [])])
    said = capsys.readouterr().err
    needs_device = "--device" in words and words[words.index("--device") + 1] != "local"
    names_file = any("/" in word or re.search(r"\.(json|toml|onnx|pth?)\b", word) for word in words)
    names_code = any(word.startswith("module:") for word in words)
    allowed = {0, *((7,) if needs_device else ()), *((9,) if names_file else ()), *((2,) if names_code else ())}
    assert code in allowed, said


@pytest.mark.parametrize("command", beginning("python -m "))
def test_the_module_and_its_options_exist(command: str):
    words = command.replace("[", " ").replace("]", " ").split()[2:]
    if words[0] == "pytest":
        assert all((ROOT / word).exists() for word in words[1:] if word.startswith("tests/")), command
        return
    path = source_of(words[0])
    assert path.is_file(), command
    source = path.read_text()
    for word in words[1:]:
        if word.startswith("--"):
            assert f'"{word}"' in source, command


def source_of(module: str) -> Path:
    """The file of a module that a command names."""
    return ROOT / (module.removeprefix("vitdeploy.").replace(".", "/") + ".py")


@pytest.mark.slow
@pytest.mark.parametrize(
    "module",
    sorted(
        {
            c.split()[2]
            for _, c in COMMANDS
            if c.split()[1:2] == ["-m"] and c.split()[2].startswith("vitdeploy.benchmarks")
        }
    ),
)
def test_a_study_explains_itself(module: str):
    done = subprocess.run([sys.executable, "-m", module, "--help"], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()[-300:]


@pytest.mark.parametrize("command", beginning("make "))
def test_make_knows_it(command: str):
    assert re.search(rf"^{command.split()[1]}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("command", beginning("pip install "))
def test_our_own_extras_exist_and_come_from_the_checkout(command: str):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert "vitdeploy[" not in command, "no package index has it"
    for names in re.findall(r"\.\[([\w,-]+)\]", command):
        assert set(names.split(",")) <= extras.keys(), command


@pytest.mark.parametrize(("page", "device"), [("jetson.md", "orin"), ("phones.md", "snapdragon-855")])
def test_the_device_file_that_a_page_shows_is_enough(page: str, device: str, tmp_path: Path):
    block = re.search(r"```toml\n(.*?)```", (ROOT / "docs" / page).read_text(), flags=re.DOTALL)
    assert block is not None
    (tmp_path / f"{device}.toml").write_text(block[1])
    merged = inventory.load([inventory.SHIPPED, tmp_path]).devices[device]
    assert inventory.unreachable(merged) is None
