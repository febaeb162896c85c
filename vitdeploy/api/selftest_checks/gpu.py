"""Checks of a GPU: every CUDA binding that is installed, copies from both kinds of memory, and captured graphs."""

import msgspec

from vitdeploy.api.selftest_checks import subject as subjects
from vitdeploy.api.selftest_checks.subject import Answer, Subject, failed, not_possible, passed
from vitdeploy.devices import inventory
from vitdeploy.processes import child_reply
from vitdeploy.results import stats
from vitdeploy.runtimes import cuda_bindings

LIMIT_S = 120.0
NO_GPU = "the device has no NVIDIA GPU that its driver shows"

PINNED_SLOWER = 1.1
"""A copy from page-locked memory takes at most this times one that is staged first. Source: a choice, for noise."""

GRAPH_SLOWER = 1.1
"""A captured graph takes at most this times the plain launches. Source: a choice, for noise."""

EVENT_ABOVE = 1.05
"""A copy by the device's clock takes at most this times what the host saw."""


class BindingAnswer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one binding did."""

    binding: str
    name: str | None = None
    missing: str | None = None
    error: str | None = None
    same_bytes: bool = False
    pinned_ns: int = 0
    pageable_ns: int = 0
    event_ns: int = 0
    size_bytes: int = 0

    @property
    def worked(self) -> bool:
        """Whether it was there and did everything."""
        return self.missing is None and self.error is None


def bindings(subject: Subject) -> Answer:
    """Every CUDA binding that is installed returns the bytes it was given, and its events fit the host's clock."""
    if subject.facts.compute_capability is None:
        return not_possible(NO_GPU)
    answers = _ask(subject)
    wrong = [f"{answer.binding}: {answer.error}" for answer in answers if answer.error is not None]
    words = [f"{answer.binding}: not installed" for answer in answers if answer.missing is not None]
    for answer in (answer for answer in answers if answer.worked):
        shown = f"{answer.name}: {answer.event_ns / 1e3:.0f} µs by events, {answer.pinned_ns / 1e3:.0f} µs by the host"
        if not answer.same_bytes:
            wrong.append(f"{answer.name}: other bytes came back")
        elif answer.event_ns > EVENT_ABOVE * answer.pinned_ns:
            wrong.append(shown)
        else:
            words.append(shown)
    if wrong:
        return failed("; ".join((*wrong, *words)), "Report it with the versions of driver and packages.")
    if not any(answer.worked for answer in answers):
        return not_possible("; ".join(words))
    return passed("; ".join(words))


def memory(subject: Subject) -> Answer:
    """A copy from page-locked memory is not slower than one that is staged first."""
    if subject.facts.compute_capability is None:
        return not_possible(NO_GPU)
    answers = [answer for answer in _ask(subject) if answer.worked]
    if not answers:
        return not_possible("no CUDA binding works there")
    figures = {f"{answer.binding}_pinned_over_pageable": answer.pinned_ns / answer.pageable_ns for answer in answers}
    shown = "; ".join(
        f"{answer.name}: {answer.size_bytes / answer.pinned_ns:.1f} GB/s pinned, "
        f"{answer.size_bytes / answer.pageable_ns:.1f} GB/s from pageable memory"
        for answer in answers
    )
    if max(figures.values()) > PINNED_SLOWER:
        return failed(shown, "Report it: page-locked memory is slower there.", **figures)
    return passed(shown, **figures)


def graphs(subject: Subject) -> Answer:
    """A captured CUDA graph runs, and is not slower than the plain launches."""
    if not subject.on_gpu:
        return not_possible("no GPU computes here: a CUDA graph needs one")
    wrong: list[str] = []
    words: list[str] = []
    figures: dict[str, float] = {}
    for target in subject.on_gpu:
        if subject.device.trtexec and target.startswith("trt-"):
            words.append(f"{target}: timed by trtexec, not captured by us")
            continue
        rounds = subjects.timed(subject, subject.jobs[target], [{"graph": False}, {"graph": True}], rounds=2)
        ratio = stats.geometric_mean(
            [stats.median(captured.samples_ns) / stats.median(plain.samples_ns) for plain, captured in rounds]
        )
        captured = all(trial.facts.get("graph") == "on" for _, trial in rounds)
        shown = f"{target}: a graph takes {ratio:.2f} times the plain launches"
        (words if captured and ratio <= GRAPH_SLOWER else wrong).append(
            shown if captured else f"{target}: not captured"
        )
        figures[f"{target.replace('-', '_')}_graph_over_plain"] = ratio
    if wrong:
        return failed("; ".join((*wrong, *words)), "Time without --graph there; report this.", **figures)
    return passed("; ".join(words), **figures)


def _ask(subject: Subject) -> list[BindingAnswer]:
    with inventory.connect(subject.device) as link:
        return child_reply.ask(
            link,
            cuda_bindings.__name__,
            cuda_bindings.BindingsJob(),
            list[BindingAnswer],
            what="the process that tests the CUDA bindings",
            timeout_s=LIMIT_S,
            log=subject.folder / "selftest.log",
        )
