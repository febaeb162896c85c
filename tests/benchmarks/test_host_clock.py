"""A clock that steps during a run: nothing is dated in the future, and what was finished is read again later."""

from datetime import datetime, timedelta, timezone

import msgspec
import pytest

from tests.doubles import artifacts, make_run
from vitdeploy.benchmarks.trial import case_trials, host_clock
from vitdeploy.benchmarks.trial.case_trials import CaseTrials, Job
from vitdeploy.benchmarks.trial.host_clock import HostClock
from vitdeploy.results import consistency, record

STEP = timedelta(days=400)
TRUE = datetime(2026, 6, 1, tzinfo=timezone.utc)


class Steps:
    """Stands for `datetime` and `time` of a machine whose clock is set while the machine goes on."""

    def __init__(self) -> None:
        self.at, self.passed_s = TRUE, 100.0

    def now(self, zone: timezone) -> datetime:
        return self.at.astimezone(zone)

    def clock_gettime(self, clock: int) -> float:
        del clock
        return self.passed_s

    def fromisoformat(self, text: str) -> datetime:
        return datetime.fromisoformat(text)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Steps:
    steps = Steps()
    monkeypatch.setattr(host_clock, "datetime", steps)
    monkeypatch.setattr(host_clock, "time", steps)
    monkeypatch.setattr(consistency, "datetime", steps)
    monkeypatch.setattr(case_trials, "HOST", HostClock())
    return steps


@pytest.mark.parametrize("stepped", [STEP, -STEP, TRUE - datetime(1971, 1, 1, tzinfo=timezone.utc), timedelta(hours=1)])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_trial_after_a_step_is_kept_and_read_whatever_the_clock_says_later(
    clock: Steps, tmp_path, stepped: timedelta, sign: int
):
    made = artifacts.plain_file(tmp_path / "a")
    row = CaseTrials(job=Job(case=artifacts.case_of(made), compute="cpu", artifact=made), error=None)
    frame = msgspec.structs.replace(make_run.run(), started_utc=TRUE.isoformat())
    clock.at, clock.passed_s = TRUE + timedelta(minutes=1), 160.0
    for place in range(2):
        plain = make_run.trial(place, 7.0, 40, artifact_sha256=made.manifest.sha256, order=place)
        trial = msgspec.structs.replace(plain, id=f"t{place}", started_utc=clock.at.isoformat())
        case_trials.add_trial(row, trial.id, trial, frame.protocol)
        clock.at += sign * stepped
        clock.passed_s += 60
    assert row.error is None
    run = case_trials.run_of(frame, [row])
    clock.at = TRUE + timedelta(hours=1)  # the clock is set right
    record.save(run, tmp_path / "run.json")
    assert [trial.id for trial in record.load(tmp_path / "run.json").results[0].trials] == ["t0", "t1"]


def test_a_run_that_was_begun_with_a_clock_ahead_is_dated_again_once_it_is_set_back(clock: Steps, tmp_path):
    ahead = msgspec.structs.replace(make_run.run(), started_utc=(TRUE + STEP).isoformat())
    clock.at = TRUE
    run = case_trials.run_of(ahead, [])
    record.save(run, tmp_path / "run.json")
    assert record.load(tmp_path / "run.json").started_utc < (TRUE + timedelta(days=1)).isoformat()
