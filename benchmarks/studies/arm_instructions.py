"""Arm instructions of one inference: our TFLite file against plain ones, and linear against softmax attention.

    python -m vitdeploy.benchmarks.studies.arm_instructions [--models NAME…] [--size HxW] [--sides N…] [--calls 2]
                                                [--files DIR] [--guest DIR]

The plain files are those that onnx2tf and litert-torch make of the model. ai-edge-litert's aarch64 wheel runs all files
with XNNPACK on one thread of a Cortex-A76 that qemu-user emulates, and a plugin counts what it executes. These are
instructions, never time: caches, memory and the width of a core are not in them. Debian's Python and the wheels are
fetched into a cache folder at the first call, about 270 MB.

Without litert-torch its columns are left out.
"""

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vitdeploy.benchmarks.studies import arm_counts, arm_guest, command_line, tflite_files
from vitdeploy.benchmarks.studies.arm_counts import Counts
from vitdeploy.benchmarks.studies.command_line import (
    LeftOut,
    each_model,
    end,
    markdown,
    say,
    size_of,
    size_words,
    with_errors,
)
from vitdeploy.benchmarks.studies.tflite_files import File
from vitdeploy.catalog import packages, registry
from vitdeploy.catalog.spec import Attention, ModelSpec, Size
from vitdeploy.errors import UsageError
from vitdeploy.studies import attention_study

MODELS = (
    *(f"efficientvit_{variant}" for variant in ("b0", "b1", "b2")),
    *(f"efficientvit_seg_{variant}_cityscapes" for variant in ("b0", "b1")),
)

CALLS = 2
"""Counted inferences of a file: they differ by less than one in a thousand."""

CONVERTER = tflite_files.PLAIN[0]
"""Who makes our own files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRow:
    """One model: our file, and the plain file of each converter that is here."""

    model: str
    size: Size
    ours: Counts
    plain: Mapping[str, Counts]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttentionRow:
    """One side of a feature map: softmax attention, and linear attention at equal width and at equal arithmetic."""

    side: int
    softmax: Counts
    linear: Counts
    wide: Counts
    wide_width: int
    """Channels of the third."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What counts: the guest, the plugin, and where files are kept."""

    guest: arm_guest.Guest
    library: Path
    files: Path
    calls: int

    def count(self, what: str, file: File) -> Counts:
        """Count one file, and say it."""
        counts = arm_counts.count(self.guest, self.library, file.artifact, calls=self.calls)
        words = f"{millions(counts)} million instructions, calls differ by {counts.spread:.2%}"
        say(f"{what}: {words}, {counts.facts['runtime']}, {counts.facts['delegate_partitions']} partitions")
        return counts


def model_row(spec: ModelSpec, size: Size, bench: Bench, *, plain_by: Sequence[str] = tflite_files.PLAIN) -> ModelRow:
    """Make the files of a model, and count each."""
    ours = tflite_files.ours(spec, size, "relu", bench.files, converter=CONVERTER)
    plain = {name: tflite_files.plain(spec, size, "relu", bench.files, converter=name) for name in plain_by}
    return ModelRow(
        model=spec.name,
        size=size,
        plain={name: bench.count(f"{spec.name} {size_words(size)} by {name}", file) for name, file in plain.items()},
        ours=bench.count(f"{spec.name} {size_words(size)} ours", ours),
    )


def attention_row(side: int, bench: Bench) -> AttentionRow:
    """Make the modules of one side, and count each."""
    wide = attention_study.equal_width(side * side)

    def counted(width: int, attention: Attention) -> Counts:
        spec = registry.find_model(f"attention_w{width}")
        file = tflite_files.ours(spec, (side, side), attention, bench.files, converter=CONVERTER)
        return bench.count(f"{spec.name} {attention} {side}x{side}", file)

    return AttentionRow(
        side=side,
        softmax=counted(attention_study.WIDTH, "softmax"),
        linear=counted(attention_study.WIDTH, "relu"),
        wide=counted(wide, "relu"),
        wide_width=wide,
    )


def model_table(rows: Sequence[ModelRow], plain_by: Sequence[str]) -> list[str]:
    """Lines of the first table; a ratio is plain over ours."""
    heads = ("model", "size", *(f"{name}, M" for name in plain_by), "ours, M", *(f"{name} / ours" for name in plain_by))
    cells = [
        (
            row.model,
            size_words(row.size),
            *(millions(row.plain[name]) for name in plain_by),
            millions(row.ours),
            *(ratio(row.plain[name], row.ours) for name in plain_by),
        )
        for row in rows
    ]
    return markdown(heads, cells, dict.fromkeys(heads[1:], "---:"))


def attention_table(rows: Sequence[AttentionRow]) -> list[str]:
    """Lines of the second table; a ratio is softmax over linear."""
    width = attention_study.WIDTH
    heads = (
        *("tokens", f"softmax, {width} channels, M", f"linear, {width} channels, M", "softmax / linear"),
        *("linear, equal arithmetic, M", "softmax / that"),
    )
    cells = [
        (
            f"{row.side}² = {row.side**2}",
            millions(row.softmax),
            millions(row.linear),
            ratio(row.softmax, row.linear),
            f"{millions(row.wide)} ({row.wide_width} channels)",
            ratio(row.softmax, row.wide),
        )
        for row in rows
    ]
    return markdown(heads, cells, dict.fromkeys(heads[1:], "---:"))


def millions(counts: Counts) -> str:
    """Instructions of one inference, in millions, in four digits."""
    value = counts.instructions / 1e6
    return f"{value:.0f}" if value >= 1000 else f"{value:#.4g}"


def ratio(over: Counts, under: Counts) -> str:
    """One count over another."""
    return f"{over.instructions / under.instructions:.2f}"


def _rows(
    names: Sequence[str], size: str | None, bench: Bench, plain_by: Sequence[str], left_out: list[LeftOut]
) -> Iterator[ModelRow]:
    for spec in [registry.find_model(name) for name in names]:
        with each_model(spec.name, left_out):
            yield model_row(spec, size_of(spec, size), bench, plain_by=plain_by)


def _attention_rows(sides: Sequence[int], bench: Bench, left_out: list[LeftOut]) -> Iterator[AttentionRow]:
    for side in sides:
        with each_model(f"attention at {side}x{side}", left_out):
            yield attention_row(side, bench)


@with_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Count the models and sides that are named, and print both tables."""
    parser = command_line.parser(__file__, __doc__)
    parser.add_argument("--models", nargs="*", default=MODELS, metavar="NAME")
    parser.add_argument("--size", default=None, metavar="HxW")
    parser.add_argument("--sides", nargs="*", type=int, default=attention_study.FIGURE_4_SIDES, metavar="N")
    parser.add_argument("--calls", type=int, default=CALLS, help="counted inferences of each file")
    parser.add_argument("--files", type=Path, default=None, help="a folder that keeps the files for the next time")
    parser.add_argument("--guest", type=Path, default=arm_guest.default_folder(), help="where the Arm userland is kept")
    options = parser.parse_args(arguments)
    if min((options.calls, *options.sides)) < 1:
        raise UsageError("--calls and --sides are whole numbers from 1", "Use --calls 2 --sides 24 32 40.")
    packages.require(("torch", "onnx2tf", "ai_edge_litert"))
    say(f"the Arm userland is in {options.guest}")
    guest = arm_guest.prepare(options.guest)
    plain_by = tflite_files.plain_by(CONVERTER) if options.models else ()
    left_out: list[LeftOut] = []
    with tempfile.TemporaryDirectory(prefix="vitdeploy-arm-instructions-") as place:
        files: Path = options.files or Path(place)
        files.mkdir(parents=True, exist_ok=True)
        library = arm_counts.plugin(options.guest / "plugin")
        bench = Bench(guest=guest, library=library, files=files, calls=options.calls)
        rows = list(_rows(options.models, options.size, bench, plain_by, left_out))
        attention = list(_attention_rows(options.sides, bench, left_out))
    print(f"Arm instructions of one inference, in millions; {arm_guest.CPU}, one thread, {arm_guest.WHEELS[0]}")
    for lines in ([] if not rows else model_table(rows, plain_by), [] if not attention else attention_table(attention)):
        print("\n".join(lines))
    return end(left_out, len(rows) + len(attention))


if __name__ == "__main__":
    sys.exit(main())
