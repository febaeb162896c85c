"""What a worker is told to time an artifact of a test."""

from typing import Any

import msgspec

from vitdeploy.artifacts.manifest import Artifact


def job_of(made: Artifact, runtime: str = "vitdeploy.runtimes.on_ort", **changes: Any) -> dict[str, Any]:
    manifest: dict[str, Any] = msgspec.to_builtins(made.manifest)
    return {
        "trial": {"id": "run/0/0", "order": 0, "pair": None, "build": None},
        "file": str(made.file),
        "digests": {str(made.file): made.manifest.sha256},
        "manifest": {**manifest, "fake": changes.pop("fake", {})},
        "runtime": runtime,
        "probe": "vitdeploy.devices.probe_cpu",
        "device": "cpu",
        "threads": 1,
        "streams": 1,
        "graph": False,
        "boundary": "host-to-host",
        "min_time_s": 0.05,
        "min_count": 10,
        "warmup_limit_s": 0.2,
        "sustained_s": None,
        "seed": 0,
        **changes,
    }
