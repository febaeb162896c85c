"""The rooms are top-level folders here and sub-packages of vitdeploy when installed; nothing is left behind."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tomllib

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


def test_the_tools_look_at_the_real_folders():
    rooms = {"vitdeploy", *ROOMS}
    assert rooms <= set(CONFIG["tool"]["pyright"]["include"])
    assert rooms == set(CONFIG["tool"]["coverage"]["run"]["source"])
    assert rooms == set(CONFIG["tool"]["pyright"]["strict"])
    assert set(ROOMS) <= set(CONFIG["tool"]["ruff"]["lint"]["flake8-tidy-imports"]["banned-api"])


def test_every_tracked_file_of_the_packages_is_in_the_wheel(tmp_path: Path):
    shipped = {
        (f"vitdeploy/{name}" if name.split("/")[0] in ROOMS else name)
        for name in tracked()
        if name.split("/")[0] in {"vitdeploy", *ROOMS} and not (ROOT / name).is_symlink()
    }
    source = tmp_path / "source"  # a copy: building must not leave its folders in the checkout
    for name in tracked():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name, follow_symlinks=False)
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", tmp_path]
    built = subprocess.run([*command, source], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        held = set(wheel.namelist())
    assert not shipped - held
    top = {name.split("/")[0] for name in held}
    assert {name for name in top if not name.endswith(".dist-info")} == {"vitdeploy"}
