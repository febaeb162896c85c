"""What all verbs have in common: their type, and the plan that ``dry_run=True`` returns."""

import functools
import inspect
import typing
from collections.abc import Callable, Iterable
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from vitdeploy.api import outside_errors, requests
from vitdeploy.errors import VitdeployError
from vitdeploy.reports import plain_tables

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Plan(tuple[str, ...]):
    """The steps of a verb, a line each; nothing was done."""

    __slots__ = ()

    def __new__(cls, lines: Iterable[str]) -> "Plan":
        """Make it of any rows."""
        return super().__new__(cls, tuple(lines))

    def __repr__(self) -> str:
        return "\n".join(self) or "nothing to do"

    def _repr_html_(self) -> str:
        return "".join(f"<div>{plain_tables.html_text(line)}</div>" for line in self or ("nothing to do",))


class Verb(Protocol[P, R_co]):
    """A verb to a type checker: with ``dry_run=True`` it returns a plan, else its outcome."""

    @overload
    def __call__(self, *args: Any, dry_run: Literal[True], **options: Any) -> Plan: ...
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


def verb(function: Callable[P, R | Plan]) -> Verb[P, R]:
    """The function with the types of a verb, its values checked as `checked` does."""
    return cast("Verb[P, R]", checked(function))


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """The function, its texts, numbers and switches checked; errors of files and memory become ours.

    The call raises `UsageError` for a value of another type than the parameter's, and Python's own `TypeError` for an
    unknown or a missing argument.
    """
    signature = inspect.signature(function)
    hints = typing.get_type_hints(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            if signature.parameters[name].kind is not inspect.Parameter.VAR_POSITIONAL:
                bound.arguments[name] = requests.argument(name, value, hints[name])
        try:
            return function(*bound.args, **bound.kwargs)
        except (OSError, MemoryError, UnicodeEncodeError) as error:
            ours = outside_errors.as_ours(error)
            if type(ours) is VitdeployError:  # nothing is known of it
                raise
            raise ours from error

    return call
