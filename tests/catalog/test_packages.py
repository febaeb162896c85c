"""A package counts as present when it imports, and as missing with the reason and the one command."""

from pathlib import Path

import pytest

from vitdeploy.catalog import import_tests, packages
from vitdeploy.errors import MissingPackage


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_what_imports_is_present_and_is_remembered(monkeypatch: pytest.MonkeyPatch):
    assert packages.missing(["json", "numpy"]) == {}
    monkeypatch.setattr(import_tests, "import_reasons", lambda names, **_: dict.fromkeys(names, "asked again"))
    assert packages.missing(["json", "numpy"]) == {}


def test_an_installed_package_that_does_not_import_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "broken_package.py").write_text("raise OSError('libcuda.so.1: cannot open')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = packages.missing(["broken_package"])
    assert "libcuda.so.1" in found["broken_package"]


def modules(folder: Path, monkeypatch: pytest.MonkeyPatch, **sources: str) -> None:
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", str(folder))


def test_what_fails_or_crashes_among_others_is_the_only_one_that_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    crash = "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)"
    modules(tmp_path, monkeypatch, a_good="", b_fails="raise ValueError('no')", c_good="print('noise')", d_dies=crash)
    absent = packages.missing(["a_good", "b_fails", "c_good", "d_dies", "json"])
    assert absent == {"b_fails": "does not import: ValueError: no", "d_dies": "does not import: exit code -11"}


def test_what_fails_only_beside_others_is_present(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    modules(tmp_path, monkeypatch, a_first="", b_alone="import sys\nassert 'a_first' not in sys.modules")
    assert packages.missing(["a_first", "b_alone"]) == {}


def test_what_takes_too_long_is_untested_and_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    modules(tmp_path, monkeypatch, z_waits="import time\nwhile True: time.sleep(1)")
    tested = packages.tried(["z_waits", "no_such_package"], within_s=0.3)
    assert tested.untested == ("z_waits",)
    assert tested.absent == {"no_such_package": "not installed"}
    assert packages.tried(["z_waits"], within_s=0.3).untested == ("z_waits",)


def test_all_that_is_missing_is_named_with_one_command():
    with pytest.raises(MissingPackage) as caught:
        packages.require(["json", "no_such_package", "another_missing"])
    assert "no_such_package" in caught.value.message
    assert "another_missing" in caught.value.message
    assert caught.value.exit_code == 3
    assert "pip install no_such_package another_missing" in caught.value.hint


NOTED = {
    "": "'vitdeploy[onnx,torch]'",
    '{"url": "file:///src/vit%20deploy", "dir_info": {}}': "'/src/vit deploy[onnx,torch]'",
    '{"url": "https://example.org/x.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}': (
        "'vitdeploy[onnx,torch] @ git+https://example.org/x.git@abc'"
    ),
    '{"url": "https://example.org/x.whl", "archive_info": {}}': "'vitdeploy[onnx,torch] @ https://example.org/x.whl'",
}


@pytest.mark.parametrize("noted", NOTED)
def test_packages_of_an_extra_are_installed_by_the_extra_from_where_we_came(
    noted: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Only what came from the package index is installed from there again."""
    site = tmp_path / "site-packages"
    information = site / "vitdeploy-0.1.0.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: vitdeploy\nVersion: 0.1.0\n")
    if noted:
        (information / "direct_url.json").write_text(noted)
    monkeypatch.syspath_prepend(site)
    monkeypatch.setattr(packages, "PACKAGE", site / "vitdeploy")
    assert packages.advice(["torch", "onnx"]) == f"pip install {NOTED[noted]}"


def test_a_checkout_is_installed_from_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "pyproject.toml").write_text("")
    monkeypatch.setattr(packages, "PACKAGE", tmp_path / "vitdeploy")
    assert packages.advice(["torch", "timm"]) == f"pip install -e '{tmp_path}[torch]' timm"
    monkeypatch.chdir(tmp_path)
    assert packages.advice(["torch"]) == "pip install -e '.[torch]'"
