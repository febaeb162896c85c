"""One trial on a phone: one process of ``benchmark_model`` on its big cores, cool before, and right afterwards."""

import hashlib
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from vitdeploy.artifacts import parity
from vitdeploy.artifacts.manifest import Artifact, Parity
from vitdeploy.benchmarks.trial import launch
from vitdeploy.benchmarks.trial.launch import Lost, TrialSlot
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import TensorSpec
from vitdeploy.devices import host, probe_android
from vitdeploy.devices.phone import benchmark_model
from vitdeploy.devices.phone.ready import TARGET, Phone, joined, remove, write_inputs
from vitdeploy.errors import DeviceError, Impossible, ToolchainFailed, VitdeployError
from vitdeploy.inference import local_reference
from vitdeploy.processes import child_reply
from vitdeploy.processes.local import LocalConnection
from vitdeploy.results import record
from vitdeploy.results.record import Case, Reading, Trial
from vitdeploy.runtimes.loaded_session import tensors_of
from vitdeploy.runtimes.session import Array

INPUTS = "one seeded synthetic image a trial, copied before each inference and not timed"


def refusal(case: Case, sustained_s: float | None) -> VitdeployError | None:
    """Why a case cannot be timed on a phone; None when it can."""
    if case.target != TARGET:
        return Impossible(f"{case.target} does not run on a phone: benchmark_model takes TFLite", f"Use {TARGET}.")
    if case.boundary != "compute":
        return Impossible("benchmark_model times the inference without its copies", "Use --boundary compute.")
    if case.streams > 1 or case.graph:
        return Impossible("benchmark_model runs one inference at a time", "Leave --streams and --graph out.")
    if sustained_s is not None:
        return Impossible("--sustained is not built for phones in this version", "Use more --trials.")
    return None


def as_run(protocol: record.Protocol) -> record.Protocol:
    """The protocol as a phone follows it: the tool has its own inputs and its own warm-up."""
    return msgspec.structs.replace(protocol, inputs=INPUTS, warmup_limit_s=benchmark_model.WARMUP_S)


def take(
    turn: TrialSlot,
    case: Case,
    artifact: Artifact,
    *,
    phone: Phone,
    protocol: record.Protocol,
    log: Path,
) -> Trial | Lost:
    """Run one block on the phone and hold its output against this computer's.

    What the tool said is appended to ``log``.

    Raises:
        VitdeployError: the tool failed, said what cannot be read, or this computer cannot tell what is right.
    """
    name = f"trial {turn.index + 1}"
    try:
        with tempfile.TemporaryDirectory(prefix="vitdeploy-phone-") as folder:
            return _take(turn, case, artifact, phone, protocol, log, Path(folder))
    except DeviceError as error:
        return Lost(message=f"{name} was lost: {error.message}", hint=error.hint)


def _take(
    turn: TrialSlot,
    case: Case,
    artifact: Artifact,
    phone: Phone,
    protocol: record.Protocol,
    log: Path,
    folder: Path,
) -> Trial | Lost:
    link, manifest = phone.link, artifact.manifest
    plain: dict[str, Any] = msgspec.to_builtins(manifest)
    specs = tensors_of(plain["inputs"])
    files = write_inputs(specs, protocol.seed + turn.index, folder)
    wanted, runtime = _wanted(artifact, plain, files, folder, log)
    graph = link.push(artifact.file, sha256=manifest.sha256)
    cores = phone.cores(case.threads)
    there: list[str] = []
    try:
        for path in files:
            there.append(link.push(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest()))  # noqa: PERF401
        output_file = f"{graph}.output"
        argv = benchmark_model.command(
            phone.tool,
            graph,
            threads=case.threads,
            mask=probe_android.mask(cores),
            min_time_s=protocol.min_time_s,
            inputs=specs,
            input_files=there,
            output_file=output_file,
        )
        there.append(output_file)
        before, began, started = probe_android.cool(link), time.perf_counter_ns(), datetime.now(timezone.utc)
        done = link.run(argv, timeout_s=launch.WORKER_LIMIT_S + 10 * protocol.min_time_s)
        after = probe_android.look(link)
        ended = time.perf_counter_ns() - began
        child_reply.keep_log(log, f"{case.name}, trial {turn.index + 1}", joined(done))
        if done.exit_code < 0:
            return Lost(message=f"benchmark_model was killed by {child_reply.signal_name(done)}", hint=f"Read {log}.")
        if done.exit_code:
            raise child_reply.failure("benchmark_model", joined(done), log)
        said = benchmark_model.parse(joined(done).stderr)
        link.pull(output_file, folder / "output")
    finally:
        remove(link, there)
    return Trial(
        id=turn.id,
        started_utc=started.isoformat(timespec="milliseconds"),
        order=turn.order,
        pair=turn.pair,
        build=None,
        artifact_sha256=manifest.sha256,
        sample_kind="block_median",
        samples_ns=(round(benchmark_model.median_us(said) * 1000),),
        # One sample stands for all inferences of its block, so its share of the time is one mean inference.
        wall_ns=round(said.block.avg_us * 1000),
        stages_ns=None,
        load_ns=round(said.init_us * 1000),
        first_ns=round(said.first_us * 1000),
        warmup_ns=round(said.warmup.avg_us * said.warmup.count * 1000),
        warmup_count=said.warmup.count,
        peak_memory_bytes=round((said.memory_mb or 0.0) * 2**20),
        steady="steady",  # a block has no inner order: drift shows between trials
        telemetry=(_reading(0, before, cores), _reading(ended, after, cores)),
        throttled=probe_android.throttled(before, after, cores),
        facts={
            "runtime": f"benchmark_model {phone.tool_sha256[:12]}",
            "provider": f"XNNPACK, CPU, took {said.delegate or 'what is not said'}",
            "threads": str(case.threads),
            "cores": f"mask {probe_android.mask(cores)}",
            "fp16_arithmetic": "off",
            "inputs": "1 a trial",
            "foreign_cores": "not visible",
            "battery_percent": str(after.battery_percent),
            "charging": str(after.charging),
            "thermal_status": str(after.thermal_status),
        },
        parity=_parity(case, artifact, tensors_of(plain["outputs"]), wanted, folder / "output", runtime),
        block_inferences=said.block.count,
    )


def _wanted(
    artifact: Artifact, plain: dict[str, Any], files: list[Path], folder: Path, log: Path
) -> tuple[list[Array], str]:
    """What this computer's runtime returns for these inputs, and which runtime that is."""
    runtime = registry.find_target(artifact.manifest.target).runtime
    assert runtime is not None, f"{artifact.manifest.target} has no runtime"
    outputs = folder / "expected.npz"
    job = local_reference.Job(
        file=str(artifact.file),
        manifest=plain,
        runtime=runtime,
        device="cpu",
        inputs=[str(path) for path in files],
        outputs=str(outputs),
        threads=host.cores_physical(),
    )
    what = f"the process that computed here what {artifact.file} must return"
    ran_by = child_reply.ask(
        LocalConnection(), local_reference.__name__, job, str, what=what, timeout_s=launch.WORKER_LIMIT_S, log=log
    )
    with np.load(outputs, allow_pickle=False) as found:
        return [found[f"arr_{place}"] for place in range(len(found.files))], ran_by


def _parity(
    case: Case, artifact: Artifact, specs: Sequence[TensorSpec], wanted: Sequence[Array], output: Path, runtime: str
) -> Parity:
    """The phone's output, all tensors one after the other in one file, against this computer's."""
    data = output.read_bytes()
    sizes = [int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize for spec in specs]
    if sum(sizes) != len(data):
        raise ToolchainFailed(
            f"benchmark_model wrote {len(data)} bytes of output, the graph's outputs have {sum(sizes)}",
            "Use a newer build.",
        )
    pairs: list[tuple[Array, Array]] = []
    start = 0
    for spec, size, right in zip(specs, sizes, wanted, strict=True):
        found = np.frombuffer(data, dtype=spec.dtype, count=size // np.dtype(spec.dtype).itemsize, offset=start)
        pairs.append((_channels_first(right, spec), _channels_first(found.reshape(spec.shape), spec)))
        start += size
    tolerance = registry.find_target(case.target).tolerance
    return parity.judge(artifact.manifest.task, pairs, tolerance, reference=f"{runtime} on this computer")


def _channels_first(array: Array, spec: TensorSpec) -> Array:
    return array.transpose(0, 3, 1, 2) if spec.layout == "NHWC" and array.ndim == 4 else array


def _reading(t_ns: int, state: probe_android.State, cores: Sequence[int]) -> Reading:
    return Reading(t_ns=t_ns, clock_hz=state.clock_hz(cores), temp_c=state.temperature_c, power_mw=None)
