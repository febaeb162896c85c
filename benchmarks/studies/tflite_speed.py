"""Speed of the TFLite rewrites: our file with exact cubic upsampling against both converters' plain files.

    python -m vitdeploy.benchmarks.studies.tflite_speed [--models NAME…] [--size HxW] [--pairs 6] [--threads 1 2]
                                                [--converter onnx2tf|litert-torch] [--files DIR]

The plain files are made by onnx2tf and by litert-torch of the same model, made bilinear where it is cubic: a cubic
resize is no operator of TFLite, so that is all they can do. Without litert-torch its columns are left out, and a model
that cannot be converted is left out with its reason. All files of a model take turns as the sides of `vitdeploy duel`
do: fresh processes beside each other, of which the ratio is taken turn by turn. The interval is Student's t over the
logarithms of the rounds' ratios.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vitdeploy import units
from vitdeploy.benchmarks.studies import command_line, files_by_turns, paired_times, tflite_files
from vitdeploy.benchmarks.studies.command_line import (
    LeftOut,
    each_model,
    end,
    print_table,
    say,
    size_of,
    size_words,
    with_errors,
)
from vitdeploy.benchmarks.studies.paired_times import PairedTimes
from vitdeploy.benchmarks.studies.tflite_files import PLAIN, File
from vitdeploy.catalog import packages, registry
from vitdeploy.catalog.spec import Attention, ModelSpec, Size
from vitdeploy.errors import UsageError

MODELS = (
    *(f"efficientvit_seg_{variant}_cityscapes" for variant in ("b0", "b1", "b2")),
    *(f"efficientvit_{variant}" for variant in ("b0", "b1", "b2", "b3", "l1", "l2", "l3")),
)
"""Where nothing is named: those that the project's own goals are about."""

COUNTED: Mapping[str, tuple[str, ...]] = {
    "transp.": ("TRANSPOSE",),
    "slices": ("STRIDED_SLICE", "SLICE"),
    "pads": ("PAD", "PADV2"),
}
"""Columns that count operators which compute nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedRow:
    """A plain file against ours."""

    model: str
    size: Size
    threads: int
    against: str
    plain: File
    ours: File
    times: PairedTimes
    """The plain file's, then ours."""


def rows(
    spec: ModelSpec,
    size: Size,
    attention: Attention,
    folder: Path,
    *,
    converter: str,
    pairs: int,
    threads: Sequence[int],
    plain_by: Sequence[str] = PLAIN,
) -> Iterator[SpeedRow]:
    """Make our file and that of each of ``plain_by``, and time them in turns, at each number of threads."""
    ours = tflite_files.ours(spec, size, attention, folder, converter=converter)
    plain = {name: tflite_files.plain(spec, size, attention, folder, converter=name) for name in plain_by}
    for count in threads:
        files = {"ours": ours.artifact, **{name: file.artifact for name, file in plain.items()}}
        timed = files_by_turns.timed(files, pairs=pairs, threads=count)
        for name, file in plain.items():
            yield SpeedRow(
                model=spec.name,
                size=size,
                threads=count,
                against=name,
                plain=file,
                ours=ours,
                times=timed.compared(name, "ours"),
            )


def _print(rows: Sequence[SpeedRow], converter: str, pairs: int, attention: str) -> None:
    """One line a comparison; counts are those of the plain file → ours."""
    plain_ms = units.milliseconds([row.times.first_ms for row in rows])
    ours_ms = units.milliseconds([row.times.second_ms for row in rows])
    cells: list[tuple[str, ...]] = []
    for row, before, after in zip(rows, plain_ms, ours_ms, strict=True):
        counts = (
            (sum(row.plain.operators.values()), sum(row.ours.operators.values())),
            (row.plain.delegation.partitions, row.ours.delegation.partitions),
            *((_count(row.plain, names), _count(row.ours, names)) for names in COUNTED.values()),
        )
        labels = (row.model, size_words(row.size), str(row.threads), row.against)
        cells.append((*labels, before, after, *row.times.cells, *(f"{plain} → {ours}" for plain, ours in counts)))
    print_table(
        f"{attention} attention, batch 1, {pairs} rounds of fresh processes by turns, ai-edge-litert with XNNPACK, "
        f"random weights (seed 0); plain is bilinear, ours exactly cubic and made by {converter}; counts: plain → ours",
        ("model", "size", "thr", "against", "plain, ms", "ours, ms", *paired_times.HEADS, "nodes", "parts", *COUNTED),
        cells,
        left=("against",),
    )


def _count(file: File, names: Sequence[str]) -> int:
    return sum(file.operators.get(name, 0) for name in names)


@with_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Time the models that are named, and print the table."""
    parser = command_line.parser(__file__, __doc__)
    parser.add_argument("--models", nargs="+", default=MODELS, metavar="NAME")
    parser.add_argument("--size", default=None, metavar="HxW")
    parser.add_argument("--attention", default="relu", choices=("relu", "softmax"))
    parser.add_argument("--pairs", type=int, default=files_by_turns.PAIRS)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--converter", default=PLAIN[0], choices=PLAIN, help="who makes our file")
    parser.add_argument("--files", type=Path, default=None, help="a folder that keeps the files for the next time")
    options = parser.parse_args(arguments)
    if min(options.pairs, *options.threads) < 1:
        raise UsageError("--pairs and --threads are whole numbers from 1", "Use --pairs 6 --threads 1 2.")
    packages.require(("torch", "onnx2tf", "ai_edge_litert"))
    plain_by = tflite_files.plain_by(options.converter)
    specs = [registry.find_model(name) for name in options.models]
    timed: list[SpeedRow] = []
    left_out: list[LeftOut] = []
    with tempfile.TemporaryDirectory(prefix="vitdeploy-tflite-speed-") as place:
        folder: Path = options.files or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        how: dict[str, Any] = {"converter": options.converter, "pairs": options.pairs, "threads": options.threads}
        for spec in specs:
            with each_model(spec.name, left_out):
                size = size_of(spec, options.size)
                for row in rows(spec, size, options.attention, folder, **how, plain_by=plain_by):
                    say(f"{row.model} {row.threads} threads against {row.against}: {row.times.ratio:.2f}x")
                    timed.append(row)
    _print(timed, options.converter, options.pairs, options.attention)
    return end(left_out, len(timed))


if __name__ == "__main__":
    sys.exit(main())
