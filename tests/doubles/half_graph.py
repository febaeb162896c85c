"""A model's half-precision graph with the rewrites that a test names."""

from typing import Any

import torch

from vitdeploy.exporters import to_onnx
from vitdeploy.exporters.half import graph
from vitdeploy.exporters.rewrites import table


def graph_of(model: Any, names: tuple[str, ...], side: tuple[int, int], precision: str = "fp16") -> Any:
    image = torch.zeros(1, 3, *side)
    made, _ = table.rewritten(model, names, image)
    return graph.halved(to_onnx.exported(made, {"image": image}, ["logits"]), half_io=False, precision=precision)
