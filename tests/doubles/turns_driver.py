"""The driver of turns as a process: what it replies to a job."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from vitdeploy.benchmarks.trial import turns

ROOT = Path(__file__).parents[2]


def drive(sides: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    job = {
        "sides": sides,
        "probe": "vitdeploy.devices.probe_cpu",
        "turn_ns": 5_000_000,
        "min_time_ns": 40_000_000,
        "min_count": 10,
        "seed": 1,
        **changes,
    }
    done = subprocess.run(
        [sys.executable, "-m", turns.__name__],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=ROOT,
    )
    return json.loads(done.stdout)["reply"]
