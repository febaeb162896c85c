"""Small models as users have them: code, an ONNX file, and the export of one in this process."""

from pathlib import Path
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from vitdeploy.artifacts.manifest import open_artifact
from vitdeploy.catalog import registry
from vitdeploy.exporters import step
from vitdeploy.exporters.job import StepJob

USERS_CODE = """
import torch
from torch import nn

def classifier():
    torch.manual_seed(1)
    print("built")
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
                         nn.Linear(8, 7))

class Segmenter(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        self.conv = nn.Conv2d(3, 19, 4, stride=4)
    def forward(self, x):
        return {"logits": self.conv(x), "more": x}

def segmenter():
    return Segmenter()

def enlarger():
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 12, 3, padding=1), nn.PixelShuffle(2))

def two_numbers():
    return nn.Sequential(nn.Flatten(0))

def no_module():
    return 3

def broken():
    raise ValueError("out of luck")

def crashing():
    import os
    os._exit(7)

class Words(nn.Module):
    def forward(self, x):
        return "hello"

def words():
    return Words()

not_callable = 4
"""


def onnx_file(path: Path, shape: tuple[Any, ...] = (1, 3, 32, 32), **changes: Any) -> Path:
    """A convolution and a pooled answer of five classes."""
    weight = numpy_helper.from_array(torch.randn(5, 3, 3, 3, generator=torch.Generator().manual_seed(0)).numpy(), "w")
    entry = helper.make_tensor_value_info("pixels", changes.get("dtype", TensorProto.FLOAT), shape)
    leaving = helper.make_tensor_value_info("scores", changes.get("dtype", TensorProto.FLOAT), (None, 5))
    nodes = [
        helper.make_node("Conv", ["pixels", "w"], ["a"], pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["a"], ["b"]),
        helper.make_node("Flatten", ["b"], ["scores"]),
    ]
    entries = [entry, *changes.get("more", ())]
    graph = helper.make_graph(nodes, "net", entries, [leaving], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def job(folder: Path, name: str, target: str = "onnx-fp32", size: tuple[int, int] | None = None) -> StepJob:
    return StepJob(
        variant=registry.variant_of(registry.find_model(name), target, size=size),
        rewrites=registry.find_target(target).rewrites,
        folder=folder,
    )


def step_of(folder: Path, name: str, target: str = "onnx-fp32") -> Any:
    folder.mkdir(parents=True)
    step.run(job(folder, name, target))
    manifest = open_artifact(folder).manifest
    assert manifest.parity is not None
    assert manifest.parity.passed, manifest.parity.reason
    return manifest
