"""`vitdeploy weights`: the table of official checkpoints for people and for machines."""

import json
from pathlib import Path

import pytest

from vitdeploy.api import listings, weights
from vitdeploy.catalog import checkpoints
from vitdeploy.cli.main import main


@pytest.fixture(autouse=True)
def empty_caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)


def test_every_checkpoint_is_listed_and_none_is_in_an_empty_cache():
    rows = weights.weights()
    assert [row.checkpoint for row in rows] == list(checkpoints.checkpoints().values())
    assert not any(row.cached for row in rows)


def test_a_named_model_is_told_with_its_source_licence_and_what_to_beware_of(capsys: pytest.CaptureFixture[str]):
    assert main(["weights", "efficientvit_sam_l0", "segformer_b0_ade20k"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    for words in (
        "https://huggingface.co/mit-han-lab/efficientvit-sam/resolve/main/efficientvit_sam_l0.pt",
        "c4f994b01a16d48bcf2fbbb089448cfbf58fae5811edfa8113c953b8b8cc64b8",
        "beware: distilled_model/",
        "research and evaluation only",
        "--accept-licence",
        "none published",
    ):
        assert words in out


def test_a_part_stands_for_its_model_and_a_model_named_twice_is_listed_once(capsys: pytest.CaptureFixture[str]):
    assert main(["weights", "sam_vit_b.encoder", "sam_vit_b", "--json", "-"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["checkpoint"] for row in rows] == ["sam_vit_b", "sam_vit_b_hub"]


def test_the_machine_form_has_what_a_download_needs(capsys: pytest.CaptureFixture[str]):
    assert main(["weights", "bsrn_x4", "--json", "-"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert row["sha256"] == "47518e0f549f5696da0c84ca2d65bf50d789c7ac20e621909f5fd6c8c8d70bcb"
    assert row["url"].endswith("/net_g_BSRN_x4.pth")
    assert (row["weights_licence"], row["needs_acceptance"], row["cached"]) == ("MIT", False, None)
    assert row["accuracy"] == [
        {"dataset": "sr", "metric": "PSNR", "value": 27.65, "source": "arXiv 2205.05996, BSD100"}
    ]


def test_a_model_without_a_checkpoint_is_told_and_an_unknown_one_refused(capsys: pytest.CaptureFixture[str]):
    assert main(["weights", "convnext_t"]) == 0
    assert "No official checkpoint of convnext_t is known." in capsys.readouterr().out
    assert main(["weights", "efficientvit_b9"]) == 2


def test_the_models_say_which_weights_there_are():
    facts = {row.name: row.facts["weights"] for row in listings.models()}
    assert facts["efficientvit_seg_b0_cityscapes"] == "official, Apache-2.0"
    assert facts["efficientvit_b1"] == "3 official, Apache-2.0"
    assert facts["vapsr_x2"] == "official, no licence stated"
    assert facts["efficientvit_sr_x2"] == "none known"
