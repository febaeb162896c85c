"""Half precision of every model: what the table asks, what it keeps, and, slowly, every row of it."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxscript", reason="graphs are made with onnxscript")
pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")

from vitdeploy.benchmarks.studies import fp16_models
from vitdeploy.benchmarks.studies.fp16_models import ModelRow
from vitdeploy.catalog import packages, registry

CASES = fp16_models.cases(list(registry.models()))
NO_BUILDER = bool(packages.missing(["tensorrt_rtx"]))

GOOD = ModelRow(
    model="bsrn_x2",
    attention="own",
    size=(160, 240),
    errors={"ours": 0.01, "plain": None, "plain with eps 1e-7": 0.02},
    built_at=(160, 240),
    build_ns=2_300_000_000,
    engine_bytes=7_000_000,
)


def test_every_model_with_every_attention_is_a_row_at_a_size_that_it_takes():
    rows = {(spec.name, attention) for spec, attention in CASES}
    assert len(rows) == len(CASES)
    assert {("efficientvit_b0", "relu"), ("efficientvit_b0", "softmax"), ("restormer", "own")} <= rows
    assert ("efficientvit_sam_l0.encoder", "softmax") in rows
    assert ("efficientvit_sam_l0.decoder", "softmax") not in rows, "it has no such attention"
    assert {name.split(".")[0] for name, _ in rows} == set(registry.models())
    for spec, _ in CASES:
        registry.check_size(spec, fp16_models.small(spec))


def test_a_row_tells_the_error_of_each_graph():
    found = fp16_models.row(registry.find_model("attention_w32"), "relu", build=False)
    assert found.failed is None
    assert set(found.errors) == {"plain", "plain with eps 1e-7", "ours"}
    assert 0 < (found.errors["ours"] or 0) < 0.05
    assert fp16_models.right(found)
    assert found.built_at is None
    softmax = fp16_models.row(registry.find_model("attention_w32"), "softmax", build=False)
    assert set(softmax.errors) == {"ours"}, "nothing is rewritten in it for half precision's sake"


def test_nan_a_refusal_and_a_large_error_are_not_right():
    assert fp16_models.right(GOOD)
    for wrong in (
        msgspec.structs.replace(GOOD, errors={"ours": None}),
        msgspec.structs.replace(GOOD, errors={"ours": 9.0}),
        msgspec.structs.replace(GOOD, errors={}),
        msgspec.structs.replace(GOOD, failed="the parser refuses it"),
    ):
        assert not fp16_models.right(wrong)


def test_the_table_says_what_is_not_there():
    refused = ModelRow(model="restormer", attention="own", built_at=(320, 480), failed="the parser refuses it")
    same = msgspec.structs.replace(GOOD, errors={"ours": 0.01}, built_at=None, build_ns=None, engine_bytes=None)
    _, _, good, lacking, plainer, _, why, *_ = fp16_models.table([GOOD, refused, same]).splitlines()
    assert good == "| bsrn_x2 | own | 160×240 | NaN or Inf | 0.0200 | 0.0100 | 160×240 | 2.3 s | 6.7 MiB |"
    assert lacking == "| restormer | own | – | – | – | – | **no** | – | – |"
    assert plainer == "| bsrn_x2 | own | 160×240 | the same | the same | 0.0100 | – | – | – |"
    assert why == "- restormer own: the parser refuses it"


def test_a_process_that_ends_without_a_row_is_a_failed_one():
    unknown = replace(registry.find_model("efficientvit_b0"), name="no_such_model")
    assert fp16_models.alone(unknown, "relu", build=False).failed == "its process ended with 1"


def test_what_is_finished_is_kept_and_what_failed_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    asked: list[str] = []

    def alone(spec: Any, attention: Any, *, build: bool) -> ModelRow:
        asked.append(spec.name)
        failed = "once" if spec.name == "bsrn_x4" and asked.count("bsrn_x4") == 1 else None
        return msgspec.structs.replace(GOOD, model=spec.name, failed=failed)

    monkeypatch.setattr(fp16_models, "alone", alone)
    monkeypatch.setattr(sys, "argv", ["fp16_models", "--models", "bsrn_x2", "bsrn_x4", "--out", str(tmp_path / "o")])
    assert fp16_models.main() == 1
    assert fp16_models.main() == 0
    assert asked == ["bsrn_x2", "bsrn_x4", "bsrn_x4"]
    monkeypatch.setattr(sys, "argv", ["fp16_models", "--models", "bsrn_x3"])
    assert fp16_models.main() == 2


@pytest.mark.slow
@pytest.mark.parametrize(("spec", "attention"), CASES, ids=[f"{spec.name}-{attention}" for spec, attention in CASES])
def test_every_model_is_right_in_half_precision_and_nvidias_own_builder_takes_it(spec: Any, attention: Any):
    found = fp16_models.alone(spec, attention, build=not NO_BUILDER)
    assert fp16_models.right(found), found
    # The largest row of docs/fp16.md, B3 with softmax, has 0.123.
    assert (found.errors["ours"] or 0) < 0.15, "with random weights far below what the target tolerates"
    assert NO_BUILDER or found.build_ns is not None
