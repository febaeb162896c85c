"""Our builder and runtime on NVIDIA's real bindings whose libraries answer nothing, as JSON on stdout.

``python bindings_without_library.py MODULE``, in a process of `tests.doubles.nvidia_bindings.environment` that finds
the project too. A builder or a runtime that does not start (a driver is missing or too old) is a null pointer in
TensorRT, as here.
"""

import contextlib
import importlib
import io
import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any


def answers(module: str) -> dict[str, Any]:
    """What our loggers and our profiler keep, and how a builder and a runtime that do not start are told."""
    sys.modules["tensorrt_libs"] = sys.modules["tensorrt_rtx_libs"] = ModuleType("none: stand-ins are loaded")
    trt = importlib.import_module(module)
    from vitdeploy.exporters.engines import build
    from vitdeploy.runtimes import on_trt, profiled_trt

    logger, log, profiler = on_trt.make_logger(trt), build._Logger(trt), profiled_trt.make_profiler(trt)
    for receiver in (logger, log.logger):
        receiver.log(trt.ILogger.Severity.ERROR, "planted")
        receiver.log(trt.ILogger.Severity.WARNING, "a warning")
    profiler.report_layer_time("layer", 0.5)
    with tempfile.TemporaryDirectory() as folder:
        engine = Path(folder) / "model.engine"
        engine.write_bytes(b"engine")
        return {
            "kept": [logger.last, log.last],
            "layers": profiler.layers,
            "builder": _told(lambda: build._parsed(trt, "tensorrt", "model.onnx", log)),
            "runtime": _told(lambda: on_trt._load(trt, "tensorrt", "of the test", engine)),
        }


def _told(call: Callable[[], Any]) -> list[str]:
    try:
        call()
    except Exception as error:  # noqa: BLE001 (what it is, is the answer)
        return [type(error).__name__, str(error).splitlines()[0]]
    return ["nothing"]


if __name__ == "__main__":
    with contextlib.redirect_stdout(io.StringIO()):
        told = answers(sys.argv[1])
    print(json.dumps(told))
