"""Verbs that decide: `compare`, `accept`, `report` and `verify`; and `load` for the files that they take."""

from vitdeploy.api import accept as accepting
from vitdeploy.api import compare as comparing
from vitdeploy.api import report as reporting
from vitdeploy.api import verify as verifying
from vitdeploy.api.compare import CompareOutcome, CompareRequest
from vitdeploy.api.report import Document
from vitdeploy.api.requests import Names, StrPath, path_of, paths_of, request_of
from vitdeploy.api.verify import VerifyOutcome
from vitdeploy.processes.progress import OnTrial, Progress, silent, silent_trial
from vitdeploy.results import history, record
from vitdeploy.results.baselines import Baseline
from vitdeploy.results.history import History
from vitdeploy.results.record import Run
from vitdeploy.verbs.verb import Plan, checked, verb


@checked
def load(path: StrPath) -> Run:
    """Read a run file; its figures are derived again from its samples.

    Raises:
        UnreadableFile: it is no run, of a newer schema, or holds what cannot be true.
    """
    return record.load(path_of("path", path))


@checked
def load_history(*runs: Names) -> History:
    """Read many runs of one device over time: each case's medians in order, and where its level changed.

    Args:
        *runs: run files, or folders of them.

    Raises:
        VitdeployError: one cannot be read, or there is none.
    """
    return history.read(paths_of("runs", runs))


@verb
def compare(
    *runs: Names,
    baselines: StrPath | None = None,
    max_slowdown: float | str | None = None,
    alpha: float | str = 0.01,
    confirm: bool = False,
    strict: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
    on_trial: OnTrial = silent_trial,
) -> CompareOutcome | Plan:
    """Say which cases became slower, and by how much.

    Args:
        *runs: two runs, the base first; or one, which is held against its baseline or, a duel, against itself.
        baselines: the folder of accepted runs; None: ``vitdeploy-baselines``.
        max_slowdown: what does not matter: ``0.02`` or ``"2%"``, the default.
        alpha: the chance of a false claim, over all cases.
        confirm: decide a suspected slowdown by a duel of the stored files.
        strict: an inconclusive case is exit code 12.
        dry_run: return the plan and do nothing.
        progress: called with each line of progress, as ``print`` can be.
        on_trial: called after each trial.

    Returns:
        The verdicts; `CompareOutcome.exit_code` is 10 where a case is slower.

    Raises:
        VitdeployError: a run cannot be read, there is no baseline, or the environments differ.
    """
    request = request_of(CompareRequest, locals())
    paths = paths_of("runs", runs)
    if dry_run:
        return Plan(comparing.compare_plan(paths, request))
    return comparing.compare(paths, request, progress=progress, on_trial=on_trial)


@verb
def accept(run: StrPath, *, because: str, baselines: StrPath | None = None, dry_run: bool = False) -> Baseline | Plan:
    """Make a run the baseline of its device and suite.

    Args:
        run: the run, or what `bench` returned.
        because: why its figures are right.
        baselines: the folder of accepted runs; None: ``vitdeploy-baselines``.
        dry_run: return the plan and do nothing.

    Raises:
        VitdeployError: no reason is given, no figure of the run is valid, or a file cannot be read or written.
    """
    path = path_of("run", run)
    root = None if baselines is None else path_of("baselines", baselines)
    if dry_run:
        return Plan(accepting.accept_plan(path, root=root))
    return accepting.accept(path, because=because, root=root)


@verb
def report(
    *runs: Names,
    format: str = "markdown",  # noqa: A002 (the option's name)
    baseline: StrPath | None = None,
    prediction: Names | None = None,
    out: StrPath | None = None,
    dry_run: bool = False,
) -> Document | Plan:
    """Turn runs into a page, a table or a machine format.

    Args:
        *runs: run files, or what `bench` returned; evaluations for ``html``.
        format: ``html``, ``markdown``, ``github``, ``json``, ``csv``, ``junit``, ``benchmark-action``, ``bencher`` or
            ``history``.
        baseline: a run that the others are compared with.
        prediction: documents of ``vitdeploy predict --json``, whose pictures an html page shows.
        out: the file; None: the text alone, and for pages ``report.html`` or ``history.html``.
        dry_run: return the plan and do nothing.

    Raises:
        VitdeployError: an unknown format, a run that cannot be read, or a place that cannot be written.
    """
    paths = paths_of("runs", runs)
    base = None if baseline is None else path_of("baseline", baseline)
    place = None if out is None else path_of("out", out)
    if dry_run:
        return Plan(reporting.report_plan(paths, format, base, place))
    pictures = paths_of("prediction", () if prediction is None else [prediction])
    return reporting.report(paths, form=format, baseline=base, predictions=pictures, out=place)


@verb
def verify(
    file: StrPath,
    *,
    artifacts: StrPath | None = None,
    weights: StrPath | None = None,
    deep: bool = False,
    dry_run: bool = False,
) -> VerifyOutcome | Plan:
    """Check the lineage of a result or an artifact again: files, manifests, parents, weights, commit.

    Args:
        file: a run, or an artifact's folder, manifest or file.
        artifacts: where to look for artifacts, beside the store; None: ``artifacts``.
        weights: the checkpoint that they were exported from.
        deep: measure the parity of each file again.
        dry_run: return the plan and do nothing.

    Returns:
        Every link; `VerifyOutcome.error` is that of the first broken one.

    Raises:
        UnreadableFile: it is neither.
    """
    path = path_of("file", file)
    if dry_run:
        return Plan(verifying.verify_plan(path, deep=deep))
    return verifying.verify(
        path,
        artifacts=None if artifacts is None else path_of("artifacts", artifacts),
        weights=None if weights is None else path_of("weights", weights),
        deep=deep,
    )
