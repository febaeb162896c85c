"""The user's ``benchmark_model`` for a phone: a file of theirs, or one that they named by URL and digest."""

import os
import urllib.request
from http.client import HTTPException
from pathlib import Path

import platformdirs

from vitdeploy.artifacts.manifest import digest_of
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import DeviceError, UnreadableFile

FETCH_LIMIT_S = 30.0
"""A server that is silent for longer is given up."""

MOST_BYTES = 256 * 2**20
"""Larger files are no ``benchmark_model``: Google's has 5 to 30 MB."""

_CHUNK_BYTES = 2**20


def find_tool(device: Device) -> tuple[Path, str]:
    """The tool's file here and its SHA-256. It is fetched at most once, and only from where the device file says.

    Raises:
        DeviceError: none is configured, or it cannot be had.
        UnreadableFile: it is not what its digest says.
    """
    named, expected = device.benchmark_model, device.benchmark_model_sha256
    if not named:
        raise DeviceError(
            f"{device.name} is not configured: its file names no benchmark_model", "See docs/phones.md for how."
        )
    if "://" in named:
        assert expected is not None, "inventory.read lets no URL without a digest through"
        path = Path(platformdirs.user_cache_dir("vitdeploy")) / "tools" / expected
        if not path.exists():
            _fetch(named, path, expected)
    else:
        path = Path(named).expanduser()
        if not path.is_file():
            raise DeviceError(
                f"{device.name} is not configured: there is no benchmark_model at {path}",
                "Correct `benchmark_model` in its file; docs/phones.md says where to get it.",
            )
    digest = digest_of(path)
    if expected is not None and digest != expected:
        raise UnreadableFile(
            f"{path} is not the benchmark_model of {device.name}: sha256 {digest[:12]}…, expected {expected[:12]}…",
            "Correct its file's `benchmark_model_sha256`, or get the file again.",
        )
    return path, digest


def _fetch(url: str, path: Path, expected: str) -> None:
    """Download ``url``, and keep it only if it is what was meant."""
    if not url.startswith(("https://", "http://")):
        raise DeviceError(f"cannot fetch {url}", "Use a path, or a URL with https.")
    part = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=FETCH_LIMIT_S) as source, part.open("wb") as target:  # noqa: S310
            size_bytes = 0
            while block := source.read(_CHUNK_BYTES):
                size_bytes += len(block)
                if size_bytes > MOST_BYTES:
                    raise DeviceError(f"{url} has more than {MOST_BYTES // 2**20} MiB", "Check the URL.")
                target.write(block)
        digest = digest_of(part)
        if digest != expected:
            raise UnreadableFile(
                f"{url} is another file: sha256 {digest[:12]}…, the device file says {expected[:12]}…",
                "Check the URL and the digest.",
            )
        part.replace(path)
    except (OSError, HTTPException) as error:
        raise DeviceError(f"cannot fetch {url}: {error}", "Download it yourself, and name its path.") from error
    finally:
        part.unlink(missing_ok=True)
