"""Published tables (published/*.toml) for `vitdeploy reproduce`, and which of their rows a device can run."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

import msgspec

from vitdeploy import documents
from vitdeploy.benchmarks.suite import Entry, Wanted
from vitdeploy.catalog import packages, registry
from vitdeploy.catalog.spec import ModelSpec, Size, Target
from vitdeploy.devices import gpu
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import DeviceError, Impossible, UsageError, VitdeployError, unknown_name
from vitdeploy.results.record import Group
from vitdeploy.studies import published
from vitdeploy.studies.published import PublishedRow, PublishedTable

SHIPPED = Path(__file__).parent / "published"

SCOUT_MACS = 5e9
"""The row that tells how fast the device is has at most so much arithmetic, and as near to it as there is."""

ROW_LIMIT_S = 3600.0
QUICK_ROW_LIMIT_S = 240.0
"""A row whose trials would take longer together is refused. Source: a choice; a table ends in about ten minutes."""

INFERENCES = 13
"""Of a slow model's whole trial: the first one, two of warm-up, and ten samples."""

INFERENCES_BY_TURNS = 21
"""Of its trial by turns: the first one, two of warm-up, and six turns of three."""

COPIES = 4
"""Times the parameters are held while a model is exported and proven: module, graph, file and session."""


@cache
def names() -> tuple[str, ...]:
    """All tables."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.toml")))


def find(name: str) -> PublishedTable:
    """The table of that name.

    Raises:
        UsageError: there is none; the nearest names are offered.
    """
    if name not in names():
        raise unknown_name("table", name, names(), "vitdeploy reproduce")
    path = SHIPPED / f"{name}.toml"
    return published.decode(documents.read_bytes(path, what="table"), str(path))


def target_of(table: PublishedTable, device: Device, requested: str | None) -> str:
    """The target that is run: what is asked for, the published one where the device has it, else its first that runs.

    Where packages alone are missing it is the first that would run with them: `check_runs` names them before the work.

    Raises:
        Impossible: nothing of the device's can be run in this version.
    """
    if requested is not None:
        return registry.find_target(requested).name
    possible = [
        target
        for target in map(registry.find_target, (*table.targets, *device.targets))
        if target.name in device.targets and target.runtime is not None and _has_processor(target, device)
    ]
    for target in (*(target for target in possible if _has_packages(target, device)), *possible):
        return target.name
    raise Impossible(f"nothing that {device.name} takes can be run in this version", "See `vitdeploy targets`.")


def check_runs(rows: Sequence[Wanted], device: Device) -> None:
    """Refuse engines where nothing runs one, and targets whose packages are missing, before any of them is made.

    Raises:
        DeviceError: this machine has no GPU.
        MissingPackage: what makes or runs the targets on this machine is not installed.
    """
    engines = {name for row in rows for name in row.entry.targets if registry.find_target(name).file == "model.engine"}
    if engines and device.link == "local" and gpu.first_gpu() is None:
        raise DeviceError(
            f"no NVIDIA GPU found here; {', '.join(sorted(engines))} needs one",
            "Name the device with one, or leave --target out.",
        )
    targets = [registry.find_target(name) for row in rows if row.refused is None for name in row.entry.targets]
    if device.link == "local":
        packages.require(name for target in targets for name in (*target.export_packages, *target.run_packages))


def _has_processor(target: Target, device: Device) -> bool:
    """Whether what computes a target is here; of another machine its device file has said so."""
    return device.link != "local" or target.file != "model.engine" or gpu.first_gpu() is not None


def _has_packages(target: Target, device: Device) -> bool:
    return device.link != "local" or not packages.missing((*target.export_packages, *target.run_packages))


def wanted(table: PublishedTable, *, quick: bool, target: str, device: str, free_bytes: int | None) -> list[Wanted]:
    """The files to time, each once however many rows it stands in; what cannot be run is refused with its reason."""
    batch = next((column.batch for column in table.columns.values() if column.runs_on == device), None) or 1
    by_file: dict[tuple[str, Size, str | None], Wanted] = {}
    for row in table.rows:
        if quick and not row.in_quick:
            continue
        for spec in _files(row):
            size = registry.parse_size(table.size_of(row, quick=quick))
            entry = Entry(model=spec.name, targets=(target,), size=size, batch=batch, attention=row.attention)
            by_file.setdefault(
                (spec.name, size, row.attention),
                Wanted(
                    entry=entry,
                    refused=_refused(row, spec, size, free_bytes),
                    macs=None if spec.part == "decoder" else _macs(row, table, quick=quick),
                ),
            )
    return list(by_file.values())


def groups(table: PublishedTable, rows: Sequence[Wanted], *, quick: bool) -> list[tuple[int, ...]]:
    """Places of the rows whose ratios are told: those that claims hold against each other, directly or through others.

    Of a model in parts, all its files.
    """
    members: list[set[int]] = []
    for claim in table.claims:
        sides = [_places(table.row(name), table, rows, quick=quick) for name in (claim.slow, claim.fast)]
        if not all(sides):
            continue
        joined = set[int]().union(*sides)
        apart = [group for group in members if not group & joined]
        members = [*apart, joined.union(*(group for group in members if group & joined))]
    return sorted(tuple(sorted(group)) for group in members if len(group) > 1)


def _places(row: PublishedRow, table: PublishedTable, rows: Sequence[Wanted], *, quick: bool) -> set[int]:
    """Where the files of a table's row are among those to time."""
    size = registry.parse_size(table.size_of(row, quick=quick))
    files = {(spec.name, size, row.attention) for spec in _files(row)}
    return {
        place
        for place, wanted_row in enumerate(rows)
        if (wanted_row.entry.model, wanted_row.entry.size, wanted_row.entry.attention) in files
    }


def known(model: str) -> bool:
    """Whether the catalogue has it."""
    try:
        registry.find_model(model)
    except UsageError:
        return False
    return True


def _files(row: PublishedRow) -> list[ModelSpec]:
    """The rows of the catalogue that a table's row consists of; none for a model that is not there yet."""
    if row.model is None or not known(row.model):
        return []
    return [spec for spec in registry.exported_models(row.model) if not row.parts or spec.part in row.parts]


def _refused(row: PublishedRow, spec: ModelSpec, size: Size, free_bytes: int | None) -> VitdeployError | None:
    try:
        registry.check_size(spec, size)
    except Impossible as error:
        return error
    needed = row.export_bytes or COPIES * 4 * (row.params or 0)
    if free_bytes is not None and needed > free_bytes:
        return Impossible(
            f"does not fit in memory: {row.name} takes {needed / 2**30:.1f} GiB to export, "
            f"and {free_bytes / 2**30:.1f} GiB are free",
            "Use a machine with more memory.",
        )
    return None


def _macs(row: PublishedRow, table: PublishedTable, *, quick: bool) -> float | None:
    """Of a row at the size that is run, as if arithmetic grew with the pixels."""
    if row.macs is None:
        return None
    published_size, size = (registry.parse_size(table.size_of(row, quick=form)) for form in (False, quick))
    return row.macs * (size[0] * size[1]) / (published_size[0] * published_size[1])


def scout(rows: list[Wanted]) -> Wanted | None:
    """The row whose speed stands for the device's; None where no arithmetic is known."""
    counted = [row for row in rows if row.macs is not None and row.refused is None]
    small = [row for row in counted if (row.macs or 0) <= SCOUT_MACS]
    if small:
        return max(small, key=lambda row: row.macs or 0)
    return min(counted, key=lambda row: row.macs or 0, default=None)


def in_time(rows: list[Wanted], macs_per_s: float, *, quick: bool, trials: int) -> Mapping[int, Impossible]:
    """Place → why a row would take too long, at a speed that was measured on the scout.

    A model in parts is left out whole: the time of one part alone answers nothing that the table asks.
    """
    limit_s = QUICK_ROW_LIMIT_S if quick else ROW_LIMIT_S
    late: dict[tuple[str, Size | None], Impossible] = {}
    for row in rows:
        inference_s = (row.macs or 0) / macs_per_s
        total_s = trials * INFERENCES * inference_s
        if total_s > limit_s:
            late[_model_at_size(row)] = Impossible(
                f"would take too long: about {inference_s:.0f} s an inference at the {macs_per_s / 1e9:.0f} G "
                f"multiply-accumulates a second of the table's small rows, {total_s / 60:.0f} min in all",
                "Leave --quick out, or use a faster device." if quick else "Use a faster device.",
            )
    return {place: late[_model_at_size(row)] for place, row in enumerate(rows) if _model_at_size(row) in late}


def slow_by_turns(
    groups: Sequence[Group], rows: Sequence[Wanted], macs_per_s: float, *, quick: bool, trials: int
) -> list[Group]:
    """The groups, those by whole trials of which a row is in time only so."""
    limit_s = QUICK_ROW_LIMIT_S if quick else ROW_LIMIT_S
    judged: list[Group] = []
    for group in groups:
        able = [rows[place] for place in group.rows if rows[place].refused is None]
        total_s = max((trials * INFERENCES_BY_TURNS * (row.macs or 0) / macs_per_s for row in able), default=0.0)
        late = group.turn_s is not None and total_s > limit_s
        whole = f"turns of its slowest row would take {total_s / 60:.0f} min" if late else None
        judged.append(msgspec.structs.replace(group, whole=whole))
    return judged


def _model_at_size(row: Wanted) -> tuple[str, Size | None]:
    """The model that a row is a part of, at its size."""
    return row.entry.model.partition(".")[0], row.entry.size
