"""Run ``model.pt`` (a state dict) with eager PyTorch: what a deployment is held against.

On a GPU `on_torch_cuda` does it. On a CPU the host's memory is the device's memory: tensors share the numpy arrays'
memory, in and out.
"""

import pickle
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import is_user_model
from vitdeploy.errors import Impossible, ToolchainFailed, UnreadableFile
from vitdeploy.runtimes.loaded_session import LoadedSession, tensors_of
from vitdeploy.runtimes.session import Arrays, Session, SessionOptions


class TorchSession(LoadedSession):
    """One module in eval mode; gradients and version counters are off."""

    def __init__(self, file: Path, manifest: Mapping[str, Any], options: SessionOptions) -> None:
        torch.set_num_threads(options.threads)
        with suppress(RuntimeError):  # may be set only once a process, and only before the first use
            torch.set_num_interop_threads(1)
        super().__init__(tensors_of(manifest["inputs"]), tensors_of(manifest["outputs"]))
        self._module = _load(file, manifest)
        self._half = manifest.get("precision") == "fp16"
        self._copies = is_user_model(manifest["model"])  # which may change its input in place
        self.facts: Mapping[str, str] = {
            "runtime": f"torch {torch.__version__}",
            "provider": "eager, CPU",
            "threads": str(torch.get_num_threads()),
            "inter_op_threads": str(torch.get_num_interop_threads()),
            "mkldnn": "on" if torch.backends.mkldnn.is_available() else "off",
        }
        self._feeds: list[torch.Tensor] = []
        self._results: tuple[torch.Tensor, ...] = ()

    def close(self) -> None:
        """Release the module."""
        del self._module
        self._feeds, self._results = [], ()

    def put(self, feeds: Arrays) -> None:
        """Wrap the inputs where they lie; they must stay as they are until `run` returns.

        Raises:
            UsageError: a name, shape or type is not the module's.
        """
        self.check(feeds)
        self._feeds = [torch.from_numpy(feeds[tensor.name]) for tensor in self.inputs]  # pyright: ignore[reportUnknownMemberType]
        if self._copies:
            self._feeds = [feed.clone() for feed in self._feeds]

    def run(self) -> None:
        """Call the module; on the CPU it is done on return."""
        with torch.inference_mode():
            feeds = [feed.half() for feed in self._feeds] if self._half else self._feeds
            result: torch.Tensor | tuple[torch.Tensor, ...] = self._module(*feeds)
            outputs = (result,) if isinstance(result, torch.Tensor) else tuple(result)
            self._results = tuple(_widened(value) for value in outputs) if self._half else outputs

    def get(self) -> Arrays:
        """The outputs, sharing the tensors' memory."""
        return {tensor.name: value.numpy() for tensor, value in zip(self.outputs, self._results, strict=True)}


def open_session(file: Path, manifest: Mapping[str, Any], options: SessionOptions) -> Session:
    """Build the manifest's model and load the state dict into it.

    Raises:
        ToolchainFailed: the file is not a state dict of that model.
        UnreadableFile: the user model was changed since.
        Impossible: the manifest asks for what the plain module does not do.
        DeviceError: a GPU is asked for and there is none.
    """
    if options.device == "cpu":
        return TorchSession(file, manifest, options)
    from vitdeploy.runtimes.on_torch_cuda import CudaTorchSession

    torch.set_num_threads(options.threads)
    return CudaTorchSession(
        _load(file, manifest),
        tensors_of(manifest["inputs"]),
        tensors_of(manifest["outputs"]),
        options,
        precision=str(manifest.get("precision", "fp32")),
    )


def _widened(value: torch.Tensor) -> torch.Tensor:
    """Halves as float32; labels and flags as they are."""
    return value.float() if value.is_floating_point() else value


_DAMAGED = (OSError, RuntimeError, KeyError, EOFError, TypeError, AttributeError, pickle.UnpicklingError)
"""What torch raises at a file that is not what it should be."""


def _state(file: Path) -> dict[str, torch.Tensor]:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        raise _refused(file, error) from error


def _refused(file: Path, error: Exception) -> ToolchainFailed:
    words = " ".join([type(error).__name__, *str(error).splitlines()[:1]])
    return ToolchainFailed(f"torch {torch.__version__} refuses {file}: {words}", "Export the model again.")


def _load(file: Path, manifest: Mapping[str, Any]) -> torch.nn.Module:
    if (manifest["head"], manifest["io"]) != ("logits", "fp32"):
        raise Impossible(
            f"eager torch runs the module as published, not with head {manifest['head']} and io {manifest['io']}",
            "Export it to an ONNX target instead.",
        )
    spec = registry.find_model(manifest["model"], manifest["part"])
    if manifest.get("made_from") not in (None, spec.made_from):
        raise UnreadableFile(
            f"{spec.name} was changed since {file} was made: eager torch would run its code as it is now",
            "Export it again.",
        )
    state = _state(file)
    # On the meta device nothing is allocated or initialized only to be overwritten, so load_ns is the load's.
    with torch.device("cpu" if is_user_model(spec.name) else "meta"):
        module: torch.nn.Module = registry.module_of(registry.row_of_weights(spec, state), manifest["attention"])
    try:
        module.load_state_dict(state, strict=True, assign=True)
    except _DAMAGED as error:
        raise _refused(file, error) from error
    return module.eval().requires_grad_(False)
