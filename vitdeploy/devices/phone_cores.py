"""A phone's cores: which there are, which are on, how fast each may run, and which of them are the big ones.

A core that is switched off shows no clocks of its own. What its cluster's policy says of it is taken; where nothing is
known of a core, no other one is called big for it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from vitdeploy.errors import DeviceError

MOST_CORES = 256
"""A number above is no core's: a list of cores is a stranger's text."""

PATTERNS = (
    "/sys/devices/system/cpu/present",
    "/sys/devices/system/cpu/online",
    "/sys/devices/system/cpu/cpufreq/policy[0-9]*/related_cpus",
    "/sys/devices/system/cpu/cpufreq/policy[0-9]*/cpuinfo_max_freq",
    "/sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq",
)
"""What is read of them. Source: Linux, Documentation/admin-guide/cputopology.rst and pm/cpufreq.rst."""

_FOLDER = "/sys/devices/system/cpu"
_HZ = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True, slots=True, kw_only=True)
class PhoneCores:
    """The cores of a phone that can be timed."""

    limits_hz: Mapping[int, int]
    """Core → its highest clock, of all that there are."""
    offline: tuple[int, ...]
    """Those that are switched off; none of them is a big one."""

    @property
    def big(self) -> list[int]:
        """The big ones."""
        return big_cores(self.limits_hz)


def phone_cores(files: Mapping[str, str]) -> PhoneCores:
    """The cores, from the files of `PATTERNS`.

    Raises:
        DeviceError: no clock is shown, or a core is off that is, or may be, a big one.
    """
    limits = {core: khz * 1000 for core, khz in per_core(files, "cpuinfo_max_freq").items()}
    for path, value in files.items():
        if path.endswith("/related_cpus"):
            khz = files.get(f"{path.removesuffix('/related_cpus')}/cpuinfo_max_freq", "")
            if _HZ.fullmatch(khz):
                limits |= {core: int(khz) * 1000 for core in core_list(value) if core not in limits}
    if not limits:
        raise DeviceError("the phone does not show the clocks of its cores", "Use another phone, or root it.")
    present = core_list(files.get(f"{_FOLDER}/present", "")) | limits.keys()
    online = core_list(files.get(f"{_FOLDER}/online", "")) or limits.keys()
    offline = sorted(present - online | present - limits.keys())
    unknown = present - limits.keys()
    big_and_off = set(offline) & set(big_cores(limits)) if len(set(limits.values())) > 1 else set[int]()
    if unknown or big_and_off:
        shown = "core {} is".format(*offline) if len(offline) == 1 else f"cores {core_words(offline)} are"
        why = "a big core is among them" if not unknown else "nothing shows how fast they are, they may be the big ones"
        raise DeviceError(
            f"{shown} offline: only the cores {core_words(sorted(present - set(offline)))} run; {why}",
            "Switch the screen on and power saving off, let it cool down, then go on.",
        )
    return PhoneCores(limits_hz=limits, offline=tuple(offline))


def big_cores(limits_hz: Mapping[int, int]) -> list[int]:
    """The cores that may run faster than the slowest ones; all, where they are equal."""
    slowest = min(limits_hz.values())
    return sorted(core for core, limit in limits_hz.items() if limit > slowest) or sorted(limits_hz)


def core_mask(cores: Sequence[int]) -> str:
    """Cores as ``taskset`` takes them: hexadecimal, core 0 in the lowest bit."""
    return f"{sum(1 << core for core in cores):x}"


def topology(limits_hz: Mapping[int, int]) -> str:
    """How many cores of each kind, slowest first: ``4+3+1``."""
    kinds = sorted(set(limits_hz.values()))
    return "+".join(str(sum(limit == kind for limit in limits_hz.values())) for kind in kinds)


def texts_per_core(files: Mapping[str, str], name: str) -> dict[int, str]:
    """Core → what its file of that name says."""
    matches = {re.search(rf"/cpu([0-9]{{1,3}})/cpufreq/{name}$", path): value for path, value in files.items()}
    return {int(match[1]): value for match, value in matches.items() if match and value and int(match[1]) < MOST_CORES}


def per_core(files: Mapping[str, str], name: str) -> dict[int, int]:
    """Core → the number in its file of that name."""
    return {core: int(value) for core, value in texts_per_core(files, name).items() if _HZ.fullmatch(value)}


def core_list(text: str) -> set[int]:
    """Cores as the kernel lists them: ``0-3,5``, or with blanks between."""
    cores = set[int]()
    for first, last in re.findall(r"(?<![0-9])([0-9]{1,3})(?:-([0-9]{1,3}))?(?![0-9])", text):
        cores |= {core for core in range(int(first), int(last or first) + 1) if core < MOST_CORES}
    return cores


def core_words(cores: Sequence[int]) -> str:
    """Cores as people list them: ``0-3,5``."""
    runs: list[list[int]] = []
    for core in cores:
        if runs and runs[-1][-1] == core - 1:
            runs[-1].append(core)
        else:
            runs.append([core])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs) or "none"
