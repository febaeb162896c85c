"""The study of what the yardstick wins: rounds that are added to a file, and its table."""

from pathlib import Path

import numpy as np
import pytest

from tests.doubles import beside
from vitdeploy.benchmarks.studies import yardstick
from vitdeploy.benchmarks.studies.yardstick import Round


def rounds(count: int) -> list[Round]:
    """Of one file, on a machine of another pace in each round."""
    paces = np.exp(np.random.default_rng(0).normal(0, 0.1, count)).tolist()
    return [
        Round(
            beside=beside.run(f"beside-{place}", 100 * place, pace=beside.phases(pace)),
            alone=beside.run(f"alone-{place}", 100 * place + 50, pace=beside.phases(pace), beside=False),
        )
        for place, pace in enumerate(paces)
    ]


def test_phases_of_the_machine_show_in_the_median_and_not_in_the_ratio():
    ((name, *cells),) = yardstick.rows(rounds(6))
    shown = dict(zip(yardstick.HEADS[1:], cells, strict=True))
    assert name.startswith("efficientvit_b1 onnx-fp32")
    assert shown["rounds"] == "6"
    assert float(shown["median ±"].rstrip("%")) > 3
    assert float(shown["ratio ±"].rstrip("%")) < 0.3
    assert float(shown["slope"]) == pytest.approx(1, abs=0.02)
    assert shown["beside/alone"].startswith(("+0.", "-0."))
    assert int(shown["false claims"].split()[0]) > 10
    assert shown["by ratio"] == "0 of 15"


def test_rounds_are_added_to_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    made = iter(rounds(3))
    monkeypatch.setattr(yardstick, "_jobs", lambda *_: [])  # pyright: ignore[reportUnknownLambdaType]
    monkeypatch.setattr(yardstick, "measure", lambda jobs, **_: next(made))  # pyright: ignore[reportUnknownLambdaType]
    out = tmp_path / "rounds.json"
    assert yardstick.main(["--rounds", "1", "--out", str(out)]) == 0
    assert yardstick.main(["--rounds", "2", "--out", str(out)]) == 0
    assert yardstick.main(["--rounds", "0", "--out", str(out)]) == 0
    assert "3 rounds" in capsys.readouterr().out
    out.write_text("{")
    assert yardstick.main(["--rounds", "0", "--out", str(out)]) == 9
