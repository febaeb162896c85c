"""Records without a measurement: cases and trials whose other fields do not matter to a study."""

from collections.abc import Sequence

from vitdeploy.catalog.variant import Variant
from vitdeploy.results.record import Case, Trial


def case(variant: Variant, *, threads: int = 2) -> Case:
    """A case on this machine's CPU."""
    return Case(
        **variant.recorded,
        weights=variant.weights,
        prompts=None,
        device="local",
        threads=threads,
        boundary="host-to-host",
        streams=1,
        graph=False,
        power_mode=None,
        memory="pageable",
    )


def trial(
    name: str, samples_ns: Sequence[int], *, order: int, pair: int | None = None, build: int | None = None
) -> Trial:
    """A trial with these samples; it never leaves a simulation or a temporary folder."""
    return Trial(
        id=name,
        started_utc="2026-01-01T00:00:00.000+00:00",
        order=order,
        pair=pair,
        build=build,
        artifact_sha256="0" * 64,
        sample_kind="inference",
        samples_ns=tuple(samples_ns),
        wall_ns=sum(samples_ns),
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
