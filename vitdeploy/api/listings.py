"""`models`, `targets`, `devices` and `suites`: what there is, and what of it this machine can use."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from vitdeploy.benchmarks import suite
from vitdeploy.catalog import checkpoints, packages, registry
from vitdeploy.catalog.shown import Rows
from vitdeploy.devices import inventory, reach
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import VitdeployError


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingRow:
    """One row of `models`, `targets`, `devices` or `suites`."""

    name: str
    facts: Mapping[str, str]
    usable: bool | None
    """None: not known without an attempt, which listing is not."""
    why_not: str | None = None
    state: str | None = None
    """In place of yes and no: of a device ``configured``, ``reached``, …"""


class Listing(Rows[ListingRow]):
    """The rows of a listing."""

    shown_by: ClassVar = "vitdeploy.cli.listings:listing_output"
    kind: str
    """What is listed, in the singular."""

    def __new__(cls, kind: str, rows: Iterable[ListingRow]) -> "Listing":
        """Make it of any rows."""
        listing = super().__new__(cls, tuple(rows))
        listing.kind = kind
        return listing

    @property
    def names(self) -> tuple[str, ...]:
        """What can be named."""
        return tuple(row.name for row in self)

    @property
    def usable(self) -> tuple[str, ...]:
        """What can be named and used here."""
        return tuple(row.name for row in self if row.usable)


def models() -> list[ListingRow]:
    """Every model, and whether the packages that build it are here."""
    missing = packages.missing(sorted({name for spec in registry.models().values() for name in spec.requires}))
    return [
        ListingRow(
            name=spec.name,
            facts={
                "task": spec.task,
                "data set": spec.dataset,
                "size": f"{spec.size[0]}x{spec.size[1]}",
                "attention": " ".join(spec.attentions),
                "weights": _official_words(spec.name),
                "note": spec.note or "",
            },
            usable=not (lacking := [name for name in spec.requires if name in missing]),
            why_not=packages.advice(lacking) if lacking else None,
        )
        for spec in registry.models().values()
    ]


def _official_words(model: str) -> str:
    """The official checkpoints of a model in a few words: ``official, Apache-2.0``, with how many there are."""
    rows = checkpoints.checkpoints_of(model)
    if not rows:
        return "none known"
    count = f"{len(rows)} official" if len(rows) > 1 else "official"
    return f"{count}, {' or '.join(dict.fromkeys(row.licence for row in rows))}"


def targets() -> list[ListingRow]:
    """Every target, and whether it can be made and run here."""
    every = {name for t in registry.targets().values() for name in (*t.export_packages, *t.run_packages)}
    missing = packages.missing(sorted(every))
    rows: list[ListingRow] = []
    for target in registry.targets().values():
        lacking = [name for name in (*target.export_packages, *target.run_packages) if name in missing]
        why_not = target.unavailable or (packages.advice(lacking) if lacking else None)
        facts = {"file": target.file, "precision": target.precision, "extra": target.extra, "note": target.note or ""}
        rows.append(ListingRow(name=target.name, facts=facts, usable=why_not is None, why_not=why_not))
    return rows


def devices(*, probe: bool = False) -> list[ListingRow]:
    """Every device, and whether it is configured; with ``probe`` those that are, are connected to."""
    loaded = inventory.load()
    why_not = {device.name: inventory.unreachable(device) for device in loaded.devices.values()}
    remote = [device for name, device in loaded.devices.items() if device.link != "local" and not why_not[name]]
    answers = reach.reach(remote) if probe else {}
    rows: list[ListingRow] = []
    for device in loaded.devices.values():
        usable, state, why = _state_of(device, why_not[device.name], answers.get(device.name))
        facts = {
            "title": device.title,
            "link": device.link,
            "targets": " ".join(device.targets),
            "file": _shown_path(loaded.files[device.name]),
        }
        rows.append(ListingRow(name=device.name, facts=facts, usable=usable, why_not=why, state=state))
    return rows


def _state_of(device: Device, why_not: str | None, answer: reach.Answer | None) -> tuple[bool | None, str, str | None]:
    """Whether a device can be used, its state in a word or two, and the reason."""
    if device.link == "local":
        return True, "this machine", None
    if why_not is not None:
        return False, "not configured", why_not.removeprefix("it is not configured: ")
    if answer is None:
        return None, "configured", "it was not contacted (`vitdeploy devices --probe` does)"
    if isinstance(answer, VitdeployError):
        return False, "not reached", answer.message
    return True, "reached", None


def _shown_path(path: Path) -> str:
    return "shipped" if path.parent == inventory.SHIPPED else str(path)


def suites() -> list[ListingRow]:
    """Every suite, and whether it can be run here: in this version, with the packages that are installed."""
    needed = {entry.name: _packages_of(entry) for entry in suite.suites().values()}
    missing = packages.missing(sorted({name for names in needed.values() for name in names}))
    rows: list[ListingRow] = []
    for entry in suite.suites().values():
        lacking = [name for name in needed[entry.name] if name in missing]
        why_not = entry.unavailable or (packages.advice(lacking) if lacking else None)
        facts = {"title": entry.title, "cases": str(len(entry.entries))}
        rows.append(ListingRow(name=entry.name, facts=facts, usable=why_not is None, why_not=why_not))
    return rows


def _packages_of(entry: suite.Suite) -> list[str]:
    """What exporting and timing a suite's cases on this machine takes."""
    targets = [registry.find_target(name) for row in entry.entries for name in row.targets]
    models = [spec for row in entry.entries for spec in registry.exported_models(row.model)]
    names = [name for target in targets for name in (*target.export_packages, *target.run_packages)]
    return sorted({*names, *(name for spec in models for name in spec.requires)})
