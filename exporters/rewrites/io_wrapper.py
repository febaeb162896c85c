"""Inputs and outputs of a graph other than the published ones: 8-bit images in, labels out."""

import torch
from torch import Tensor, nn

from vitdeploy.catalog.spec import Head, Io, ModelSpec
from vitdeploy.errors import Impossible
from vitdeploy.models.efficientvit_blocks import Upsample


class IoWrapper(nn.Module):
    """A model that normalizes 8-bit images, or decides labels, or both, inside its graph."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, spec: ModelSpec, *, head: Head, io: Io) -> None:
        super().__init__()
        self.model = model
        self.head = head
        self.io = io
        # As published: logits are enlarged to the picture's size before the argmax, not labels after it.
        self.enlarge = _enlarging(spec) if spec.output_stride and head == "labels" else None
        self.preprocessing = spec.preprocessing
        self.register_buffer("mean", torch.tensor(self.preprocessing.mean).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(self.preprocessing.std).reshape(1, 3, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        """``(n, 3, h, w)`` to the model's output, or to labels ``(n, h, w)`` or ``(n,)``."""
        if self.io == "uint8":
            image = image.float() / self.preprocessing.divisor
            if self.preprocessing.channel_order == "bgr":
                image = torch.cat([image[:, 2:], image[:, 1:2], image[:, :1]], dim=1)
            image = (image - self.mean) / self.std
        logits = self.model(image)
        if self.head == "logits":
            return logits
        if self.enlarge is not None:
            logits = self.enlarge(logits)
        return logits.argmax(dim=1).to(torch.int32)


def _enlarging(spec: ModelSpec) -> nn.Module:
    factor = spec.output_stride or 1
    if spec.enlarge == "bilinear":
        return nn.Upsample(scale_factor=factor, mode="bilinear", align_corners=False)
    return Upsample(factor)


def with_io(model: nn.Module, spec: ModelSpec, *, head: Head, io: Io) -> nn.Module:
    """``model`` with these inputs and outputs; itself where they are the published ones.

    Raises:
        Impossible: the model has no such inputs or outputs.
    """
    if io == "fp16":
        raise Impossible(
            f"{spec.name} in fp32 has no fp16 inputs and outputs", "Use --io fp32, or the target onnx-fp16."
        )
    if head == "labels" and spec.task not in ("classification", "segmentation"):
        raise Impossible(f"{spec.name} has no labels: it is for {spec.task}", "Use --head logits.")
    if head == "logits" and io == "fp32":
        return model
    return IoWrapper(model, spec, head=head, io=io).eval()
