"""The project file: defaults of options for the work below a folder, from ``vitdeploy.toml`` or ``pyproject.toml``.

It is looked for in the working folder and in those above it; the nearest counts. ``vitdeploy.toml`` holds the keys as
they are, ``pyproject.toml`` below ``[tool.vitdeploy]``. An option that is given wins over the file.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, cast

import msgspec

from vitdeploy import documents
from vitdeploy.catalog import registry
from vitdeploy.errors import UnreadableFile, one_of

OWN_FILE = "vitdeploy.toml"
SHARED_FILE = "pyproject.toml"

BUILT_IN: Mapping[str, str] = {
    "device": "local",
    "suite": "demo",
    "baselines": "vitdeploy-baselines",
    "max-slowdown": "2%",
    "weights": "random, seed 0",
    "out": "artifacts",
}
"""Key of a project file → what counts without one."""

PATHS = frozenset({"baselines", "weights", "out"})
"""Keys whose values are paths, which start at the project file's folder."""

OFFICIAL = "official"
"""The value of ``weights`` that is no path. Source: contract, "Names"."""

FIELDS: Mapping[str, Mapping[str, str]] = {
    "BenchRequest": {"device": "device", "artifacts": "out", "weights": "weights"},
    "DuelRequest": {"device": "device", "artifacts": "out", "weights": "weights", "max_slowdown": "max-slowdown"},
    "StudyRequest": {"device": "device", "artifacts": "out"},
    "EvalRequest": {"device": "device"},
    "PredictRequest": {"device": "device"},
    "SelfTestRequest": {"device": "device"},
    "SweepRequest": {"artifacts": "out"},
    "CompareRequest": {"baselines": "baselines", "max_slowdown": "max-slowdown"},
    "ExportRequest": {"weights": "weights", "out": "out"},
}
"""Request class → its fields → the key that each has as its default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The values of a project file; without one: none."""

    path: Path | None
    values: Mapping[str, str | float]

    def path_of(self, key: str) -> Path | None:
        """The path under a key of `PATHS`, from the file's folder; None: the file has none."""
        value = self.values.get(key)
        if value is None or self.path is None:
            return None
        return Path(OFFICIAL) if (key, value) == ("weights", OFFICIAL) else self.path.parent / str(value)

    def text_of(self, key: str) -> str | None:
        """The name under a key; None: the file has none."""
        value = self.values.get(key)
        return None if value is None else str(value)

    def value_of(self, key: str) -> Any:
        """The value as an option's: a path, a share or a name; None: the file has none."""
        if key in PATHS:
            return self.path_of(key)
        return self.values.get(key)


def load(folder: Path | None = None) -> Project:
    """The project file of ``folder``, the working folder by default.

    Raises:
        UnreadableFile: it cannot be read, has an unknown key, or a value of another type; the nearest keys are offered.
    """
    start = folder or Path.cwd()
    for place in (start, *start.parents):
        for path in (place / OWN_FILE, place / SHARED_FILE):
            table = _table(path)
            if table is not None:
                return Project(path=path, values={key: _checked(key, value, path) for key, value in table.items()})
    return Project(path=None, values={})


def defaults_of(kind: type[Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Field of a request class → its default by the project file, for the fields that have one.

    Args:
        options: those that were given, and what is named. An export has the file's device only where an engine is built
            on it; artifacts that are named have their weights already.
    """
    fields = FIELDS.get(kind.__name__, {})
    project = load() if fields else Project(path=None, values={})
    values = {field: project.value_of(key) for field, key in fields.items()}
    if kind.__name__ == "ExportRequest" and _is_engine(options.get("target")):
        values["device"] = project.value_of("device")
    if kind.__name__ == "BenchRequest" and any(_is_file(word) for word in options.get("what") or ()):
        values["weights"] = None
    return {field: value for field, value in values.items() if value is not None}


def _is_file(word: Any) -> bool:
    """Whether what is named is an artifact and not a model."""
    return os.sep in str(word) or Path(str(word)).exists()


def _is_engine(target: Any) -> bool:
    found = registry.targets().get(target)
    return found is not None and found.file == "model.engine"


def _table(path: Path) -> dict[str, Any] | None:
    """The keys of a project file; None: there is none, or another tool's file has no part for us."""
    is_own = path.name == OWN_FILE
    try:
        if not path.exists():
            return None
        data = documents.read_bytes(path, what="project", most_bytes=documents.LARGEST_TEXT_BYTES)
    except (OSError, UnreadableFile):
        if not is_own:
            return None
        raise
    if not is_own and b"vitdeploy" not in data:
        return None
    try:
        table = msgspec.toml.decode(data, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        if not is_own and b"[tool.vitdeploy" not in data:
            return None
        raise UnreadableFile(f"{path} is not valid TOML: {error}", "Correct that line.") from error
    if is_own:
        return table
    tools = table.get("tool")
    own: Any = cast("dict[str, Any]", tools).get("vitdeploy") if isinstance(tools, dict) else None
    if own is not None and not isinstance(own, dict):
        raise UnreadableFile(f"{path}: tool.vitdeploy is no table", "Write [tool.vitdeploy] and the keys below it.")
    return cast("dict[str, Any] | None", own)


def _checked(key: str, value: Any, path: Path) -> str | float:
    """A value of the project file, if there is such a key and it takes such a value."""
    if key not in BUILT_IN:
        near = get_close_matches(key, BUILT_IN, n=2, cutoff=0.5)
        meant = f"Did you mean {one_of(near)}? " if near else ""
        raise UnreadableFile(f"{path} has the unknown key {key!r}", f"{meant}The keys are {', '.join(BUILT_IN)}.")
    if key == "max-slowdown":
        return _share(value, path)
    if not isinstance(value, str) or not value.strip():
        raise UnreadableFile(f"{path}: {key} is {value!r}, not a text", f'Write {key} = "{BUILT_IN[key]}".')
    return value


def _share(value: Any, path: Path) -> float:
    """``"2%"``, ``"0.02"`` or ``0.02`` as a number."""
    text = value.strip() if isinstance(value, str) else str(value)
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        number = 0.0
    if isinstance(value, bool) or not 0 < number < 1:
        raise UnreadableFile(f"{path}: max-slowdown is {value!r}, not a share", 'Write max-slowdown = "2%".')
    return number
