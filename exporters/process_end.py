"""What to say of a process that ended badly: killed for want of memory, or what it left in its log."""

import signal
from pathlib import Path

from vitdeploy.errors import ToolchainFailed


def failure(what: str, exit_code: int, log: Path) -> ToolchainFailed:
    """The error of a process that ended with ``exit_code``, a negative one being the signal that ended it."""
    if exit_code == -signal.SIGKILL:  # nobody here sends it to a process that is within its time: the system does
        return ToolchainFailed(
            f"{what} was killed: the machine ran out of memory, most likely",
            "Free memory, or export a smaller --size or --batch.",
        )
    return ToolchainFailed(f"{what} ended with exit code {exit_code}: {_last_line(log)}", f"Read {log}.")


def _last_line(log: Path) -> str:
    """The last line that an exception left, else the last one."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    telling = [line for line in lines if "Error" in line or "error" in line]
    return (telling or lines or ["it said nothing"])[-1][:300]
