"""The floors in docs/numbers.md are those of the targets."""

import re
from pathlib import Path

import pytest

from vitdeploy.catalog import registry

NUMBERS = Path(__file__).parents[2] / "docs" / "numbers.md"


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_the_table_says_what_every_target_of_a_precision_is_held_to(precision: str):
    row = next(line for line in NUMBERS.read_text(encoding="utf-8").splitlines() if line.startswith(f"| {precision} |"))
    numbers = re.findall(r"[\d.]+", row.split("|", 2)[2])
    agreement, error, image_error, psnr_db = (float(text) for text in numbers)
    targets = [target for target in registry.targets().values() if target.precision == precision]
    assert targets
    for target in targets:
        held = target.tolerance
        assert (held.agreement, held.error, held.image_error, held.psnr_db) == (
            pytest.approx(agreement / 100),
            error,
            image_error,
            psnr_db,
        ), target.name
