"""Text of a new device file: what is configured, the facts that identify the machine, and what else was seen of it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from vitdeploy.catalog.fact_table import NOT_VISIBLE, TABLE, DeviceFacts, Fact, listed
from vitdeploy.devices.inventory import Device, Link
from vitdeploy.processes.device_words import one_line

COMMENTS: Final[Mapping[str, str]] = {
    "title": "in tables and reports",
    "link": "how it is reached",
    "host": "address, serial number of a phone, or name of a hosted one",
    "user": "account there",
    "port": "of its SSH server",
    "python": "interpreter there",
    "targets": "file formats that run on it",
    "threads": "default of --threads",
    "source": "where the facts are from",
    "trtexec": "builds and times engines in place of TensorRT's Python package",
    "power_mode": "set for a run and restored afterwards",
    "hold_clocks": "highest clocks for a run, restored afterwards",
    "cool_c": "a trial starts only below this temperature",
    "benchmark_model": "measuring tool for its processor (docs/phones.md)",
    "benchmark_model_sha256": "digest of that file",
}
"""Key of a device file → its comment there, in the order of the file."""

IDENTITY: Final[Mapping[Link, Sequence[Fact[Any]]]] = {
    "ssh": (DeviceFacts.board, DeviceFacts.gpu, DeviceFacts.compute_capability, DeviceFacts.machine),
    "adb": (DeviceFacts.phone, DeviceFacts.soc_model, DeviceFacts.cores),
    "hub": (DeviceFacts.phone, DeviceFacts.soc_model),
}
"""Link → facts that tell a machine from another one, whatever its state, its system and its packages are."""

FACT_COMMENTS: Final[Mapping[str, str]] = {
    "board": "as its device tree says",
    "gpu": "that CUDA computes on",
    "compute_capability": "engines are bound to it",
    "machine": "architecture of its processor",
    "phone": "maker and model",
    "soc_model": "system on chip",
    "cores": "of each kind, by their highest clock, slowest first",
}

LONGEST_VALUE: Final = 120
"""Characters of a fact that is checked."""

_ALWAYS: Final = ("title", "link", "host", "targets", "threads")
"""Keys that are written even with their default."""

_GPU_TARGETS: Final = ("trt-fp16", "trt-fp32", "trt-bf16")
_ANYWHERE: Final = ("onnx-fp32", "torch-fp32", "torch-fp16")


def targets_for(facts: DeviceFacts, link: Link) -> tuple[str, ...]:
    """Targets that a machine can run, from what it is; what is installed there may change."""
    if link in ("adb", "hub"):
        return ("tflite-fp32",)
    if facts.compute_capability is None:
        return ("onnx-fp32", "tflite-fp32", "torch-fp32")
    server = () if facts.board or facts.l4t else ("trt-rtx-fp16",)  # TensorRT for RTX is not made for Jetsons
    return ("onnx-fp32", *_GPU_TARGETS, *server, *_ANYWHERE[1:])


def title_for(facts: DeviceFacts, otherwise: str) -> str:
    """A title from the facts: the board, the GPU, the phone or the processor."""
    for words in (facts.board, facts.gpu, facts.phone, facts.cpu):
        if title := one_line(words or "", LONGEST_VALUE):
            return title
    return otherwise


def identity_of(facts: DeviceFacts, link: Link) -> dict[str, Any]:
    """The facts that are checked at each connection; a value that a file cannot hold as it is, is left out."""
    values = {fact.name: facts.get(fact.name) for fact in IDENTITY[link]}
    return {name: value for name, value in values.items() if isinstance(value, str) and _can_be_written(value)}


def text_of(device: Device, facts: DeviceFacts, *, head: Sequence[str]) -> str:
    """The file of a device.

    Args:
        device: what is configured, with the facts that are checked.
        facts: everything that was seen; what is not checked becomes a comment.
        head: lines of comment above it.
    """
    default = {field.name: field.default for field in msgspec.structs.fields(Device)}
    values: dict[str, Any] = msgspec.to_builtins(device)
    lines = [f"# {one_line(words)}" for words in head]
    for key, comment in COMMENTS.items():
        if key in _ALWAYS or values[key] != default[key]:
            lines.append(f"{key} = {_toml(values[key])}  # {comment}")
    lines += ["", "[facts]  # checked at each connection: another value is another machine"]
    for name, value in device.facts.items():
        lines.append(f"{name} = {_toml(value)}  # {FACT_COMMENTS.get(name, 'of the device that it is made from')}")
    seen = [f"# {one_line(label)}: {one_line(words)}" for label, words in shown(facts, without=device.facts)]
    return "\n".join([*lines, "", "# Seen at the same time, and not checked:", *seen, ""])


def shown(facts: DeviceFacts, *, without: Collection[str] = ()) -> list[tuple[str, str]]:
    """Label and text of the known facts that a machine shows of itself, whatever its state; packages last."""
    others = DeviceFacts({name: facts.get(name) for name in TABLE if name in facts.stable() and name not in without})
    rows = [(label, words) for label, words in others.listed() if words != NOT_VISIBLE]
    return [*rows, ("packages", listed(others.packages))] if others.packages else rows


def _can_be_written(text: str) -> bool:
    return 0 < len(text) <= LONGEST_VALUE and one_line(text) == text


def _toml(value: Any) -> str:
    """A value as TOML has it; texts are printable, which `inventory` and `_can_be_written` see to."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, cast('Sequence[Any]', value)))}]"
    return repr(value)
