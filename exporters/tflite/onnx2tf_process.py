"""The process of one onnx2tf conversion: graph, file and plain on stdin.

A leaf over onnx2tf and tensorflow, both untyped. It runs in a directory of its own, which it may fill.
"""

# pyright: reportMissingTypeStubs=false, reportMissingModuleSource=false, reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownLambdaType=false
# pyright: reportMissingImports=false, reportUnknownParameterType=false

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np

from vitdeploy.processes import child_process

SAMPLES = "calibration_image_sample_data_20x128x128x3_float32.npy"
"""What onnx2tf reads from its working directory, and would fetch if it were not there.

Source: ``download_test_image_data`` of onnx2tf 1.28.8.
"""


MAP_RANK = 4
"""Axes of what has channels to put last."""


def samples() -> Any:
    """Twenty images of noise. They are not calibration: onnx2tf tells by them whether it guessed a layout right."""
    return np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32)


def convert(graph: Path, file: Path, *, plain: bool) -> None:
    """Convert an ONNX graph to a TFLite file, channels last.

    Args:
        plain: allow TensorFlow's own operators where TFLite has none, as onnx2tf's command does; a runtime that
            has only TFLite's then refuses the file.
    """
    np.save(Path.cwd() / SAMPLES, samples())
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    # onnx2tf and tensorflow are imported here and not above: what they read from the environment is now set.
    import onnx
    import onnx2tf
    import tensorflow as tf

    entries = onnx.load(str(graph), load_external_data=False).graph.input
    # Where it is not told otherwise it also turns lists of points, which have three axes and no channels.
    lists = [entry.name for entry in entries if len(entry.type.tensor_type.shape.dim) != MAP_RANK]

    model: Any = onnx2tf.convert(
        input_onnx_file_path=str(graph),
        output_folder_path=str(Path.cwd() / "onnx2tf"),
        not_use_onnxsim=True,  # the graph was simplified when it was made
        keep_shape_absolutely_input_names=lists or None,
        disable_model_save=True,  # two more formats of it, and a second file in float16
        verbosity="warn",
    )
    signature = [tf.TensorSpec(tensor.shape, tensor.dtype, tensor.name) for tensor in model.inputs]
    function = tf.function(func=lambda *inputs: model(inputs), input_signature=signature).get_concrete_function()
    converter: Any = tf.lite.TFLiteConverter.from_concrete_functions([function])
    sets = [tf.lite.OpsSet.TFLITE_BUILTINS] + [tf.lite.OpsSet.SELECT_TF_OPS] * plain
    converter.target_spec.supported_ops = sets
    file.write_bytes(converter.convert())


if __name__ == "__main__":
    sys.exit(child_process.answer(lambda job: convert(Path(job["graph"]), Path(job["file"]), plain=job["plain"])))
