"""A Jetson's power mode and clocks, held while a block lasts and put back afterwards, whatever ends it.

Runs on the board, in the process that holds its lock: when the link is cut its stdin ends, and the block with it.
``nvpmodel`` and ``jetson_clocks`` need root: they are asked through ``sudo -n``, which never waits for a password, and
what is not allowed is said instead of done. Standard library only: the agent carries it.
"""

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path

from vitdeploy.devices import nvidia_facts
from vitdeploy.devices.system_files import text_of

CONF = Path("/etc/nvpmodel.conf")
LIMIT_S = 60.0

_MODE = re.compile(r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+)\s*>")


@contextlib.contextmanager
def power_held(mode: str | None, *, clocks: bool) -> Generator[dict[str, str]]:
    """Set the power mode and the highest clocks; yields what was done, or why not, by name."""
    report: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        if mode is not None:
            report["power_mode"] = _hold_mode(mode, stack)
        if clocks:
            report["clocks"] = _hold_clocks(stack)
        yield report


def _hold_mode(mode: str, stack: contextlib.ExitStack) -> str:
    now, number = _mode_now()
    if now is None:
        return "not held: nvpmodel -q tells none"
    if now == mode:
        return f"{mode}, as it was"
    modes = {name: number for number, name in _MODE.findall(text_of(CONF))}
    if mode not in modes:
        return f"not held: {CONF} has no {mode}, only {', '.join(modes) or 'none'}"
    # Some modes ask for a restart, which is answered with no.
    failed, words = _run(*_ROOT, "nvpmodel", "-m", modes[mode], stdin="no\n")
    if failed or _mode_now()[0] != mode:
        return f"not held: {_last_line(words) or 'it was not taken'}"
    stack.callback(_run, *_ROOT, "nvpmodel", "-m", str(number), stdin="no\n")
    return f"{mode}, was {now}"


def _mode_now() -> tuple[str | None, int | None]:
    """Name and number of the mode; None where nvpmodel does not print both, whatever its exit code."""
    words = _run("nvpmodel", "-q")[1]
    name, number = nvidia_facts.power_mode(words), nvidia_facts.power_mode_id(words)
    return (None, None) if number is None else (name, number)


def _hold_clocks(stack: contextlib.ExitStack) -> str:
    descriptor, name = tempfile.mkstemp(prefix="vitdeploy-clocks-")
    os.close(descriptor)
    Path(name).unlink()  # jetson_clocks does not overwrite
    failed, words = _run(*_ROOT, "jetson_clocks", "--store", name)
    if failed:
        return f"not held: {_last_line(words)}"
    stack.callback(_put_back, name)
    failed, words = _run(*_ROOT, "jetson_clocks")
    return f"not held: {_last_line(words)}" if failed else "at their highest"


def _put_back(stored: str) -> None:
    _run(*_ROOT, "jetson_clocks", "--restore", stored)
    _run(*_ROOT, "rm", "-f", stored)


_ROOT = () if os.geteuid() == 0 else ("sudo", "-n")


def _run(*command: str, stdin: str = "") -> tuple[bool, str]:
    """Whether it failed, and what it said."""
    try:
        # A session of its own: a signal for us, Ctrl-C or a lost link's, must not stop what puts things back.
        result = subprocess.run(
            command,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_S,
            check=False,
            start_new_session=True,
            env=nvidia_facts.environment(),
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return True, f"{command[0]}: {error}"
    return result.returncode != 0, result.stdout


def _last_line(words: str) -> str:
    return next(reversed(words.strip().splitlines()), "no output")
