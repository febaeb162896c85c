"""Run one artifact on given inputs in one fresh process: one job in (JSON on stdin), one reply out (JSON on stdout).

    python -m vitdeploy.inference.worker < job.json

For accuracy, never for timing. Inputs and outputs lie in two flat binary files, beside which the job and the reply
are their tables of contents. Pictures come as bytes and are normalized here, which is a quarter of the traffic. The
reply has ``outputs`` and ``facts``. Standard library and numpy only, beside the runtime.
"""

import sys
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

import numpy as np
from numpy.typing import NDArray

from vitdeploy.catalog.preprocessing import Preprocessing
from vitdeploy.catalog.spec import TensorSpec
from vitdeploy.images.normalize import fill_bytes, normalize
from vitdeploy.processes import child_process
from vitdeploy.runtimes.session import Arrays, Runtime, Session, SessionOptions

PICTURE = "picture"
"""Kind of an input that is bytes ``(h, w, 3)``, to be normalized, padded and batched here."""

ARRAY = "array"
"""Kind of an input that goes into the session as it is, with all inputs of its feed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferenceJob:
    """What the process is told."""

    file: str
    digests: Mapping[str, str]
    """Path → SHA-256 of every file of the artifact."""
    manifest: Mapping[str, Any]
    runtime: str
    device: Literal["cpu", "cuda"]
    """Where a runtime that knows both computes."""
    threads: int
    preprocessing: Mapping[str, Any]
    """Fields of `Preprocessing`, for pictures."""
    feeds: Sequence[Sequence[Mapping[str, Any]]]
    """For each feed its inputs: ``name``, ``kind``, ``dtype``, ``shape`` and the ``offset`` in ``data``."""
    data: str
    outputs: str
    """Paths of the two binary files."""


def run_job(job: InferenceJob) -> dict[str, Any]:
    """Answer every feed; returns the outputs' table of contents and what ran it.

    Raises:
        UnreadableFile: the artifact's bytes are not what the manifest says.
        MissingPackage: the runtime is not installed here.
        ToolchainFailed: the runtime refuses the file, or fails while it runs.
    """
    child_process.check_digests(job.digests)
    runtime = cast("Runtime", child_process.import_runtime(job.runtime))
    options = SessionOptions(threads=job.threads, device=job.device)
    contents: list[list[dict[str, Any]]] = []
    with (
        child_process.failures_of(job.runtime),
        Path(job.data).open("rb") as source,
        Path(job.outputs).open("wb") as target,
        runtime.open_session(Path(job.file), job.manifest, options) as session,
    ):
        for feeds, count in _batches(job, source, session.inputs):
            answers = _infer(session, feeds)
            for place in range(count or 1):
                answer = {name: value[place] if count else value for name, value in answers.items()}
                contents.append([_written(name, value, target) for name, value in answer.items()])
        facts = dict(session.facts)
    return {"outputs": contents, "facts": facts}


def _infer(session: Session, feeds: Arrays) -> Arrays:
    session.put(feeds)
    session.run()
    session.wait()
    return session.get()


def _batches(job: InferenceJob, source: BinaryIO, specs: Sequence[TensorSpec]) -> Generator[tuple[Arrays, int]]:
    """What the session is fed, and how many pictures are in it; 0 for feeds that fill the session by themselves."""
    by_name = {spec.name: spec for spec in specs}
    preprocessing = Preprocessing(**job.preprocessing)
    waiting: list[NDArray[Any]] = []
    for feed in job.feeds:
        if any(entry["kind"] == ARRAY for entry in feed):
            yield {e["name"]: _read(e, source).astype(by_name[e["name"]].dtype, copy=False) for e in feed}, 0
            continue
        (entry,) = feed
        spec = by_name[entry["name"]]
        waiting.append(normalized(_read(entry, source), spec, preprocessing))
        if len(waiting) == spec.shape[0]:
            yield {spec.name: np.ascontiguousarray(np.stack(waiting))}, len(waiting)
            waiting = []
    if waiting:
        (spec,) = specs
        filled = waiting + [waiting[-1]] * (spec.shape[0] - len(waiting))
        yield {spec.name: np.ascontiguousarray(np.stack(filled))}, len(waiting)


def normalized(picture: NDArray[np.uint8], spec: TensorSpec, preprocessing: Preprocessing) -> NDArray[Any]:
    """``picture`` ``(h, w, 3)`` as one image of an input, padded at its right and bottom to the input's size.

    What is padded is zero after normalization, as in SAM's preprocessing; bytes get the mean's nearest color.
    """
    height, width = spec.shape[1:3] if spec.layout == "NHWC" else spec.shape[2:4]
    if spec.dtype == "uint8":
        fill = fill_bytes(preprocessing)
        image: NDArray[Any] = np.broadcast_to(fill, (height, width, len(fill))).copy()
        image[: picture.shape[0], : picture.shape[1]] = picture
    else:
        image = np.zeros((height, width, picture.shape[2]), np.float32)
        image[: picture.shape[0], : picture.shape[1]] = normalize(picture, preprocessing)
    return (image if spec.layout == "NHWC" else image.transpose(2, 0, 1)).astype(spec.dtype, copy=False)


def _read(entry: Mapping[str, Any], source: BinaryIO) -> NDArray[Any]:
    source.seek(entry["offset"])
    count = int(np.prod(entry["shape"], dtype=np.int64))
    return np.fromfile(source, dtype=entry["dtype"], count=count).reshape(entry["shape"])


def _written(name: str, value: NDArray[Any], target: BinaryIO) -> dict[str, Any]:
    entry = {"name": name, "dtype": value.dtype.name, "shape": list(value.shape), "offset": target.tell()}
    target.write(np.ascontiguousarray(value).tobytes())
    return entry


if __name__ == "__main__":
    sys.exit(child_process.answer(run_job, InferenceJob))
