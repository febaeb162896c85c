"""Speed of the TFLite rewrites: our file with exact cubic upsampling against both converters' plain files.

    python -m vitdeploy.benchmarks.studies.tflite_speed [--models NAME…] [--size HxW] [--pairs 6] [--threads 1 2]
                                                [--converter onnx2tf|litert-torch] [--files DIR]

The plain files are made by onnx2tf and by litert-torch of the same model, made bilinear where it is cubic: a cubic
resize is no operator of TFLite, so that is all they can do. Without litert-torch its columns are left out, and a model
that cannot be converted is left out with its reason. All files of a model take turns as the sides of `vitdeploy duel`
do: fresh processes beside each other, of which the ratio is taken turn by turn. The interval is Student's t over the
logarithms of the rounds' ratios.
"""

# pyright: reportUnknownMemberType=false

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from vitdeploy import units
from vitdeploy.artifacts.manifest import Artifact, Delegation
from vitdeploy.benchmarks.studies import command_line, files_by_turns, paired_times
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
from vitdeploy.catalog import packages, registry
from vitdeploy.catalog.spec import Attention, ModelSpec, Size
from vitdeploy.errors import MissingPackage, UsageError
from vitdeploy.models.efficientvit_blocks import Upsample

TARGET = "tflite-fp32"
PLAIN = ("onnx2tf", "litert-torch")

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


class Bilinear(nn.Module):
    """What stands for a cubic enlargement in a plain file."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(n, c, h, w)`` to ``(n, c, h * factor, w * factor)``."""
        size = (x.shape[-2] * self.factor, x.shape[-1] * self.factor)
        return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file and what is in it."""

    artifact: Artifact
    operators: Mapping[str, int]
    delegation: Delegation


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
    ours = _file(_ours, spec, size, attention, converter, folder)
    plain = {name: _file(_plain, spec, size, attention, name, folder) for name in plain_by}
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


def _file(make: Any, spec: ModelSpec, size: Size, attention: Attention, converter: str, folder: Path) -> File:
    """The file of a maker, taken from the folder where it lies there already."""
    kind = make.__name__.strip("_")
    path = folder / f"{spec.name}-{attention}-{size_words(size)}-{kind}-{converter}" / "model.tflite"
    if not path.exists():
        say(f"making {path.parent.name}")
        path.parent.mkdir(exist_ok=True)
        module = registry.load("vitdeploy.models.create:create")(spec, attention=attention)
        with tempfile.TemporaryDirectory(prefix="vitdeploy-tflite-speed-") as place:
            file: Path = make(module, spec, size, converter, Path(place))
            path.write_bytes(file.read_bytes())
    inspect = registry.load("vitdeploy.exporters.tflite.inspect_file")
    inputs, outputs = inspect.tensors(path)
    variant = registry.variant_of(spec, TARGET, size=size, attention=attention)
    artifact = files_by_turns.artifact_of(path, variant, spec, inputs=inputs, outputs=outputs)
    return File(artifact=artifact, operators=inspect.operators(path), delegation=inspect.delegation(path))


def _ours(module: nn.Module, spec: ModelSpec, size: Size, converter: str, place: Path) -> Path:
    job = registry.load("vitdeploy.exporters.job:StepJob")(
        variant=registry.variant_of(spec, TARGET, size=size, converter=converter),
        rewrites=registry.find_target(TARGET).rewrites,
        folder=place,
    )
    return place / registry.load("vitdeploy.exporters.to_tflite:make")(module, spec, job).file


def _plain(module: nn.Module, spec: ModelSpec, size: Size, converter: str, place: Path) -> Path:
    """What everybody gets: the converter's file of the module as it is, but for the cubic resize."""

    def bilinear(name: str, part: nn.Module) -> nn.Module | None:
        del name
        return Bilinear(part.factor) if isinstance(part, Upsample) else None

    registry.load("vitdeploy.exporters.rewrites.modules:replace_modules")(module, bilinear)
    image, file = torch.zeros(1, 3, *size), place / "plain.tflite"
    convert = registry.load("vitdeploy.exporters.tflite.convert")
    if converter == "onnx2tf":
        graph = place / "plain.onnx"
        registry.load("vitdeploy.exporters.to_onnx:plain")(module, image, graph)
        convert.run_onnx2tf(graph, file, place, plain=True)
    else:
        convert.convert(module, {"image": image}, [spec.output], file, converter)
    return file


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
    plain_by = _plain_by(options.converter)
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


def _plain_by(converter: str) -> tuple[str, ...]:
    """The converters whose plain files are made; litert-torch is left out, and that is said, where it is not here.

    Raises:
        MissingPackage: our own file is to be made by it.
    """
    try:
        registry.load("vitdeploy.exporters.tflite.litert_torch_env:require_litert_torch")()
    except MissingPackage as error:
        if converter != PLAIN[0]:
            raise
        say(f"without litert-torch's files: {error.message}. {error.hint}")
        return PLAIN[:1]
    return PLAIN


if __name__ == "__main__":
    sys.exit(main())
