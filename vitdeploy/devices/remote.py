"""Remote side of an SSH connection: run one command that ends with the link, or hold the device's lock while it lasts.

    python -m vitdeploy.devices.remote run MARK        header and input on stdin, a JSON answer on stdout
    python -m vitdeploy.devices.remote hold MARK SECONDS POWER_MODE|- clocks|-

An answer is one line that begins with MARK: what a login shell prints stands before it. Standard library only: the
agent carries it. The near side keeps stdin open until it has the answer, so its end means that the link was cut, and
what was started is killed.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

from vitdeploy.devices import jetson_power
from vitdeploy.errors import DeviceError
from vitdeploy.processes.bounded_streams import OutOfTime, TooMuch, communicate
from vitdeploy.processes.connection import kill_group
from vitdeploy.processes.local import LocalConnection


def run(mark: str) -> int:
    """Read ``{"argv", "stdin_bytes", "timeout_s"}`` in one line and the input after it; answer when it ended."""
    source = sys.stdin.buffer
    header: dict[str, Any] = json.loads(source.readline())
    data = source.read(header["stdin_bytes"])
    try:
        process = subprocess.Popen(
            header["argv"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        _answer(mark, {"exit_code": 127, "failed": error.strerror or str(error), "errno": error.errno})
        return 0
    threading.Thread(target=_kill_at_end, args=(source, process), daemon=True).start()
    stdout, stderr, ended_by = b"", b"", None
    try:
        stdout, stderr = communicate(process, data, timeout_s=header["timeout_s"])
    except OutOfTime:
        ended_by = "timed_out"
    except TooMuch:
        ended_by = "too_much"
    if ended_by is not None:
        kill_group(process.pid)
        process.wait()
    answer: dict[str, Any] = {
        "exit_code": process.returncode,
        "stdout": stdout.decode(errors="replace"),
        "stderr": stderr.decode(errors="replace"),
    }
    _answer(mark, {**answer, **({ended_by: True} if ended_by else {})})
    return 0


def hold(mark: str, wait_s: float, mode: str | None = None, *, clocks: bool = False) -> int:
    """Hold this machine's lock, and its power mode and clocks, until stdin ends; say so, or who has it."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupted)  # the default would end us without putting anything back
    try:
        with LocalConnection("local").lock(timeout_s=wait_s), jetson_power.power_held(mode, clocks=clocks) as power:
            _answer(mark, {"held": True, "power": power})
            with contextlib.suppress(KeyboardInterrupt):
                sys.stdin.buffer.read()
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)  # what is put back now is put back whole
    except DeviceError as error:
        _answer(mark, {"held": False, "refused": error.message})
        return error.exit_code
    return 0


def _answer(mark: str, answer: dict[str, Any]) -> None:
    print(f"\n{mark}{json.dumps(answer)}", flush=True)


def _interrupted(number: int, frame: object) -> None:
    del number, frame
    raise KeyboardInterrupt


def _kill_at_end(source: Any, process: "subprocess.Popen[bytes]") -> None:
    source.read()  # nothing more is sent: this returns when the link is cut, or with this process
    kill_group(process.pid)
    os._exit(1)


def main(arguments: Sequence[str]) -> int:
    """Do what is asked for; returns the exit code."""
    match arguments:
        case ["run", mark]:
            return run(mark)
        case ["hold", mark, wait_s, mode, clocks]:
            return hold(mark, float(wait_s), None if mode == "-" else mode, clocks=clocks == "clocks")
        case _:
            print(__doc__, file=sys.stderr)
            return 2


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    # The watching thread may sit in a read of stdin, which the interpreter's own end would wait for.
    os._exit(code)
