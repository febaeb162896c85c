"""Requests made from options: one conversion for the command line and for the functions of the package."""

import functools
import inspect
import os
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, cast

from vitdeploy.errors import UsageError

Request = TypeVar("Request")

StrPath = str | os.PathLike[str]
"""A path; what a verb returned stands for the file it wrote."""

Names = StrPath | Iterable[StrPath]
"""One name or path, or many."""

SizeLike = str | tuple[int, int]
"""``"512x1024"`` or ``(512, 1024)``: height and width."""

_ENDINGS = ("", "s", "es", "_s")
"""What a request's field has behind the name of its option: nothing, a plural, or the unit seconds."""

_WORDS: Mapping[Any, str] = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "True or False",
    Path: "a path",
}
"""How a type is called in messages."""

_MOST_SHOWN = 60
"""Characters of a wrong value that a message shows."""


def request_of(kind: type[Request], options: Mapping[str, Any]) -> Request:
    """A request dataclass, filled from a verb's options.

    Args:
        options: the verb's ``locals()``. None, an option that was not given, keeps the default of the project file or
            of the field; a field without an option keeps its default; an option without a field is not this request's.

    Raises:
        UsageError: a value of another type than the field's.
    """
    from vitdeploy.api import project

    hints = _fields(kind)
    given = {
        field: converted(option, value, hints[field])
        for option, value in options.items()
        if value is not None and (field := field_of(option, hints)) is not None
    }
    return kind(**{**project.defaults_of(kind, options), **given})


def field_of(option: str, fields: Iterable[str]) -> str | None:
    """The field that an option fills: ``target`` → ``targets``, ``min_time`` → ``min_time_s``; None: there is none."""
    return next((option + ending for ending in _ENDINGS if option + ending in fields), None)


def converted(option: str, value: Any, hint: Any) -> Any:
    """A value as the type ``hint`` has it: text becomes a path or a share, one value becomes a tuple.

    Raises:
        UsageError: it cannot be such a value.
    """
    if option == "size" and not isinstance(value, str):
        return size_text(value)
    plain = plain_value(value)
    for kind in _alternatives(hint):
        fitting, result = _as_kind(plain, kind)
        if fitting:
            return result
    raise _wrong(option, value, " or ".join(dict.fromkeys(map(_words, _alternatives(hint)))))


def argument(name: str, value: Any, hint: Any) -> Any:
    """The argument of a function: texts, numbers and switches converted; others as they are, refused where None is.

    Raises:
        UsageError: a value of another type.
    """
    kinds = _alternatives(hint)
    if value is None and type(None) not in typing.get_args(hint):
        raise _wrong(name, value, " or ".join(map(_words, kinds)))
    if value is None or not all(kind in (str, int, float, bool) for kind in kinds):
        return value
    return converted(name, value, hint)


def name_of(option: str, value: StrPath) -> str:
    """One name, as `names_of` takes it.

    Raises:
        UsageError: it is none, or several.
    """
    names = names_of(option, [value])
    if len(names) != 1:
        raise _wrong(option, value, "one name or path")
    return names[0]


def names_of(option: str, values: Iterable[Names]) -> list[str]:
    """All names, whether they were given one by one or in lists; a path object is marked as a path.

    Raises:
        UsageError: one is neither text nor a path.
    """
    names: list[str] = []
    for value in values:
        if isinstance(value, str):
            names.append(_checked_text(option, value))
        elif isinstance(value, os.PathLike):
            path = str(_path(option, value))
            names.append(path if os.sep in path else os.path.join(".", path))  # noqa: PTH118 (Path drops the ".")
        elif isinstance(value, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            names += names_of(option, cast("Iterable[Names]", value))
        else:
            raise _wrong(option, value, "a name, a path or a list of them")
    return names


def paths_of(option: str, values: Iterable[Names]) -> list[Path]:
    """As `names_of`, all of them paths."""
    return [Path(name) for name in names_of(option, values)]


def path_of(option: str, value: StrPath) -> Path:
    """A path from text or from a path object.

    Raises:
        UsageError: it is neither.
    """
    if not isinstance(value, str | os.PathLike):  # pyright: ignore[reportUnnecessaryIsInstance] (users' values)
        raise _wrong(option, value, "a path")
    return _path(option, value)


def size_text(value: Any) -> str:
    """``(512, 1024)`` as ``512x1024``.

    Raises:
        UsageError: it is no pair of whole numbers.
    """
    plain = plain_value(value)
    pair: list[Any] = list(cast("Iterable[Any]", plain)) if isinstance(plain, tuple | list) else []
    if len(pair) != 2 or not all(isinstance(side, int) and not isinstance(side, bool) for side in pair):
        raise _wrong("size", value, 'a size like "512x1024" or (512, 1024)')
    return f"{pair[0]}x{pair[1]}"


def plain_value(value: Any) -> Any:
    """Numpy's numbers and arrays as Python's; anything else as it is."""
    convert: Any = getattr(value, "tolist", None)
    return value if convert is None else convert()


def share(text: str | float) -> float:
    """``2%`` or ``0.02``. Raises `ValueError` for another text."""
    if not isinstance(text, str):
        return text
    number = text.strip().removesuffix("%")
    return float(number) / (100 if text.strip().endswith("%") else 1)


@functools.cache
def _fields(kind: type[Any]) -> Mapping[str, Any]:
    hints = typing.get_type_hints(kind)
    return {name: hints[name] for name in inspect.signature(kind).parameters}


def _alternatives(hint: Any) -> list[Any]:
    """The types of a union but None; numbers before texts that stand for them."""
    kinds: tuple[Any, ...] = (hint,)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = typing.get_args(hint)
    return [kind for kind in kinds if kind is not type(None)]


def _as_kind(value: Any, kind: Any) -> tuple[bool, Any]:
    """Whether ``value`` fits a type, and what it is then."""
    if typing.get_origin(kind) is not None:
        return _as_many(value, typing.get_args(kind)[0])
    if kind is Path:
        is_path = isinstance(value, str | os.PathLike)
        return is_path, _path("", cast("StrPath", value)) if is_path else None
    if kind is float:
        return _as_number(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool), value
    if kind is str and isinstance(value, str):
        return True, _checked_text("", value)
    return isinstance(value, kind), value


def _as_many(value: Any, kind: Any) -> tuple[bool, Any]:
    """A value, or many, as a tuple of one type."""
    is_many = isinstance(value, Iterable) and not isinstance(value, str | os.PathLike)
    values: list[Any] = list(cast("Iterable[Any]", value)) if is_many else [value]
    parts = [_as_kind(part, kind) for part in values]
    return all(fitting for fitting, _ in parts), tuple(part for _, part in parts)


def _as_number(value: Any) -> tuple[bool, Any]:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False, None
    try:
        return True, share(value)
    except ValueError:
        return False, None


def _path(option: str, value: StrPath) -> Path:
    path = Path(_checked_text(option, os.fspath(value)))
    return path.expanduser() if path.parts[:1] == ("~",) else path


def _checked_text(option: str, text: str) -> str:
    """The text, if a file or a name can be called so."""
    if "\0" in text:
        raise UsageError(f"{option or 'a value'} holds a NUL byte: {text[:_MOST_SHOWN]!r}", "Leave it out.")
    return text


def _wrong(option: str, value: Any, words: str) -> UsageError:
    shown = repr(value)
    shown = shown if len(shown) <= _MOST_SHOWN else f"{shown[:_MOST_SHOWN]}…"
    return UsageError(f"{option}={shown} is not a valid value", f"Give {words}.")


def _words(kind: Any) -> str:
    if typing.get_origin(kind) is os.PathLike:
        return "a path"
    if typing.get_origin(kind) is not None:
        return f"{_words(typing.get_args(kind)[0])}, one or several"
    return _WORDS.get(kind, getattr(kind, "__name__", str(kind)))
