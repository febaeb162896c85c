"""Checks of the machine's state: clocks and power mode that are read, held and put back, and heat during the trials."""

import time
from collections.abc import Mapping, Sequence

from vitdeploy.api.selftest_checks.subject import Answer, Subject, failed, not_possible, passed
from vitdeploy.benchmarks import bench
from vitdeploy.catalog.fact_table import NOT_VISIBLE
from vitdeploy.devices import device_facts, inventory
from vitdeploy.processes.connection import Connection
from vitdeploy.results.record import Reading, Trial

SETTINGS = (
    "/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor",
    "/sys/devices/system/cpu/cpu*/cpufreq/scaling_min_freq",
    "/sys/devices/system/cpu/cpu*/cpufreq/scaling_max_freq",
    "/sys/class/devfreq/*/governor",
    "/sys/class/devfreq/*/min_freq",
    "/sys/class/devfreq/*/max_freq",
)
"""Files that say how a machine may set its clocks. Source: kernel.org/doc, cpufreq and devfreq."""

PUT_BACK_S = 30.0
"""``jetson_clocks`` and ``nvpmodel`` may take so long to put things back. Source: a choice; each takes some seconds."""

POLL_S = 1.0
READ_S = 60.0
POWER_MODE = "power_mode"
MOST_SHOWN = 3


def settings(subject: Subject, link: Connection) -> dict[str, str]:
    """File, or ``power_mode`` → what it says; files that are not there are left out."""
    script = f'for file in {" ".join(SETTINGS)}; do [ -r "$file" ] && echo "$file $(cat "$file")"; done; true'
    lines = link.run(["sh", "-c", script], timeout_s=READ_S).stdout.splitlines()
    values = {name: value for name, _, value in (line.partition(" ") for line in lines) if value}
    mode = device_facts.read_facts(subject.device, link).power_mode
    return values if mode in (None, NOT_VISIBLE) else {**values, POWER_MODE: mode}


def clocks(subject: Subject) -> Answer:
    """What the lock holds is put back when it ends."""
    with inventory.connect(subject.device) as link:
        before = settings(subject, link)
        with link.lock(timeout_s=bench.LOCK_WAIT_S):
            held: Mapping[str, str] = dict(getattr(link, "power", {}))
            during = settings(subject, link)
        after = _settled(subject, link, before)
    left = _differing(before, after)
    if left:
        return failed(f"not put back: {_shown(before, after, left)}", "Put it back by hand, or restart the device.")
    refused = [f"{name}: {words}" for name, words in held.items() if words.startswith("not held")]
    if refused:
        return failed("; ".join(refused), "Allow it as docs/jetson.md says, or take it out of the device file.")
    readings = [reading for trial in subject.all_trials for reading in trial.telemetry]
    figures = _telemetry(readings)
    if not before and not held:
        seen = f"; visible while timing: {', '.join(figures)}" if figures else ""
        return not_possible(f"no setting of clocks or power is visible on this machine, and none is held{seen}")
    kept = "; ".join(f"{name}: {words}" for name, words in held.items()) or "the device file asks to hold nothing"
    changed = _differing(before, during)
    words = f"{kept}; {len(before)} settings are as before" + (
        f", {len(changed)} were held meanwhile" if changed else ""
    )
    return passed(f"{words}; visible while timing: {', '.join(figures) or 'nothing'}", **figures)


def _settled(subject: Subject, link: Connection, before: Mapping[str, str]) -> dict[str, str]:
    """The settings after the lock, once they are as before or the time to put them back is over."""
    deadline = time.monotonic() + PUT_BACK_S
    while True:
        after = settings(subject, link)
        if not _differing(before, after) or time.monotonic() >= deadline:
            return after
        time.sleep(POLL_S)


def _differing(before: Mapping[str, str], after: Mapping[str, str]) -> list[str]:
    return [name for name in {**before, **after} if before.get(name) != after.get(name)]


def _shown(before: Mapping[str, str], after: Mapping[str, str], names: Sequence[str]) -> str:
    words = [f"{name} was {before.get(name)}, is {after.get(name)}" for name in names[:MOST_SHOWN]]
    return "; ".join((*words, *([f"{len(names) - MOST_SHOWN} more"] if len(names) > MOST_SHOWN else [])))


def _telemetry(readings: Sequence[Reading]) -> dict[str, float]:
    """The largest clock and power that trials saw, of those that are visible."""
    clocks_hz = [reading.clock_hz for reading in readings if reading.clock_hz is not None]
    powers_mw = [reading.power_mw for reading in readings if reading.power_mw is not None]
    figures = {"clock_mhz": max(clocks_hz) / 1e6} if clocks_hz else {}
    return figures | ({"power_mw": float(max(powers_mw))} if powers_mw else {})


def heat(subject: Subject) -> Answer:
    """The machine shows its heat, and was not slowed down by it."""
    trials: list[Trial] = subject.all_trials
    if not trials:
        return not_possible("no trial was timed")
    slowed = [trial for trial in trials if trial.throttled]
    temperatures = [reading.temp_c for trial in trials for reading in trial.telemetry if reading.temp_c is not None]
    counted = [trial for trial in trials if trial.facts.get("throttle", NOT_VISIBLE) != NOT_VISIBLE]
    figures = {"coolest_c": min(temperatures), "hottest_c": max(temperatures)} if temperatures else {}
    span = f"{min(temperatures):.1f} to {max(temperatures):.1f} °C" if temperatures else "no temperature is visible"
    if slowed:
        return failed(f"{len(slowed)} of {len(trials)} trials were slowed down; {span}", "Cool it.", **figures)
    if not temperatures and not counted:
        return not_possible("neither temperature nor throttling is visible on this machine")
    return passed(f"{span}; throttling is {'counted: none' if counted else 'not visible'}", **figures)
