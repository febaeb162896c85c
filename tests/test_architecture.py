"""Who may import whom, read from the source: core ← rooms ← api ← cli, and heavy packages only in leaves."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("exporters", "benchmarks", "reports")
HEAVY = frozenset(
    "torch onnx onnxruntime onnxscript onnx_ir tensorflow tensorrt tensorrt_rtx pycuda cuda transformers altair "
    "vl_convert pandas jinja2 skimage distributed dask adbutils pynvml litert_torch ai_edge_litert safetensors "
    "onnx2tf torchmetrics pycocotools".split()
)
LEAF_PREFIXES = ("to_", "probe_", "as_", "on_", "over_", "by_", "rewrite", "tflite_")
LEAF_FOLDERS = ("vitdeploy/models/",)
LEAVES = frozenset(
    {
        "reports/charts.py",
        "reports/study_charts.py",
        "reports/study_page.py",
        "exporters/border.py",
        "exporters/fp16_graph.py",
        "exporters/onnx_norms.py",
        "exporters/reference.py",
        "benchmarks/export_speed.py",
        "benchmarks/fp16_stress.py",
    }
)
COMPOSERS = frozenset(
    {
        "vitdeploy/api.py",
        "vitdeploy/api_jobs.py",
        "vitdeploy/cli.py",
        "vitdeploy/tables.py",
        "vitdeploy/api_decide.py",
        "vitdeploy/decide_commands.py",
        "vitdeploy/decide_tables.py",
        "vitdeploy/api_field.py",
        "vitdeploy/field_commands.py",
        "vitdeploy/field_tables.py",
        # A sweep exports and times; its tasks do so on the workers, where there is no `api` between.
        "vitdeploy/api_fleet.py",
        "vitdeploy/fleet/evaluations.py",
        "vitdeploy/fleet/lanes.py",
        "vitdeploy/fleet/shards.py",
        "vitdeploy/fleet/supply.py",
        "vitdeploy/fleet/sweep.py",
        "vitdeploy/fleet/tasks.py",
        "vitdeploy/command.py",
        "vitdeploy/api_eval.py",
        "vitdeploy/api_eval_items.py",
        "vitdeploy/api_eval_reference.py",
        "vitdeploy/api_listings.py",
        "vitdeploy/api_predict.py",
        "vitdeploy/api_report.py",
        "vitdeploy/eval_commands.py",
        "vitdeploy/eval_tables.py",
        "vitdeploy/__init__.py",
    }
)
FORBIDDEN_ON_THE_MAIN_PATH = frozenset({"torchvision", "timm"})


def sources() -> list[Path]:
    folders = [ROOT / "vitdeploy", *(ROOT / room for room in ROOMS)]
    doors = [ROOT / "vitdeploy" / room for room in ROOMS]
    return [p for f in folders for p in sorted(f.rglob("*.py")) if not any(d in p.parents for d in doors)]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    nodes = tree.body if top_level_only else ast.walk(tree)
    found: set[str] = set()
    for node in nodes:
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def is_leaf(path: Path) -> bool:
    known = name(path)
    return path.name.startswith(LEAF_PREFIXES) or known.startswith(LEAF_FOLDERS) or known in LEAVES


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[0] == "vitdeploy" and parts[1] in ROOMS else None


@pytest.mark.parametrize("path", sources(), ids=name)
def test_the_core_imports_no_room_and_rooms_do_not_import_each_other(path: Path):
    if name(path) in COMPOSERS:
        return
    own = name(path).split("/")[0] if name(path).split("/")[0] in ROOMS else None
    foreign = {module for module in imports(path) if room_of(module) not in (None, own)}
    if name(path).startswith("benchmarks/") and "vitdeploy.api.bench" in imports(path):
        foreign = set()
    assert not foreign


@pytest.mark.parametrize("path", sources(), ids=name)
def test_nobody_imports_the_command_line(path: Path):
    if name(path) == "vitdeploy/__main__.py":
        return
    assert not {module for module in imports(path) if module.startswith("vitdeploy.cli.main")}


@pytest.mark.parametrize("path", sources(), ids=name)
def test_heavy_packages_are_imported_in_leaves_only(path: Path):
    heavy = {module for module in imports(path) if module.split(".")[0] in HEAVY}
    assert is_leaf(path) or not heavy


@pytest.mark.parametrize("path", sources(), ids=name)
def test_nothing_imports_torchvision_or_timm(path: Path):
    assert not {module for module in imports(path) if module.split(".")[0] in FORBIDDEN_ON_THE_MAIN_PATH}


@pytest.mark.parametrize("path", sources(), ids=name)
def test_every_file_says_in_its_first_line_what_it_is_for(path: Path):
    assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=name)
def test_no_test_module_is_imported_by_another(path: Path):
    """What tests share is in ``tests/doubles`` and in modules that hold no tests."""
    assert not {m for m in imports(path) if m.startswith("tests.") and ".test_" in m}
