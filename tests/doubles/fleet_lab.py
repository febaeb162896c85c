"""A lab on loopback for tests of sweeps: two devices that are this machine, and real Dask processes around them."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.doubles import artifacts

ROOT = Path(__file__).parents[2]
DEVICE = """name = "{name}"
title = "Board {name}, which is this machine"
link = "local"
targets = ["onnx-fp32"]
threads = 1
"""
START_LIMIT_S = 120.0


class Lab:
    """A folder with device files, an artifact and plans; whatever it started ends with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "devices").mkdir(parents=True)
        for name in ("one", "two"):
            (folder / "devices" / f"{name}.toml").write_text(DEVICE.format(name=name))
        artifacts.conv_relu(folder / "conv")
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "TMPDIR": str(folder),
            "VITDEPLOY_LOCK_DIR": str(folder),  # another test's lab is another machine
        }
        self.address = ""
        self._started: list[subprocess.Popen[str]] = []

    def plan(self, *, devices: tuple[str, ...] = ("one", "two"), trials: int = 4, **more: Any) -> Path:
        """A plan of the one artifact on these devices."""
        values = {"title": "A test", "trials": trials, "min_time_s": 0.02, "wait_s": 20, **more}
        lines = [f"{key} = {json.dumps(value)}" for key, value in values.items()]
        lines += ["[[rows]]", 'models = ["conv"]', f"devices = {json.dumps(devices)}"]
        path = self.folder / "lab.toml"
        path.write_text("\n".join(lines) + "\n")
        return path

    def scheduler(self, port: int = 0) -> subprocess.Popen[str]:
        """A real ``dask scheduler``; its address is then known."""
        file = self.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        words = ["scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]
        started = self._dask(*words, "--scheduler-file", str(file))
        wait_until(lambda: file.exists() and file.read_text().strip().endswith("}"))
        self.address = json.loads(file.read_text())["address"]
        return started

    def worker(self, resources: str, *more: str) -> subprocess.Popen[str]:
        """A real ``dask worker`` without a nanny: killed, it stays dead."""
        words = ["worker", self.address, "--nthreads", "1", "--no-dashboard", "--no-nanny", "--host", "127.0.0.1"]
        words += ["--resources", resources, "--local-directory", str(self.folder / "dask")]
        return self._dask(*words, "--death-timeout", "60", *more)

    def sweep(self, plan: Path, *words: str, there: bool = True) -> subprocess.Popen[str]:
        """The client: ``vitdeploy sweep PLAN --out run.json``."""
        where = ["--scheduler", self.address] if there else []
        return self._start([sys.executable, "-m", "vitdeploy", "sweep", str(plan), "--out", "run.json", *where, *words])

    def trials(self) -> list[str]:
        """Ids of the trials that are in the run file, with doubles."""
        path = self.folder / "run.json"
        if not path.exists():
            return []
        return [trial["id"] for result in json.loads(path.read_text())["results"] for trial in result["trials"]]

    def end(self) -> None:
        """Kill all that was started, and all that those started."""
        for process in self._started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if process.stdout is not None:
                process.stdout.close()

    def _dask(self, *words: str) -> subprocess.Popen[str]:
        return self._start([sys.executable, "-m", "dask", *words])

    def _start(self, argv: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            argv,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._started.append(process)
        return process


def wait_until(there: Callable[[], object], limit_s: float = START_LIMIT_S) -> None:
    """Wait for something; it not coming is the test's failure."""
    deadline = time.monotonic() + limit_s
    while not there():
        assert time.monotonic() < deadline, f"not there within {limit_s:g} s"
        time.sleep(0.05)


def told(process: subprocess.Popen[str], limit_s: float = 240.0) -> str:
    """All that a process said, once it has ended."""
    return process.communicate(timeout=limit_s)[0]
