"""An engine of the TensorRT double: one convolution and one ReLU."""

from pathlib import Path
from typing import Any

import msgspec

from tests.doubles import artifacts
from vitdeploy.artifacts.manifest import Artifact, digest_of
from vitdeploy.runtimes import on_trt
from vitdeploy.runtimes.session import Session, SessionOptions, infer

BOUND = {"compute_capability": ["8.7"], "tensorrt": "10.3.0", "gpu": "Orin (test double)"}


def engine_in(folder: Path, **changes: Any) -> Artifact:
    """The double's engine of one convolution and one ReLU."""
    made = artifacts.conv_relu(folder)
    file = folder / "model.engine"
    file.write_bytes(b"TEST DOUBLE OF AN ENGINE\n" + made.file.read_bytes())
    settings = {"target": "trt-fp16", "bound_to": BOUND, **changes}
    manifest = msgspec.structs.replace(
        made.manifest, file=file.name, sha256=digest_of(file), size_bytes=file.stat().st_size, **settings
    )
    return Artifact(folder, manifest)


def opened(made: Artifact, **options: Any) -> Session:
    settings = SessionOptions(threads=1, **options)
    return on_trt.open_session(made.file, msgspec.to_builtins(made.manifest), settings)


def expected(made: Artifact, feeds: Any) -> Any:
    from vitdeploy.runtimes import on_ort

    manifest = msgspec.to_builtins(made.manifest)
    with on_ort.open_session(made.folder / "model.onnx", manifest, SessionOptions(threads=1)) as session:
        return infer(session, feeds)["logits"]
