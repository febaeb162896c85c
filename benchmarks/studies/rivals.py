"""Our files beside what a user would pick instead on a CPU: one run, all ways in turns, and the machine's own limits.

    python -m vitdeploy.benchmarks.studies.rivals [--models NAME…] [--rivals NAME…] [--pairs 6] [--threads 2]
                                                 [--size HxW] [--files DIR] [--prepare]

The rivals are torch (eager and compiled), torch's own ONNX export and ours in ONNX Runtime and in OpenVINO, the TFLite
files of onnx2tf, of litert-torch and ours in LiteRT, and ExecuTorch with XNNPACK. All are fp32, with random weights
(seed 0). `pip install "vitdeploy[rivals]"` installs what is not ours; what is not there is a row. Each file is compared
with the fp32 torch module on noise and photographs before it is timed, and one that fails is marked. All ways of a
model take turns as the sides of `vitdeploy duel` do. So do a matrix product and a copy in ONNX Runtime: two columns say
which share of their rates a way reaches, counting the model's multiply-accumulates, and the bytes that its convolutions
and linear layers read and write. ``--prepare`` makes the files in ``--files`` and times nothing.
"""

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from vitdeploy import units
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks.studies import command_line, files_by_turns, machine_rates, rival_files
from vitdeploy.benchmarks.studies.command_line import (
    LeftOut,
    each_model,
    end,
    print_table,
    say,
    size_of,
    size_words,
    why_failed,
    with_errors,
)
from vitdeploy.benchmarks.studies.files_by_turns import FilesRun
from vitdeploy.benchmarks.studies.machine_rates import Rates, Work
from vitdeploy.benchmarks.studies.rival_files import OURS, RIVALS
from vitdeploy.benchmarks.studies.rival_proof import RuntimesConnection
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import ModelSpec, Size
from vitdeploy.errors import MissingPackage, NoValidMeasurement, UsageError
from vitdeploy.results import stats

MODELS = (
    *(f"efficientvit_{variant}" for variant in ("b0", "b1", "l1")),
    *(f"efficientvit_seg_{variant}_cityscapes" for variant in ("b0", "b1", "l1")),
)

HEADS = ("model", "size", "way", "ms", "ours is faster", "95 % interval", "products", "copies", "error", "memory")


@dataclass(slots=True, kw_only=True)
class Prepared:
    """The files of one model, and why others are not there."""

    spec: ModelSpec
    size: Size
    files: dict[str, Artifact] = field(default_factory=dict[str, Artifact])
    absent: dict[str, str] = field(default_factory=dict[str, str])
    """Rival → in a few words."""


def prepare(spec: ModelSpec, size: Size, names: Sequence[str], folder: Path) -> Prepared:
    """Make and prove the file of each rival that is installed."""
    prepared = Prepared(spec=spec, size=size)
    for name in names:
        _prepare(name, prepared, folder)
    return prepared


def _prepare(name: str, prepared: Prepared, folder: Path) -> None:
    try:
        prepared.files[name] = rival_files.ready(name, prepared.spec, prepared.size, folder)
    except MissingPackage as error:
        prepared.absent[name] = "not installed"
        say(f"{name}: {error.message}")
    except Exception as error:  # noqa: BLE001 (torch's exporter and the converters have errors of many kinds)
        prepared.absent[name] = "failed"
        say(f"{prepared.spec.name} {name}: {why_failed(error)}")


def timed(prepared: Prepared, folder: Path, *, pairs: int, threads: int, min_time_s: float) -> FilesRun:
    """Time the files of a model, a matrix product and a copy by turns."""
    runtimes = {artifact.file: RIVALS[name].runtime for name, artifact in prepared.files.items()}
    return files_by_turns.timed(
        {**prepared.files, **machine_rates.files(folder, prepared.spec, prepared.size)},
        pairs=pairs,
        threads=threads,
        min_time_s=min_time_s,
        connection=RuntimesConnection(runtimes),
    )


def rows(prepared: Prepared, run: FilesRun, work: Work) -> list[tuple[str, ...]]:
    """One line a rival, in the order of `RIVALS`.

    Raises:
        NoValidMeasurement: the machine's own rates have no figure.
    """
    rates = machine_rates.rates(run)
    labels = prepared.spec.name, size_words(prepared.size)
    lines: list[tuple[str, ...]] = []
    for name, rival in RIVALS.items():
        if name in prepared.absent:
            lines.append((*labels, rival.title, prepared.absent[name], *[units.MISSING] * 6))
        elif name in prepared.files:
            lines.append((*labels, rival.title, *_cells(name, prepared.files[name], run, rates, work)))
    lines.append(
        (
            *labels,
            "the machine",
            *[units.MISSING] * 3,
            f"{2 * rates.macs_per_s / 1e9:.0f} GFLOP/s",
            f"{rates.bytes_per_s / 1e9:.1f} GB/s",
            *[units.MISSING] * 2,
        )
    )
    return lines


def _cells(name: str, artifact: Artifact, run: FilesRun, rates: Rates, work: Work) -> tuple[str, ...]:
    """Under `HEADS`, behind the labels."""
    error = _error(artifact)
    try:
        times = run.compared(name, OURS)
    except NoValidMeasurement as failed:
        say(failed.message)
        return "failed", *[units.MISSING] * 4, error, units.MISSING
    ratio = (units.MISSING, units.MISSING) if name == OURS else times.cells
    shares = (f"{share:.0%}" for share in rates.shares(work, times.first_ms))
    return f"{times.first_ms:.2f}", *ratio, *shares, error, units.size_bytes(run.peak_bytes(name))


def _prepared_lines(prepared: Prepared) -> list[tuple[str, ...]]:
    """One line a rival: the error of its file, or why there is none."""
    errors = {**prepared.absent, **{name: _error(artifact) for name, artifact in prepared.files.items()}}
    labels = prepared.spec.name, size_words(prepared.size)
    return [(*labels, rival.title, errors[name]) for name, rival in RIVALS.items() if name in errors]


def _error(artifact: Artifact) -> str:
    """The largest error in deviations of the output, or that the proof fails."""
    parity = artifact.manifest.parity
    assert parity is not None
    if not parity.finite:
        return "NaN"
    return f"{parity.error_std or 0:.0e}{'' if parity.passed else ' fails'}"


def _work(spec: ModelSpec, size: Size) -> Work:
    create = registry.load("vitdeploy.models.create")
    module = create.create(spec, attention=registry.attention_of(spec, None))
    return machine_rates.work_of(module, size, create.count_macs(module, (1, 3, *size)) or 0)


def _title(pairs: int, threads: int, runtimes: Mapping[str, str]) -> str:
    words = ", ".join(sorted(set(runtimes.values())))
    return f"fp32, batch 1, {threads} threads, {pairs} rounds of fresh processes by turns, random weights; {words}"


def _runtimes(prepared: Prepared, run: FilesRun) -> dict[str, str]:
    """Rival → what ran it, in the runtime's own words."""
    rows = {name: run.rows[name] for name in prepared.files}
    return {name: row.trials[0].facts["runtime"] for name, row in rows.items() if row.trials}


@with_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Time the models that are named in all ways that are named, and print the table."""
    parser = command_line.parser(__file__, __doc__)
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME")
    parser.add_argument("--rivals", nargs="+", default=tuple(RIVALS), choices=tuple(RIVALS), metavar="NAME")
    parser.add_argument("--size", default=None, metavar="HxW")
    parser.add_argument("--pairs", type=int, default=files_by_turns.PAIRS, help="rounds of fresh processes")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--min-time", type=float, default=files_by_turns.MIN_TIME_S, metavar="S", help="in each round")
    parser.add_argument("--files", type=Path, default=None, help="a folder that keeps the files for the next time")
    parser.add_argument("--prepare", action="store_true", help="make and prove the files, time nothing")
    options = parser.parse_args(arguments)
    if options.pairs < stats.FEWEST_FOR_INTERVAL or options.threads < 1:
        raise UsageError(
            f"--pairs {options.pairs} --threads {options.threads} is too few",
            f"Use --pairs {stats.FEWEST_FOR_INTERVAL} or more, and --threads 1 or more.",
        )
    if options.prepare and options.files is None:
        raise UsageError("--prepare keeps its files nowhere", "Name a folder with --files.")
    names = list(dict.fromkeys([*options.rivals, OURS]))
    lines: list[tuple[str, ...]] = []
    left_out: list[LeftOut] = []
    runtimes: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="vitdeploy-rivals-") as place:
        folder: Path = options.files or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        for spec in [registry.find_model(name) for name in options.models]:
            with each_model(spec.name, left_out):
                size = size_of(spec, options.size)
                prepared = prepare(spec, size, names, folder)
                if options.prepare:
                    lines += _prepared_lines(prepared)
                    continue
                how = {"pairs": options.pairs, "threads": options.threads, "min_time_s": options.min_time}
                run = timed(prepared, Path(place), **how)
                lines += rows(prepared, run, _work(spec, size))
                runtimes |= _runtimes(prepared, run)
                say(f"{spec.name}: done")
    if options.prepare:
        print_table(None, ("model", "size", "way", "error"), lines, left=("way",))
    else:
        print_table(_title(options.pairs, options.threads, runtimes), HEADS, lines, left=("way",))
    return end(left_out, len(lines))


if __name__ == "__main__":
    sys.exit(main())
