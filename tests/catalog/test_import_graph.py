"""The import graph is what the sources say, and what a stored artifact and the agent depend on follows from it."""

import ast
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vitdeploy.catalog import import_graph, registry
from vitdeploy.devices import agent
from vitdeploy.exporters import planning

ROOT = Path(__file__).parents[2]
FOLDERS = ("vitdeploy", "exporters", "benchmarks", "reports")
SOURCES = [
    path
    for folder in FOLDERS
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not (folder == "vitdeploy" and path.relative_to(ROOT / folder).parts[0] in FOLDERS)
]

KEY = """
import sys
from pathlib import Path
from vitdeploy.catalog import registry
from vitdeploy.exporters import planning
spec = registry.find_model("efficientvit_b0")
for name in sys.argv[1:]:
    request = planning.ArtifactRequest(variant=registry.variant_of(spec, name), weights=None, out=Path("out"))
    print(planning.plans([request])[0].key)
"""


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def typing_only(tree: ast.Module) -> set[ast.AST]:
    return {
        node
        for block in tree.body
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }


@pytest.mark.parametrize("path", SOURCES, ids=named)
def test_the_search_finds_what_the_syntax_tree_holds(path: Path):
    tree = ast.parse(path.read_text())
    skipped = typing_only(tree)
    imported: set[str] = set()
    strings: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            strings.add(node.value)

    def ours(names: set[str]) -> set[Path | None]:
        return {import_graph.file_of(name) for name in names} - {None}

    found, loaded_by_name = import_graph.references(path)
    assert ours(set(found)) == ours(imported)
    assert ours(set(loaded_by_name)) == ours(
        {text.partition(":")[0] for text in strings if re.fullmatch(r"vitdeploy(\.\w+)+(:\w+)?", text)}
    )


def test_a_module_brings_its_packages_and_what_it_imports_or_names():
    modules = import_graph.modules_of(["vitdeploy.exporters.step:run", "numpy"])
    assert {"vitdeploy", "vitdeploy.exporters", "vitdeploy.exporters.proof", "vitdeploy.models.create"} <= set(modules)
    assert "vitdeploy.catalog.user_models" in modules, "imported inside a function"
    assert "vitdeploy.exporters.on_torch_fp32" in modules, "named in a string"
    assert "numpy" not in modules
    assert modules["vitdeploy.exporters"].name == "__init__.py"


def test_the_tables_do_not_bring_all_that_they_name():
    assert "vitdeploy.exporters.to_trt" not in import_graph.modules_of(["vitdeploy.catalog.registry"])


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All sources in a place of their own, where they may be changed."""
    place = tmp_path_factory.mktemp("copied")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, place / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for room in FOLDERS[1:]:
        door = place / "vitdeploy" / room
        if not door.is_dir():
            door.unlink(missing_ok=True)
            door.symlink_to(Path("..") / room)
    return place


def keys(place: Path, *targets: str) -> list[str]:
    """Store keys of B0's artifacts, by the sources in ``place``."""
    environment = {**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", KEY, *targets], cwd=place, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.fixture(scope="module")
def unchanged(copied: Path) -> list[str]:
    return keys(copied, "onnx-fp32", "tflite-fp32")


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("vitdeploy/artifacts/manifest.py", (True, True)),
        ("vitdeploy/catalog/registry.py", (True, True)),
        ("vitdeploy/documents.py", (True, True)),
        ("vitdeploy/runtimes/session.py", (True, True)),
        ("vitdeploy/runtimes/on_ort.py", (True, False)),
        ("vitdeploy/runtimes/on_tflite.py", (False, True)),
        ("vitdeploy/models/efficientvit.py", (True, True)),
        ("vitdeploy/models/swinir.py", (False, False)),
        ("exporters/proof.py", (True, True)),
        ("exporters/on_torch_fp32.py", (True, True)),
        ("exporters/rewrites/upsampling.py", (True, True)),
        ("exporters/tflite/litert_torch_process.py", (False, True)),
        ("reports/report.py", (False, False)),
        ("benchmarks/trial/worker.py", (False, False)),
        ("vitdeploy/api/export.py", (False, False)),
    ],
)
def test_a_key_depends_on_what_its_step_loads(copied: Path, unchanged: list[str], file: str, changes: tuple[bool, ...]):
    path = copied / file
    before = path.read_text()
    try:
        path.write_text(before + "# changed\n")
        after = keys(copied, "onnx-fp32", "tflite-fp32")
    finally:
        path.write_text(before)
    assert tuple(one != other for one, other in zip(unchanged, after, strict=True)) == changes


def test_a_key_does_not_depend_on_where_the_package_is(unchanged: list[str]):
    assert keys(ROOT, "onnx-fp32", "tflite-fp32") == unchanged


def test_the_key_of_a_part_depends_on_what_the_other_part_is_built_by():
    spec = registry.find_model("efficientvit_sam_l0.decoder")
    whole = registry.find_model("efficientvit_sam_l0")
    target = registry.find_target("onnx-fp32")
    assert planning._source_digest(spec, target) == planning._source_digest(whole, target)


def started_on_devices() -> set[str]:
    """The modules that `child_reply` is told to start behind a link, and what stands after ``-m`` elsewhere."""
    started: set[str] = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            module = _started(node)
            if isinstance(module, ast.Constant):
                started.add(str(module.value))
            elif module is not None:  # worker.__name__
                name = ast.unparse(module).removesuffix(".__name__")
                found = {one for one in import_graph.references(path)[0] if one.endswith(f".{name}")}
                assert found or named(path) == "vitdeploy/processes/child_reply.py", f"{named(path)} starts {name}"
                started |= found
    return started


def _started(node: ast.AST) -> ast.expr | None:
    if isinstance(node, ast.Call) and ast.unparse(node.func) in ("child_reply.ask", "child_reply.start"):
        return None if ast.unparse(node.args[0]) == "LocalConnection()" else node.args[1]
    if isinstance(node, ast.List) and len(node.elts) > 2 and ast.unparse(node.elts[0]).endswith(".interpreter()"):
        assert ast.unparse(node.elts[1]) == "'-m'", f"no module is started by {ast.unparse(node)}"
        return node.elts[2]
    return None


def test_the_agent_carries_what_is_started_on_a_device_and_what_that_loads_by_name():
    started = started_on_devices()
    assert "vitdeploy.benchmarks.trial.worker" in started
    assert started == set(agent.PROCESSES)
    modules = agent.modules()
    rows = [row for model in registry.MODELS for row in (model, *model.parts)]
    assert {row.builder.partition(":")[0] for row in rows} <= modules.keys()
    assert {target.runtime for target in registry.TARGETS if target.runtime} <= modules.keys()
    cuda = {name for name in modules if name.startswith("vitdeploy.runtimes.on_")}
    assert cuda == {f"vitdeploy.runtimes.{path.stem}" for path in (ROOT / "vitdeploy/runtimes").glob("on_*.py")}
    probes = {f"vitdeploy.devices.{path.stem}" for path in (ROOT / "vitdeploy/devices").glob("probe_*.py")}
    assert len(probes) == 3
    assert probes <= modules.keys()
