"""Resuming on the same machine: what moves with a start or an update does not refuse it, and another machine does."""

from pathlib import Path

import msgspec
import pytest

from tests.doubles import make_run
from vitdeploy.benchmarks.trial import resume
from vitdeploy.errors import UsageError
from vitdeploy.fleet import tasks
from vitdeploy.results.record import Group, RunDevice

MEMORY = 16_537_169_920


def resumed(**changed: object) -> None:
    earlier = make_run.run(facts={**make_run.FACTS, "memory_bytes": MEMORY})
    facts = {**earlier.device.facts, **changed}
    resume.check_same(
        earlier,
        protocol=earlier.protocol,
        device=RunDevice(name=earlier.device.name, facts=facts),
        cases=[],
        digests=[],
        out=Path("run.json"),
    )


def test_a_run_is_resumed_after_a_suspend_and_an_update_of_the_kernel():
    resumed(memory_bytes=MEMORY + 4096, kernel="6.1.0-18", title="this machine, renamed")


@pytest.mark.parametrize(
    ("name", "value"), [("memory_bytes", MEMORY // 2), ("kernel", "6.8.0"), ("cpu", "another"), ("fan_hz", 1200)]
)
def test_a_run_is_not_resumed_on_another_machine(name: str, value: object):
    with pytest.raises(UsageError, match=f"device.facts.{name}"):
        resumed(**{name: value})


def test_another_version_of_a_package_is_no_resume():
    with pytest.raises(UsageError, match="packages"):
        resumed(packages={"vitdeploy": "0.2.0", "onnxruntime": "1.32.0", "torch": "2.13.0+cpu"})


def test_a_sweep_knows_a_device_again_after_a_suspend():
    facts = {"cpu": "A", "memory_bytes": MEMORY}
    assert tasks.digest_of_facts(facts) == tasks.digest_of_facts({**facts, "memory_bytes": MEMORY + 4096})
    assert tasks.digest_of_facts(facts) != tasks.digest_of_facts({**facts, "cpu": "B"})


def test_the_first_device_fact_that_differs_is_named():
    run = make_run.run()
    other = msgspec.structs.replace(run.device, facts={**run.device.facts, "cpu": "B", "os": "Debian 13"})
    with pytest.raises(UsageError, match="'Made-up CPU 9000' there and 'B' now"):
        resume.check_same(run, protocol=run.protocol, device=other, cases=[], digests=[], out=Path("run.json"))


@pytest.mark.parametrize(
    ("before", "now", "words"),
    [
        ((), (Group(rows=(0, 1), turn_s=None),), None),
        ((), (Group(rows=(0, 1), turn_s=0.06),), "--by is 'trials' there and 'turns' now"),
        ((Group(rows=(0, 1), turn_s=0.06, whole="no memory"),), (Group(rows=(0, 1), turn_s=0.06),), None),
        ((Group(rows=(0, 1), turn_s=0.06),), (Group(rows=(0, 2), turn_s=0.06),), "groups"),
    ],
)
def test_a_run_goes_on_by_turns_as_it_was_begun(before: tuple[Group], now: tuple[Group], words: str | None):
    run = msgspec.structs.replace(make_run.run(), groups=before)

    def resume_it() -> None:
        resume.check_same(
            run, protocol=run.protocol, device=run.device, cases=[], digests=[], groups=now, out=Path("run.json")
        )

    if words is None:
        resume_it()
        return
    with pytest.raises(UsageError, match=words):
        resume_it()
