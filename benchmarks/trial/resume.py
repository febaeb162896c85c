"""Resuming a run: an interrupted run is compared with the new request field by field."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vitdeploy.catalog import fact_table
from vitdeploy.errors import UsageError
from vitdeploy.results.record import Case, Group, Protocol, Run, RunDevice

Difference = tuple[str, Any, Any]
"""A field, its value in the file, and its value now."""


def check_same(
    earlier: Run,
    *,
    protocol: Protocol,
    device: RunDevice,
    cases: Sequence[Case],
    digests: Sequence[str | None],
    groups: Sequence[Group] = (),
    out: Path,
) -> None:
    """Refuse to go on with a run that was measured in another way, on another machine, or of other things.

    Raises:
        UsageError: it differs; the message names the first field that does.
    """
    differences = (*_differences(earlier, protocol, device, cases, digests), *_in_groups(earlier.groups, groups))
    difference = next(iter(differences), None)
    if difference is not None:
        name, before, after = difference
        raise UsageError(
            f"{out} cannot be resumed: {name} is {before!r} there and {after!r} now",
            "Resume it as it was begun, or choose another place with --out.",
        )


def _differences(
    earlier: Run, protocol: Protocol, device: RunDevice, cases: Sequence[Case], digests: Sequence[str | None]
) -> Iterator[Difference]:
    yield from _fields("protocol", earlier.protocol, protocol)
    yield from _unequal("device.name", earlier.device.name, device.name)
    for key in sorted({*earlier.device.facts, *device.facts}):
        before, now = earlier.device.facts.get(key), device.facts.get(key)
        if not fact_table.same(key, before, now):
            yield f"device.facts.{key}", before, now
    for place, (result, case) in enumerate(zip(earlier.results, cases, strict=False)):
        yield from _fields(f"results[{place}].case", result.case, case)
    yield from _unequal("the number of cases", len(earlier.results), len(cases))
    for place, (result, digest) in enumerate(zip(earlier.results, digests, strict=False)):
        if result.trials:
            yield from _unequal(f"results[{place}].artifact_sha256", result.artifact_sha256, digest)


def _in_groups(before: Sequence[Group], now: Sequence[Group]) -> Iterator[Difference]:
    """A run without groups is one of whole trials; a group that did not fit into memory stays as it is."""
    ways = ["turns" if any(group.turn_s for group in groups) else "trials" for groups in (before, now)]
    yield from _unequal("--by", *ways)
    if ways == ["turns", "turns"]:
        yield from _unequal("groups", [group.rows for group in before], [group.rows for group in now])


def _fields(name: str, before: Protocol | Case, after: Protocol | Case) -> Iterator[Difference]:
    for field in before.__struct_fields__:
        yield from _unequal(f"{name}.{field}", getattr(before, field), getattr(after, field))


def _unequal(name: str, before: Any, after: Any) -> Iterator[Difference]:
    if before != after:
        yield name, before, after
