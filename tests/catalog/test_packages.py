"""A package counts as present when it imports, and as missing with the reason and the one command."""

from pathlib import Path

import pytest

from vitdeploy.catalog import packages
from vitdeploy.errors import MissingPackage


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_what_imports_is_present_and_is_remembered(monkeypatch: pytest.MonkeyPatch):
    assert packages.missing(["json", "numpy"]) == {}
    monkeypatch.setattr(packages, "_import_elsewhere", lambda name: "asked again")
    assert packages.missing(["json", "numpy"]) == {}


def test_an_installed_package_that_does_not_import_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "broken_package.py").write_text("raise OSError('libcuda.so.1: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = packages.missing(["broken_package"])
    assert "libcuda.so.1" in found["broken_package"]


def test_all_that_is_missing_is_named_with_one_command():
    with pytest.raises(MissingPackage) as caught:
        packages.require(["json", "no_such_package", "another_missing"])
    assert "no_such_package" in caught.value.message
    assert "another_missing" in caught.value.message
    assert caught.value.exit_code == 3
    assert "pip install no_such_package another_missing" in caught.value.hint


def test_packages_of_an_extra_are_installed_by_the_extra():
    assert packages.advice(["torch", "onnx"]) == "pip install 'vitdeploy[onnx,torch]'"
