"""Import graph of our own modules: which files of ours a process loads, read from their text without importing them.

It answers what the agent has to carry to a device, and on which of our files a stored artifact depends.

The text is searched for import statements and not parsed: parsing the 50 modules of one export step takes 100 ms,
searching them 15 ms, and every plan of an export waits for it. ``tests/catalog/test_import_graph.py`` holds the search
against ``ast`` for every file.
"""

import importlib.util
import re
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

_IMPORT: Final = re.compile(
    r"^[ \t]*(?:from (vitdeploy[\w.]*) import (\([^)]*\)|[^\n(]*)|import (vitdeploy[\w.]*))", re.MULTILINE
)
_TYPING_ONLY: Final = re.compile(r"^if TYPE_CHECKING:\n(?:[ \t]+.*\n|\n)*", re.MULTILINE)
_REFERENCE: Final = re.compile(r'"(vitdeploy(?:\.\w+)+)(?::\w+)?"')

TABLES: Final = (
    "vitdeploy",
    "vitdeploy.catalog.registry",
    "vitdeploy.catalog.model_table",
    "vitdeploy.catalog.target_table",
)
"""Their strings name the modules of all verbs, models, targets and formats: who asks adds those that are taken."""


def modules_of(entries: Iterable[str]) -> dict[str, Path]:
    """Name → file of every module of ours that ``entries`` may load, of their packages, and of the entries themselves.

    What is imported inside functions counts, and what is named in a string (``catalog.load``, ``python -m``), except in
    `TABLES`: a device has to have it too, and a stored artifact depends on it.

    Args:
        entries: names of modules; of ``module:attribute`` the module. Those of other packages are left out.
    """
    modules: dict[str, Path] = {}
    waiting = [entry.partition(":")[0] for entry in entries]
    while waiting:
        name = waiting.pop()
        if name in modules or (path := file_of(name)) is None:
            continue
        modules[name] = path
        waiting += [".".join(name.split(".")[:depth]) for depth in range(1, name.count(".") + 1)]
        imported, named = references(path)
        waiting += imported if name in TABLES else (*imported, *named)
    return modules


@cache
def file_of(name: str) -> Path | None:
    """The file of a module of ours; None: there is no such module, or it is not ours."""
    top, *below = name.split(".")
    if top != "vitdeploy":
        return None
    # A folder right below the package may stand elsewhere (the rooms do). Its parts are not asked for by `find_spec`:
    # it would import the folder.
    spec = importlib.util.find_spec(".".join([top, *below[:1]]))
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin)
    if len(below) < 2:
        return path
    if path.name != "__init__.py":
        return None
    place = path.parent.joinpath(*below[1:])
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)


@cache
def references(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of ours in a file: those that it imports, and those that stand in strings.

    A name imported from a package may be a module of it. What is imported for type checkers alone is left out.
    """
    text = _TYPING_ONLY.sub("", path.read_text(encoding="utf-8"))
    imported: list[str] = []
    for package, names, module in _IMPORT.findall(text):
        listed = re.sub(r"#.*", "", names).strip("() \n").split(",")  # a comment may name anything
        imported += (
            [module] if module else [package, *(f"{package}.{name.split()[0]}" for name in listed if name.strip())]
        )
    return tuple(imported), tuple(_REFERENCE.findall(text))
