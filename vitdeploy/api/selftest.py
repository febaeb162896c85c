"""`selftest`: is this device measured rightly? Every check with what was seen, in a document that names nobody."""

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, ClassVar

from vitdeploy import documents
from vitdeploy.api import output_path
from vitdeploy.api.devices import reachable
from vitdeploy.api.selftest_checks import private_words
from vitdeploy.api.selftest_checks.subject import Amount, Answer, Subject, not_possible, targets_of
from vitdeploy.api.selftest_checks.table import CHECKS, Check
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.catalog.shown import Shown
from vitdeploy.devices import device_facts, inventory
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import DeviceError, Impossible, MissingPackage, NoValidMeasurement, VitdeployError
from vitdeploy.processes.progress import Progress, silent
from vitdeploy.reports import as_selftest
from vitdeploy.results import provenance
from vitdeploy.results.selftest import SCHEMA, CheckResult, SelfTest

OWN = "own"
"""In place of a device name that a user chose."""

LOCK_WAIT_S = 120.0
"""A check waits so long for another measurement of the device to end. Source: a choice; a trial takes seconds."""

LEFT_OUT = frozenset({DeviceFacts.title.name, DeviceFacts.build.name, DeviceFacts.kernel.name})
"""Facts in which a user's own words can stand: of a device file, of a system that somebody built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestRequest:
    """The options of `selftest`."""

    device: str = "local"
    out: Path | None = None
    """The JSON; a page and a Markdown block are written beside it. None: a new file in runs/."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class SelfTestOutcome(Shown):
    """A self-test, and where it was written."""

    shown_by: ClassVar = "vitdeploy.cli.selftest:selftest_output"
    document: SelfTest
    path: Path

    @property
    def page(self) -> Path:
        """The page."""
        return self.path.with_suffix(".html")

    @property
    def block(self) -> Path:
        """Markdown for an issue."""
        return self.path.with_suffix(".md")

    @property
    def error(self) -> NoValidMeasurement | None:
        """Why the command ends with another code than 0."""
        wrong = self.document.in_state("failed")
        if not wrong:
            return None
        words = f"{len(wrong)} of {len(self.document.checks)} checks failed: {wrong[0].name}: {wrong[0].seen}"
        return NoValidMeasurement(words, wrong[0].hint)


def selftest_plan(request: SelfTestRequest) -> list[str]:
    """What `selftest` would do.

    Raises:
        UsageError: no such device.
        DeviceError: it is not configured.
    """
    device = reachable(request.device)
    return [f"{check.name} on {device.name}: {check.proves}" for check in CHECKS]


def selftest(request: SelfTestRequest, *, amount: Amount | None = None, progress: Progress = silent) -> SelfTestOutcome:
    """Make every check of a device, and write what was seen.

    Args:
        request: the options.
        amount: how much is done; None: what a device in use deserves.
        progress: told of each check.

    Raises:
        UsageError: no such device, or the file exists.
        DeviceError: it is not reachable, or another machine than its file says.
        MissingPackage: what the link needs is missing, here or there.
        UnreadableFile: the place cannot be written.
    """
    device = reachable(request.device, progress=progress)
    default = output_path.new_path("runs", "selftest", request.device)
    with output_path.claimed(request.out, default, what="the self-test file", progress=progress) as path:
        for beside in (path.with_suffix(".html"), path.with_suffix(".md")):
            provenance.check_out(beside, resume=False)
        document = _tested(device, amount or Amount(), progress)
        documents.write(path, document)
        documents.write_bytes(path.with_suffix(".html"), as_selftest.page(document))
        documents.write_bytes(path.with_suffix(".md"), as_selftest.block(document).encode())
    return SelfTestOutcome(document=document, path=path)


def _tested(device: Device, amount: Amount, progress: Progress) -> SelfTest:
    started, begin, version = datetime.now(timezone.utc), time.monotonic(), provenance.version()
    with inventory.connect(device) as link:  # what cannot be reached, or is another machine, is no test
        facts = device_facts.read_facts(device, link)
        words = private_words.of_device(device, link)
    shipped = device.name in inventory.load([inventory.SHIPPED]).devices
    words |= {} if shipped or device.name == OWN else {device.name: "DEVICE"}
    with tempfile.TemporaryDirectory(prefix="vitdeploy-selftest-") as folder:
        subject = Subject(device=device, facts=facts, amount=amount, folder=Path(folder), progress=progress)
        results: list[CheckResult] = []
        for check in CHECKS:
            progress(f"{check.name}: {check.proves}")
            results.append(_result(check, subject, words))
            progress(f"{check.name}: {results[-1].state}, {results[-1].seen}")
    return SelfTest(
        schema=SCHEMA,
        started_utc=started.isoformat(timespec="seconds"),
        vitdeploy=version,
        device=device.name if shipped else OWN,
        link=device.link,
        facts=private_words.cleaned(_shared_facts(device, facts), words),
        model=amount.model,
        size=amount.size,
        targets=_targets(device, facts),
        checks=results,
        seconds=round(time.monotonic() - begin, 1),
    )


def _result(check: Check, subject: Subject, words: Mapping[str, str]) -> CheckResult:
    begin = time.monotonic()
    lacking = check.with_file and not subject.jobs
    answer = not_possible("no file was built for this device") if lacking else _answer(check, subject)
    return CheckResult(
        name=check.name,
        proves=check.proves,
        state=answer.state,
        seen=private_words.without(answer.seen, words),
        hint=private_words.without(answer.hint, words),
        figures={name: float(f"{value:.6g}") for name, value in answer.figures.items()},
        seconds=round(time.monotonic() - begin, 1),
    )


def _answer(check: Check, subject: Subject) -> Answer:
    """What a check says; an error of ours is its answer, another one is a bug and ends the self-test."""
    try:
        busy = _busy(subject.device) if check.alone else None
        return check.run(subject) if busy is None else not_possible(busy)
    except (Impossible, MissingPackage) as error:
        return not_possible(f"{error.message} ({error.hint})")
    except VitdeployError as error:
        return Answer(state="failed", seen=error.message, hint=error.hint)


def _busy(device: Device) -> str | None:
    """Who holds the device, after waiting for it; None: nobody. It is no fault of the device that somebody uses it."""
    with inventory.connect(device) as link:
        try:
            with link.lock(timeout_s=LOCK_WAIT_S):
                return None
        except DeviceError as error:
            return error.message


def _shared_facts(device: Device, facts: DeviceFacts) -> dict[str, Any]:
    stable = DeviceFacts(device_facts.stable_facts(device, facts))
    return {name: value for name, value in stable.known().items() if name not in LEFT_OUT}


def _targets(device: Device, facts: DeviceFacts) -> Sequence[str]:
    try:
        return targets_of(device, facts)
    except Impossible:
        return ()
