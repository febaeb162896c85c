"""Runtime of the module under ``torch.compile``, as it is without options; for studies, never a target.

What Inductor makes is kept beside the file, so that a fresh process does not compile again.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vitdeploy.runtimes import on_torch
from vitdeploy.runtimes.session import Session, SessionOptions


class CompiledSession(on_torch.TorchSession):
    """A module that is compiled by its first inference."""

    def __init__(self, file: Path, manifest: Mapping[str, Any], options: SessionOptions) -> None:
        # Source: docs.pytorch.org, "Compile Time Caching in torch.compile". One process compiles: a pool of them
        # would outlive the first inference.
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(file.parent / "inductor"))
        os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
        super().__init__(file, manifest, options)
        self._module: Any = torch.compile(self._module)  # pyright: ignore[reportUnknownMemberType]
        self.facts: Mapping[str, str] = {**self.facts, "provider": "torch.compile (inductor), CPU"}


def open_session(file: Path, manifest: Mapping[str, Any], options: SessionOptions) -> Session:
    """Load a state dict.

    Raises:
        ToolchainFailed: the file is not a state dict of the manifest's model.
    """
    return CompiledSession(file, manifest, options)
