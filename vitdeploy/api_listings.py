"""What there is: models, targets, devices, suites, what this machine lacks, and what the store holds."""

import time
from typing import TYPE_CHECKING

from vitdeploy import api, catalog, checkup
from vitdeploy.checkup import Finding
from vitdeploy.errors import VitdeployError
from vitdeploy.orders import CacheRow, Listed

if TYPE_CHECKING:
    from vitdeploy.store import Entry


def models() -> list[Listed]:
    """Every model, and whether the packages that build it are here."""
    from vitdeploy import packages

    missing = packages.missing(sorted({name for spec in catalog.models().values() for name in spec.requires}))
    return [
        Listed(
            name=spec.name,
            facts={
                "task": spec.task,
                "data set": spec.dataset,
                "size": f"{spec.size[0]}x{spec.size[1]}",
                "attention": " ".join(spec.attentions),
                "note": spec.note or "",
            },
            usable=not (lacking := [name for name in spec.requires if name in missing]),
            why_not=packages.advice(lacking) if lacking else None,
        )
        for spec in catalog.models().values()
    ]


def targets() -> list[Listed]:
    """Every target, and whether it can be made and run here."""
    from vitdeploy import packages

    every = {name for t in catalog.targets().values() for name in (*t.export_packages, *t.run_packages)}
    missing = packages.missing(sorted(every))
    rows: list[Listed] = []
    for target in catalog.targets().values():
        lacking = [name for name in (*target.export_packages, *target.run_packages) if name in missing]
        why_not = target.unavailable or (packages.advice(lacking) if lacking else None)
        facts = {"file": target.file, "precision": target.precision, "extra": target.extra, "note": target.note or ""}
        rows.append(Listed(name=target.name, facts=facts, usable=why_not is None, why_not=why_not))
    return rows


def devices() -> list[Listed]:
    """Every device, and whether it can be reached as far as its file tells."""
    from vitdeploy.devices import inventory

    return [
        Listed(
            name=device.name,
            facts={"title": device.title, "link": device.link, "targets": " ".join(device.targets)},
            usable=(why_not := inventory.unreachable(device)) is None,
            why_not=why_not,
        )
        for device in inventory.devices().values()
    ]


def suites() -> list[Listed]:
    """Every suite, and whether it can be run in this version."""
    from vitdeploy.benchmarks import suite

    return [
        Listed(
            name=found.name,
            facts={"title": found.title, "cases": str(len(found.entries))},
            usable=found.unavailable is None,
            why_not=found.unavailable,
        )
        for found in suite.suites().values()
    ]


def doctor(device: str = "local") -> list[Finding]:
    """What would spoil a number or stop an export."""
    from vitdeploy import packages, store
    from vitdeploy.benchmarks import machine
    from vitdeploy.devices import inventory

    found = inventory.find(device)
    if found.link != "local":
        try:
            facts = machine.of(found)
        except VitdeployError as error:
            return [checkup.absent(device, error)]
        if found.link == "adb":
            return checkup.phone(facts)
        address = f"{found.user}@{found.host}" if found.user else found.host
        return checkup.over_ssh(facts, address=address, targets=found.targets, trtexec=found.trtexec)
    needed = sorted(catalog.EXTRAS)
    return [
        *checkup.machine(machine.of(found)),
        checkup.space(store.default_root()),
        *checkup.packages(packages.missing(needed), needed),
        *checkup.tools(),
    ]


def cache_ls() -> list[CacheRow]:
    """What the store holds."""
    from vitdeploy.store import Store

    return [_cache_row(entry) for entry in Store().entries()]


def cache_gc(
    *, older_than_days: float = 0.0, dry_run: bool = False, progress: api.Progress = api.silent
) -> list[CacheRow]:
    """Remove stored artifacts that were not used for so long, and all that is ours on the phones that are configured.

    Returns what was (or would be) removed. A phone that is not there, or is in use, is told to ``progress``.
    """
    from vitdeploy.store import Store

    gone = [_cache_row(entry) for entry in Store().collect(older_than_days=older_than_days, dry_run=dry_run)]
    return gone + _swept_phones(dry_run, progress)


def _swept_phones(dry_run: bool, progress: api.Progress) -> list[CacheRow]:
    from vitdeploy.devices import inventory

    rows: list[CacheRow] = []
    for device in inventory.devices().values():
        if device.link != "adb" or inventory.unreachable(device) is not None:
            continue
        try:
            size_bytes = inventory.sweep(device, dry_run=dry_run)
        except VitdeployError as error:
            progress(f"{device.name} keeps what is ours on it: {error.message}")
            continue
        if size_bytes:
            rows.append(CacheRow(name=f"everything on {device.name}", size_bytes=size_bytes, used="-"))
    return rows


def _cache_row(entry: "Entry") -> CacheRow:
    manifest = entry.manifest
    used = time.strftime("%Y-%m-%d", time.localtime(entry.used_s))
    size = f"{manifest.size[0]}x{manifest.size[1]}"
    return CacheRow(
        name=f"{manifest.model} {manifest.target} {size}", size_bytes=entry.size_bytes, used=used, key=entry.key
    )
