"""A board behind a real OpenSSH server, with the doubles of TensorRT, CUDA and driver."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles import board
from tests.doubles.ssh_server import SshServer
from vitdeploy.cli.main import main


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    folder = tmp_path / "sshd"
    folder.mkdir()
    made = SshServer(folder)
    monkeypatch.setenv("PATH", made.path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))  # no engine of an earlier test
    monkeypatch.setenv("VITDEPLOY_ORIN_HOST", "127.0.0.1")
    monkeypatch.setenv("VITDEPLOY_ORIN_USER", made.user)
    monkeypatch.setenv("VITDEPLOY_ORIN_PORT", str(made.port))
    configure(tmp_path)
    yield made
    made.stop()


def configure(folder: Path, **planted: str) -> None:
    """The device file of the stand-in board; ``planted`` is the environment of its Python."""
    place = folder / "devices"
    place.mkdir(exist_ok=True)
    python = board.python_of(folder, **planted)
    lines = ['name = "orin"', 'title = "a stand-in"', 'link = "ssh"', f'python = "{python}"']
    lines += ['targets = ["trt-fp16", "onnx-fp32"]', "[facts]", 'compute_capability = "8.7"']
    (place / "orin.toml").write_text("\n".join(lines))


def manifest_in(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text())


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deferred engine."""
    out = tmp_path_factory.mktemp("deferred")
    assert main(["export", "efficientvit_b0", "--target", "trt-fp16", "--size", "64x64", "--out", str(out)]) == 0
    return next(out.rglob("manifest.json")).parent
