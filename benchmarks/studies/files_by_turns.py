"""Files of a study timed by turns: any file becomes an artifact, and one bench times all of a model together."""

import dataclasses
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vitdeploy.artifacts import manifest
from vitdeploy.artifacts.manifest import Artifact, Manifest, Tensor, Weights
from vitdeploy.benchmarks import bench
from vitdeploy.benchmarks.studies import paired_times, plain_records
from vitdeploy.benchmarks.studies.paired_times import PairedTimes
from vitdeploy.benchmarks.trial import turns_trial
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.catalog.spec import ModelSpec
from vitdeploy.catalog.variant import Variant
from vitdeploy.devices import inventory
from vitdeploy.errors import NoValidMeasurement
from vitdeploy.processes.connection import Connection
from vitdeploy.results.record import Group, Result, Run
from vitdeploy.studies import paired_rounds

PAIRS = 6
"""Rounds of fresh processes. Source: contract, "A comparison": by turns a claim needs six."""

MIN_TIME_S = 1.0
"""Sampling time of a file in each round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesRun:
    """The run of several files of one model."""

    run: Run
    rows: Mapping[str, Result]

    def compared(self, first: str, second: str) -> PairedTimes:
        """Two of the files.

        Raises:
            NoValidMeasurement: one of them has no figure.
        """
        sides = [self.rows[name] for name in (first, second)]
        for name, row in zip((first, second), sides, strict=True):
            if row.status != "valid" or row.summary is None:
                why = "; ".join(reason.message for reason in row.reasons)
                raise NoValidMeasurement(f"{name} has no figure: {why}", "Make the files again.")
        ratios = list(paired_rounds.ratios(self.run, sides[:1], sides[1:]).values())
        medians = [row.summary.median_ms for row in sides if row.summary is not None]
        return paired_times.of_ratios(medians[0], medians[1], ratios)

    def peak_bytes(self, name: str) -> int:
        """The largest memory that a process with this file has held, median of the rounds."""
        return round(statistics.median(trial.peak_memory_bytes for trial in self.rows[name].trials))


def artifact_of(
    file: Path, variant: Variant, spec: ModelSpec, *, inputs: Sequence[Tensor], outputs: Sequence[Tensor]
) -> Artifact:
    """The artifact of a file alone in its folder, or with the files of its weights; it is proven nowhere."""
    beside = [path for path in sorted(file.parent.iterdir()) if path not in (file, file.parent / manifest.MANIFEST)]
    described = Manifest(
        schema=manifest.SCHEMA,
        **variant.recorded,
        task=spec.task,
        file=file.name,
        sha256=manifest.digest_of(file),
        size_bytes=file.stat().st_size,
        beside=tuple(
            manifest.Beside(file=path.name, sha256=manifest.digest_of(path), size_bytes=path.stat().st_size)
            for path in beside
        ),
        precision="fp32",
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        params=0,  # not counted
        macs=None,
        weights=Weights(source="random", seed=0),
        parents=(),
        recipe="made for a study",
        rewrites=(),
        tools={},
        bound_to={},
        build_ns=0,
        timing_cache_sha256=None,
        state="ready",
        parity=None,
        parity_skipped="made for a study",
    )
    return manifest.write(file.parent, described)


def timed(
    files: Mapping[str, Artifact],
    *,
    pairs: int = PAIRS,
    threads: int,
    min_time_s: float = MIN_TIME_S,
    connection: Connection | None = None,
) -> FilesRun:
    """Time files of one model by turns on this machine, each in ``pairs`` fresh processes beside those of the others.

    Raises:
        DeviceError: the machine is busy.
    """
    jobs = [
        Job(
            case=plain_records.case(_named(artifact.manifest.variant, name), threads=threads),
            compute="cpu",
            artifact=artifact,
        )
        for name, artifact in files.items()
    ]
    with tempfile.TemporaryDirectory(prefix="vitdeploy-study-") as folder:
        run = bench.run(
            jobs,
            device=inventory.find("local"),
            protocol=bench.make_protocol(trials=pairs, min_time_s=min_time_s),
            out=Path(folder) / "run.json",
            groups=[Group(rows=tuple(range(len(jobs))), turn_s=turns_trial.TURN_S)],
            connection=connection,
        )
    return FilesRun(run=run, rows=dict(zip(files, run.results, strict=True)))


def _named(variant: Variant, name: str) -> Variant:
    """The files are of one variant, and a run has each case once."""
    return dataclasses.replace(variant, model=f"{variant.model} {name}")
