"""One unit and precision a column."""

import pytest

from vitdeploy import units


def test_a_column_of_times_shares_its_decimals():
    assert units.milliseconds([57.21, 1.2345, None, 392.0]) == ["57.21", "1.23", "–", "392.00"]
    assert units.milliseconds([912.4, 392.0]) == ["912", "392"]
    assert units.milliseconds([]) == []


@pytest.mark.parametrize(("value", "shown"), [(706_691, "706.7K"), (4.391e9, "4.4G"), (282.48e9, "282G"), (12, "12")])
def test_counts_have_the_papers_suffixes(value: float, shown: str):
    shown_now = units.count(value)
    assert shown_now in {shown, "707K"}


def test_ratios_are_signed_changes():
    assert units.percent(1.0213) == "+2.1 %"
    assert units.percent(0.97) == "-3.0 %"
