"""The GPU of a tool's list that CUDA computes on: nvidia-smi and NVML count by bus, CUDA by its environment.

Matched by UUID or bus where both are known, else by ``CUDA_VISIBLE_DEVICES`` and the name; where several could be
meant, none is. Standard library only: the agent carries it.

Source: CUDA C++ Programming Guide, "CUDA Environment Variables".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vitdeploy.devices.gpu import Gpu

VISIBLE, ORDER = "CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedGpu:
    """One GPU as a tool lists it; None: the tool does not tell."""

    index: int
    """By the bus, from 0."""
    name: str | None = None
    uuid: str | None = None
    bus_id: str | None = None
    slices: Mapping[str, str] | None = None
    """UUID of each MIG slice → its profile, ``1g.5gb``."""


def first_entry(environment: Mapping[str, str]) -> str | None:
    """What ``CUDA_VISIBLE_DEVICES`` names as CUDA's device 0; None: it is not set; empty: it hides every GPU."""
    value = environment.get(VISIBLE)
    if value is None:
        return None
    entry = value.split(",")[0].strip()
    # CUDA stops at the first entry that names nothing, so one that comes first hides them all.
    return entry if entry.isdecimal() or entry.upper().startswith(("GPU-", "MIG-")) else ""


def listed_slices(text: str) -> list[ListedGpu]:
    """The GPUs and MIG slices of ``nvidia-smi -L``."""
    gpus: list[ListedGpu] = []
    for line in text.splitlines():
        if gpu := re.match(r"GPU (\d+): (.+?) \(UUID: GPU-(\S+)\)", line):
            gpus.append(ListedGpu(index=int(gpu[1]), name=gpu[2], uuid=gpu[3], slices={}))
        elif gpus and (part := re.match(r"\s+MIG (\S+)\s+Device\s+\d+:\s+\(UUID: MIG-(\S+)\)", line)):
            parent = gpus[-1]
            slices = {**(parent.slices or {}), part[2]: part[1]}
            gpus[-1] = ListedGpu(index=parent.index, name=parent.name, uuid=parent.uuid, slices=slices)
    return gpus


def choose(gpus: Sequence[ListedGpu], computing: Gpu | None, environment: Mapping[str, str]) -> ListedGpu | None:
    """The listed GPU that CUDA's device 0 is, or is a slice of; None where that is not known.

    Args:
        computing: what the driver says of CUDA's device 0; None: it could not be asked.
    """
    if computing is not None:
        for gpu in gpus:
            if _same(computing.uuid, gpu.uuid) or any(_same(computing.uuid, part) for part in gpu.slices or ()):
                return gpu
        for gpu in gpus:
            if computing.bus_id and gpu.bus_id and _bus(computing.bus_id) == _bus(gpu.bus_id):
                return gpu
    entry = first_entry(environment)
    if entry == "":
        return None
    if entry is not None and not entry.isdecimal():
        named = [gpu for gpu in gpus if _names(entry, gpu)]
        return named[0] if len(named) == 1 else _only(_alike(gpus, computing))
    alike, names = _alike(gpus, computing), {gpu.name for gpu in gpus}
    # CUDA's own order is the fastest first; among equal ones that is the order of the bus.
    if environment.get(ORDER) == "PCI_BUS_ID" or (len(names) == 1 and None not in names):
        index = int(entry or 0)
        return next((gpu for gpu in alike if gpu.index == index), None)
    return _only(alike)


def slice_profile(gpus: Sequence[ListedGpu], computing: Gpu | None, environment: Mapping[str, str]) -> str | None:
    """The MIG slice that CUDA's device 0 is: ``1g.5gb``, its UUID where the profile is not told; None: it is none."""
    entry = first_entry(environment) or ""
    wanted = entry[4:] if entry.upper().startswith("MIG-") else None
    for uuid, profile in ((uuid, profile) for gpu in gpus for uuid, profile in (gpu.slices or {}).items()):
        if _same(computing.uuid if computing else None, uuid) or (wanted and uuid.lower().startswith(wanted.lower())):
            return profile
    named = re.search(r"\bMIG (\S+)$", computing.name) if computing is not None else None
    return named[1] if named else entry if wanted else None


def _alike(gpus: Sequence[ListedGpu], computing: Gpu | None) -> list[ListedGpu]:
    """Those that have the name of what computes: a slice's begins with its GPU's."""
    if computing is None:
        return list(gpus)
    name = re.sub(r" MIG \S+$", "", computing.name)
    return [gpu for gpu in gpus if gpu.name is None or gpu.name == name]


def _only(gpus: Sequence[ListedGpu]) -> ListedGpu | None:
    return gpus[0] if len(gpus) == 1 else None


def _names(entry: str, gpu: ListedGpu) -> bool:
    """Whether an entry is the beginning of a GPU's UUID, or of one of its slices'.

    Up to driver 470 a slice was called ``MIG-GPU-UUID/INSTANCE/INSTANCE``.
    """
    kind, _, uuid = entry.lower().partition("-")
    if kind == "mig" and uuid.startswith("gpu-"):
        kind, uuid = "gpu", uuid[4:].partition("/")[0]
    uuids = (gpu.uuid,) if kind == "gpu" else tuple(gpu.slices or ())
    return bool(uuid) and any(known is not None and known.lower().startswith(uuid) for known in uuids)


def _same(first: str | None, second: str | None) -> bool:
    return first is not None and second is not None and first.lower() == second.lower()


def _bus(text: str) -> tuple[int, ...] | str:
    """``00000000:3B:00.0`` and ``0000:3b:00.0`` are one place."""
    words = re.split(r"[:.]", text.strip())
    try:
        return tuple(int(word, 16) for word in words)
    except ValueError:
        return text
