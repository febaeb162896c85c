"""The command that measures one row of a run again: for pages, from the row's case and the run's protocol."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from vitdeploy.catalog import checkpoint_identity
from vitdeploy.catalog.variant import RANDOM
from vitdeploy.results.record import Case, Protocol, Result

SHOWN_DIGITS = 12
"""Of a digest, in a note."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowCommand:
    """A command line, and what a reader has to put into it."""

    words: str
    note: str
    """What FILE or ARTIFACT in it stands for; empty: the command works as it stands."""


def of(result: Result, protocol: Protocol) -> RowCommand:
    """``vitdeploy bench MODEL …`` with every option that the case and the protocol need."""
    case = result.case
    words = ["vitdeploy", "bench"]
    if case.head == "logits" and case.io == "fp32":
        words += [case.variant.full_model, "--target", case.target, "--size", case.variant.size_words]
        words += ["--batch", f"{case.batch}"] if case.batch > 1 else []
        words += ["--attention", case.attention] if case.attention == "softmax" else []
        weights, note = _weights(case)
        words += weights
    else:
        words += ["ARTIFACT"]
        note = (
            f"ARTIFACT: the folder of the file with SHA-256 {(result.artifact_sha256 or '')[:SHOWN_DIGITS]}…, exported "
            f"with --head {case.head} --io {case.io}"
        )
    words += [*_conditions(case), *_sampling(protocol)]
    return RowCommand(words=shlex.join(words), note=note)


def _weights(case: Case) -> tuple[list[str], str]:
    """The options of the parameters, and what a file's name stands for."""
    if case.weights == RANDOM:
        return [], ""
    official = checkpoint_identity.of_weights(case.weights)
    if official is not None:
        return ["--weights", "official", *(["--accept-licence"] if official.needs_acceptance else [])], ""
    kind, _, digest = case.weights.partition(":")
    if kind != "sha256":
        return [], f"the parameters are {case.weights}, which the command does not name"
    return ["--weights", "FILE"], f"FILE: the checkpoint with SHA-256 {digest[:SHOWN_DIGITS]}…"


def _conditions(case: Case) -> Iterator[str]:
    """Options of the device and of what is timed, where they are not the defaults."""
    if case.device != "local":
        yield from ("--device", case.device)
    if case.threads:
        yield from ("--threads", f"{case.threads}")
    if case.boundary != "host-to-host":
        yield from ("--boundary", case.boundary)
    if case.streams > 1:
        yield from ("--streams", f"{case.streams}")
    if case.graph:
        yield from ("--graph", "on")


def _sampling(protocol: Protocol) -> Iterator[str]:
    """Options of the trials."""
    if protocol.until is None:
        yield from ("--trials", f"{protocol.trials}")
    else:
        yield from ("--until", f"{100 * protocol.until:g}%")
        if protocol.time_budget_s is not None:
            yield from ("--time-budget", f"{protocol.time_budget_s:g}")
    yield from ("--min-time", f"{protocol.min_time_s:g}")
    if protocol.sustained_s is not None:
        yield from ("--sustained", f"{protocol.sustained_s:g}")
    if protocol.priority is not None:
        yield from ("--priority", protocol.priority)
