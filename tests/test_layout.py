"""The rooms are top-level folders here and sub-packages of vitdeploy when installed; nothing is left behind."""

import email
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from email.message import Message
from pathlib import Path
from typing import Any

import pytest
import tomllib

import vitdeploy

ROOT = Path(__file__).parent.parent
ROOMS = ("exporters", "benchmarks", "reports")
CONFIG = tomllib.loads((ROOT / "pyproject.toml").read_text())
BUILD_MAP = CONFIG["tool"]["setuptools"]


def tracked() -> list[str]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    return listed.stdout.splitlines()


def folder_of(package: str) -> Path:
    parts = package.split(".")
    return ROOT.joinpath(*(parts[1:] if len(parts) > 1 and parts[1] in ROOMS else parts))


def test_the_build_map_lists_exactly_the_folders_that_are_packages():
    places = [ROOT / "vitdeploy", *(ROOT / room for room in ROOMS)]
    doors = [ROOT / "vitdeploy" / room for room in ROOMS]
    found = {
        path.parent
        for place in places
        for path in place.rglob("__init__.py")
        if not any(door in path.parents for door in doors)
    }
    assert {folder_of(package) for package in BUILD_MAP["packages"]} == found


@pytest.mark.parametrize("room", ROOMS)
def test_each_door_exists_and_points_home(room: str):
    door = ROOT / "vitdeploy" / room
    if not door.is_symlink():
        pytest.skip("a checkout without symlinks: the build map serves it")
    assert door.readlink() == Path("..") / room
    assert BUILD_MAP["package-dir"][f"vitdeploy.{room}"] == room


def test_no_file_is_named_like_a_package_it_wraps():
    wrapped = {"onnx", "torch", "tensorrt", "tensorflow", "onnxruntime", "pycuda", "typer", "pandas", "altair", "dask"}
    names = {path.stem for path in map(Path, tracked()) if path.suffix == ".py"}
    assert not names & wrapped


def test_no_two_files_of_tests_have_one_name():
    """pytest imports them by their bare names: the second one would not be collected."""
    names = Counter(path.name for path in (ROOT / "tests").rglob("test_*.py"))
    assert [name for name, count in names.items() if count > 1] == []


def test_the_tools_look_at_the_real_folders():
    rooms = {"vitdeploy", *ROOMS}
    assert rooms <= set(CONFIG["tool"]["pyright"]["include"])
    assert rooms == set(CONFIG["tool"]["coverage"]["run"]["source"])
    assert rooms == set(CONFIG["tool"]["pyright"]["strict"])
    assert set(ROOMS) <= set(CONFIG["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"])


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the tracked files: building must not leave its folders in the checkout."""
    copy = tmp_path_factory.mktemp("source")
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, copy / name, follow_symlinks=False)
    return copy


def build(kind: str, source: Path, out: Path) -> Path:
    """The file that setuptools builds of ``source``: ``wheel``, ``sdist`` or ``editable``."""
    code = f"import sys\nfrom setuptools import build_meta\nbuild_meta.build_{kind}(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", code, out], cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(out.iterdir())


@pytest.fixture(scope="module")
def sdist(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution."""
    place = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(build("sdist", source, tmp_path_factory.mktemp("sdist"))) as archive:
        archive.extractall(place, filter="data")
    return next(place.iterdir())


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built of the source distribution, as `pip install` of a release without wheels does."""
    return build("wheel", sdist, tmp_path_factory.mktemp("wheel"))


def test_every_tracked_file_of_the_packages_is_in_the_sdist_and_the_wheel(wheel: Path):
    shipped = {
        (f"vitdeploy/{name}" if name.split("/")[0] in ROOMS else name)
        for name in tracked()
        if name.split("/")[0] in {"vitdeploy", *ROOMS} and not (ROOT / name).is_symlink()
    }
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    assert not shipped - held
    top = {name.split("/")[0] for name in held}
    assert {name for name in top if not name.endswith(".dist-info")} == {"vitdeploy"}


def test_the_sdist_holds_docs_docker_and_tests(sdist: Path):
    wanted = {name for name in tracked() if name.split("/")[0] in {"docs", "docker", "tests", ".github", ".ci"}}
    held = {str(path.relative_to(sdist)) for path in sdist.rglob("*") if path.is_file()}
    assert not wanted - held
    assert {"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md", "setup.py"} <= held
    assert not [name for name in held if name.endswith(".pyc")]


def metadata(wheel: Path) -> Message:
    """What the wheel says of itself."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return email.message_from_bytes(archive.read(name))


def test_the_metadata_is_complete_and_no_link_of_it_is_dead(wheel: Path):
    said = metadata(wheel)
    assert said["Description-Content-Type"].startswith("text/markdown")
    assert said["License-Expression"] == "Apache-2.0"
    assert said["Requires-Python"] == ">=3.10"
    for field in ("Summary", "Keywords", "Version", "License-File"):
        assert said[field], field
    assert len(said.get_all("Classifier", [])) >= 6
    text = said.get_payload()
    assert isinstance(text, str)
    assert "# vitdeploy" in text
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    assert all(link.startswith("https://") for link in links)


@pytest.fixture(scope="module")
def setup_script() -> Any:
    """setup.py as a module, which does nothing when it is imported."""
    found = importlib.util.spec_from_file_location("setup_script", ROOT / "setup.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_links_of_a_release_lead_to_its_repository(setup_script: Any):
    text = "[a](pages/a.md#b) ![p](docs/p.png) [web](https://example.org/x) [here](#top)"
    assert setup_script.released(text, "https://github.com/someone/vitdeploy/", "v1") == (
        "[a](https://github.com/someone/vitdeploy/blob/v1/pages/a.md#b) "
        "![p](https://github.com/someone/vitdeploy/raw/v1/docs/p.png) [web](https://example.org/x) [here](#top)"
    )
    assert setup_script.released(text, "", "v1") == "a *p* [web](https://example.org/x) [here](#top)"
    assert setup_script.version() == vitdeploy.__version__


def imported_from(place: Path, cwd: Path) -> dict[str, str]:
    """Package → file, of every package of the build map as a Python without site-packages imports it from ``place``."""
    code = (
        "import importlib, json, site, sys\nsite.addsitedir(sys.argv[1])\nsys.path.insert(0, sys.argv[1])\n"
        "print(json.dumps({name: importlib.import_module(name).__file__ for name in sys.argv[2:]}))"
    )
    command = [sys.executable, "-I", "-S", "-c", code, place, *BUILD_MAP["packages"]]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("form", ["wheel", "editable", "checkout"])
def test_every_package_imports_from(form: str, source: Path, wheel: Path, tmp_path: Path):
    place = {"wheel": wheel, "editable": tmp_path / "site", "checkout": source}[form]
    if form == "editable":
        (tmp_path / "built").mkdir()
        with zipfile.ZipFile(build("editable", source, tmp_path / "built")) as archive:
            archive.extractall(place)
    files = imported_from(place, tmp_path)
    assert files.keys() == set(BUILD_MAP["packages"])
    home = source if form == "editable" else place
    assert all(Path(file).is_relative_to(home) for file in files.values()), files
