"""An engine built by trtexec on the device, for devices whose file names one."""

import time
from pathlib import Path
from typing import Any

from vitdeploy.artifacts import engine_binding
from vitdeploy.devices import trtexec
from vitdeploy.errors import Impossible, ToolchainFailed
from vitdeploy.processes import child_reply
from vitdeploy.processes.connection import CommandResult, Connection

BUILD_LIMIT_S = 3600.0
"""A builder that takes longer is killed. Source: a choice; the largest model's tactics take minutes on an Orin."""


UNPROVEN = "built and timed by trtexec, which returns no outputs; the graph passed parity"


def version(link: Connection, program: str) -> tuple[int, int, int]:
    """What its first line says, whatever it is asked.

    Raises:
        ToolchainFailed: it is not there, or says no version.
    """
    done = link.run([program, "--help"], timeout_s=60)
    found = trtexec.version_of(done.stdout)
    if found is None:
        raise ToolchainFailed(
            f"{program} tells no version: {child_reply.last_line(done.stderr)}", "Correct `trtexec` in the device file."
        )
    return found


def build(link: Connection, program: str, graph: str, engine: str, precision: str, *, log: Path) -> dict[str, Any]:
    """Build there; what `vitdeploy.exporters.engines.build` would answer, but for what lies in the file.

    Raises:
        Impossible: its version cannot build strongly typed networks.
        ToolchainFailed: it fails; its transcript is in the log.
    """
    number = version(link, program)
    if number < (10, 3, 0):
        raise Impossible(f"trtexec {'.'.join(map(str, number))} is older than 10.3", "Use JetPack 6.1 or later.")
    words = [program, f"--onnx={graph}", f"--saveEngine={engine}", "--skipInference"]
    words += ["--stronglyTyped"] if number < (11, 0, 0) else []
    words += ["--noTF32"] if precision == "fp32" else []
    began = time.perf_counter_ns()
    said = run_trtexec(link, words, BUILD_LIMIT_S, log, "build of the engine by trtexec")
    return {
        "package": "tensorrt",
        "version": ".".join(map(str, number)),
        "bound_to": engine_binding.bound_to(
            package="tensorrt",
            version=".".join(map(str, number)),
            compute_capability=[said.compute_capability or "unknown"],
            gpu=said.device,
        ),
        "build_ns": time.perf_counter_ns() - began,
        "timing_cache_sha256": None,
    }


def run_trtexec(link: Connection, words: list[str], limit_s: float, log: Path, title: str) -> trtexec.TrtexecOutput:
    """Run trtexec on the device; what it said is kept in ``log`` where it failed.

    Raises:
        ToolchainFailed: it failed.
    """
    done = link.run(words, timeout_s=limit_s)
    said = trtexec.read_transcript(done.stdout)
    refused = trtexec.refusal(said)
    if refused is not None or done.exit_code:
        joined = CommandResult(exit_code=done.exit_code, stdout="", stderr=f"{done.stdout}\n{done.stderr}")
        child_reply.keep_log(log, title, joined)
        raise refused or ToolchainFailed(f"trtexec ended with exit code {done.exit_code}", f"Read {log}.")
    return said
