"""Imports of packages in fresh processes: several in one process, which loads once what they share.

What does not import beside others is imported alone before it counts as failed. A process that crashes takes nothing
with it: the packages behind the crash are imported in another one.
"""

import math
import os
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

LIMIT_S = 120.0
"""An import that takes longer is as good as none. TensorFlow's takes about 8 s on two cores."""

_APART = ("tensorflow", "onnx2tf")
"""A process of their own beside the others': they take as long as all of these. Source: measured on two cores."""

_SLOW = ("distributed", "sklearn", "torch", "onnxscript", "torchmetrics", "transformers", "litert_torch", *_APART)
"""What is imported last, so that a short limit of time lets most others through."""

_PROGRAM = """
import importlib, os, sys
report = int(sys.argv[1])
os.set_inheritable(report, False)
for name in sys.argv[2:]:
    importlib.import_module(name)
    os.write(report, f"{name}\\n".encode())
os._exit(0)
"""


def import_reasons(names: Sequence[str], *, within_s: float | None = None) -> dict[str, str | None]:
    """Why each of ``names`` (import names) does not import; None: it does.

    Args:
        names: of packages that are installed.
        within_s: what was not imported by then is left out; None: all are in the answer.
    """
    end = math.inf if within_s is None else time.monotonic() + within_s
    ordered = sorted(names, key=lambda name: _SLOW.index(name) if name in _SLOW else -1)
    groups = [[name for name in ordered if (name in _APART) is apart] for apart in (False, True)]
    stopped = threading.Event()
    with ThreadPoolExecutor(max_workers=len(groups)) as pool:
        try:
            parts = list(pool.map(partial(_import_group, end=end, stopped=stopped), filter(None, groups)))
        except BaseException:
            stopped.set()
            raise
    return {name: reason for part in parts for name, reason in part.items()}


def _import_group(names: Sequence[str], *, end: float, stopped: threading.Event) -> dict[str, str | None]:
    reasons: dict[str, str | None] = {}
    remaining = list(names)
    while remaining and not stopped.is_set() and time.monotonic() < end:
        imported = _imported_together(remaining, end)
        reasons |= dict.fromkeys(imported)
        del remaining[: len(imported)]
        if remaining and not stopped.is_set() and time.monotonic() < end:
            name = remaining.pop(0)
            limit_s = min(LIMIT_S, end - time.monotonic())
            reason = import_alone(name, limit_s)
            if reason is None or limit_s == LIMIT_S or time.monotonic() < end:
                reasons[name] = reason
    return reasons


def _imported_together(names: Sequence[str], end: float) -> list[str]:
    """Those of ``names``, from the first on, that one process imported before it ended or time was up."""
    source, target = os.pipe()
    with os.fdopen(source, "rb", buffering=0) as reports, selectors.DefaultSelector() as selector:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, str(target), *names],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=(target,),
        )
        os.close(target)
        selector.register(reports, selectors.EVENT_READ)
        text = b""
        try:
            while text.count(b"\n") < len(names):
                if not selector.select(timeout=max(0.0, min(LIMIT_S, end - time.monotonic()))):
                    break
                if not (block := reports.read(4096)):
                    break
                text += block
        finally:
            process.kill()
            process.wait()
    return list(names[: text.count(b"\n")])


def import_alone(name: str, limit_s: float = LIMIT_S) -> str | None:
    """Import one package in a process of its own; why it failed, or None."""
    try:
        process = subprocess.run(
            [sys.executable, "-c", f"import {name}"],
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return f"its import takes more than {limit_s:g} s"
    if process.returncode == 0:
        return None
    last = (process.stderr.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
    return f"does not import: {last[:160]}"
