"""The process of one litert-torch conversion, run by path in an interpreter that need not have anything of ours.

    python -I tflite_litert_torch.py PROGRAM.pt2 FILE.tflite

The program is a ``torch.export`` archive of a module whose maps have their channels first; in the file they are
last. A leaf over an untyped framework. Nothing of `vitdeploy` may be imported here.
"""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import ctypes
import signal
import sys

import litert_torch
import torch


def convert(program: str, file: str) -> None:
    """Convert, the channels of every input and output map last, as onnx2tf makes them."""
    loaded = torch.export.load(program)
    module = loaded.module()
    inputs = loaded.example_inputs
    assert inputs is not None, "torch.export keeps what it was called with"
    entries = inputs[0]
    with torch.no_grad():
        output = module(*entries)
    results = (output,) if isinstance(output, torch.Tensor) else tuple(output)
    maps_in, maps_out = ([place for place, value in enumerate(side) if value.ndim == 4] for side in (entries, results))
    turned = litert_torch.to_channel_last_io(_Called(module), args=maps_in, outputs=maps_out or None)
    arguments = tuple(tensor.permute(0, 2, 3, 1).contiguous() if tensor.ndim == 4 else tensor for tensor in entries)
    litert_torch.convert(turned.eval(), arguments).export(file)


class _Called(torch.nn.Module):
    """A loaded program refuses ``eval``, which the converter calls; held in a list it is not asked."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self._held = [module]

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        return self._held[0](*inputs)


PR_SET_PDEATHSIG = 1
"""Source: ``linux/prctl.h``."""

if __name__ == "__main__":
    if sys.platform == "linux":  # be killed when the parent is
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    convert(*sys.argv[1:3])
