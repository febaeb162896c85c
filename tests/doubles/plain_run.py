"""A run of plain trials: one case, samples around 5 ms."""

from typing import Any

import msgspec
import numpy as np

from vitdeploy.artifacts.manifest import Parity
from vitdeploy.results import record

CASE = record.Case(
    model="efficientvit_b1",
    part=None,
    attention="relu",
    target="onnx-fp32",
    size=(224, 224),
    batch=1,
    device="local",
    threads=2,
    boundary="host-to-host",
    streams=1,
    graph=False,
    io="fp32",
    head="logits",
    prompts=None,
    weights="random:0",
    power_mode=None,
    memory="pageable",
)


def trial(index: int, count: int = 800, **changes: Any) -> record.Trial:
    samples = np.random.default_rng(index).normal(5e6, 5e4, count).astype(int)
    made = record.Trial(
        id=f"t{index}",
        started_utc="2026-01-01T00:00:00Z",
        order=index,
        pair=None,
        build=None,
        artifact_sha256="0" * 64,
        sample_kind="inference",
        samples_ns=tuple(map(int, samples)),
        wall_ns=int(samples.sum()),
        stages_ns=None,
        load_ns=1,
        first_ns=1,
        warmup_ns=1,
        warmup_count=1,
        peak_memory_bytes=1,
        steady="steady",
        telemetry=(),
        throttled=False,
        facts={},
    )
    return msgspec.structs.replace(made, **changes)


def result(*trials: record.Trial, parity: Parity | None = None) -> record.Result:
    return record.rederive(
        record.Result(
            case=CASE, artifact_sha256="0" * 64, parity=parity, status="valid", reasons=(), trials=trials, summary=None
        )
    )


def run(*results: record.Result) -> record.Run:
    return record.Run(
        schema=record.SCHEMA,
        id="r",
        started_utc="2026-01-01T00:00:00Z",
        vitdeploy=record.Version(version="0", commit=None, dirty=None),
        device=record.RunDevice(name="local", facts={}),
        host={},
        protocol=record.Protocol(
            suite=None,
            trials=5,
            min_time_s=1.0,
            warmup_limit_s=1.0,
            order="interleaved",
            seed=0,
            inputs="noise",
        ),
        results=results,
    )
