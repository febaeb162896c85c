"""Which Python packages are usable here: found out by importing each in a worker, not from metadata.

A package may be installed and not import (another CPU, a missing library), so only an import tells.
What imported once is remembered until its files or the interpreter change.
"""

import importlib.metadata
import importlib.util
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import msgspec
import platformdirs

from vitdeploy import documents
from vitdeploy.catalog import import_tests
from vitdeploy.errors import MissingPackage, VitdeployError

EXTRAS: Final[Mapping[str, str]] = {
    "torch": "torch",
    "safetensors": "torch",
    "onnx": "onnx",
    "onnxscript": "onnx",
    "onnxruntime": "onnx",
    "skimage": "torch",
    "sklearn": "torch",
    "tensorflow": "tflite",
    "onnx2tf": "tflite",
    "ai_edge_litert": "tflite",
    "litert_torch": "litert-torch",
    "tensorrt": "trt",
    "tensorrt_rtx": "trt-rtx",
    "transformers": "baselines",
    "adbutils": "adb",
    "qai_hub": "qai-hub",
    "pycocotools": "eval",
    "torchmetrics": "eval",
    "openvino": "rivals",
    "executorch.runtime": "rivals",
    "distributed": "fleet",
    "huggingface_hub": "hub",
    "requests": "hub",
}
"""Import name → the extra that installs it."""

PACKAGE: Final = Path(__file__).resolve().parents[1]
"""Where our own code lies."""


@dataclass(frozen=True, slots=True)
class Tested:
    """What became of the imports of some packages."""

    absent: dict[str, str]
    """Import name → why it cannot be imported, in a few words."""
    untested: tuple[str, ...]
    """Those that are installed, and whose import took too long to be waited for."""


def missing(names: Iterable[str]) -> dict[str, str]:
    """Those of ``names`` (import names) that cannot be imported here, with the reason in a few words."""
    return tried(names).absent


def tried(names: Iterable[str], *, within_s: float | None = None) -> Tested:
    """Import those of ``names`` that did not import before, in workers.

    Args:
        names: import names.
        within_s: what was not imported by then stays untested; None: nothing does.
    """
    unique = list(dict.fromkeys(names))
    absent = {name: "not installed" for name in unique if _origin(name) is None}
    fingerprints = _remembered()
    unproven = [name for name in unique if name not in absent and fingerprints.get(name) != _fingerprint(name)]
    reasons = import_tests.import_reasons(unproven, within_s=within_s) if unproven else {}
    if reasons:
        _remember({**fingerprints, **{name: _fingerprint(name) for name, reason in reasons.items() if reason is None}})
    absent |= {name: reason for name, reason in reasons.items() if reason is not None}
    return Tested(absent, tuple(name for name in unproven if name not in reasons))


def require(names: Iterable[str]) -> None:
    """Raise `MissingPackage`, naming all that are missing and the one command that installs them."""
    absent = missing(names)
    if absent:
        described = ", ".join(name if why == "not installed" else f"{name} ({why})" for name, why in absent.items())
        raise MissingPackage(f"missing here: {described}", f"Run `{advice(list(absent))}`.")


def advice(names: Sequence[str]) -> str:
    """The command that installs packages, by their extras where they have one."""
    extras = sorted({EXTRAS[name] for name in names if name in EXTRAS})
    others = [name for name in names if name not in EXTRAS]
    parts = [*([_requirement(extras)] if extras else ()), *others]
    return " ".join(("pip install", *parts))


def _requirement(extras: Sequence[str]) -> str:
    """Ourselves with ``extras`` as pip takes it, quoted for a shell, from where this installation came.

    Source: packaging.python.org/en/latest/specifications/direct-url.
    """
    words = f"[{','.join(extras)}]"
    checkout = PACKAGE.parent
    if (checkout / "pyproject.toml").is_file():
        return f"-e {shlex.quote(('.' if checkout == _working_folder() else str(checkout)) + words)}"
    source = _direct_url()
    url = str(source.get("url", ""))
    if "dir_info" in source:
        return shlex.quote(unquote(urlsplit(url).path) + words)
    if (revision := source.get("vcs_info")) is not None:
        return shlex.quote(f"vitdeploy{words} @ {revision['vcs']}+{url}@{revision['commit_id']}")
    return shlex.quote(f"vitdeploy{words}" + (f" @ {url}" if url else ""))


def _direct_url() -> dict[str, Any]:
    """What pip noted of a place that is no package index; nothing where it was one, or where we are not installed."""
    try:
        noted = importlib.metadata.distribution("vitdeploy").read_text("direct_url.json")
        return msgspec.json.decode(noted or "{}", type=dict[str, Any])
    except (importlib.metadata.PackageNotFoundError, OSError, msgspec.DecodeError):
        return {}


def _working_folder() -> Path | None:
    try:
        return Path.cwd()
    except OSError:  # it was deleted
        return None


def versions(names: Iterable[str]) -> dict[str, str]:
    """The installed version of each of ``names`` (import names), where one is noted."""
    distributions = importlib.metadata.packages_distributions()
    return {name: importlib.metadata.version(distributions[name][0]) for name in names if name in distributions}


def _origin(name: str) -> Path | None:
    """Where the package lies, or None. It is not imported."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    # A folder without any code of its own is none: the type stubs of a package leave one under its name.
    return Path(spec.origin) if spec is not None and spec.origin else None


def _fingerprint(name: str) -> str:
    """Changes whenever the package is installed anew: its place and time of change."""
    origin = _origin(name)
    return f"{sys.executable}:{origin}:{origin.stat().st_mtime_ns}" if origin and origin.exists() else ""


def _memory() -> Path:
    return Path(platformdirs.user_cache_dir("vitdeploy")) / "imports.json"


def _remembered() -> Mapping[str, str]:
    try:
        return msgspec.json.decode(_memory().read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _remember(fingerprints: Mapping[str, str]) -> None:
    try:
        documents.write(_memory(), dict(fingerprints))
    except VitdeployError:
        return  # a cache that cannot be written costs time, not correctness
