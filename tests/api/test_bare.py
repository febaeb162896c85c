"""The command line starts where no heavy package is installed, and its help costs nothing."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

VERBS = (
    "models targets devices suites doctor export check predict bench duel compare accept calibrate attention "
    "reproduce eval sweep report verify cache"
).split()

HEAVY = (
    "torch onnx onnxruntime onnxscript tensorflow tensorrt skimage altair vl_convert pandas scipy numpy safetensors"
).split()

HIDE = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def test_help_imports_typer_and_nothing_heavier():
    code = (
        "import sys, json\nfrom vitdeploy.cli.main import main\nmain(['--help'])\n"
        "print(json.dumps(sorted({m.split('.')[0] for m in sys.modules})))"
    )
    loaded = set(json.loads(run(code).stdout.splitlines()[-1]))
    assert not loaded & set(HEAVY)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself_without_any_optional_package(verb: str):
    hidden = tuple(name for name in HEAVY if name not in ("scipy", "numpy"))
    done = run(
        HIDE.format(hidden=hidden) + f"from vitdeploy.cli.main import main\nsys.exit(main([{verb!r}, '--help']))"
    )
    assert done.returncode == 0, done.stderr
    assert "Usage" in done.stdout


@pytest.mark.parametrize("verb", ["models", "targets", "devices", "suites"])
def test_the_listings_work_without_any_optional_package(verb: str):
    hidden = tuple(name for name in HEAVY if name not in ("scipy", "numpy", "pandas"))
    done = run(
        HIDE.format(hidden=hidden) + f"from vitdeploy.cli.main import main\nsys.exit(main([{verb!r}, '--json', '-']))"
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)


BARE = tuple(name for name in HEAVY if name not in ("scipy", "numpy", "pandas"))


def main_of(*argv: str) -> subprocess.CompletedProcess[str]:
    """The command where no optional package is installed."""
    return run(HIDE.format(hidden=BARE) + f"from vitdeploy.cli.main import main\nsys.exit(main({argv!r}))")


def test_studies_are_planned_and_refused_by_what_is_missing_without_any_optional_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    planned = main_of("reproduce", "cityscapes", "--quick", "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "efficientvit_seg_b1_cityscapes onnx-fp32" in planned.stdout
    refused = main_of("reproduce", "cityscapes", "--quick")
    assert refused.returncode == 3, refused.stderr
    assert "missing here: torch" in refused.stderr
    assert not list(tmp_path.glob("runs/*"))
    suites = {row["name"]: row for row in json.loads(main_of("suites", "--json", "-").stdout)}
    assert not suites["demo"]["usable"]
    assert "[onnx,torch]" in suites["demo"]["why_not"]


def test_importing_the_package_imports_nothing():
    done = run("import sys, vitdeploy\nprint(*sorted(m for m in sys.modules if m.startswith('vitdeploy')))")
    assert done.stdout.split() == ["vitdeploy", "vitdeploy._version"]
