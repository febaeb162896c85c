"""The published tables: read strictly, contradictions kept apart, quoted ratios those of their values, names known."""

import pytest

from vitdeploy.benchmarks import reproduce as tables
from vitdeploy.catalog import checkpoints, registry
from vitdeploy.devices import inventory
from vitdeploy.errors import UnreadableFile, UsageError
from vitdeploy.studies import published

CONTRACT = {"cityscapes", "ade20k", "imagenet", "sr", "sam", "attention", "snapdragon"}

FAMILIES = (
    *("efficientvit_", "segformer_", "segnext_", "deeplabv3plus_", "convnext_", "swin_", "efficientnetv2_"),
    *("restormer", "swinir_", "vapsr_", "bsrn_", "sam_vit_", "attention_w"),
)
"""Beginnings of the contract's model names: a row names one of these, or says that there is no model."""


def test_every_table_of_the_contract_ships():
    assert set(tables.names()) == CONTRACT


@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_a_table_is_whole(name: str):
    table = tables.find(name)
    assert table.rows
    assert table.claims
    for target in table.targets:
        assert target in registry.targets()
    for column in table.columns.values():
        assert column.source
        assert column.runs_on is None or column.runs_on in inventory.devices()
    for row in table.rows:
        assert row.model is None or row.model.startswith(FAMILIES)
        registry.parse_size(table.size_of(row, quick=True))
    for model in {row.model for row in table.rows if row.model and tables.known(row.model)}:
        spec = registry.find_model(model)
        for row in table.rows:
            if row.model == model and row.in_quick:
                registry.check_size(spec, registry.parse_size(table.size_of(row, quick=True)))


@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_a_quoted_ratio_is_that_of_its_pair(name: str):
    table = tables.find(name)
    for claim in table.claims:
        found = table.published_ratio(claim)
        if claim.ratio is None or found is None:
            continue
        # Quoted with two or three digits; charts are read to a few percent.
        slack = 0.05 if table.columns[claim.column or ""].chart else 0.012
        assert found == pytest.approx(claim.ratio, rel=slack), claim.words


@pytest.mark.parametrize("name", sorted(CONTRACT))
def test_quick_times_no_row_without_a_ratio(name: str):
    table = tables.find(name)
    quick = {row.name: (row.model, table.size_of(row, quick=True)) for row in table.rows if row.model and row.in_quick}
    pairs = [(claim.slow, claim.fast) for claim in table.claims if {claim.slow, claim.fast} <= quick.keys()]
    assert {quick[side] for pair in pairs for side in pair} == set(quick.values())
    assert len(tables.wanted(table, quick=True, target="onnx-fp32", device="local", free_bytes=None)) <= 8


def test_contradictions_are_rows_of_their_own():
    ratios = {claim.ratio: claim for claim in tables.find("cityscapes").claims}
    assert {13.9, 8.8, 6.2, 3.8} <= ratios.keys()
    assert ratios[8.8].note
    sam = {claim.ratio: claim for claim in tables.find("sam").claims}
    assert {84, 48.9} <= sam.keys()
    assert sam[84].note
    assert sam[84].column != sam[48.9].column
    for name, model in (("imagenet", "efficientnetv2_s"), ("imagenet", "efficientnetv2_m")):
        rows = [row for row in tables.find(name).rows if row.model == model]
        assert len({row.macs for row in rows}) == len(rows) == 2
        assert any(row.note for row in rows)
    assert {row.quality for row in tables.find("cityscapes").rows if "B0" in row.name} >= {75.653, 74.5}


@pytest.mark.parametrize("name", ["imagenet", "cityscapes", "ade20k", "sam", "sr"])
def test_a_quality_stands_in_one_place(name: str):
    table = tables.find(name)
    assert table.dataset is not None
    assert sum(row.checkpoint is not None for row in table.rows) >= 3
    for row in table.rows:
        published = {
            figure.value
            for checkpoint in checkpoints.checkpoints_of(row.model or "")
            if (figure := checkpoint.accuracy_on(table.dataset)) is not None
            and checkpoint.size in (None, registry.parse_size(table.size_of(row, quick=False)))
        }
        if row.checkpoint is not None:
            assert checkpoints.find(row.checkpoint).model == row.model
        elif "FFHQ" not in row.name:
            assert row.quality not in published, row.name


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('checkpoint = "efficientvit_b1_r225"', "nothing is published"),
        ('checkpoint = "efficientvit_b0_r224"', "nothing is published"),
        ('checkpoint = "efficientvit_b1_r224"\nquality = 79.0', "a quality of its own"),
    ],
)
def test_a_checkpoint_that_says_nothing_of_a_row_is_refused(line: str, why: str):
    text = GOOD.decode().replace('targets = ["onnx-fp32"]', 'targets = ["onnx-fp32"]\ndataset = "imagenet"')
    with pytest.raises(UnreadableFile, match=why):
        published.decode(text.replace("[[rows]]", f"[[rows]]\n{line}", 1).encode(), "t.toml")


def test_figures_read_from_charts_are_columns_of_their_own():
    for name, rows in (("cityscapes", 8), ("ade20k", 8)):
        table = tables.find(name)
        assert table.columns["xavier-chart"].chart
        assert sum("a6000-chart" in row.values for row in table.rows) == rows
    assert tables.find("cityscapes").row("SegFormer-B0").values["nano-chart"] == 3920


def test_units_decide_the_direction_of_a_ratio():
    table = tables.find("cityscapes")
    latency, throughput = (
        next(c for c in table.claims if (c.slow, c.fast, c.column) == ("SegFormer-B5", "EfficientViT-L1", column))
        for column in ("orin", "a100")
    )
    assert table.published_ratio(latency) == pytest.approx(638 / 45.9)
    assert table.published_ratio(throughput) == pytest.approx(122 / 12)


GOOD = b"""
title = "t"
targets = ["onnx-fp32"]
size = "64x64"
graph_outputs = "logits"
[columns.orin]
unit = "ms"
device = "d"
boundary = "host-to-host"
source = "s"
[[rows]]
name = "a"
values = { orin = 2 }
[[rows]]
name = "b"
values = { orin = 1 }
[[claims]]
words = "w"
slow = "a"
fast = "b"
column = "orin"
source = "s"
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b'unit = "ms"', b'unit = "s"', "unit"),
        (b'size = "64x64"', b'size = "64"', "size"),
        (b"orin = 2", b"orin = -2", "values"),
        (b"orin = 2", b"nano = 2", "nano"),
        (b'fast = "b"', b'fast = "c"', "'c'"),
        (b'name = "b"', b'name = "a"', "'a'"),
        (b'graph_outputs = "logits"', b"", "graph_outputs"),
        (b'source = "s"\n[[rows]]', b'source = "s"\ncolour = 1\n[[rows]]', "colour"),
    ],
)
def test_a_wrong_table_is_refused_by_name(old: bytes, new: bytes, said: str):
    assert published.decode(GOOD, "good.toml").published_ratio(published.decode(GOOD, "good.toml").claims[0]) == 2
    assert old in GOOD
    with pytest.raises(UnreadableFile, match=said):
        published.decode(GOOD.replace(old, new, 1), "bad.toml")


def test_an_unknown_table_is_a_usage_error_with_the_nearest_name():
    with pytest.raises(UsageError) as caught:
        tables.find("cityscape")
    assert "cityscapes" in caught.value.hint
