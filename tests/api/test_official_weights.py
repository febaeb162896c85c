"""``--weights official`` of every verb, against a double of the hub and a table of small checkpoints."""

import dataclasses
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doubles.hub_double import HubDouble
from vitdeploy.catalog import checkpoints, packages
from vitdeploy.catalog.checkpoints import Checkpoint
from vitdeploy.models import weights_cache

torch = pytest.importorskip("torch", reason="the package torch (extra torch) is not installed")
pytest.importorskip("huggingface_hub", reason="the package huggingface_hub (extra hub) is not installed")

Say = Callable[..., tuple[int, str, str]]
MODEL = "efficientvit_b0"
EXPORT = ("export", MODEL, "--target", "torch-fp32", "--size", "64x64", "--weights", "official")


@pytest.fixture(scope="module")
def content() -> bytes:
    from vitdeploy import create_model

    stream = io.BytesIO()
    torch.save({"state_dict": create_model(MODEL, seed=3).state_dict()}, stream)
    return stream.getvalue()


@pytest.fixture
def table(
    hub: HubDouble, row: Callable[..., Checkpoint], content: bytes, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Checkpoint]:
    """The table of checkpoints: one model for two sizes, both on the double."""
    rows: dict[str, Checkpoint] = {}
    for side in (224, 256):
        served = hub.add_to_hub("lab/small-net", f"b0_r{side}.pt", content)
        rows[f"b0_r{side}"] = row(
            name=f"b0_r{side}",
            title=f"B0 r{side}",
            size=(side, side),
            file=f"b0_r{side}.pt",
            other_names=(),
            size_bytes=len(content),
            sha256=served.sha256,
        )
    monkeypatch.setattr(checkpoints, "checkpoints", lambda: rows)
    return rows


def change(table: dict[str, Checkpoint], **fields: object) -> None:
    for name, checkpoint in table.items():
        table[name] = dataclasses.replace(checkpoint, **fields)


def test_a_plan_shows_address_size_and_licence_and_touches_nothing(
    hub: HubDouble, table: dict[str, Checkpoint], say: Say
):
    change(table, commercial="no", licence="Lab licence", restriction="research only")
    for words in (
        EXPORT,
        ("bench", MODEL, "--size", "64x64", "--weights", "official"),
        ("duel", f"{MODEL}:onnx-fp32@64x64", f"{MODEL}:torch-fp32@64x64", "--weights", "official", "--accept-licence"),
    ):
        code, out, err = say(*words, "--dry-run")
        assert code == (4 if words[0] == "bench" else 0), err
        if code == 0:
            assert f"{hub.url}/lab/small-net/resolve/" in out
            assert "Lab licence (research only), needs --accept-licence" in out
            assert "MiB" in out
    assert not hub.requests
    assert not weights_cache.own_folder(table["b0_r224"]).exists()
    assert not weights_cache.hub_cache().exists()


def test_an_export_downloads_once_and_the_artifact_is_of_those_bytes(
    hub: HubDouble, table: dict[str, Checkpoint], say: Say
):
    code, out, err = say(*EXPORT, "--json", "-")
    assert code == 0, err
    assert "no official checkpoint of efficientvit_b0 is for 64x64; B0 r224 is for 224x224, the nearest" in err
    assert f"downloading {hub.url}/lab/small-net/resolve/" in err
    (exported,) = json.loads(out)
    assert exported["manifest"]["weights"]["sha256"] == table["b0_r224"].sha256
    assert [request.path.rpartition("/")[2] for request in hub.gets()] == ["b0_r224.pt"]
    code, out, _ = say("check", exported["folder"], "--weights", "official", "--dry-run")
    assert f"{MODEL}: official weights b0_r224" in out
    code, _, err = say("check", exported["folder"], "--weights", "official")
    assert code == 0, err
    assert len(hub.gets()) == 1
    cached = weights_cache.cached_path(table["b0_r224"])
    assert cached is not None
    cached.unlink()
    code, _, err = say(*EXPORT, "--out", "again")  # the store has it
    assert code == 0, err
    assert len(hub.gets()) == 1


def test_the_size_chooses_the_checkpoint(table: dict[str, Checkpoint], say: Say):
    code, out, _ = say(*EXPORT[:4], "--size", "256x256", *EXPORT[6:], "--dry-run")
    assert code == 0
    assert "official weights b0_r256" in out


def test_the_list_says_which_are_here(table: dict[str, Checkpoint], say: Say):
    place = weights_cache.own_path(table["b0_r224"])
    place.parent.mkdir(parents=True)
    place.write_bytes(b"anything")
    code, out, _ = say("weights", MODEL, "--json", "-")
    assert code == 0
    assert [row["cached"] for row in json.loads(out)] == [str(place), None]


def refused(say: Say, *words: str) -> tuple[int, str]:
    """The code of a command, and its error, which has to be of two lines."""
    code, _, err = say(*words, "--quiet")
    assert [line.partition(":")[0] for line in err.splitlines()] == ["error", "hint"], err
    return code, err


def test_a_licence_that_has_to_be_accepted_is_before_any_request(
    hub: HubDouble, table: dict[str, Checkpoint], say: Say
):
    change(table, commercial="unknown", licence="none is stated")
    code, err = refused(say, *EXPORT)
    assert code == 4
    assert "none is stated" in err
    assert "--accept-licence" in err
    assert not hub.requests


def test_what_cannot_be_downloaded_has_the_code_of_its_cause(
    hub: HubDouble, table: dict[str, Checkpoint], say: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    digest = str(table["b0_r224"].sha256)
    hub.files[next(path for path in hub.files if path.endswith("r224.pt"))].status = 503
    code, err = refused(say, *EXPORT)
    assert code == 7
    assert all(words in err for words in ("answers 503", hub.url, digest, str(tmp_path)))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    code, err = refused(say, *EXPORT)
    assert code == 7
    assert all(words in err for words in ("HF_HUB_OFFLINE=1 forbids it", hub.url, digest))
    place = weights_cache.own_path(table["b0_r224"])
    place.parent.mkdir(parents=True)
    place.write_bytes(b"another file")
    code, err = refused(say, *EXPORT)
    assert code == 9
    assert digest in err


def test_a_missing_package_is_said_before_the_request(
    hub: HubDouble, table: dict[str, Checkpoint], say: Say, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        packages, "missing", lambda names: {name: "not installed" for name in names if name == "huggingface_hub"}
    )
    code, err = refused(say, *EXPORT)
    assert code == 3
    assert "[hub]" in err
    assert not hub.requests


def test_a_model_without_official_weights(table: dict[str, Checkpoint], say: Say):
    code, err = refused(say, "export", "efficientvit_b1", *EXPORT[2:])
    assert code == 4
    assert "no official checkpoint of efficientvit_b1 is known" in err


def test_a_file_fits_one_model_and_the_word_many(table: dict[str, Checkpoint], say: Say):
    assert say("export", MODEL, "efficientvit_b1", "--target", "torch-fp32", "--weights", "b0.pt")[0] == 2
    assert say("bench", MODEL, "efficientvit_b1", "--weights", "b0.pt", "--dry-run")[0] == 2
    code, out, _ = say("bench", MODEL, "efficientvit_b1", "--weights", "official", "--dry-run")
    assert code == 0
    assert "left out, no official checkpoint of efficientvit_b1 is known" in out
    assert f"{MODEL}: official weights b0_r224" in out


def test_a_suite_may_ask_for_them(
    table: dict[str, Checkpoint], say: Say, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    from vitdeploy.benchmarks import suite

    (tmp_path / "mine.toml").write_text(f'title = "x"\n[[rows]]\nmodels = ["{MODEL}"]\nweights = "official"\n')
    monkeypatch.setattr(suite, "suites", lambda: {"mine": suite.read(tmp_path / "mine.toml")})
    code, out, err = say("bench", "--suite", "mine", "--dry-run")
    assert code == 0, err
    assert "official weights b0_r224" in out


def test_a_model_of_the_package_has_them(hub: HubDouble, table: dict[str, Checkpoint]):
    from vitdeploy import create_model

    ours, official = create_model(MODEL, seed=3), create_model(MODEL, weights="official")
    assert all(torch.equal(tensor, official.state_dict()[name]) for name, tensor in ours.state_dict().items())


def test_a_bench_exports_with_them_and_a_failed_case_is_not_one_of_random_weights(
    hub: HubDouble, table: dict[str, Checkpoint], monkeypatch: pytest.MonkeyPatch
):
    from vitdeploy.api import cases, jobs
    from vitdeploy.api.cases import BenchRequest
    from vitdeploy.catalog.fact_table import DeviceFacts
    from vitdeploy.devices import inventory
    from vitdeploy.processes.progress import silent

    for served in hub.files.values():
        served.status = 403
    request = BenchRequest(targets=("torch-fp32", "onnx-fp32"), size="64x64", weights=Path("official"), threads=1)
    monkeypatch.setattr(packages, "require", lambda names: None)
    timed = jobs.jobs_for(
        cases.plan([MODEL], request), request, inventory.find("local"), DeviceFacts({}), progress=silent
    )
    assert [job.case.weights for job in timed] == [f"sha256:{table['b0_r224'].sha256}"] * 2
    assert all(job.error is not None and "the server answers 403" in job.error.message for job in timed)
