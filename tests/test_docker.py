"""The images' files are in step with the extras and with the checkout; nothing here can build an image."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
IMAGES = ("cpu", "jetson", "tflite", "trt")
APART = {"all", "dev", "qai-hub", "rivals"}
"""Extras that are in no image, as docker/README.md says."""
BROUGHT = {"trt": {"tensorrt"}}
"""Extra → what the base of its image brings."""


def extras() -> dict[str, list[str]]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project["optional-dependencies"]


def installed(file: Path) -> set[str]:
    """Extras of ours that a file installs."""
    return {name for found in re.findall(r'"/src\[([^\]]+)\]"', file.read_text()) for name in found.split(",")}


def named(requirement: str) -> str:
    return re.split(r"[\[<>=!~; ]", requirement)[0]


def test_the_images_are_those_that_are_promised():
    assert tuple(file.name.removesuffix(".Dockerfile") for file in FILES) == IMAGES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_every_extra_that_is_installed_exists(file: Path):
    assert installed(file)
    assert installed(file) <= extras().keys()


def test_every_extra_is_in_some_image_or_said_to_be_in_none():
    covered = {name for file in FILES for name in installed(file)}
    readme = (ROOT / "docker" / "README.md").read_text()
    for name, needs in extras().items():
        brought = BROUGHT.get(name)
        if name in APART:
            assert f"`{name}`" in readme
        elif brought is None:
            within = any(f"vitdeploy[{name}]" in " ".join(extras()[one]) for one in covered)
            assert name in covered or within, f"no image holds the extra {name}"
        else:  # the rest of the extra is written out, with the same bounds
            text = (ROOT / "docker" / f"{name}.Dockerfile").read_text()
            assert [need for need in needs if named(need) not in brought and f'"{need}"' not in text] == []
            assert not [need for need in brought if f'"{need}' in text]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_image_has_a_pinned_base_and_runs_vitdeploy(file: Path):
    lines = file.read_text().splitlines()
    (base,) = [line for line in lines if line.startswith("FROM ")]
    assert re.fullmatch(r"FROM [\w./-]+:[\w.-]+", base)
    assert not base.endswith(":latest")
    assert lines[-1] == 'ENTRYPOINT ["vitdeploy"]'
    assert lines[0].startswith("# ")
    if (version := re.search(r"python:3\.(\d+)", base)) is not None:
        assert int(version[1]) >= 10


def test_each_image_has_its_one_command():
    readme = (ROOT / "docker" / "README.md").read_text()
    for name in IMAGES:
        assert f"docker build -f docker/{name}.Dockerfile -t vitdeploy:{name} ." in readme
        assert re.search(rf"docker run [^`]*vitdeploy:{name} (bench|export) efficientvit_b1", readme)


def test_what_git_ignores_is_not_copied_into_an_image():
    """Else an image holds the environment of who built it, gigabytes of it."""
    kept_out = {line.removeprefix("**/") for line in lines_of(".dockerignore")}
    assert {line.strip("/") for line in lines_of(".gitignore")} <= kept_out
    assert ".git" in kept_out
    assert not {"vitdeploy", "exporters", "benchmarks", "reports", "pyproject.toml", "README.md"} & kept_out


def lines_of(name: str) -> list[str]:
    return [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]
