"""Synthetic runs for the tests of documents: seeded samples, plainly test data, never shipped."""

import msgspec
import numpy as np

from tests.test_record import CASE, result, run
from vitdeploy import record
from vitdeploy.artifact import Metric, Parity

PASSED = Parity(
    passed=True,
    reference="torch fp32",
    samples=5,
    max_abs=2e-6,
    mean_abs=1e-7,
    cosine=1.0,
    finite=True,
    metric=Metric(name="pixel agreement", value=1.0, floor=0.999),
    error_std=3.2e-6,
    error_std_limit=1e-3,
)
FAILED = msgspec.structs.replace(PASSED, passed=False, finite=False, reason="the output holds NaN or Inf")


def trial(seed: int, median_ms: float, count: int = 800) -> record.Trial:
    generator = np.random.default_rng(seed)
    level = median_ms * 1e6 * np.exp(generator.normal(0, 0.006))
    samples = (level * np.exp(np.abs(generator.normal(0, 0.02, count)))).astype(int)
    template = result(
        record.Trial(
            id=f"made/{seed}",
            started_utc="2026-01-01T00:00:00Z",
            order=seed,
            pair=None,
            build=None,
            artifact_sha256="0" * 64,
            sample_kind="inference",
            samples_ns=tuple(map(int, samples)),
            wall_ns=int(samples.sum()),
            stages_ns=None,
            load_ns=30_000_000,
            first_ns=int(level * 3),
            warmup_ns=500_000_000,
            warmup_count=20,
            peak_memory_bytes=200 * 2**20,
            steady="steady",
            telemetry=(),
            throttled=False,
            facts={"runtime": "made for tests"},
        )
    )
    return template.trials[0]


def row(
    model: str,
    target: str,
    median_ms: float,
    *,
    seed: int,
    parity: Parity | None = PASSED,
    trials: int = 5,
    macs: int = 1_000_000_000,
    size: tuple[int, int] = (224, 224),
    streams: int = 1,
) -> record.Result:
    case = msgspec.structs.replace(CASE, model=model, target=target, size=size, streams=streams)
    return record.rederive(
        record.Result(
            case=case,
            artifact_sha256="0" * 64,
            parity=parity,
            status="valid",
            reasons=(),
            trials=tuple(trial(seed * 100 + i, median_ms) for i in range(trials)),
            summary=None,
            params=9_102_024,
            macs=macs,
        )
    )


def failed(model: str, message: str, hint: str) -> record.Result:
    made = row(model, "onnx-fp32", 1.0, seed=99, trials=0)
    reason = record.Reason(code="impossible", message=message, hint=hint)
    return msgspec.structs.replace(made, status="failed", reasons=(reason,), summary=None)


def everything() -> record.Run:
    """Every status, both sections, two targets of one model, and a row without an interval."""
    seg = {"macs": 1_098_000_000, "size": (512, 1024)}
    return run(
        row("efficientvit_b1", "onnx-fp32", 7.4, seed=1, macs=519_000_000),
        row("efficientvit_b1", "torch-fp32", 24.0, seed=2, macs=519_000_000),
        row("efficientvit_l1", "onnx-fp32", 88.0, seed=3, macs=5_258_000_000),
        row("efficientvit_seg_b0_cityscapes", "onnx-fp32", 42.0, seed=4, **seg),  # pyright: ignore[reportArgumentType]
        row("efficientvit_seg_b0_cityscapes", "torch-fp32", 120.0, seed=5, trials=2, **seg),  # pyright: ignore[reportArgumentType]
        row("efficientvit_b2", "onnx-fp32", 19.0, seed=6, parity=FAILED, macs=1_585_000_000),
        row("efficientvit_b1", "onnx-fp32", 11.0, seed=7, streams=2, macs=519_000_000),
        failed("efficientvit_b3", "efficientvit_b3 takes multiples of 32, not 225x225", "Use 224x224."),
    )
