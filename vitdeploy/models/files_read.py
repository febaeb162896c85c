"""Files that a user model is made from: what is imported and opened while it is built and run once.

What a library reads without Python's ``open`` (safetensors, HDF5) is not seen here: such tensors are in the digest of
the state dict, and whatever else decides the answer is in the digest of the answer.
"""

import hashlib
import os
import sys
import sysconfig
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

BLOCK_BYTES = 2**20

_SPECIAL: Final = ("/proc/", "/sys/", "/dev/")
_recorders: "list[FileRecorder]" = []
_hooked: list[bool] = []


class FileRecorder:
    """The paths that were opened for reading, and the modules that were loaded, since it was made."""

    def __init__(self) -> None:
        self._modules_before = set(sys.modules)
        self._opened: dict[Path, None] = {}

    def add(self, name: Any, mode: Any, flags: Any) -> None:
        """Note one call of ``open``; what is opened for writing is no ingredient."""
        if isinstance(name, bytes):
            name = os.fsdecode(name)
        if not isinstance(name, str) or name.startswith(_SPECIAL):
            return
        writes = any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool(flags & os.O_ACCMODE)
        if not writes:
            self._opened[Path(os.path.abspath(name))] = None  # noqa: PTH100  # resolve() would lose a link's own name

    def files(self) -> list[Path]:
        """The files that are no part of Python, nor of packages that were there before."""
        standard, installed = _folders()
        files = {path for path in self._opened if path.suffix != ".pyc" and not _below(path, (*standard, *installed))}
        packages_before = {name.partition(".")[0] for name in self._modules_before}
        for name in sorted(set(sys.modules) - self._modules_before):
            origin: Any = getattr(sys.modules.get(name), "__file__", None)
            if not isinstance(origin, str) or name.partition(".")[0] in packages_before:
                continue
            path = Path(os.path.abspath(origin))  # noqa: PTH100
            if _below(path, installed) or not _below(path, standard):
                files.add(path)
        return sorted(path for path in files if path.is_file())


@contextmanager
def recorded() -> Generator[FileRecorder]:
    """Record what is read inside the block."""
    if not _hooked:  # a hook cannot be removed
        sys.addaudithook(_heard)
        _hooked.append(True)
    recorder = FileRecorder()
    _recorders.append(recorder)
    try:
        yield recorder
    finally:
        _recorders.remove(recorder)


def digest_of_files(files: list[Path]) -> str:
    """SHA-256 over names and bytes of files; the folders that they lie in do not count."""
    digests: list[str] = []
    for path in files:
        digest = hashlib.sha256()
        with path.open("rb") as stream:
            while block := stream.read(BLOCK_BYTES):
                digest.update(block)
        digests.append(f"{path.name} {digest.hexdigest()}\n")
    return hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


def _heard(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and _recorders:
        for recorder in _recorders:
            recorder.add(*arguments[:3])


def _folders() -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Where the standard library lies, and where packages are installed; with our own package."""
    paths = sysconfig.get_paths()
    standard = tuple(Path(paths[name]) for name in ("stdlib", "platstdlib"))
    ours = Path(__file__).resolve().parents[1]
    return (*standard, ours), tuple(Path(paths[name]) for name in ("purelib", "platlib"))


def _below(path: Path, folders: tuple[Path, ...]) -> bool:
    return any(folder in path.parents for folder in folders)
