"""Our calls of TensorRT held against what the bindings of one version offer."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.doubles.nvidia_bindings import Interface
from tests.tensorrt_calls import UNKNOWN, Call

PYTHON_KINDS = {
    "int": ("int", "typing.SupportsInt"),
    "bytes": ("buffer", "typing_extensions.Buffer", "collections.abc.Buffer"),
    "str": ("str",),
    "bool": ("bool",),
}
"""Our type → what the signatures call it: pybind11 2 in the bindings up to 10.15, pybind11 3 after."""

NEEDS = {"iterated": ("__iter__", "__getitem__"), "int": ("__int__",), "str": ("__str__",)}
"""What is made of an object → the methods of which it needs one."""


def problems(call: Call, offered: Interface) -> list[str]:
    """Why a call cannot work with that version; empty where it can."""
    return [f"{offered.name}: {call.place}: {call.name} {words}" for words in _problems(call, offered)]


def _problems(call: Call, offered: Interface) -> Iterator[str]:
    if not call.owner:
        names = offered.functions.get(call.member)
        if names is None:
            yield "is not there"
        elif len(call.arguments) != len(names):
            yield f"takes ({', '.join(names)})"
        return
    member = member_of(call.owner, call.member, offered)
    if member is None:
        yield "is not there"
    elif call.way == "write":
        if not member["writable"]:
            yield "cannot be set"
    elif call.way == "override":
        yield from _overridden(call, member)
    elif call.way in ("call", "new"):
        yield from _called(call, member, offered)
    else:
        yield from _used(call, _returned(member) if member["number"] is None else "int", offered)


def member_of(owner: str, member: str, offered: Interface) -> Mapping[str, Any] | None:
    """A member of a class, as `tests.doubles.bindings_interface` describes it."""
    return offered.classes.get(owner, {}).get("members", {}).get(member)


def result_of(call: Call, offered: Interface) -> str | None:
    """What a call returns there, as NVIDIA's signature says it; None where nothing is said."""
    member = member_of(call.owner, call.member, offered)
    returned = None if member is None or call.way not in ("call", "read") else _returned(member)
    return None if returned == "None" else returned


def _overridden(call: Call, member: Mapping[str, Any]) -> Iterator[str]:
    parameters = [list(_parameters(signature)) for signature, _ in member["signatures"]]
    if all(len(names) != len(call.arguments) for names in parameters):
        yield f"is called with {parameters}"


def _called(call: Call, member: Mapping[str, Any], offered: Interface) -> Iterator[str]:
    accepted = [returned for signature, returned in member["signatures"] if _accepts(call, signature, offered)]
    if not accepted:
        signatures = "; ".join(signature for signature, _ in member["signatures"])
        given = ", ".join([*call.arguments, *(f"{name}={kind}" for name, kind in call.keywords)])
        yield f"takes {signatures or 'nothing that its documentation says'}, not ({given})"
    elif call.returns is not None and call.returns not in accepted:
        yield f"returns {' or '.join(accepted)}, not {call.returns}"
    else:
        yield from _used(call, accepted[0], offered)


def _accepts(call: Call, signature: str, offered: Interface) -> bool:
    parameters = _parameters(signature)
    names = list(parameters)
    if len(call.arguments) > len(names):
        return False
    given = dict(zip(names, call.arguments, strict=False))
    for name, kind in call.keywords:
        if name not in parameters or name in given:
            return False
        given[name] = kind
    needed = {name for name, (_, has_default) in parameters.items() if not has_default}
    return needed <= given.keys() and all(
        _is_kind(_resolved(kind, offered), parameters[name][0]) for name, kind in given.items()
    )


def _resolved(kind: str, offered: Interface) -> str:
    """The kind of a result of another call."""
    if not kind.startswith("result of "):
        return kind
    owner, _, name = kind.removeprefix("result of ").rpartition(".")
    member = member_of(owner, name, offered)
    return UNKNOWN if member is None else _returned(member) or UNKNOWN


def _is_kind(given: str, wanted: str) -> bool:
    if UNKNOWN in (given, wanted) or wanted == "object":
        return True
    options = [option.strip() for option in wanted.split("|")]
    return any(option in PYTHON_KINDS.get(given, (given,)) for option in options)


def _returned(member: Mapping[str, Any]) -> str | None:
    return member["signatures"][0][1] if member["signatures"] else None


def _used(call: Call, returned: str | None, offered: Interface) -> Iterator[str]:
    """What Python makes of the result has to be possible."""
    if call.used_as is None or returned is None:
        return
    kind = offered.classes.get(returned)
    if kind is None:
        possible = call.used_as in (returned, "str") or (call.used_as, returned) == ("bool", "int")
    elif call.used_as == "bytes":
        possible = kind["buffer"]
    else:
        possible = any(name in kind["members"] for name in NEEDS.get(call.used_as, ()))
    if not possible:
        yield f"returns {returned}, which is used as {call.used_as}"


def _parameters(signature: str) -> dict[str, tuple[str, bool]]:
    """Name → type and whether there is a default, without ``self``."""
    parameters: dict[str, tuple[str, bool]] = {}
    for part in re.split(r", (?=\w+(?::|,|$))", signature[1:-1]):
        name, _, rest = part.partition(":")
        kind, _, default = rest.partition(" = ")
        if name not in ("self", "arg0", "/"):
            parameters[name] = (kind.strip() or UNKNOWN, bool(default))
    return parameters
