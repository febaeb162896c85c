"""What all tests share: folders and an adb server of their own, so that nothing of the user's is touched."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest_plugins = ["tests.doubles.hub_fixtures"]

if TYPE_CHECKING:
    from tests.doubles.adb_daemon import AdbServer, PhoneDouble

# As many workers as cores: threads of their libraries, which spin while they wait, only take the cores from each other.
# Four files of tests that export took 139 s without this and 108 s with it, two workers on two cores.
if "PYTEST_XDIST_WORKER" in os.environ:
    for _name, _value in {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}.items():
        os.environ.setdefault(_name, _value)


@pytest.fixture(autouse=True, scope="session")
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Point the store, the logs, the calibrations, the hub's cache and the machine's lock to temporary folders."""
    own = {"XDG_CACHE_HOME": "cache", "XDG_DATA_HOME": "data", "HF_HOME": "hub", "VITDEPLOY_LOCK_DIR": "lock"}
    before = {name: os.environ.get(name) for name in own}
    os.environ.update({name: str(tmp_path_factory.mktemp(folder)) for name, folder in own.items()})
    yield
    _restore(before)


@pytest.fixture(scope="session")
def adb_server(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[AdbServer]":
    """A real adb server on a port of its own, ended at the end; skips where adb or adbutils is not installed."""
    from tests.doubles.adb_daemon import AdbServer

    pytest.importorskip("adbutils", reason="the package adbutils (extra adb) is not installed")
    server = AdbServer(tmp_path_factory.mktemp("adb"))
    if not server.tool:
        pytest.skip("the tool adb is not installed (apt-get install adb)")
    before = {key: os.environ.get(key) for key in ("ANDROID_ADB_SERVER_PORT", "ANDROID_USER_HOME", "ADB_MDNS")}
    os.environ.update({key: server.environment[key] for key in before})
    server.adb("start-server")
    yield server
    server.adb("kill-server")
    _restore(before)


@pytest.fixture
def phone(adb_server: "AdbServer", tmp_path_factory: pytest.TempPathFactory) -> "Iterator[PhoneDouble]":
    """A TEST DOUBLE of a Snapdragon 855 phone, connected to the real adb server."""
    from tests.doubles import phone_folder
    from tests.doubles.adb_daemon import PhoneDouble

    double = PhoneDouble(phone_folder.make(tmp_path_factory.mktemp("phone")))
    said = adb_server.adb("connect", double.serial)
    assert "connected to" in said, said
    yield double
    adb_server.adb("disconnect")
    double.unplug()


@pytest.fixture
def say(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """The command line in an empty folder: exit code, stdout and stderr of the words it is given."""
    from vitdeploy.cli.main import main

    monkeypatch.chdir(tmp_path)

    def run(*argv: str) -> tuple[int, str, str]:
        code = main(list(argv))
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def _restore(before: Mapping[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value
