"""The subject of a self-test: the device, what was made for it so far, and how its trials are run; a check's answer."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from vitdeploy.api import cases
from vitdeploy.api.cases import BenchRequest
from vitdeploy.api.jobs import jobs_for
from vitdeploy.benchmarks import bench
from vitdeploy.benchmarks.suite import Entry
from vitdeploy.benchmarks.trial import prepared_device, turns_trial
from vitdeploy.benchmarks.trial.case_trials import Job
from vitdeploy.benchmarks.trial.prepared_device import PreparedDevice
from vitdeploy.benchmarks.trial.request import LostTrial, TrialRequest, TrialSlot
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.catalog.spec import Size
from vitdeploy.devices import device_facts, inventory
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import DeviceError, Impossible, VitdeployError
from vitdeploy.processes.progress import Progress
from vitdeploy.results import consistency
from vitdeploy.results.record import Trial
from vitdeploy.results.selftest import State

MODEL, SIZE = "efficientvit_b1", (224, 224)
"""What a self-test times. Source: a choice; it takes 1 ms on a GPU and 15 ms on two cores."""

ON_GPU: Mapping[str, str] = {"trt-fp16": "tensorrt", "torch-fp16": "torch", "torch-fp32": "torch"}
ON_CPU: Mapping[str, str] = {"onnx-fp32": "onnxruntime", "tflite-fp32": "ai-edge-litert", "torch-fp32": "torch"}
"""Target → the distribution that runs it there, best first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """How much a self-test does."""

    model: str = MODEL
    size: Size = SIZE
    rounds: int = 5
    """Rounds of the checks that compare two ways of timing."""
    trial_s: float = 1.0
    """Sampling time of a trial."""
    pairs: int = 10
    """Of the A/A duel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a check says."""

    state: State
    seen: str
    hint: str = ""
    figures: Mapping[str, float] = field(default_factory=dict[str, float])


def passed(seen: str, **figures: float) -> Answer:
    """The check found what it looks for."""
    return Answer(state="passed", seen=seen, figures=figures)


def failed(seen: str, hint: str, **figures: float) -> Answer:
    """The check found a fault."""
    return Answer(state="failed", seen=seen, hint=hint, figures=figures)


def not_possible(why: str) -> Answer:
    """Nothing there can be checked."""
    return Answer(state="not possible", seen=why)


@dataclass(slots=True, kw_only=True)
class Subject:
    """A device that is tested, and what earlier checks left for later ones."""

    device: Device
    facts: DeviceFacts
    amount: Amount
    folder: Path
    """For files of this self-test; removed at its end."""
    progress: Progress
    jobs: dict[str, Job] = field(default_factory=dict[str, Job])
    """Target → its artifact and case, once it is built."""
    trials: dict[tuple[str, str], list[Trial]] = field(default_factory=dict[tuple[str, str], list[Trial]])
    """Target and boundary → trials of a plain case."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Targets that are tested: what a GPU runs where there is one, else the first that the processor runs."""
        return targets_of(self.device, self.facts)

    @property
    def on_gpu(self) -> tuple[str, ...]:
        """Targets that were built and compute on a GPU."""
        return tuple(target for target, job in self.jobs.items() if job.compute == "cuda")

    @property
    def job(self) -> Job:
        """The job of the first target."""
        return next(iter(self.jobs.values()))

    @property
    def all_trials(self) -> list[Trial]:
        """Every trial so far."""
        return [trial for trials in self.trials.values() for trial in trials]


def targets_of(device: Device, facts: DeviceFacts) -> tuple[str, ...]:
    """Targets of a device that a self-test takes.

    Raises:
        Impossible: the device has none of the packages that run one.
    """
    if device.link == "hub":
        raise Impossible("a hosted phone cannot be tested: it takes no command of ours", "Test a phone of your own.")
    if device.link == "adb":
        return device.targets[:1]
    there = {**(facts.packages or {}), **({"tensorrt": "by trtexec"} if device.trtexec else {})}
    gpu: Mapping[str, str] = ON_GPU if facts.compute_capability is not None else {}
    on_gpu = tuple(name for name, package in gpu.items() if package in there and name in device.targets)
    on_cpu = tuple(name for name, package in ON_CPU.items() if package in there and name in device.targets)
    if not (on_gpu or on_cpu):
        raise Impossible(
            f"the device has none of {', '.join(dict.fromkeys((*gpu.values(), *ON_CPU.values())))}",
            "Install one of them there; `vitdeploy doctor` says how.",
        )
    return on_gpu or on_cpu[:1]


def build(subject: Subject, target: str) -> Job:
    """Export the model for a target, and have the device build the engine where it needs one.

    Raises:
        VitdeployError: it could not be made.
    """
    request = BenchRequest(device=subject.device.name, artifacts=subject.folder / "artifacts")
    planned = cases.of_entry(Entry(model=subject.amount.model, size=subject.amount.size), target)
    (job,) = jobs_for(
        [planned],
        cases.fitted(request, subject.device),
        subject.device,
        subject.facts,
        progress=subject.progress,
        keep_going=False,
    )
    subject.jobs[target] = job
    return job


def timed(
    subject: Subject, job: Job, ways: Sequence[Mapping[str, Any]], *, rounds: int | None = None
) -> list[tuple[Trial, ...]]:
    """Trials of a job in several ways, by turns where our worker can take them; one tuple a round.

    Args:
        ways: of each way, the fields of the case that are other than the job's.
        rounds: None: those of the self-test's amount.

    Raises:
        DeviceError: the device was lost, busy, or answered with a trial that cannot be true.
        VitdeployError: a trial failed.
    """
    device = subject.device
    with inventory.connect(device) as link, link.lock(timeout_s=bench.LOCK_WAIT_S):
        prepared = prepared_device.prepare(device, link, device_facts.read_facts(device, link))
        return [
            _round(subject, prepared, [request_of(subject, job, way, place, index) for place, way in enumerate(ways)])
            for index in range(rounds or subject.amount.rounds)
        ]


def request_of(subject: Subject, job: Job, way: Mapping[str, Any], place: int, index: int) -> TrialRequest:
    """The trial of one way in one round."""
    assert job.artifact is not None, "a job that was built has its artifact"
    return TrialRequest(
        slot=TrialSlot(place=place, index=index, order=0, id=f"selftest/{place}/{index}"),
        case=msgspec.structs.replace(job.case, **way),
        artifact=job.artifact,
        compute=job.compute,
        protocol=bench.make_protocol(trials=1, min_time_s=subject.amount.trial_s),
        log=subject.folder / "selftest.log",
    )


def _round(subject: Subject, prepared: PreparedDevice, requests: Sequence[TrialRequest]) -> tuple[Trial, ...]:
    streams = max(request.case.streams for request in requests)
    alone = len(requests) == 1 or prepared_device.no_turns(
        subject.device, targets=[request.case.target for request in requests], streams=streams
    )
    outcomes = None if alone else prepared.run_turns(requests, turns_trial.TURN_S)
    if outcomes is None or isinstance(outcomes, turns_trial.DoesNotFit):
        outcomes = [prepared.run_trial(request) for request in requests]
    return tuple(checked(request, outcome) for request, outcome in zip(requests, outcomes, strict=True))


def checked(request: TrialRequest, outcome: Trial | LostTrial | VitdeployError | None) -> Trial:
    """The trial, if there is one and it can be true.

    Raises:
        VitdeployError: why there is none.
    """
    if isinstance(outcome, VitdeployError):
        raise outcome
    if outcome is None:
        raise DeviceError(f"{request.slot.name} was ended by the one beside it", "Run the self-test again.")
    if isinstance(outcome, LostTrial):
        raise DeviceError(outcome.message, outcome.hint)
    for name, why in consistency.trial_faults(outcome, request.case, request.artifact.manifest.sha256):
        raise DeviceError(f"a trial that cannot be true, `{name}`: {why}", "Look for what answers in its place.")
    return outcome


Run = Callable[[Subject], Answer]
