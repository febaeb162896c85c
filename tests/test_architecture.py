"""Who may import whom, read from the source: one ordered list of layers, and heavy packages only in leaves."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("exporters", "benchmarks", "reports")

LAYERS = (
    ("cli", "benchmarks.studies"),
    ("verbs",),
    ("fleet",),
    ("api",),
    ("benchmarks",),
    ("exporters",),
    ("inference",),
    ("runtimes", "reports"),
    ("devices", "evaluation", "studies"),
    ("models", "images", "results"),
    ("artifacts",),
    ("catalog",),
    ("processes",),
    ("documents",),
    ("errors", "units", "_version"),
)
"""From the top down: an import goes downwards, or stays in its layer. The package itself (`vitdeploy`, lazily) and
`python -m vitdeploy` stand above all; `benchmarks.studies` times the whole product as its users do.
"""

HEAVY = frozenset(
    "torch onnx onnxruntime onnxscript onnx_ir tensorflow tensorrt tensorrt_rtx pycuda cuda transformers altair "
    "vl_convert pandas jinja2 skimage distributed dask adbutils pynvml litert_torch ai_edge_litert safetensors "
    "onnx2tf torchmetrics pycocotools huggingface_hub requests tqdm qai_hub "
    "openvino executorch".split()
)
LEAF_PREFIXES = ("to_", "probe_", "as_", "on_", "over_", "by_")
LEAF_FOLDERS = (
    "vitdeploy/models",
    "exporters/rewrites",
    "exporters/tflite",
    "exporters/half",
    "exporters/engines",
    "benchmarks/studies",
    "reports/charts",
    "reports/pages",
)
FORBIDDEN_ON_THE_MAIN_PATH = frozenset({"torchvision", "timm"})
MOST_FILES_ON_TOP = 8


def sources() -> list[Path]:
    folders = [ROOT / "vitdeploy", *(ROOT / room for room in ROOMS)]
    doors = [ROOT / "vitdeploy" / room for room in ROOMS]
    return [p for f in folders for p in sorted(f.rglob("*.py")) if not any(d in p.parents for d in doors)]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def module_of(path: Path) -> str:
    dotted = name(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    return f"vitdeploy.{dotted}" if dotted.split(".")[0] in ROOMS else dotted


def imports(path: Path) -> set[str]:
    """Modules and names that a file imports, at its top or inside functions; not those for type checkers alone."""
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


RANKS = {layer: rank for rank, layers in enumerate(LAYERS) for layer in layers}


def layer_of(module: str) -> str | None:
    """The layer of a module or of a name in it; None: the package itself, or somebody else's."""
    words = module.split(".")
    if words[0] != "vitdeploy" or len(words) == 1:
        return None
    return next((layer for layer in (".".join(words[1:3]), words[1]) if layer in RANKS), None)


def is_leaf(path: Path) -> bool:
    return path.name.startswith(LEAF_PREFIXES) or name(path).startswith(tuple(f"{folder}/" for folder in LEAF_FOLDERS))


@pytest.mark.parametrize("path", sources(), ids=name)
def test_imports_go_downwards(path: Path):
    own = layer_of(module_of(path))
    if own is None:
        return
    upwards = {
        module
        for module in imports(path)
        if (layer := layer_of(module)) in RANKS and layer != own and RANKS[layer] <= RANKS[own]
    }
    assert not upwards


def test_every_folder_and_file_of_the_package_is_in_a_layer():
    layered = {path: layer_of(module_of(path)) for path in sources()}
    above = {"vitdeploy/__init__.py", "vitdeploy/__main__.py"}
    assert {name(path) for path, layer in layered.items() if layer is None} == above
    assert set(layered.values()) - {None} == set(RANKS)


def test_few_files_lie_on_top_of_the_package():
    assert len([path for path in sources() if path.parent == ROOT / "vitdeploy"]) <= MOST_FILES_ON_TOP


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


def test_no_test_module_is_imported_by_another():
    importers = {
        name(path): sorted(module for module in imports(path) if ".test_" in module and module.startswith("tests."))
        for path in sorted((ROOT / "tests").rglob("*.py"))
    }
    assert not {path: modules for path, modules in importers.items() if modules}
