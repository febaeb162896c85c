"""Downloads that fail: one message with the cause, the address, the digest and what to do by hand."""

import os
from collections.abc import Mapping
from typing import Final

from vitdeploy import units
from vitdeploy.catalog.checkpoints import Checkpoint
from vitdeploy.errors import DeviceError, UnreadableFile
from vitdeploy.models import weights_cache

HUB: Final = "https://huggingface.co"
"""The hub, where no other is named. Source: huggingface_hub, ``constants.ENDPOINT``."""

OFFLINE: Final = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Variables that forbid every download. Source: huggingface_hub, ``constants.HF_HUB_OFFLINE``."""

_TRUE = frozenset({"1", "ON", "YES", "TRUE"})
"""Source: huggingface_hub, ``constants.ENV_VARS_TRUE_VALUES``."""

_STATUS: Mapping[int, str] = {
    401: "it wants a token, or does not have the repository",
    403: "it refuses access",
    404: "it has no such file",
    410: "it has no such file any more",
    429: "it takes no more requests for now",
}
_NETWORK = ("httpx", "httpcore", "requests", "urllib3", "huggingface_hub", "hf_xet", "http.", "socket", "ssl")
"""Beginnings of the modules whose exceptions are about the network."""


def endpoint() -> str:
    """The hub's address, as huggingface_hub would take it."""
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def address(checkpoint: Checkpoint) -> str:
    """Where the file is downloaded from."""
    if checkpoint.hub is None:
        return checkpoint.url or "no known address"
    revision = checkpoint.revision or weights_cache.DEFAULT_REVISION
    return f"{endpoint()}/{checkpoint.hub}/resolve/{revision}/{checkpoint.file}"


def digest_words(checkpoint: Checkpoint) -> str:
    """The published digest, or how much of it is."""
    if checkpoint.sha256 is not None:
        return f"sha256 {checkpoint.sha256}"
    if checkpoint.sha256_prefix is not None:
        return f"sha256 {checkpoint.sha256_prefix}…"
    return "no digest is published"


def by_hand(checkpoint: Checkpoint) -> str:
    """How to do without the download."""
    return (
        f"Get {address(checkpoint)} ({digest_words(checkpoint)}) on another machine and put it at "
        f"{weights_cache.own_path(checkpoint)}, or name it with --weights FILE."
    )


def forbidden_by() -> str | None:
    """The variable that forbids downloads, with its value; None: they are allowed."""
    return next(
        (f"{name}={os.environ[name]}" for name in OFFLINE if os.environ.get(name, "").upper() in _TRUE),
        None,
    )


def failed(checkpoint: Checkpoint, reason: str) -> DeviceError:
    """The error of a download that the network, the server or the user's settings do not allow."""
    return DeviceError(f"cannot download the weights {checkpoint.name}: {reason}", by_hand(checkpoint))


def status_words(status: int) -> str:
    """What a server means by a status."""
    meaning = _STATUS.get(status, "it does not work at the moment" if status >= 500 else "it refuses the request")
    return f"the server answers {status}, {meaning}"


def is_of_the_network(error: Exception) -> bool:
    """Whether an exception of a library is about the network or the server, and not about us."""
    return any(kind.__module__.startswith(_NETWORK) for kind in type(error).__mro__)


def wrong_size(checkpoint: Checkpoint, size_bytes: int) -> UnreadableFile:
    """The error of a server that has another file, which is not downloaded."""
    return UnreadableFile(
        f"{address(checkpoint)} is {size_bytes} bytes, the official checkpoint {checkpoint.name} is "
        f"{checkpoint.size_bytes}",
        by_hand(checkpoint),
    )


def wrong_digest(checkpoint: Checkpoint, digest: str) -> UnreadableFile:
    """The error of a server that has, or has sent, another file, which is not kept."""
    return UnreadableFile(
        f"{address(checkpoint)} is not the official checkpoint {checkpoint.name}: its sha256 is {digest}",
        by_hand(checkpoint),
    )


def cut(received_bytes: int, total_bytes: int | None) -> str:
    """The reason of a download that ended before its end."""
    of = f" of {units.size_bytes(total_bytes)}" if total_bytes is not None else ""
    return f"the connection was cut after {units.size_bytes(received_bytes)}{of}"
