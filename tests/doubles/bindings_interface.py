"""What an imported package of TensorRT's bindings offers, as JSON on stdout: ``python bindings_interface.py PACKAGE``.

It runs in a process of its own, beside nothing of ours. pybind11 writes signatures into docstrings; whether a class
gives a buffer stands in its type object.
"""

import ctypes
import importlib
import inspect
import json
import re
import sys
from typing import Any

KEPT = ("__init__", "__members__", "__str__", "__len__", "__getitem__", "__iter__", "__int__")
"""Special methods that our calls need."""

AS_BUFFER = 160
"""Offset of ``tp_as_buffer`` in a type object of CPython on 64 bits. Source: CPython's Include/cpython/object.h."""


def interface(package: str) -> dict[str, Any]:
    """Classes with their members, and functions, of a package."""
    module: Any = importlib.import_module(package)
    classes: dict[str, Any] = {}
    functions: dict[str, Any] = {}
    for name, value in vars(module).items():
        if isinstance(value, type) and value.__module__.startswith(package):
            _add_class(classes, name, value, package)
        elif inspect.isfunction(value) and not name.startswith("_"):
            functions[name] = list(inspect.signature(value).parameters)
    return {"version": module.__version__, "classes": classes, "functions": functions}


def _add_class(classes: dict[str, Any], name: str, kind: type, package: str) -> None:
    members: dict[str, Any] = {}
    for member in dir(kind):
        if member.startswith("__") and member not in KEPT:
            continue
        value = inspect.getattr_static(kind, member)
        if isinstance(value, type):
            _add_class(classes, f"{name}.{member}", value, package)
        else:
            members[member] = _described(value, member, package)
    classes[name] = {"members": members, "buffer": _gives_buffer(kind)}


def _described(value: Any, name: str, package: str) -> dict[str, Any]:
    if isinstance(value, property):
        document, writable = (value.fget.__doc__ if value.fget else None), value.fset is not None
    else:
        document, writable = getattr(value, "__doc__", None), False
    lines = [line.strip() for line in (document or "").splitlines()]
    pattern = re.compile(rf"(?:\d+\. )?(?:{re.escape(name)})?(\(.*\)) -> (.+)")
    signatures = [match.groups() for line in lines if (match := pattern.fullmatch(line))]
    return {
        "signatures": [[_plain(part, package) for part in signature] for signature in signatures],
        "writable": writable,
        "number": _number(value),
    }


def _number(value: Any) -> int | None:
    """Of a member of an enumeration."""
    return int(value) if hasattr(type(value), "__members__") and hasattr(value, "__int__") else None


def _plain(text: str, package: str) -> str:
    """A signature without the package's name before its own classes."""
    return re.sub(rf"\b{package}\.\w+\.", "", text)


def _gives_buffer(kind: type) -> bool:
    table = ctypes.c_void_p.from_address(id(kind) + AS_BUFFER).value
    return bool(table and ctypes.c_void_p.from_address(table).value)


if __name__ == "__main__":
    json.dump(interface(sys.argv[1]), sys.stdout)
