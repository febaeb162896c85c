"""Synthetic runs for the tests of documents: seeded samples, plainly test data, never shipped."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from vitdeploy.artifacts.manifest import Metric, Parity
from vitdeploy.benchmarks.studies import plain_records
from vitdeploy.catalog.variant import Variant
from vitdeploy.results import record

CASE = plain_records.case(Variant(model="efficientvit_b1", attention="relu", target="onnx-fp32", size=(224, 224)))

PASSED = Parity(
    passed=True,
    reference="torch fp32",
    samples=5,
    max_abs=2e-6,
    mean_abs=1e-7,
    cosine=1.0,
    finite=True,
    metric=Metric(name="top-1 agreement", value=1.0, floor=0.999),
    error_std=3.2e-6,
    error_std_limit=1e-3,
)
FAILED = msgspec.structs.replace(PASSED, passed=False, finite=False, reason="the output holds NaN or Inf")

FACTS: Mapping[str, Any] = {
    "cpu": "Made-up CPU 9000",
    "cores_physical": 2,
    "memory_bytes": 16 * 2**30,
    "governor": None,
    "virtualization": "virtual machine",
    "throttle": "not visible",
    "os": "Debian GNU/Linux 12 (bookworm)",
    "kernel": "6.1.0",
    "python": "3.11.7",
    "packages": {"vitdeploy": "0.1.0", "onnxruntime": "1.32.0", "torch": "2.13.0+cpu"},
}


def trial(seed: int, median_ms: float, count: int = 800, **changes: Any) -> record.Trial:
    """A trial whose level is its own, with a tail and a rare slow call; integers drawn by the standard library."""
    generator = random.Random(seed)
    level = median_ms * 1e6 * (1 + generator.gauss(0, 0.006))
    samples = [round(level * (1 + abs(generator.gauss(0, 0.012)))) for _ in range(count)]
    for place in generator.sample(range(count), count // 150):
        samples[place] = round(samples[place] * generator.uniform(1.1, 1.9))
    plain = plain_records.trial(f"made/{seed}", samples, order=seed)
    measured = {
        "started_utc": "2026-01-01T00:00:00Z",
        "load_ns": round(30_000_000 + 2 * level),
        "first_ns": round(level * 2.4),
        "warmup_ns": 500_000_000,
        "warmup_count": 20,
        "peak_memory_bytes": 200 * 2**20 + round(level),
        "facts": {"runtime": "made for tests 1.0"},
    }
    return msgspec.structs.replace(plain, **{**measured, **changes})


def result(*trials: record.Trial, **changes: Any) -> record.Result:
    """A result of these trials, its status derived from them."""
    plain = record.Result(
        case=CASE, artifact_sha256="0" * 64, parity=None, status="valid", reasons=(), trials=trials, summary=None
    )
    return record.rederive(msgspec.structs.replace(plain, **changes))


def row(
    model: str,
    target: str,
    median_ms: float,
    *,
    seed: int,
    parity: Parity | None = PASSED,
    trials: int = 5,
    count: int = 800,
    macs: int | None = 1_000_000_000,
    reasons: Sequence[record.Reason] = (),
    **case: Any,
) -> record.Result:
    """A result of ``trials`` trials of its own."""
    sha256 = f"{seed:064x}"
    return result(
        *(
            trial(seed * 100 + i, median_ms, count, order=10 * i + seed % 10, artifact_sha256=sha256)
            for i in range(trials)
        ),
        case=msgspec.structs.replace(CASE, model=model, target=target, **case),
        artifact_sha256=sha256,
        parity=parity,
        reasons=tuple(reasons),
        params=9_102_024,
        macs=macs,
    )


def at_level(result: record.Result, factor: float) -> record.Result:
    """The row with all its times so many times as long."""

    def scaled(trial: record.Trial) -> record.Trial:
        samples = tuple(round(factor * sample) for sample in trial.samples_ns)
        return msgspec.structs.replace(trial, samples_ns=samples, wall_ns=sum(samples))

    return record.rederive(msgspec.structs.replace(result, trials=tuple(map(scaled, result.trials))))


def of_file(result: record.Result, sha256: str, **changes: Any) -> record.Result:
    """The row and its trials as of a file with this digest."""
    trials = tuple(msgspec.structs.replace(trial, artifact_sha256=sha256) for trial in result.trials)
    return msgspec.structs.replace(result, artifact_sha256=sha256, trials=trials, **changes)


def failed(model: str, message: str, hint: str, *, seed: int = 99) -> record.Result:
    """A row that could not be measured."""
    plain = row(model, "onnx-fp32", 1.0, seed=seed, trials=0, parity=None)
    reason = record.Reason(code="impossible", message=message, hint=hint)
    return msgspec.structs.replace(plain, status="failed", reasons=(reason,), summary=None)


def run(*results: record.Result, name: str = "made-for-tests", facts: Mapping[str, Any] = FACTS) -> record.Run:
    """A run of those results on a machine of those facts."""
    devices = {result.case.device for result in results}
    return record.Run(
        schema=record.SCHEMA,
        id=name,
        started_utc="2026-01-01T12:34:56+00:00",
        vitdeploy=record.Version(version="0.1.0", commit="c0ffee" * 6 + "abcd", dirty=False),
        device=record.RunDevice(
            name=devices.pop() if len(devices) == 1 else "local",
            facts={"title": "this machine", "link": "local", **facts},
        ),
        host={"load_1min": 0.12, "clock_hz": 2_596_132_000, **facts},
        protocol=record.Protocol(
            suite="demo",
            trials=5,
            min_time_s=1.0,
            warmup_limit_s=3.0,
            order="round-robin, shuffled anew each round",
            seed=0,
            inputs="seeded synthetic images, distinct within a trial's pool, rotated",
        ),
        results=tuple(results),
    )


SEG: Mapping[str, Any] = {"size": (512, 1024)}
BUSY = record.Reason(
    code="foreign-load",
    message="other processes used up to 0.4 cores during 1 of 5 trials",
    hint="Stop other work on the machine and measure again.",
)


def everything() -> record.Run:
    """Every status, both sections, several targets of a model, missing intervals and percentiles, a noted row."""
    return run(
        row("efficientvit_b1", "onnx-fp32", 7.4, seed=1, macs=519_000_000),
        row("efficientvit_b1", "torch-fp32", 24.0, seed=2, macs=519_000_000),
        row("efficientvit_l1", "onnx-fp32", 88.0, seed=3, macs=5_258_000_000, reasons=[BUSY]),
        row("efficientvit_seg_b0_cityscapes", "onnx-fp32", 42.0, seed=4, count=60, macs=1_098_000_000, **SEG),
        row("efficientvit_seg_b0_cityscapes", "torch-fp32", 120.0, seed=5, trials=2, macs=1_098_000_000, **SEG),
        row("efficientvit_b2", "onnx-fp32", 19.0, seed=6, parity=FAILED, macs=1_585_000_000),
        row("efficientvit_b1", "onnx-fp32", 11.0, seed=7, streams=2, macs=519_000_000),
        failed("efficientvit_b3", "efficientvit_b3 takes multiples of 32, not 225x225", "Use 224x224."),
    )


def conference() -> record.Run:
    """A page full: fourteen cases, to look at."""
    metric = Metric(name="pixel agreement", value=0.99998, floor=0.999)
    pixels = msgspec.structs.replace(PASSED, metric=metric)
    classifiers = (
        ("b0", 2.6, 7.9, 102e6),
        ("b1", 7.4, 24.0, 519e6),
        ("b2", 20.1, 61.0, 1585e6),
        ("l1", 88, 141, 5258e6),
    )
    segmenters = (("b0", 57, 100, 4.4e9), ("b1", 121, 190, 12.5e9), ("l1", 913, 1392, 45.9e9))
    rows: list[record.Result] = []
    for number, (size, onnx, torch, macs) in enumerate(classifiers):
        for target, median in (("onnx-fp32", onnx), ("torch-fp32", torch)):
            seed = 2 * number + (target == "torch-fp32")
            rows.append(row(f"efficientvit_{size}", target, median, seed=seed, macs=int(macs)))
    for number, (size, onnx, torch, macs) in enumerate(segmenters, 4):
        for target, median in (("onnx-fp32", onnx), ("torch-fp32", torch)):
            seed, name = 2 * number + (target == "torch-fp32"), f"efficientvit_seg_{size}_cityscapes"
            rows.append(row(name, target, median, seed=seed, macs=int(macs), parity=pixels, count=90, **SEG))
    rows += [
        row("efficientvit_b1", "onnx-fp32", 11.0, seed=14, streams=2, macs=519_000_000),
        row("efficientvit_b3", "onnx-fp32", 45.0, seed=15, macs=3_953_000_000, parity=FAILED),
        failed("efficientvit_l3", "efficientvit_l3 takes multiples of 32, not 225x225", "Use 224x224.", seed=16),
    ]
    ordered = [trial for result in rows for trial in result.trials]
    places = {id(trial): place for place, trial in enumerate(sorted(ordered, key=lambda t: (t.order // 10, t.id)))}
    return run(
        *(
            msgspec.structs.replace(
                one, trials=tuple(msgspec.structs.replace(t, order=places[id(t)]) for t in one.trials)
            )
            for one in rows
        )
    )
