"""The catalogue: published counts to their digits, what may run at once, going on, and what is said of failures."""

import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from vitdeploy.benchmarks.studies import catalogue, published_counts
from vitdeploy.benchmarks.studies.catalogue import Book, Cell, Count, Work
from vitdeploy.benchmarks.studies.published_counts import PUBLISHED, Published
from vitdeploy.catalog import registry


def cell(model: str, target: str = "onnx-fp32", **changes: Any) -> Cell:
    made = Cell(
        model=model,
        target=target,
        size=(64, 64),
        state="ready",
        parity_passed=True,
        error_std=1e-6,
        seconds=12.0,
        peak_bytes=2**30,
    )
    return msgspec.structs.replace(made, **changes)


@pytest.mark.parametrize("printed", PUBLISHED, ids=lambda one: f"{one.model}-{one.size[0]}")
def test_counts_are_the_published_ones_to_the_digits_printed(printed: Published):
    for package in ("torch", "transformers"):
        pytest.importorskip(package, reason="counting builds the model")
    create: Any = registry.load("vitdeploy.models.create")
    module, _ = create.unfilled(registry.find_model(printed.model))
    params, macs = create.count_parameters(module) / 1e6, create.count_macs(module, (1, 3, *printed.size)) / 1e9
    # What is said to differ must: a reason for nothing is wrong too.
    assert same_digits(params, printed.parameters_m) == (printed.parameters_differ is None)
    assert same_digits(macs, printed.macs_g) == (printed.macs_differ is None)


def same_digits(value: float, printed: str | None) -> bool:
    """Whether it is printed so; what is not printed agrees with everything."""
    return printed is None or f"{value:.{len(printed.partition('.')[2])}f}" == printed


def test_every_published_name_is_a_model_and_none_is_printed_twice():
    keys = [(one.model, one.size) for one in PUBLISHED]
    assert len(keys) == len(set(keys))
    assert {model.partition(".")[0] for model, _ in keys} <= set(registry.models())
    assert published_counts.of("efficientvit_b1", (224, 224)) is not None
    assert published_counts.of("efficientvit_b1", (64, 64)) is None


def test_the_smallest_size_is_one_that_the_model_takes():
    for spec in registry.models().values():
        registry.check_size(spec, catalogue.smallest(spec))
    assert catalogue.smallest(registry.find_model("swin_b")) == (224, 224)
    assert catalogue.smallest(registry.find_model("efficientvit_b0")) == (64, 64)
    for (model, _), size in catalogue.ELSEWHERE.items():
        registry.check_size(registry.find_model(model), size)
        assert size[0] != size[1]


def test_what_does_not_fit_beside_another_waits_and_what_never_fits_runs_alone():
    memory = catalogue.Memory(100)
    first = memory.take(60)
    seen: list[int] = []
    waiting = threading.Thread(target=lambda: seen.append(memory.take(1000)))
    waiting.start()
    time.sleep(0.05)
    assert not seen
    memory.give(first)
    waiting.join(5)
    assert seen == [100], "all there is"


def test_larger_models_are_expected_to_take_more():
    assert catalogue.needed_bytes(641_000_000, "onnx-fp32") > 12 * 2**30
    assert catalogue.needed_bytes(700_000, "tflite-fp32") > catalogue.needed_bytes(700_000, "onnx-fp32")


@pytest.fixture
def exports(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Stands in for the exports, and notes which were made; a second target fails the first time."""
    made: list[tuple[str, str]] = []

    def export(work: Work, place: Path) -> Cell:
        made.append((work.spec.name, work.target))
        failed = work.target == "onnx-fp16" and made.count((work.spec.name, work.target)) == 1
        return cell(
            work.spec.name,
            work.target,
            size=work.size,
            state="failed" if failed else "ready",
            said="out of luck" if failed else None,
            parity_passed=None if failed else True,
        )

    def counts(specs: Any) -> list[Count]:
        return [Count(model=spec.name, parameters=200 * 10**6, macs=10**9, size=spec.size) for spec in specs]

    monkeypatch.setattr(catalogue, "export", export)
    monkeypatch.setattr(catalogue, "counts", counts)
    return made


def test_a_second_run_goes_on_and_tries_only_what_failed(tmp_path: Path, exports: list[tuple[str, str]]):
    specs, out = [registry.find_model("efficientvit_b0")], tmp_path / "catalogue.json"
    targets = ("onnx-fp32", "onnx-fp16", "tflite-fp32")
    first = catalogue.run(specs, targets, out, jobs=2)
    assert sorted(exports) == [("efficientvit_b0", "onnx-fp16"), ("efficientvit_b0", "onnx-fp32")]
    assert {c.target: c.state for c in first.cells} == {
        "onnx-fp32": "ready",
        "onnx-fp16": "failed",
        "tflite-fp32": "left out",
    }
    exports_before = len(exports)
    second = catalogue.run(specs, targets, out, jobs=2)
    assert exports[exports_before:] == [("efficientvit_b0", "onnx-fp16")]
    assert {c.state for c in second.cells} == {"ready", "left out"}
    assert len(second.cells) == 3
    assert msgspec.json.decode(out.read_bytes(), type=Book).cells == second.cells


def test_a_missing_cell_has_its_reason_below_the_table():
    book = Book(
        machine={},
        counts=[Count(model="segformer_b1_cityscapes", parameters=13_682_131, macs=239_129_853_952, size=(1024, 2048))],
        cells=[
            cell("segformer_b1_cityscapes"),
            cell("segformer_b1_cityscapes", "tflite-fp32", state="failed", said="no operator", parity_passed=None),
            cell("segformer_b1_cityscapes", "trt-rtx-fp16", said="no GPU here", parity_passed=None, error_std=None),
        ],
    )
    made = catalogue.table(book, ["segformer_b1_cityscapes"], catalogue.TARGETS)
    row = made.splitlines()[2]
    assert "| 13,682,131 | 14M | 239.1 | 244G | 1024x2048 | 64x64 | yes 1e-06 | not run | failed | built | 36 |" in row
    assert "- segformer_b1_cityscapes tflite-fp32: no operator." in made
    assert "- built, not run: no GPU here." in made
    assert "150 classes" in made


def test_a_cell_that_was_made_at_another_size_says_which():
    book = Book(
        machine={},
        counts=[Count(model="vapsr_x2", parameters=1, macs=1, size=(160, 240))],
        cells=[cell("vapsr_x2", size=(48, 48)), cell("vapsr_x2", "tflite-fp32", size=(40, 56))],
    )
    assert "| 48x48 | yes 1e-06 | yes 1e-06 at 40x56 |" in catalogue.table(
        book, ["vapsr_x2"], ("onnx-fp32", "tflite-fp32")
    )


def test_a_failed_proof_shows_in_the_table():
    book = Book(
        machine={},
        counts=[Count(model="efficientvit_b0", parameters=1, macs=1, size=(224, 224))],
        cells=[cell("efficientvit_b0", state="failed", parity_passed=False, error_std=0.5, said="differs")],
    )
    assert "**no** 5e-01" in catalogue.table(book, ["efficientvit_b0"], ("onnx-fp32",))


@pytest.mark.slow
def test_the_part_that_ci_runs_is_made_and_proven(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for package in ("torch", "onnx", "onnxscript", "onnxruntime", "skimage", "transformers"):
        pytest.importorskip(package, reason="exports are made with it")
    assert catalogue.main(["--ci", "--out", str(tmp_path / "c.json")]) == 0
    printed = capsys.readouterr().out
    assert all(f"| {name} | " in printed for name in catalogue.CI_MODELS)
    assert printed.count("| yes ") == len(catalogue.CI_MODELS)
