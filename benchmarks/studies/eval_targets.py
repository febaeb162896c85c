"""Accuracy cost of a target on the bundled photographs: agreement of each file with fp32 torch.

    python -m vitdeploy.benchmarks.studies.eval_targets --weights b0.pt [--targets onnx-fp32 tflite-fp32] [--out DIR]

No data set is needed: the labels are those that PyTorch itself gives the bundled photographs, in the format of
Cityscapes, so the reference scores 100 % and what a file has less is its own. It is no accuracy, and not called one.
"""

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from vitdeploy.api import evaluate, export
from vitdeploy.api.export_request import ExportRequest
from vitdeploy.artifacts import manifest
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks.studies import command_line
from vitdeploy.benchmarks.studies.command_line import print_table, with_errors
from vitdeploy.catalog import registry
from vitdeploy.evaluation import segmentation
from vitdeploy.evaluation.record import Figure
from vitdeploy.evaluation.request import EvalRequest
from vitdeploy.images import photos, postprocess
from vitdeploy.runtimes import session

MODEL = "efficientvit_seg_b0_cityscapes"
TARGETS = ("onnx-fp32", "tflite-fp32")
SIZE = (512, 1024)


def exported(target: str, weights: Path, folder: Path) -> Artifact:
    """The model with these weights for a target.

    Raises:
        VitdeployError: the export failed.
    """
    request = ExportRequest(target=target, size=command_line.size_words(SIZE), weights=weights, out=folder)
    row = export.export([MODEL], request)[0]
    if row.artifact is None:
        raise row.error or AssertionError(f"{target} was not made; no reason was reported")
    return row.artifact


def write_set(root: Path, torch: Artifact) -> None:
    """The bundled photographs at the model's size, with the labels that ``torch`` gives them."""
    spec, target = registry.find_model(MODEL), registry.find_target(torch.manifest.target)
    assert target.runtime is not None, "torch runs here"
    left, fine = root / "leftImg8bit/val/photos", root / "gtFine/val/photos"
    left.mkdir(parents=True)
    fine.mkdir(parents=True)
    options = session.SessionOptions(threads=2)
    runtime = registry.load(target.runtime)
    with runtime.open_session(torch.file, manifest.as_json(torch.manifest), options) as opened:
        for path in photos.bundled():
            photo = photos.resize(photos.read(path), SIZE)
            outputs = session.infer(opened, postprocess.model_inputs(photo, torch.manifest, spec))
            answer = postprocess.first_output(outputs[torch.manifest.outputs[0].name], torch.manifest.outputs[0].layout)
            labels = segmentation.labels_of(answer, SIZE)
            name = f"photos_{path.stem}"
            Image.fromarray(photo).save(left / f"{name}_leftImg8bit.png")
            Image.fromarray(labels.astype(np.uint8)).save(fine / f"{name}_gtFine_labelTrainIds.png")


def cells(target: str, figure: Figure) -> tuple[str, ...]:
    """One row of the table."""
    interval = "–" if figure.drop_ci95 is None else "{:.3f} … {:.3f} points".format(*figure.drop_ci95)
    return target, f"{figure.value:.3f} %", f"{figure.reference:.3f} %", interval


@with_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Export the files, write the data set, evaluate, print."""
    parser = command_line.parser(__file__, __doc__)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--targets", nargs="+", default=list(TARGETS))
    parser.add_argument("--out", type=Path, help="where files and pages are kept; default: a folder that is removed")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="vitdeploy-eval-targets-") as temporary:
        folder: Path = options.out or Path(temporary)
        write_set(folder / "photos", exported("torch-fp32", options.weights, folder / "artifacts"))
        rows: list[tuple[str, ...]] = []
        for target in options.targets:
            artifact = exported(target, options.weights, folder / "artifacts")
            request = EvalRequest(
                dataset="cityscapes", root=folder / "photos", weights=options.weights, out=folder / f"{target}.json"
            )
            figures = evaluate.evaluate_artifact([artifact.folder], request).evaluation.figures
            rows.append(cells(target, figures[0]))
    title = "Agreement with fp32 torch: mIoU with its own labels as the truth"
    print_table(title, ("target", "mIoU", "of torch itself", "less by, 95 % interval"), rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
