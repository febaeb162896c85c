"""Rules by which two values of a device fact are of the same machine: exact only where exactness means something.

Standard library only.
"""

import re
from collections.abc import Callable
from typing import Any

Rule = Callable[[Any, Any], bool]
"""Whether two values, neither of them None, count as the same."""


def exact(mine: Any, other: Any) -> bool:
    """Equal."""
    return mine == other


def any_value(mine: Any, other: Any) -> bool:
    """Whatever they are: a label, or how something was read."""
    del mine, other
    return True


def within(share: float) -> Rule:
    """Numbers that differ by at most this share of the larger one."""

    def near(mine: Any, other: Any) -> bool:
        if not all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (mine, other)):
            return mine == other
        try:
            return abs(mine - other) <= share * max(abs(mine), abs(other))
        except OverflowError:  # a whole number beyond any float
            return mine == other

    return near


def same_release(mine: Any, other: Any) -> bool:
    """Versions with the same words and the same first two numbers: what comes after them repairs, and is noted.

    ``5.15.0-91-generic`` and ``5.15.0-97-generic``; not ``5.15.0-91-lowlatency``.
    """
    return release(str(mine)) == release(str(other))


def same_outcome(mine: Any, other: Any) -> bool:
    """Texts that are equal up to the first colon, after which a reason stands."""
    return str(mine).partition(":")[0] == str(other).partition(":")[0]


def release(version: str) -> tuple[str, ...]:
    """The words and the first two numbers of a version; digests of a build and its numbers are left out."""
    numbers = re.findall(r"\d+", version)[:2]
    words = [word.lower() for word in re.findall(r"[A-Za-z][A-Za-z0-9]*", version)]
    named = [re.sub(r"\d+$", "", word) for word in words if not re.fullmatch(r"g?[0-9a-f]{7,40}", word)]
    return (*numbers, *(word for word in named if len(word) > 1))
