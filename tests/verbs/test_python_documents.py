"""The examples of docs/python.md and the notebook are run as they stand, in their order."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "python.md"
NOTEBOOK = ROOT / "docs" / "from_model_to_page.ipynb"


def executed(blocks: list[str]) -> tuple[dict[str, Any], list[Any]]:
    """The names that blocks of code leave, and the value of each block that ends with an expression, as in a notebook.

    Each such value must show itself, as text and where it can as HTML.
    """
    names: dict[str, Any] = {"__name__": "__main__"}
    values: list[Any] = []
    for block in blocks:
        tree = ast.parse(block)
        last = tree.body[-1]
        body = ast.Module(body=tree.body[:-1] if isinstance(last, ast.Expr) else tree.body, type_ignores=[])
        exec(compile(body, "<example>", "exec"), names)
        if isinstance(last, ast.Expr):
            values.append(eval(compile(ast.Expression(last.value), "<example>", "eval"), names))
            assert repr(values[-1])
            if hasattr(values[-1], "_repr_html_"):
                assert values[-1]._repr_html_().startswith("<")
    return names, values


def cells(kind: str) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == kind]


@pytest.fixture
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    return tmp_path


@pytest.mark.slow
def test_the_examples_of_the_page_run(empty_folder: Path, capsys: pytest.CaptureFixture[str]):
    names, _ = executed(re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE))
    said = capsys.readouterr().out
    assert "unknown device 'ornin'" in said
    assert "Did you mean orin" in said
    assert (empty_folder / "report.html").stat().st_size > 10_000
    assert len(names["frame"]) == 1
    assert names["frame"]["status"].tolist() == ["valid"]
    assert len(names["samples"]) == sum(len(trial.samples_ns) for trial in names["run"].run.results[0].trials)
    assert names["earlier"] == names["run"].run
    assert not names["exports"].errors


@pytest.mark.slow
def test_the_notebook_goes_from_a_model_to_a_page(empty_folder: Path):
    names, _ = executed(cells("code"))
    assert names["page"].path.is_file()
    assert names["run"].to_pandas()["target"].tolist().count("onnx-fp32") == 1
    assert names["duel"].compared.comparisons[0].verdict


def test_the_notebook_is_one_of_format_4_without_outputs():
    notebook = json.loads(NOTEBOOK.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"]) > 10
    for cell in notebook["cells"]:
        assert set(cell) >= {"cell_type", "id", "metadata", "source"}
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            ast.parse("".join(cell["source"]))


def test_every_example_can_be_read():
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 10
    for block in blocks:
        ast.parse(block)
