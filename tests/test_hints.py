"""Every hint's pointer leads somewhere: its commands, options and documents exist; read from the source of errors."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.named_commands import command_names, options_of
from vitdeploy import errors

ROOT = Path(__file__).parent.parent
FOLDERS = ("vitdeploy", "exporters", "benchmarks", "reports")
ERRORS = {kind.__name__ for kind in errors.error_classes()}

OTHERS = {"--no-tags", "--user", "--force-reinstall", "--plain"}
"""Options of other people's programs that hints name."""


def text_of(node: ast.expr) -> str:
    """The text of a string expression; a value that is put in is ``X``, which is no command's word."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) or "X" for part in node.values)
    if isinstance(node, ast.BinOp):
        return text_of(node.left) + text_of(node.right)
    if isinstance(node, ast.IfExp):
        return f"{text_of(node.body)} {text_of(node.orelse)}"
    return ""


def hints() -> Iterator[tuple[str, str]]:
    """Place and text of the words of every error that is made; a hint that is a name of its module is looked up."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.is_symlink() or any(parent.is_symlink() for parent in path.parents):
                continue
            tree = ast.parse(path.read_text())
            names = {
                target.id: text_of(node.value)
                for node in tree.body
                if isinstance(node, ast.Assign)
                for target in node.targets
                if isinstance(target, ast.Name)
            }
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ERRORS:
                    for argument in node.args[:2]:
                        text = names.get(argument.id, "") if isinstance(argument, ast.Name) else text_of(argument)
                        if text:
                            yield f"{path.relative_to(ROOT)}:{node.lineno}", text


HINTS = sorted(set(hints()))


def test_the_errors_are_read():
    assert len(HINTS) > 300
    assert any("vitdeploy targets" in text for _, text in HINTS)


@pytest.mark.parametrize(
    ("place", "text"), [pytest.param(*hint, id=hint[0]) for hint in HINTS if "vitdeploy " in hint[1]]
)
def test_its_commands_exist(place: str, text: str):
    for span in re.findall(r"`vitdeploy ([^`]*)`", text):
        words = span.split()
        if words[0] in ("X", "--help"):
            continue
        verb = " ".join(words[:2]) if words[0] == "cache" else words[0]
        assert verb in command_names(), (place, span)
        for word in words:
            if re.match(r"--[a-z]", word):
                assert word.partition("=")[0] in options_of(verb), (place, span)


@pytest.mark.parametrize(("place", "text"), [pytest.param(*hint, id=hint[0]) for hint in HINTS if "--" in hint[1]])
def test_its_options_exist(place: str, text: str):
    known = {option for verb in command_names() for option in options_of(verb)} | OTHERS
    if place.startswith("benchmarks/studies/"):
        known |= set(re.findall(r'"(--[a-z-]+)"', (ROOT / place.partition(":")[0]).read_text()))
    ours = re.sub(r"`(?!vitdeploy)[a-z][\w./-]* [^`]*`", "", text)  # a command line of somebody else's
    for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", ours):
        assert option in known, (place, text)


@pytest.mark.parametrize(("place", "text"), [pytest.param(*hint, id=hint[0]) for hint in HINTS if "docs/" in hint[1]])
def test_its_documents_exist(place: str, text: str):
    for name in re.findall(r"docs/[\w-]+\.md", text):
        assert (ROOT / name).exists(), (place, text)
