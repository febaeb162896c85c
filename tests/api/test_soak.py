"""A few benches under faults: nothing is lost, doubled, unreadable or left over; and what is planted is found."""

import random
from pathlib import Path

import pytest

from tests.doubles import soak


@pytest.mark.slow
def test_no_fault_costs_more_than_the_trial_it_meets(tmp_path: Path):
    counts = soak.soak(10, seed=7, root=tmp_path)
    assert sum(one.benches for one in counts.values()) == 10
    assert {name: dict(+one.found) for name, one in counts.items() if one.found.total()} == {}


def test_a_bench_that_leaves_a_lost_trial_and_a_file_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    place = soak.place_of(tmp_path, 0, mounted=False, faked=False)
    (place.folder / ".run.json.1-x.part").write_text("half")
    monkeypatch.setattr(soak.Place, "command", lambda self, *more: ["true"])  # a bench that does nothing at all
    counts = soak.Counts()
    soak.one(place, "none", random.Random(0), counts)
    assert dict(+counts.found) == {"trials lost": soak.TRIALS, "files left": 1}
    assert counts.benches == 1
    assert set(counts.ends) == {0}
