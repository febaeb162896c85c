"""The yardstick of each case of a run: its file, or why there is none. What it wins decides whether it is on."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import platformdirs

from vitdeploy import documents
from vitdeploy.benchmarks.yardstick import network
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import Compute, TensorSpec
from vitdeploy.errors import UsageError, VitdeployError
from vitdeploy.processes.connection import Connection
from vitdeploy.results import record
from vitdeploy.results.record import Case

Wish = Literal["on", "off"]

ON_BY_DEFAULT: Mapping[str, bool] = {
    "vitdeploy.runtimes.on_ort": True,
    "vitdeploy.runtimes.on_tflite": True,
}
"""Runtime → whether its cases have a yardstick where nothing is said. Source: docs/measured.md, by
benchmarks/studies/yardstick.py: from round to round the ratio scatters a third to a fifth as much as the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Format:
    """How the network is written for a runtime."""

    writer: str
    suffix: str
    inputs: TensorSpec
    outputs: TensorSpec


_LOGITS = TensorSpec(name="logits", shape=(1, network.CLASSES), dtype="float32", layout="NC")
_SQUARE = (network.SIDE, network.SIDE)

_FORMATS: Mapping[str, _Format] = {
    "vitdeploy.runtimes.on_ort": _Format(
        writer="vitdeploy.benchmarks.yardstick.to_onnx",
        suffix=".onnx",
        inputs=TensorSpec(name="image", shape=(1, 3, *_SQUARE), dtype="float32", layout="NCHW"),
        outputs=_LOGITS,
    ),
    "vitdeploy.runtimes.on_tflite": _Format(
        writer="vitdeploy.benchmarks.yardstick.to_tflite",
        suffix=".tflite",
        inputs=TensorSpec(name="image", shape=(1, *_SQUARE, 3), dtype="float32", layout="NHWC"),
        outputs=_LOGITS,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class YardstickFile:
    """The network in the format of a runtime."""

    path: Path
    sha256: str
    manifest: Mapping[str, Any]
    """What a runtime reads of a manifest: the graph's inputs and outputs."""

    def push(self, link: Connection) -> dict[str, str]:
        """Copy it to a device: path there → SHA-256.

        Raises:
            DeviceError: the device was lost.
        """
        return {link.push(self.path, sha256=self.sha256): self.sha256}


class Yardsticks:
    """The yardsticks of one run, by target."""

    def __init__(self, wish: Wish | None = None) -> None:
        """Begin a run; ``wish``: what the user said, None: each runtime's own default."""
        self._wish = wish
        self._files: dict[str, YardstickFile] = {}
        self._off: dict[str, str] = {}

    def plan(self, case: Case, compute: Compute, obstacle: str | None) -> None:
        """Make the yardstick of a case; ``obstacle`` is why the case cannot be timed in turns.

        One case of a target that can be timed so is enough for its yardstick; the others are timed without it.
        """
        if case.target in self._files:
            return
        runtime = registry.find_target(case.target).runtime
        why = self._why_not(runtime, compute, obstacle)
        if why is not None or runtime is None:
            self._off[case.target] = why or "it has no runtime"
            return
        try:
            self._files[case.target] = written(runtime)
            self._off.pop(case.target, None)
        except VitdeployError as error:
            self._off[case.target] = error.message
        except ImportError as error:
            self._off[case.target] = f"the network is written with a package that is not installed here: {error}"

    def _why_not(self, runtime: str | None, compute: Compute, obstacle: str | None) -> str | None:
        if self._wish == "off":
            return "--yardstick off"
        if obstacle is not None:
            return obstacle
        if compute != "cpu":
            return "it is for the CPU"
        if runtime is None or runtime not in _FORMATS:
            return "there is no network in the format of its runtime"
        if self._wish is None and not ON_BY_DEFAULT[runtime]:
            return "off by default for this runtime; --yardstick on times it"
        return None

    def of(self, case: Case) -> YardstickFile | None:
        """The file of a case that was planned; None: it is timed without one."""
        return None if case.target in self._off or case.streams > 1 else self._files.get(case.target)

    def turn_off(self, target: str, why: str) -> None:
        """Time no further yardstick of a target, since one failed."""
        self._off.setdefault(target, why)

    def follow(self, earlier: record.Yardstick | None) -> None:
        """Go on as an interrupted run began.

        Raises:
            UsageError: it has a yardstick that is not the one that can be made here now.
        """
        if earlier is None:
            earlier = record.Yardstick(networks={}, off=dict.fromkeys(self._files, "the run began without it"))
        for target, sha256 in earlier.networks.items():
            made = self._files.get(target)
            if made is None or made.sha256 != sha256:
                now = self._off.get(target, "no case of it") if made is None else f"{made.sha256[:12]}…"
                raise UsageError(
                    f"the run cannot be resumed: the yardstick of {target} is {sha256[:12]}… there and now: {now}",
                    "Resume it as it was begun, or choose another place with --out.",
                )
        for target, why in earlier.off.items():
            self.turn_off(target, why)

    @property
    def refused(self) -> dict[str, str]:
        """Target → why it has none, where the user asked for one."""
        return dict(self._off) if self._wish == "on" else {}

    @property
    def recorded(self) -> record.Yardstick:
        """For the run."""
        networks = {target: file.sha256 for target, file in self._files.items()}
        return record.Yardstick(networks=networks, off=dict(self._off))


def written(runtime: str) -> YardstickFile:
    """The network in the format of a runtime, written into the user's cache.

    Raises:
        ImportError: the format's package is not installed.
        UnreadableFile: the cache cannot be written.
    """
    form = _FORMATS[runtime]
    content: bytes = registry.load(form.writer).content()
    sha256 = hashlib.sha256(content).hexdigest()
    folder = Path(platformdirs.user_cache_dir("vitdeploy")) / "yardstick"
    path = folder / f"{sha256[:16]}{form.suffix}"
    if not path.is_file() or path.read_bytes() != content:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise documents.cannot_write(folder, error) from error
        documents.write_bytes(path, content)
    manifest = {"inputs": [msgspec.to_builtins(form.inputs)], "outputs": [msgspec.to_builtins(form.outputs)]}
    return YardstickFile(path=path, sha256=sha256, manifest=manifest)
