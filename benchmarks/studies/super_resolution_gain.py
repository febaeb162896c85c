"""What official super-resolution weights gain on photographs, over bicubic enlargement.

    python -m vitdeploy.benchmarks.studies.super_resolution_gain WEIGHTS… [--photos DIR] [--size HxW]

Each file is recognised by its digest, exported to ONNX in fp32 for one input size, and asked through `predict`. A
photograph is cut to the output's size and made smaller as the papers do it, with MATLAB's ``imresize``; the file's
picture and the bicubic enlargement of the same small one are held against the photograph: PSNR on Y, without as many
border pixels as the factor. It is the papers' protocol on other photographs, so a figure is not theirs. What can be
held against them is the gain.
"""

import statistics
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PIL import Image

from vitdeploy.api import export, predict
from vitdeploy.api.export_request import ExportRequest
from vitdeploy.api.predict import PredictRequest
from vitdeploy.artifacts.manifest import digest_of
from vitdeploy.benchmarks.studies import command_line
from vitdeploy.benchmarks.studies.command_line import LeftOut, print_table, with_errors
from vitdeploy.catalog import checkpoints, registry
from vitdeploy.catalog.checkpoints import Checkpoint
from vitdeploy.catalog.spec import Size
from vitdeploy.errors import UnreadableFile, UsageError
from vitdeploy.evaluation.super_resolution import psnr_y
from vitdeploy.images import matlab_cubic, photos
from vitdeploy.images.photos import Photo

TARGET: Final = "onnx-fp32"

OUTPUT: Final = (288, 448)
"""Height and width of the pictures that are held against each other; every bundled photograph holds it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """One photograph through one file."""

    photo: str
    model_db: float
    bicubic_db: float

    @property
    def db(self) -> float:
        """How much nearer the file's picture is."""
        return self.model_db - self.bicubic_db


def checkpoint_of(weights: Path) -> Checkpoint:
    """The official super-resolution checkpoint that a file is.

    Raises:
        UnreadableFile: it cannot be read, or is none.
    """
    checkpoint = checkpoints.recognised(digest_of(weights), weights.stat().st_size)
    if checkpoint is None or registry.find_model(checkpoint.model).scale is None:
        raise UnreadableFile(
            f"{weights} is no official super-resolution checkpoint that is known",
            "`vitdeploy weights bsrn_x4 vapsr_x2` says where they are.",
        )
    return checkpoint


def gains(weights: Path, checkpoint: Checkpoint, pictures: Sequence[Path], output: Size, place: Path) -> list[Gain]:
    """Every photograph through one file.

    Args:
        output: height and width of what is made.
        place: an empty folder for the artifact and the pictures.

    Raises:
        VitdeployError: the export failed.
    """
    scale = registry.find_model(checkpoint.model).scale or 1
    small_size = (output[0] // scale, output[1] // scale)
    request = ExportRequest(
        target=TARGET, size=command_line.size_words(small_size), weights=weights, out=place / "artifacts"
    )
    (result,) = export.export([checkpoint.model], request)
    if result.error is not None:
        raise result.error
    assert result.artifact is not None, "an export without an error has an artifact"
    rows: list[Gain] = []
    for path in pictures:
        truth = _cut(photos.read(path, upright=True), output)
        small = matlab_cubic.resized(truth, small_size)
        image, out = place / f"{path.stem}-small.png", place / f"{path.stem}-enlarged.png"
        Image.fromarray(small).save(image)
        predict.predict(PredictRequest(artifact=result.artifact.folder, image=str(image), out=out))
        answers = (photos.read(out), matlab_cubic.resized(small, output))
        model_db, bicubic_db = (psnr_y(truth, answer, scale) for answer in answers)
        rows.append(Gain(photo=path.stem, model_db=model_db, bicubic_db=bicubic_db))
        command_line.say(f"{checkpoint.title}, {path.stem}: {rows[-1].db:+.2f} dB over bicubic")
    return rows


def _cut(photo: Photo, size: Size) -> Photo:
    """The middle of a photograph, its pixels as they are."""
    top, left = ((photo.shape[axis] - size[axis]) // 2 for axis in (0, 1))
    return photo[top : top + size[0], left : left + size[1]]


def _holding(paths: Iterable[Path], output: Size) -> list[Path]:
    """The photographs that are no smaller than ``output``."""
    sizes = {path: photos.read(path, upright=True).shape for path in paths}
    large = [path for path, (height, width, _) in sizes.items() if height >= output[0] and width >= output[1]]
    if not large:
        raise UsageError(
            f"no photograph holds {command_line.size_words(output)}",
            "Name a folder of larger ones, or a smaller --size.",
        )
    return large


def _cells(checkpoint: Checkpoint, rows: Sequence[Gain]) -> list[tuple[str, ...]]:
    cells = [(checkpoint.title, row.photo, row.model_db, row.bicubic_db) for row in rows]
    means = [statistics.fmean(getattr(row, name) for row in rows) for name in ("model_db", "bicubic_db")]
    cells.append((checkpoint.title, f"mean of {len(rows)}", means[0], means[1]))
    return [
        (title, photo, f"{model:.2f}", f"{bicubic:.2f}", f"{model - bicubic:+.2f}")
        for title, photo, model, bicubic in cells
    ]


@with_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """The study."""
    parser = command_line.parser(__file__, __doc__)
    parser.add_argument("weights", nargs="+", type=Path, help="official checkpoints")
    parser.add_argument("--photos", type=Path, help="folder of photographs; default: those that two packages ship")
    parser.add_argument("--size", help="height and width of the output; default: 288x448")
    options = parser.parse_args(arguments)
    output = registry.parse_size(options.size) if options.size else OUTPUT
    pictures = _holding(photos.in_folder(options.photos) if options.photos else photos.bundled(), output)
    named = [(path, checkpoint_of(path)) for path in options.weights]
    left_out: list[LeftOut] = []
    cells: list[tuple[str, ...]] = []
    for weights, checkpoint in named:
        with command_line.each_model(checkpoint.name, left_out), tempfile.TemporaryDirectory() as place:
            cells += _cells(checkpoint, gains(weights, checkpoint, pictures, output, Path(place)))
    title = f"PSNR on Y in dB, output {command_line.size_words(output)}, {TARGET}"
    print_table(title, ("weights", "photograph", "model", "bicubic", "gain"), cells, left=("photograph",))
    return command_line.end(left_out, len(cells))


if __name__ == "__main__":
    sys.exit(main())
