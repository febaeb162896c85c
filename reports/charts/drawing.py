"""Charts drawn by a process of their own: where it dies, a picture is left out and the page is whole.

The process is started for the first chart and serves all that follow; one that dies is started again for the next.
"""

import atexit
import contextlib
import json
import select
import signal
import subprocess
import sys
from typing import Any

LIMIT_S = 120.0
"""A chart that takes longer is left out; the largest here takes seconds."""

_MODULE = "vitdeploy.reports.charts.on_vl_convert"

_state: dict[str, Any] = {"process": None, "fault": None}


def svg(chart: dict[str, Any], config: dict[str, Any]) -> str | None:
    """The chart as an SVG document; None: it could not be drawn, and `fault` says why."""
    return _ask({"chart": chart, "config": config})


def script(text: str) -> str | None:
    """Vega and Vega-Lite with ``text`` as one script; None: it could not be made, and `fault` says why."""
    return _ask({"script": text})


def fault() -> str | None:
    """Why a chart of this process could not be drawn; None: all were."""
    return _state["fault"]


def _ask(request: dict[str, Any]) -> str | None:
    try:
        process = _process()
        process.stdin.write(json.dumps(request).encode() + b"\n")
        process.stdin.flush()
        reply = _line(process)
    except OSError as error:
        reply = {"error": _ended(error)}
    if "error" in reply:
        _state["fault"] = reply["error"]
    return reply.get("text")


def _process() -> Any:
    """The process that draws, started where none runs."""
    process = _state["process"]
    if process is None or process.poll() is not None:
        process = subprocess.Popen(
            [sys.executable, "-m", _MODULE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
        )
        _state["process"] = process
        atexit.register(_end, process)
    return process


def _line(process: Any) -> dict[str, str]:
    """The next reply."""
    received = bytearray()
    while not received.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], LIMIT_S)
        part = process.stdout.read(2**20) if ready else b""
        if not part:
            _end(process)
            return {"error": _ended(None) if ready else f"it took more than {LIMIT_S:g} s"}
        received += part
    return json.loads(received)


def _ended(error: OSError | None) -> str:
    process = _state["process"]
    code = process.wait() if process is not None else 0
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"the process that draws was ended by {signal.Signals(-code).name}"
    return f"the process that draws ended with exit code {code}" if error is None or code else f"{error.strerror}"


def _end(process: Any) -> None:
    """End the process; its exit code is what it was, or that of a killed one."""
    with contextlib.suppress(OSError):
        process.stdin.close()
    try:
        process.wait(timeout=1.0)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    process.stdout.close()
