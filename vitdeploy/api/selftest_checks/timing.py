"""Checks of the timed loop: its boundaries, streams, the device's own clock, and another tool's loop beside it."""

import statistics
from collections.abc import Sequence

from vitdeploy.api.selftest_checks import subject as subjects
from vitdeploy.api.selftest_checks.subject import Answer, Subject, failed, not_possible, passed
from vitdeploy.benchmarks import bench
from vitdeploy.benchmarks.trial import trtexec_trial, worker_trial
from vitdeploy.devices import device_facts, inventory
from vitdeploy.processes.connection import Connection
from vitdeploy.results import stats
from vitdeploy.results.record import Stages, Trial
from vitdeploy.results.selftest import State

NOISE = 0.02
"""With its copies an inference may come out faster by this share in a round; the check fails where it does so in every
round. Source: turns of 60 ms are within 1 % on a shared machine (docs/measured.md), and single pairs vary by more."""

NOISIEST = 1.25
"""Ratios of rounds that differ by more than this factor prove nothing. Source: a choice."""

SLOWEST_STREAMS = 0.7
"""Two streams finish at least this share of the inferences of one. Source: a choice; they share the same cores."""

EVENTS_ABOVE = 1.01
"""A sum of the device's times may exceed the host's by this factor: they are two clocks."""

EVENTS_BELOW = 0.5
"""The device's times explain at least this share of the host's, or all but `LAUNCH_US` of it."""

LAUNCH_US = 200.0
"""Source: a choice; starting a queue and waiting for it costs 10 to 50 µs on a Jetson and less on a server."""

OTHER_LOOP = 0.10
"""Our loop's median is within this share of another tool's. Source: a choice; clocks differ between processes."""

COPIES, NO_COPIES = "host-to-host", "compute"
TRTEXEC_FOLDERS = "/usr/src/tensorrt/bin"
FIND_S = 20.0


def boundaries(subject: Subject) -> Answer:
    """With its copies an inference takes at least as long as without."""
    if subject.device.link == "adb":
        target, job = next(iter(subject.jobs.items()))
        blocks = subjects.timed(subject, job, [{"boundary": NO_COPIES}])
        subject.trials[target, NO_COPIES] = [trial for (trial,) in blocks]
        return not_possible("benchmark_model times a phone, and only without copies")
    seen: dict[State, list[str]] = {"failed": [], "not possible": [], "passed": []}
    figures: dict[str, float] = {}
    for target, job in subject.jobs.items():
        rounds = subjects.timed(subject, job, [{"boundary": COPIES}, {"boundary": NO_COPIES}])
        subject.trials[target, COPIES] = [whole for whole, _ in rounds]
        subject.trials[target, NO_COPIES] = [alone for _, alone in rounds]
        ratios = [stats.median(whole.samples_ns) / stats.median(alone.samples_ns) for whole, alone in rounds]
        median_ms = statistics.median(stats.median(whole.samples_ns) for whole, _ in rounds) / 1e6
        listed = ", ".join(f"{ratio:.3f}" for ratio in ratios)
        judged, why = _judged(ratios)
        seen[judged].append(f"{target}: {median_ms:.3g} ms with copies, {listed} times without{why}")
        name = target.replace("-", "_")
        figures |= {f"{name}_host_to_host_ms": median_ms, f"{name}_over_compute": stats.geometric_mean(ratios)}
    words = "; ".join((*seen["failed"], *seen["not possible"], *seen["passed"]))
    if seen["failed"]:
        return failed(words, "Report it: a boundary leaves work out.", **figures)
    state: State = "passed" if seen["passed"] else "not possible"
    return Answer(state=state, seen=words, figures=figures)


def _judged(ratios: Sequence[float]) -> tuple[State, str]:
    """What the ratios of all rounds say, and why they say nothing."""
    if max(ratios) < 1 - NOISE:
        return "failed", ""
    if max(ratios) > NOISIEST * min(ratios):
        return "not possible", ": too noisy to tell"
    return "passed", ""


def events(subject: Subject) -> Answer:
    """Copies and computing, by the device's clock, fit into the time that the host saw, and explain it."""
    if not subject.on_gpu:
        return not_possible("no GPU computes here: a processor has no clock of its own")
    wrong: list[str] = []
    words: list[str] = []
    for target in subject.on_gpu:
        for trial in subject.trials.get((target, COPIES), [])[:1]:
            if trial.stages_ns is None:
                wrong.append(f"{target}: the device told no times")
                continue
            fault, shown = _against_host(trial, trial.stages_ns)
            (wrong if fault else words).append(f"{target}: {shown}")
    if not (wrong or words):
        return not_possible("no trial was timed that could tell")
    if wrong:
        return failed("; ".join((*wrong, *words)), "Do not use the itemised copies of this device; report this.")
    return passed("; ".join(words))


def _against_host(trial: Trial, stages: Stages) -> tuple[bool, str]:
    """Whether the device's times contradict the host's, and both in words."""
    sums = [sum(parts) for parts in zip(stages.h2d, stages.compute, stages.d2h, strict=True)]
    pairs = list(zip(sums, trial.samples_ns, strict=True))
    beyond = sum(device > EVENTS_ABOVE * host for device, host in pairs) / len(pairs)
    device_us, host_us = stats.median(sums) / 1e3, stats.median(trial.samples_ns) / 1e3
    unexplained = device_us < EVENTS_BELOW * host_us and host_us - device_us > LAUNCH_US
    parts = " + ".join(f"{stats.median(column) / 1e3:.0f}" for column in (stages.h2d, stages.compute, stages.d2h))
    shown = (
        f"{parts} µs (copy in, compute, copy out) of {host_us:.0f} µs; {beyond:.1%} of the samples beyond the host's"
    )
    return beyond > 0.01 or unexplained, shown


def streams(subject: Subject) -> Answer:
    """Two inferences at once finish about as many as one after the other, or more."""
    job = subject.job
    if subject.device.link == "adb":
        return not_possible("benchmark_model runs one inference at a time")
    if subject.device.trtexec and job.case.target.startswith("trt-"):
        return not_possible("trtexec's queries overlap with several streams, so no latency can be read")
    rounds = subjects.timed(subject, job, [{"streams": 1}, {"streams": 2}], rounds=2)
    ratio = stats.geometric_mean([_per_s(two) / _per_s(alone) for alone, two in rounds])
    shown = f"{job.case.target}: two streams finish {ratio:.2f} times the inferences of one"
    if ratio < SLOWEST_STREAMS:
        return failed(shown, "Time one stream there; report this.", throughput_ratio=ratio)
    return passed(shown, throughput_ratio=ratio)


def _per_s(trial: Trial) -> float:
    return 1e9 * len(trial.samples_ns) / trial.wall_ns


def other_loop(subject: Subject) -> Answer:
    """Our loop and trtexec's agree on the same engine."""
    if subject.device.link == "adb":
        return not_possible("benchmark_model is the only loop on a phone, which runs no Python")
    job = subject.jobs.get("trt-fp16")
    if job is None or job.artifact is None:
        return not_possible("no TensorRT engine was built here; benchmark_model is for phones")
    if subject.device.trtexec:
        return not_possible("trtexec times this device, and our loop has no TensorRT package to run on there")
    with inventory.connect(subject.device) as link, link.lock(timeout_s=bench.LOCK_WAIT_S):
        program = _trtexec(link)
        if program is None:
            return not_possible("there is no trtexec on the device")
        probe = device_facts.probe_of(job.compute, subject.facts)
        ratios: list[float] = []
        for index in range(subject.amount.rounds):
            request = subjects.request_of(subject, job, {"boundary": NO_COPIES}, 0, index)
            ours = subjects.checked(request, worker_trial.run_trial(request, link, probe=probe))
            theirs = subjects.checked(request, trtexec_trial.run_trial(request, link, program))
            ratios.append(stats.median(ours.samples_ns) / stats.median(theirs.samples_ns))
    return _agree(ratios)


def _agree(ratios: Sequence[float]) -> Answer:
    ratio = stats.geometric_mean(ratios)
    shown = f"our median over trtexec's: {', '.join(f'{each:.3f}' for each in ratios)}"
    if abs(ratio - 1) > OTHER_LOOP:
        return failed(shown, "Hold the clocks and run it again; report it if it stays.", ours_over_trtexec=ratio)
    return passed(shown, ours_over_trtexec=ratio)


def _trtexec(link: Connection) -> str | None:
    script = f'PATH="$PATH:{TRTEXEC_FOLDERS}"; command -v trtexec; true'
    return link.run(["sh", "-c", script], timeout_s=FIND_S).stdout.strip() or None
