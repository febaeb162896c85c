"""Names of our modules in strings, docstrings, documents and scripts exist: a file that moves takes them along."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from vitdeploy.catalog import import_graph, registry

ROOT = Path(__file__).parent.parent
ROOMS = ("exporters", "benchmarks", "reports")
SOURCES = [
    path
    for folder in ("vitdeploy", *ROOMS)
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not (folder == "vitdeploy" and path.relative_to(ROOT / folder).parts[0] in ROOMS)
]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
WRITTEN = [
    path
    for pattern in ("*.md", "Makefile", "docs/**/*.md", ".ci/*", ".github/**/*.y*ml", "docker/**/*", "**/templates/*")
    for path in sorted(ROOT.glob(pattern))
    if path.is_file() and not {".venv", "build", "node_modules"} & set(path.relative_to(ROOT).parts)
]
REFERENCE = re.compile(r"(vitdeploy(?!\.toml\b)(?:\.\w+)+)(?::(\w+))?")
GROUPS = ("_plugged", "entry_points")
"""Who is called with the name of a group of entry points, which is no module."""


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def file_of(module: str) -> Path | None:
    if not module.startswith("tests"):
        return import_graph.file_of(module)
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    return path if path.is_file() else None


@cache
def defined(path: Path) -> frozenset[str]:
    """What a module has at its top level, read and not imported."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return frozenset(found)


def exists(module: str, attribute: str | None = None) -> bool:
    path = file_of(module)
    return path is not None and (not attribute or attribute in defined(path))


def references(path: Path) -> list[tuple[str, str | None]]:
    """All strings that are the name of a module of ours, with the attribute after the colon."""
    tree = ast.parse(path.read_text())
    other = {  # names of groups, and the pieces of strings that are put together
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Call) and ast.unparse(node.func) in GROUPS)
        for part in (node.values if isinstance(node, ast.JoinedStr) else node.args)
    }
    strings = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in other
    ]
    return [(match[1], match[2]) for text in strings if (match := REFERENCE.fullmatch(text))]


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_a_string_that_names_a_module_names_one_that_exists(path: Path):
    assert [name for name in references(path) if not exists(*name)] == []


def test_what_the_tables_put_together_exists():
    models = [row for model in registry.models().values() for row in (model, *model.parts)]
    names = [name for row in models for name in (row.builder, row.weight_names, row.weight_tensors)]
    names += [name for row in registry.targets().values() for name in (row.exporter, row.runtime, row.proof)]
    names += registry.FORMATS.values()
    wrong = [name for name in names if name and not exists(*name.split(":"))]
    assert wrong == []
    assert len(names) > 100


@pytest.mark.parametrize("path", [*SOURCES, *TESTS], ids=named)
def test_a_module_that_prose_names_exists(path: Path):
    wrong: list[str] = []
    for name in re.findall(r"(?<!`)`(vitdeploy(?!\.toml\b)(?:\.\w+)+)`(?!`)", path.read_text()):
        module, _, attribute = name.rpartition(".")
        holder, _, outer = module.rpartition(".")
        if not (exists(name) or exists(module, attribute) or exists(holder, outer)):
            wrong.append(name)
    assert wrong == []


@pytest.mark.parametrize("path", [*SOURCES, *TESTS, *WRITTEN], ids=named)
def test_a_command_starts_a_module_that_exists_and_can_be_started(path: Path):
    for module in re.findall(r"-m ((?:vitdeploy|tests)(?:\.\w+)*)", path.read_text(errors="replace")):
        file = file_of(f"{module}.__main__" if module == "vitdeploy" else module)
        assert file is not None, module
        assert file.name == "__main__.py" or 'if __name__ == "__main__":' in file.read_text(), module


@pytest.mark.parametrize(
    "path",
    [
        *SOURCES,
        *TESTS,
        *WRITTEN,
    ],
    ids=named,
)
def test_a_file_of_ours_that_is_named_exists(path: Path):
    if path.name == "CHANGELOG.md":
        pytest.skip("it tells of what was there")
    text = path.read_text(errors="replace")
    names = re.findall(
        r"(?<![\w./-])((?:vitdeploy|exporters|benchmarks|reports|tests|docs)/[\w./]+\.(?:py|md|toml))\b", text
    )
    assert [name for name in names if not (ROOT / name).exists()] == []
