"""NVIDIA's own Python bindings of each minor version of TensorRT, imported over stand-ins of the libraries they load.

The wheels hold no TensorRT: `tensorrt.so` needs nine functions of three libraries, and one line of C each stands in for
them, compiled here. So the module imports and shows every class, method, enumeration and signature of its version.
What would make a builder, a parser or a runtime answers with a null pointer; nothing can be built or run.
"""

import functools
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

WHEELS = Path.home() / ".cache" / "vitdeploy-tests" / "wheels"
"""Where downloaded wheels are kept, outside the project."""

RUNTIME = (
    "createInferBuilder_INTERNAL",
    "createInferRefitter_INTERNAL",
    "createInferRuntime_INTERNAL",
    "getBuilderPluginRegistry",
    "getPluginRegistry",
)
PARSER = ("createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getNvOnnxParserVersion")
PLUGINS = ("initLibNvInferPlugins",)
"""What the bindings need of their libraries. Source: ``nm -D --undefined-only`` of 10.3 to 11.4 and RTX 1.7."""

READER = Path(__file__).parent / "bindings_interface.py"


@dataclass(frozen=True, slots=True)
class Release:
    """One version of the bindings."""

    version: str
    wheel: str = "tensorrt-cu12-bindings"
    module: str = "tensorrt_bindings"

    @property
    def name(self) -> str:
        """``10.3``, ``RTX 1.7``."""
        return f"{'RTX ' if 'rtx' in self.wheel else ''}{'.'.join(self.version.split('.')[:2])}"

    @property
    def libraries(self) -> dict[str, tuple[str, ...]]:
        """File name of each library → its functions."""
        if "rtx" in self.wheel:
            return {"libtensorrt_rtx.so.1": RUNTIME, "libtensorrt_onnxparser_rtx.so.1": PARSER}
        names = {"libnvinfer": RUNTIME, "libnvonnxparser": PARSER, "libnvinfer_plugin": PLUGINS}
        return {f"{name}.so.{self.version.partition('.')[0]}": functions for name, functions in names.items()}


TENSORRT = tuple(
    Release(version)
    for version in (
        "10.3.0 10.4.0 10.5.0 10.6.0.post2 10.7.0.post1 10.8.0.43 10.9.0.34 10.10.0.31 10.11.0.33 10.12.0.36 "
        "10.13.3.9.post1 10.14.1.48.post1 10.15.1.29 10.16.1.11 11.0.0.114 11.1.0.106 11.2.1.2 11.3.0.99 11.4.0.106"
    ).split()
)
"""The last release of each minor version. Source: the package index, November 2026."""
RTX = Release("1.7.1.116", "tensorrt-rtx-cu12-bindings", "tensorrt_rtx_bindings")
"""What the extra ``trt-rtx`` asks for at least."""


@dataclass(frozen=True, slots=True)
class Interface:
    """What one version of a package offers; see `tests.doubles.bindings_interface`."""

    name: str
    """``10.3``, or ``RTX 1.7``."""
    classes: dict[str, Any]
    functions: dict[str, list[str]]


def wheel(package: str, version: str, folder: Path = WHEELS) -> Path:
    """A wheel of the package index for this interpreter, kept in a folder; skips where it is not to be had."""
    name = package.replace("-", "_")
    folder.mkdir(parents=True, exist_ok=True)
    kept = sorted(folder.glob(f"{name}-{version}-*.whl"))
    matching = [path for path in kept if f"-cp{sys.version_info[0]}{sys.version_info[1]}-" in path.name]
    if plain := matching or [path for path in kept if "-py3-" in path.name]:
        return plain[0]
    options = ("--no-deps", "--only-binary=:all:", "--disable-pip-version-check", "--quiet")
    command = [sys.executable, "-m", "pip", "download", *options, "--dest", str(folder), f"{package}=={version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    fresh = sorted(set(folder.glob(f"{name}-{version}-*.whl")) - set(kept))
    if done.returncode or not fresh:
        words = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
        pytest.skip(f"no wheel of {package} {version} for this interpreter: {words[-1] if words else 'pip failed'}")
    return fresh[0]


def unpacked(release: Release, folder: Path) -> Path:
    """The wheel's content in a folder of its own."""
    target = folder / f"{release.wheel}-{release.version}"
    if not target.is_dir():
        with zipfile.ZipFile(wheel(release.wheel, release.version)) as archive:
            archive.extractall(target)
    return target


def stand_ins(release: Release, folder: Path) -> Path:
    """The folder of the compiled stand-ins for the libraries of a release; skips without gcc."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("gcc is not installed, and the bindings load libraries that it has to stand in for")
    target = folder / f"stand-ins-{next(iter(release.libraries))}"
    target.mkdir(exist_ok=True)
    for name, functions in release.libraries.items():
        source = target / f"{name}.c"
        if not (target / name).is_file():
            source.write_text("".join(f"void *{function}(void) {{ return 0; }}\n" for function in functions))
            command = [compiler, "-shared", "-fPIC", f"-Wl,-soname,{name}", "-o", str(target / name), str(source)]
            subprocess.run(command, check=True, timeout=60)
    return target


def environment(release: Release, folder: Path) -> dict[str, str]:
    """Variables of a process that can import the bindings of a release."""
    return {
        **os.environ,
        "PYTHONPATH": str(unpacked(release, folder)),
        "LD_LIBRARY_PATH": str(stand_ins(release, folder)),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def interface(release: Release, folder: Path) -> Interface:
    """What the bindings of a release offer. Packages installed here are not seen: a TensorRT would bring libraries."""
    command = [sys.executable, "-S", str(READER), release.module]
    variables = environment(release, folder)
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, f"{release.name}: {done.stderr[-2000:]}"
    read = json.loads(done.stdout)
    assert read["version"].startswith(release.version.partition(".post")[0]), read["version"]
    return Interface(release.name, read["classes"], read["functions"])


@functools.cache
def interfaces(folder: Path) -> tuple[Interface, ...]:
    """Of every version of TensorRT, and of TensorRT for RTX last."""
    return tuple(interface(release, folder) for release in (*TENSORRT, RTX))
