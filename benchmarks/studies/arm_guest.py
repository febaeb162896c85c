"""An aarch64 userland in a folder: Debian's Python with the wheels of both CPU runtimes, run by qemu-user here.

It is fetched once by apt-get and pip into a cache folder, with package lists of its own, and installs nothing on this
machine. Its processor is a Cortex-A76, the big core of a Snapdragon 855: XNNPACK chooses its kernels by that. What it
computes is what an Arm CPU computes; how long that takes says nothing.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import platformdirs

from vitdeploy import documents
from vitdeploy.errors import MissingPackage, ToolchainFailed

QEMU: Final = "qemu-aarch64"

CPU: Final = "cortex-a76"

RELEASE: Final = "bookworm"
"""Of Debian: its Python is 3.11, of which all wheels below exist."""

PACKAGES: Final = ("python3.11", "libstdc++6")
"""And what they depend on."""

WHEELS: Final = ("ai-edge-litert==2.3.0", "onnxruntime==1.32.0", "numpy==2.4.6")
"""The newest that have aarch64 wheels for this Python, of November 2026."""

PLATFORMS: Final = ("manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64")

CORES: Final = 2

CPUINFO: Final = "\n".join(
    f"""processor\t: {core}
BogoMIPS\t: 50.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0b
CPU revision\t: 0
"""
    for core in range(CORES)
)
"""Opened by the guest in place of this machine's, whose words cpuinfo, the library of XNNPACK, does not understand.

Source: Arm's main ID register: implementer 0x41 is Arm, part 0xd0b is Cortex-A76; features as qemu's model has them.
"""

WRAPPER: Final = f"""#!/bin/sh
root=$(cd "$(dirname "$0")/../.." && pwd)
exec {QEMU} -cpu {CPU} -L "$root" -0 "$0" "$root/usr/bin/python3.11" "$@"
"""
"""What the guest's own children are started by too: ``-0`` makes it their ``sys.executable``."""

KEYRING: Final = Path("/usr/share/keyrings/debian-archive-keyring.gpg")

LIMIT_S: Final = 900.0
"""Of each step of the fetch."""

_RECIPE: Final = "recipe.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A userland that is complete."""

    root: Path

    @property
    def python(self) -> Path:
        """A program of this machine that runs the guest's Python."""
        return self.root / "usr" / "bin" / "python3"


def default_folder() -> Path:
    """Where it is kept; outside of any project."""
    return Path(platformdirs.user_cache_dir("vitdeploy-tests")) / "aarch64"


def prepare(folder: Path) -> Guest:
    """The userland in ``folder``, fetched if it is not there whole, about 270 MB.

    Raises:
        MissingPackage: a tool is missing on this machine.
        ToolchainFailed: a fetch failed; most often there is no network.
    """
    guest = Guest(root=folder / "root")
    require_tools((QEMU,))
    recipe = {"release": RELEASE, "packages": PACKAGES, "wheels": WHEELS, "cpuinfo": CPUINFO, "wrapper": WRAPPER}
    text = documents.encode(recipe)
    if (folder / _RECIPE).is_file() and (folder / _RECIPE).read_bytes() == text:
        return guest
    require_tools(("apt-get", "dpkg-deb"))
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as place:
        part = Path(place) / "part"
        root = part / "root"
        root.mkdir(parents=True)
        _fetch_packages(root, Path(place))
        _fetch_wheels(root)
        (root / "proc").mkdir()
        (root / "proc" / "cpuinfo").write_text(CPUINFO)
        wrapper = Guest(root=root).python
        wrapper.write_text(WRAPPER)
        wrapper.chmod(0o755)
        (part / _RECIPE).write_bytes(text)
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    return guest


def require_tools(tools: Sequence[str]) -> None:
    """See that programs are on this machine.

    Raises:
        MissingPackage: some are not.
    """
    absent = [tool for tool in tools if shutil.which(tool) is None]
    if absent:
        raise MissingPackage(
            f"missing here: {', '.join(absent)}",
            "Use Debian or Ubuntu, and run `apt-get install qemu-user`."
            if QEMU in absent
            else "Use a Debian or Ubuntu machine.",
        )


def run(
    argv: Sequence[str], what: str, *, cwd: Path | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """The stdout of a tool.

    Raises:
        ToolchainFailed: it failed, or took longer than `LIMIT_S`.
    """
    try:
        done = subprocess.run(
            argv,
            cwd=cwd,
            env=None if environment is None else dict(environment),
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolchainFailed(f"{what} took longer than {LIMIT_S:g} s", "Try again.") from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ToolchainFailed(f"{what} failed: {last[:300]}", "Check the network, and try again.")
    return done.stdout


def apt_get(place: Path, *words: str, architecture: str, cwd: Path | None = None) -> None:
    """Run ``apt-get`` with lists, cache and state below ``place``; this machine's stay as they are.

    Raises:
        MissingPackage: Debian's keys are not here.
        ToolchainFailed: it failed.
    """
    if not KEYRING.is_file():
        raise MissingPackage(f"missing here: {KEYRING}", "Run `apt-get install debian-archive-keyring`.")
    apt = place / "apt"
    (apt / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (apt / "archives" / "partial").mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()
    lines = [f"{kind} [signed-by={KEYRING}] http://deb.debian.org/debian {RELEASE} main" for kind in ("deb", "deb-src")]
    (apt / "sources.list").write_text("\n".join([*lines, ""]))
    settings = {
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Install-Recommends": "false",
        "APT::Sandbox::User": "root",  # the folder is the user's alone, also for root
        "Acquire::Languages": "none",
        "Dir::Cache": str(apt),
        "Dir::Etc::Main": "/dev/null",
        "Dir::Etc::Parts": "/dev/null",
        "Dir::Etc::SourceList": str(apt / "sources.list"),
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State": str(apt),
        "Dir::State::Lists": str(apt / "lists"),
        "Dir::State::Status": str(apt / "status"),
    }
    config = apt / "apt.conf"
    config.write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    run(
        ["apt-get", "-q", *words], f"apt-get {words[0]}", cwd=cwd, environment={**os.environ, "APT_CONFIG": str(config)}
    )


def _fetch_packages(root: Path, place: Path) -> None:
    apt_get(place, "update", architecture="arm64")
    apt_get(place, "install", "--yes", "--download-only", *PACKAGES, architecture="arm64")
    for package in sorted((place / "apt" / "archives").glob("*.deb")):
        run(["dpkg-deb", "--extract", str(package), str(root)], f"unpacking {package.name}")


def _fetch_wheels(root: Path) -> None:
    platforms = [word for name in PLATFORMS for word in ("--platform", name)]
    run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--target", str(root / "usr" / "lib" / "python3" / "dist-packages")),
            *("--python-version", "311", "--implementation", "cp", "--only-binary", ":all:"),
            *platforms,
            *WHEELS,
        ],
        "pip install of the aarch64 wheels",
    )
