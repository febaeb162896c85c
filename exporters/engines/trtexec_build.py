"""An engine built by trtexec on the device, for devices whose file names one."""

import time
from pathlib import Path

from vitdeploy.artifacts import engine_binding
from vitdeploy.devices import trtexec
from vitdeploy.errors import Impossible, ToolchainFailed
from vitdeploy.exporters.engines.build import BuiltEngine
from vitdeploy.processes import child_reply
from vitdeploy.processes.connection import CommandResult, Connection

BUILD_LIMIT_S = 3600.0
"""A builder that takes longer is killed. Source: a choice; the largest model's tactics take minutes on an Orin."""

UNPROVEN = "built and timed by trtexec, which returns no outputs; the graph passed parity"


def version(link: Connection, program: str) -> tuple[int, int, int]:
    """The version in the first line of its output.

    Raises:
        ToolchainFailed: it is not there, or prints no version.
    """
    result = link.run([program, "--help"], timeout_s=60)
    number = trtexec.version_of(result.stdout)
    if number is None:
        raise ToolchainFailed(
            f"{program} tells no version: {trtexec.readable(child_reply.last_line(result.stderr))}",
            "Correct `trtexec` in the device file.",
        )
    return number


def build(link: Connection, program: str, graph: str, engine: str, precision: str, *, log: Path) -> BuiltEngine:
    """Build there; the digest and the size of the engine are still empty, because nothing there computes them.

    Raises:
        Impossible: its version cannot build strongly typed networks.
        ToolchainFailed: it fails; its transcript is in the log.
    """
    number = version(link, program)
    words = ".".join(map(str, number))
    if number < (10, 3, 0):
        raise Impossible(f"trtexec {words} is older than 10.3", "Use JetPack 6.1 or later.")
    command = [program, f"--onnx={graph}", f"--saveEngine={engine}", "--skipInference"]
    command += ["--stronglyTyped"] if number < (11, 0, 0) else []
    command += ["--noTF32"] if precision == "fp32" else []
    started = time.perf_counter_ns()
    output = run_trtexec(link, command, BUILD_LIMIT_S, log, "build of the engine by trtexec")
    return BuiltEngine(
        package="tensorrt",
        version=words,
        bound_to=engine_binding.bound_to(
            package="tensorrt",
            version=words,
            compute_capability=[output.compute_capability or "unknown"],
            gpu=output.device,
        ),
        build_ns=time.perf_counter_ns() - started,
    )


def run_trtexec(link: Connection, words: list[str], limit_s: float, log: Path, title: str) -> trtexec.TrtexecOutput:
    """Run trtexec on the device; its output is kept in ``log`` where it failed.

    Raises:
        ToolchainFailed: it failed.
    """
    result = link.run(words, timeout_s=limit_s)
    output = trtexec.read_transcript(result.stdout, result.stderr)
    refused = trtexec.refusal(output, result.exit_code, log)
    if refused is not None:
        joined = CommandResult(exit_code=result.exit_code, stdout="", stderr=f"{result.stdout}\n{result.stderr}")
        child_reply.keep_log(log, title, joined)
        raise refused
    return output
