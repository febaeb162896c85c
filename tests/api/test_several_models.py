"""Several models in one command: one that cannot be made is a failed row, and all the others are tried."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from vitdeploy.api import cases, export
from vitdeploy.api.cases import BenchRequest
from vitdeploy.api.export_request import ExportRequest
from vitdeploy.catalog import packages
from vitdeploy.cli.main import main
from vitdeploy.errors import Impossible, MissingPackage, ToolchainFailed, UnreadableFile, UsageError, VitdeployError
from vitdeploy.exporters import pipeline

FITS, UNFIT = "efficientvit_b0", "efficientvit_sam_l0.encoder"
"""At 64x64."""


class Tried(ToolchainFailed):
    """Raised in the place of the work."""


@pytest.fixture(autouse=True)
def no_work(monkeypatch: pytest.MonkeyPatch):
    def tried(*_: Any, **__: Any) -> None:
        raise Tried("tried", "Nothing is exported in this test.")

    monkeypatch.setattr(pipeline, "export", tried)
    monkeypatch.setattr(packages, "missing", lambda names: {})  # pyright: ignore[reportUnknownLambdaType]


def exported(names: list[str], tmp_path: Path, size: str = "64x64") -> Mapping[str, VitdeployError | None]:
    rows = export.export(names, ExportRequest(target="onnx-fp32", size=size, out=tmp_path / "out"))
    return {row.model: row.error for row in rows}


def test_one_unfit_size_fails_one_row(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    errors = exported([UNFIT, FITS], tmp_path)
    assert [(name, type(error)) for name, error in errors.items()] == [(UNFIT, Impossible), (FITS, Tried)]
    argv = ["export", FITS, UNFIT, "--target", "onnx-fp32", "--size", "64x64", "--out", str(tmp_path / "out")]
    assert main(argv) == 5, "5 wins over 4"
    out, err = capsys.readouterr()
    assert out.count("failed") == 2
    assert err.count("error: ") == err.count("hint: ") == 2
    assert main([*argv, "--dry-run"]) == 0
    assert f"{UNFIT}: left out, " in capsys.readouterr().out


def test_what_fits_no_model_is_an_error_before_any_work(tmp_path: Path):
    with pytest.raises(Impossible):
        exported([UNFIT], tmp_path)
    with pytest.raises(UsageError):
        exported([FITS, "no_such_model"], tmp_path)
    with pytest.raises(Impossible, match="16384"):
        exported([FITS, "efficientvit_b1"], tmp_path, size="32x20000")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_model_stops_no_other(tmp_path: Path):
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no graph")
    names = cases.model_names([f"onnx:{broken}", FITS], None)
    assert [type(error) for error in exported(names, tmp_path).values()] == [UnreadableFile, Tried]
    with pytest.raises(UnreadableFile):
        exported(names[:1], tmp_path)


def test_a_missing_package_of_one_model_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def missing(names: list[str]) -> dict[str, str]:
        return {name: "not installed" for name in names if name == "transformers"}

    monkeypatch.setattr(packages, "missing", missing)
    errors = exported(["segformer_b0_ade20k", FITS], tmp_path)
    assert [type(error) for error in errors.values()] == [MissingPackage, Tried]
    with pytest.raises(MissingPackage, match="transformers"):
        exported(["segformer_b0_ade20k", "segformer_b1_ade20k"], tmp_path)


def test_bench_keeps_the_models_that_fit():
    fits, refused = cases.plan([FITS, UNFIT], BenchRequest(size="64x64"))
    assert (fits.refused, type(refused.refused)) == (None, Impossible)
    with pytest.raises(Impossible):
        cases.plan([UNFIT], BenchRequest(size="64x64"))
    with pytest.raises(Impossible):
        cases.plan([FITS, UNFIT], BenchRequest(size="64x64"), keep_going=False)
