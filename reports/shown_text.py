r"""Text of others as it is shown: names in runs, manifests, models, devices, tools and files are data, never commands.

Control characters, escape sequences, marks that reorder text and halves of characters become visible escapes
(``\x1b``, ``\u202e``); line breaks become spaces, so that a name can begin no line. Each output has one function or
one place that cleans it: `line` and `lines` for terminals, `cleaned` for what documents are made of.
"""

import re
from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

import msgspec

T = TypeVar("T")

_BREAKS = re.compile("[\t\n\x0b\x0c\r\x1c-\x1e\x85\u2028\u2029]")
"""What ends a line somewhere, and the tabulator. Source: `str.splitlines`."""

_HIDDEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f]"
)
"""Controls (C0, C1), marks of direction, characters without width, lone surrogates and tags.

Source: Unicode 15, categories Cc, Cf and Cs; https://trojansource.codes for the marks of direction.
"""

_COMMAND = re.compile(r"^(\s*):(?=:)", re.MULTILINE)
_OLD_COMMAND = re.compile(r"##(?=\[)")
"""Lines that GitHub's runner obeys. Source: github.com/actions/runner, ``ActionCommand.cs``."""


def line(text: str) -> str:
    """``text`` in one line without anything hidden."""
    if text.isascii() and text.isprintable():
        return text
    return _HIDDEN.sub(_escape, _BREAKS.sub(" ", text))


def lines(text: str) -> str:
    """``text`` with its line breaks, and without anything hidden."""
    return "\n".join(map(line, text.split("\n")))


def without_commands(text: str) -> str:
    """``text`` whose lines a runner of GitHub prints and does not obey."""
    return _OLD_COMMAND.sub(r"#\\x23", _COMMAND.sub(r"\1\\x3a", text))


def cleaned(value: T) -> T:
    """``value`` with every text in it as `line` makes it: records, mappings and sequences of any depth."""
    return cast("T", _cleaned(value))


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return line(value)
    if isinstance(value, Mapping):
        return {_cleaned(key): _cleaned(entry) for key, entry in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, tuple | list):
        entries = cast("tuple[Any, ...] | list[Any]", value)
        numbers = bool(entries) and isinstance(entries[0], int | float)  # samples, in thousands
        return entries if numbers else type(entries)(map(_cleaned, entries))
    return _cleaned_record(value)


def _cleaned_record(record: Any) -> Any:
    names = getattr(record, "__struct_fields__", None) or _dataclass_fields(record)
    changes = {name: after for name in names if (after := _cleaned(before := getattr(record, name))) is not before}
    if not changes:
        return record
    if isinstance(record, msgspec.Struct):
        return msgspec.structs.replace(record, **changes)
    return replace(record, **changes)


def _dataclass_fields(value: Any) -> tuple[str, ...]:
    if not is_dataclass(value) or isinstance(value, type):
        return ()
    return tuple(field.name for field in fields(value))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
