"""Verbs that study: `attention` and `reproduce`."""

from collections.abc import Callable
from typing import Any, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from vitdeploy.api import attention as attending
from vitdeploy.api import reproduce as reproducing
from vitdeploy.api.attention import AttentionOutcome
from vitdeploy.api.listings import Listing
from vitdeploy.api.reproduce import ReproduceOutcome
from vitdeploy.api.requests import Names, StrPath, names_of, path_of, request_of
from vitdeploy.api.studies import StudyRequest
from vitdeploy.errors import UsageError
from vitdeploy.processes.progress import OnTrial, Progress, silent, silent_trial
from vitdeploy.verbs.verb import Plan, checked, verb

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class TableVerb(Protocol[P, R_co]):
    """A verb to a type checker that lists its tables where none is named."""

    @overload
    def __call__(self) -> Listing: ...
    @overload
    def __call__(self, *args: Any, dry_run: Literal[True], **options: Any) -> Plan: ...
    @overload
    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


def table_verb(function: Callable[P, R | Listing | Plan]) -> TableVerb[P, R]:
    """The function with the types of such a verb, its values checked as `checked` does."""
    return cast("TableVerb[P, R]", checked(function))


@verb
def attention(
    *,
    device: str | None = None,
    target: str | None = None,
    quick: bool = False,
    network: Names | None = None,
    threads: int | None = None,
    trials: int | None = None,
    by: str | None = None,
    min_time: float | None = None,
    out: StrPath | None = None,
    page: StrPath | None = None,
    artifacts: StrPath | None = None,
    resume: bool = False,
    from_: StrPath | None = None,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
    on_trial: OnTrial = silent_trial,
) -> AttentionOutcome | Plan:
    """Time ReLU linear attention against softmax attention over resolutions.

    Args:
        device: a name from ``vitdeploy.devices``; None: the project file's, else this machine.
        target: None: ``onnx-fp32``, on phones ``tflite-fp32``.
        quick: sizes and rounds that take minutes on a laptop.
        network: whole networks; None: ``efficientvit_b1``.
        threads: None: the device's physical cores.
        trials: rounds; None: 7, quick 5.
        by: short ``turns`` of rows whose ratio is told, or whole ``trials``; None: turns, where that is possible.
        min_time: sampling time of a trial, in seconds; None: 1, quick 0.3.
        out: the run file; None: a new one in ``runs``.
        page: None: beside the run.
        artifacts: the folder that missing artifacts are exported to; None: ``artifacts``.
        resume: continue the interrupted run ``out``.
        from_: show this earlier run, and time nothing.
        force: replace an ``out`` that exists, when the new run is whole.
        dry_run: return the plan and do nothing.
        progress: called with each line of progress, as ``print`` can be.
        on_trial: called after each trial.

    Raises:
        VitdeployError: an unknown name or value, or an unreachable device.
    """
    request = request_of(StudyRequest, locals())
    if from_ is not None:
        return attending.attention_of(path_of("from_", from_), request.page)
    networks = names_of("network", () if network is None else [network])
    if dry_run:
        return Plan(attending.attention_plan(networks, request))
    return attending.attention(networks, request, progress=progress, on_trial=on_trial)


@table_verb
def reproduce(
    table: str | None = None,
    *,
    device: str | None = None,
    target: str | None = None,
    quick: bool = False,
    threads: int | None = None,
    trials: int | None = None,
    by: str | None = None,
    min_time: float | None = None,
    out: StrPath | None = None,
    page: StrPath | None = None,
    artifacts: StrPath | None = None,
    resume: bool = False,
    from_: StrPath | None = None,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
    on_trial: OnTrial = silent_trial,
) -> ReproduceOutcome | Listing | Plan:
    """Measure a published table again, and compare.

    Args:
        table: a published table; None: list them.
        device: a name from ``vitdeploy.devices``; None: the project file's, else this machine.
        target: None: the published one where the device has it.
        quick: sizes and rounds that take minutes on a laptop.
        threads: None: the device's physical cores.
        trials: rounds; None: 7, quick 5.
        by: short ``turns`` of rows whose ratio is told, or whole ``trials``; None: turns, where that is possible.
        min_time: sampling time of a trial, in seconds; None: 1, quick 0.3.
        out: the run file; None: a new one in ``runs``.
        page: None: beside the run.
        artifacts: the folder that missing artifacts are exported to; None: ``artifacts``.
        resume: continue the interrupted run ``out``.
        from_: show this earlier run, which knows its table, and time nothing.
        force: replace an ``out`` that exists, when the new run is whole.
        dry_run: return the plan and do nothing.
        progress: called with each line of progress, as ``print`` can be.
        on_trial: called after each trial.

    Raises:
        VitdeployError: an unknown table or value, or an unreachable device.
    """
    request = request_of(StudyRequest, locals())
    if from_ is not None:
        if table is not None:
            raise UsageError(f"both the table {table} and from_ were given", "A run knows its table: name one.")
        return reproducing.reproduction_of(path_of("from_", from_), request.page)
    if table is None:
        return Listing("table", reproducing.published_list())
    if dry_run:
        return Plan(reproducing.reproduce_plan(table, request))
    return reproducing.reproduce(table, request, progress=progress, on_trial=on_trial)
