"""What the tests of downloads share: caches of their own, servers on 127.0.0.1, and no socket to anywhere else."""

import dataclasses
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles import hub_double
from tests.doubles.hub_double import HubDouble
from vitdeploy.catalog.checkpoints import Checkpoint

LOCAL = ("127.0.0.1", "localhost", "::1")


@pytest.fixture
def only_local(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every address but this machine's."""
    connect, resolve = socket.socket.connect, socket.getaddrinfo

    def connect_here(self: socket.socket, address: Any) -> None:
        assert not isinstance(address, tuple) or address[0] in LOCAL, f"a test connects to {address}"
        connect(self, address)

    def resolve_here(host: Any, *args: Any, **options: Any) -> Any:
        assert host in (None, *LOCAL), f"a test asks for the address of {host}"
        return resolve(host, *args, **options)

    monkeypatch.setattr(socket.socket, "connect", connect_here)
    monkeypatch.setattr(socket, "getaddrinfo", resolve_here)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, only_local: None) -> Iterator[HubDouble]:
    """A double of the hub that the environment names, with empty caches and no token."""
    for name in "HF_TOKEN HF_HUB_CACHE HUGGINGFACE_HUB_CACHE HF_HUB_OFFLINE TRANSFORMERS_OFFLINE".split():
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "1")
    with hub_double.served() as double:
        monkeypatch.setenv("HF_ENDPOINT", double.url)
        yield double


@pytest.fixture
def row() -> Callable[..., Checkpoint]:
    """A checkpoint of the hub double, with the fields that a test gives."""

    def make(**fields: Any) -> Checkpoint:
        defaults: dict[str, Any] = {
            **{field.name: None for field in dataclasses.fields(Checkpoint)},
            "name": "small_net",
            "title": "Small Net",
            "model": "efficientvit_b0",
            "size": (224, 224),
            "hub": "lab/small-net",
            "revision": hub_double.COMMIT,
            "file": "small_net.pt",
            "other_names": ("old/net.pt",),
            "code_licence": "MIT",
            "licence": "MIT",
            "commercial": "yes",
            "terms": "none",
            "accuracy": (),
        }
        return Checkpoint(**{**defaults, **fields})

    return make
