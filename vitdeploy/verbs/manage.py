"""Verbs that list what there is and manage it: the listings, `doctor`, `cache_ls` and `cache_gc`."""

from vitdeploy.api import cache, device_add, device_details, listings
from vitdeploy.api import doctor as examining
from vitdeploy.api import weights as checkpoints
from vitdeploy.api.cache import UNUSED_DAYS, CacheRows
from vitdeploy.api.device_add import AddedDevice
from vitdeploy.api.device_details import DeviceDetails
from vitdeploy.api.doctor import Findings
from vitdeploy.api.listings import Listing
from vitdeploy.api.requests import Names, StrPath, names_of, request_of
from vitdeploy.api.weights import CheckpointRows
from vitdeploy.errors import UsageError
from vitdeploy.processes.progress import Progress, silent
from vitdeploy.verbs.verb import Plan, checked, verb


def models() -> Listing:
    """Every model, and the packages that each lacks here."""
    return Listing("model", listings.models())


def targets() -> Listing:
    """Every file format, and whether it can be exported and run here."""
    return Listing("target", listings.targets())


@checked
def devices(*, probe: bool = False) -> Listing:
    """Every device, and whether it is configured.

    Args:
        probe: connect to each one that is configured, all at once, for 10 s at most; without it none is contacted.
    """
    return Listing("device", listings.devices(probe=probe))


@checked
def devices_show(name: str) -> DeviceDetails:
    """What is known of a device: its settings, where each comes from, and what it runs; it is not contacted.

    Args:
        name: a name from ``vitdeploy.devices``.

    Raises:
        UsageError: no such device.
    """
    return device_details.device_details(name)


@verb
def devices_add(
    name: str,
    *,
    ssh: str | None = None,
    adb: str | None = None,
    hub: str | None = None,
    from_: str | None = None,
    python: str | None = None,
    benchmark_model: StrPath | None = None,
    out: StrPath | None = None,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
) -> AddedDevice | Plan:
    """Connect to a device, read its facts and write its device file.

    Args:
        name: its name from now on.
        ssh: ``USER@HOST[:PORT]``, a board or server.
        adb: the serial number of a phone.
        hub: a hosted phone of Qualcomm AI Hub, ``snapdragon-8gen1``.
        from_: the device whose targets and settings it has.
        python: the interpreter there; None: ``python3``.
        benchmark_model: the measuring tool for a phone.
        out: folder of the file; None: ``devices``.
        force: replace an existing file.
        dry_run: return the plan and do nothing.
        progress: called with each line of progress, as ``print`` can be.

    Raises:
        VitdeployError: a name or value that cannot be, or the device is not reached; nothing is written then.
    """
    request = request_of(device_add.AddRequest, {**locals(), "from_device": from_})
    if dry_run:
        return Plan(device_add.add_plan(request))
    return device_add.add(request, progress=progress)


def suites() -> Listing:
    """Every suite, and how many cases it times."""
    return Listing("suite", listings.suites())


@checked
def weights(*models: Names) -> CheckpointRows:
    """The official checkpoints: source, licence, digest, and whether each is in the cache; nothing is downloaded.

    Args:
        *models: names from ``vitdeploy.models``; none: all.

    Raises:
        UsageError: an unknown name.
    """
    names = names_of("models", models)
    return CheckpointRows(names, checkpoints.weights(names))


@checked
def doctor(*, device: str | None = None) -> Findings:
    """Check what would fail an export or spoil a measurement.

    Args:
        device: a name from ``vitdeploy.devices``; None: the project file's, else this machine.

    Raises:
        UsageError: no such device.
    """
    return Findings(examining.doctor(device))


def cache_ls() -> CacheRows:
    """The stored artifacts, and the space they take."""
    return CacheRows("stored", cache.cache_ls())


@checked
def cache_gc(
    *, older_than: float = UNUSED_DAYS, yes: bool = False, dry_run: bool = False, progress: Progress = silent
) -> CacheRows:
    """Remove stored artifacts that were not used for a while, and our files on the configured phones.

    Args:
        older_than: remove what was not used for so many days; 0: everything.
        yes: remove; without it, what would be removed is refused, since nobody is asked here.
        dry_run: return what would be removed, and remove nothing.
        progress: called with each phone that is absent or in use.

    Returns:
        What was removed.

    Raises:
        UsageError: not a number of days, or something would be removed without ``yes``.
    """
    if dry_run or not yes:
        rows = cache.cache_gc(older_than_days=older_than, dry_run=True, progress=progress)
        if rows and not dry_run:
            raise UsageError(
                f"{len(rows)} artifacts not used for {older_than:g} days would be removed",
                "Add yes=True, or list them with dry_run=True.",
            )
        return CacheRows("would be removed" if dry_run else "removed", rows)
    return CacheRows("removed", cache.cache_gc(older_than_days=older_than, progress=progress))
