"""The process of one litert-torch conversion, run by path in an interpreter that need not have anything of ours.

    python -I tflite_litert_torch.py PROGRAM.pt2 FILE.tflite

The program is a ``torch.export`` archive of a module with one image and one output, channels first; the file is
channels last. A leaf over an untyped framework. Nothing of `vitdeploy` may be imported here.
"""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import ctypes
import signal
import sys

import litert_torch
import torch


def convert(program: str, file: str) -> None:
    """Convert, with the image and a map in the output channels last, as onnx2tf makes them."""
    loaded = torch.export.load(program)
    module = loaded.module()
    inputs = loaded.example_inputs
    assert inputs is not None, "torch.export keeps what it was called with"
    (image,) = inputs[0]
    with torch.no_grad():
        is_map = module(image).ndim == 4
    turned = litert_torch.to_channel_last_io(_Called(module), args=[0], outputs=[0] if is_map else None)
    litert_torch.convert(turned.eval(), (image.permute(0, 2, 3, 1).contiguous(),)).export(file)


class _Called(torch.nn.Module):
    """A loaded program refuses ``eval``, which the converter calls; held in a list it is not asked."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self._held = [module]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self._held[0](image)


PR_SET_PDEATHSIG = 1
"""Source: ``linux/prctl.h``."""

if __name__ == "__main__":
    if sys.platform == "linux":  # be killed when the parent is
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    convert(*sys.argv[1:3])
