"""Operator times on a phone: ``benchmark_model`` with its own profiler, never a timed block."""

import tempfile
from pathlib import Path
from typing import Any

import msgspec

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks.trial.request import LIMIT_S
from vitdeploy.devices.phone import benchmark_model, prepared_phone
from vitdeploy.devices.phone.prepared_phone import PreparedPhone
from vitdeploy.errors import ToolchainFailed
from vitdeploy.images import inputs
from vitdeploy.processes import child_reply
from vitdeploy.runtimes import operator_table
from vitdeploy.runtimes.loaded_session import tensors_of

MIN_TIME_S = 1.0
"""A profile of so many seconds: it explains a difference, and is no figure."""


def by_tool(side: Artifact, phone: PreparedPhone, *, threads: int) -> dict[str, int]:
    """Operator type → nanoseconds of an inference on the phone; empty when this build of the tool has no profiler.

    Raises:
        DeviceError: the phone was lost.
        ToolchainFailed: the tool failed, or printed what cannot be read.
    """
    plain: dict[str, Any] = msgspec.to_builtins(side.manifest)
    specs = tensors_of(plain["inputs"])
    graph = phone.link.push(side.file, sha256=side.manifest.sha256)
    with tempfile.TemporaryDirectory(prefix="vitdeploy-phone-") as folder:
        files = prepared_phone.write_inputs(specs, inputs.make_input(specs, 0), Path(folder))
        with prepared_phone.inputs_on(phone, graph, specs, files, threads=threads) as request:
            argv = benchmark_model.timing_command(request, min_time_s=MIN_TIME_S, profile=True)
            result = prepared_phone.merged_streams(phone.link.run(argv, timeout_s=LIMIT_S))
    if result.exit_code:
        last = child_reply.last_line(result.stderr)
        raise ToolchainFailed(
            f"benchmark_model ended with exit code {result.exit_code} while it profiled: {last}",
            "Use a build with operator profiling.",
        )
    benchmark_model.parse_output(result.stderr)
    return operator_table.ns_by_type(result.stderr)
