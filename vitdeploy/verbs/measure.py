"""Verbs that measure: `bench`, `duel`, `calibrate`, `eval`, `sweep` and `selftest`."""

from vitdeploy.api import bench as benching
from vitdeploy.api import calibrate as calibrating
from vitdeploy.api import duel as duelling
from vitdeploy.api import evaluate as evaluating
from vitdeploy.api import selftest as testing
from vitdeploy.api.bench import BenchOutcome
from vitdeploy.api.calibrate import CalibrateOutcome
from vitdeploy.api.cases import BenchRequest
from vitdeploy.api.duel import DuelOutcome, DuelRequest
from vitdeploy.api.requests import Names, SizeLike, StrPath, name_of, names_of, path_of, paths_of, request_of
from vitdeploy.api.selftest import SelfTestOutcome, SelfTestRequest
from vitdeploy.evaluation.request import EvalOutcome, EvalRequest
from vitdeploy.fleet import api as sweeping
from vitdeploy.fleet.api import SweepOutcome, SweepRequest
from vitdeploy.processes.progress import OnTrial, Progress, silent, silent_trial
from vitdeploy.verbs.verb import Plan, verb


@verb
def bench(
    *what: Names,
    target: Names | None = None,
    device: str | None = None,
    suite: str | None = None,
    size: SizeLike | None = None,
    batch: int | None = None,
    attention: str | None = None,
    weights: StrPath | None = None,
    accept_licence: bool = False,
    threads: int | None = None,
    trials: int | None = None,
    min_time: float = 1.0,
    until: float | str | None = None,
    time_budget: float | None = None,
    priority: str | None = None,
    boundary: str = "host-to-host",
    streams: int | None = None,
    graph: str | None = None,
    yardstick: str | None = None,
    sustained: float | None = None,
    out: StrPath | None = None,
    artifacts: StrPath | None = None,
    resume: bool = False,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
    on_trial: OnTrial = silent_trial,
) -> BenchOutcome | Plan:
    """Time models and artifacts on a device, in fresh processes; what is not exported yet is exported first.

    Args:
        *what: models and artifacts, or what `export` returned; none: a suite.
        target: one or several names from ``vitdeploy.targets``; None: the suite's, for models ``onnx-fp32``.
        device: a name from ``vitdeploy.devices``; None: the project file's, else this machine.
        suite: a name from ``vitdeploy.suites``; None, and nothing named: ``demo``.
        size: ``"512x1024"`` or ``(512, 1024)``; None: that of the published latency.
        batch: images per inference; None: 1, or the suite's.
        attention: ``relu`` or ``softmax``.
        weights: a checkpoint; ``official``: the authors' own, downloaded if need be; None: seeded random weights.
        accept_licence: use official weights whose licence limits commercial use or is missing.
        threads: None: the device's physical cores.
        trials: fresh processes a case, exactly; None: 5, and more until the interval is narrow.
        min_time: sampling time of a trial, in seconds.
        until: half-width of the interval at which no trials are added: ``0.05`` or ``"5%"``.
        time_budget: seconds after which none are added.
        priority: ``realtime`` samples before the machine's other work.
        boundary: ``host-to-host``, or ``compute`` without the copies.
        streams: inferences in flight.
        graph: ``on`` or ``off``: a CUDA graph.
        yardstick: ``on`` or ``off``: a small fixed network that takes turns with each CPU case; None: on.
        sustained: also the latency after so many seconds without a pause.
        out: the run file; None: a new one in ``runs``.
        artifacts: the folder that missing artifacts are exported to; None: ``artifacts``.
        resume: continue the interrupted run ``out``.
        force: replace an ``out`` that exists, when the new run is whole.
        dry_run: return the plan and do nothing.
        progress: called with each line of progress, as ``print`` can be.
        on_trial: called after each trial.

    Returns:
        The run, which shows itself as a table; rows that failed or may not be quoted say why.

    Raises:
        VitdeployError: what is wrong before any work: names, values, packages, an unreachable device.
    """
    names = names_of("what", what)
    request = request_of(BenchRequest, {**locals(), "what": names})
    if dry_run:
        return Plan(benching.bench_plan(names, request))
    return benching.bench(names, request, progress=progress, on_trial=on_trial)


@verb
def duel(
    a: StrPath,
    b: StrPath,
    *,
    device: str | None = None,
    size: SizeLike | None = None,
    weights: StrPath | None = None,
    accept_licence: bool = False,
    threads: int | None = None,
    pairs: int | None = None,
    by: str | None = None,
    min_time: float | None = None,
    priority: str | None = None,
    max_slowdown: float | str | None = None,
    alpha: float | str = 0.01,
    out: StrPath | None = None,
    artifacts: StrPath | None = None,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
    on_trial: OnTrial = silent_trial,
) -> DuelOutcome | Plan:
    """Time two artifacts against each other in pairs of fresh processes, until the answer is clear.

    Args:
        a: an artifact, a folder of artifacts, or ``MODEL[+softmax][:TARGET][@HxW]``.
        b: the other side.
        device: a name from ``vitdeploy.devices``; None: the project file's, else this machine.
        size: ``"512x1024"`` or ``(512, 1024)``.
        weights: a checkpoint; ``official``: the authors' own, downloaded if need be; None: seeded random weights.
        accept_licence: use official weights whose licence limits commercial use or is missing.
        threads: None: the device's physical cores.
        pairs: at most so many; None: 12, of whole trials 10.
        by: short ``turns`` of both processes, or whole ``trials``; None: turns, where that is possible.
        min_time: sampling time of a side in each pair, in seconds.
        priority: ``realtime`` samples before the machine's other work.
        max_slowdown: what does not matter: ``0.02`` or ``"2%"``, the default.
        alpha: the chance of a false claim, over all cases.
        out: the run file; None: a new one in ``runs``.
        artifacts: the folder that missing artifacts are exported to; None: ``artifacts``.
        force: replace an ``out`` that exists, when the new run is whole.
        dry_run: return the plan and do nothing.
        progress: called with each line of progress, as ``print`` can be.
        on_trial: called after each trial.

    Returns:
        The verdict and the run.

    Raises:
        VitdeployError: an unknown name or value, a side that could not be made, an unreachable device.
    """
    request = request_of(DuelRequest, locals())
    first, second = name_of("a", a), name_of("b", b)
    if dry_run:
        return Plan(duelling.duel_plan(first, second, request))
    return duelling.duel(first, second, request, progress=progress, on_trial=on_trial)


@verb
def calibrate(
    *,
    device: str | None = None,
    threads: int | None = None,
    pairs: int | None = None,
    by: str | None = None,
    min_time: float | None = None,
    priority: str | None = None,
    max_slowdown: float | str | None = None,
    alpha: float | str = 0.01,
    out: StrPath | None = None,
    artifacts: StrPath | None = None,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
    on_trial: OnTrial = silent_trial,
) -> CalibrateOutcome | Plan:
    """Measure the noise and drift of a device, by a duel of one file with itself; `compare` uses them.

    Args:
        device: a name from ``vitdeploy.devices``; None: the project file's, else this machine.
        threads: None: the device's physical cores.
        pairs: of the same file; None: 20.
        by: short ``turns`` of both processes, or whole ``trials``; None: turns, where that is possible.
        min_time: sampling time of a side in each pair, in seconds.
        priority: ``realtime`` samples before the machine's other work.
        max_slowdown: the bound whose false alarms are counted: ``0.02`` or ``"2%"``, the default.
        alpha: the chance of a false claim.
        out: the run file; None: a new one in ``runs``.
        artifacts: the folder that missing artifacts are exported to; None: ``artifacts``.
        force: replace an ``out`` that exists, when the new run is whole.
        dry_run: return the plan and do nothing.
        progress: called with each line of progress, as ``print`` can be.
        on_trial: called after each trial.

    Raises:
        VitdeployError: an unreachable device, too little could be measured, or its place cannot be written.
    """
    request = request_of(DuelRequest, locals())
    if dry_run:
        return Plan(calibrating.calibrate_plan(request))
    return calibrating.calibrate(request, progress=progress, on_trial=on_trial)


@verb
def eval(  # noqa: A001 (the verb's name)
    *artifacts: Names,
    dataset: str,
    root: StrPath,
    device: str | None = None,
    split: str | None = None,
    limit: int | None = None,
    crop: float | None = None,
    prompt: str | None = None,
    clicks: int = 1,
    annotations: StrPath | None = None,
    detections: StrPath | None = None,
    threads: int | None = None,
    weights: StrPath | None = None,
    accept_licence: bool = False,
    reference: bool = True,
    run: Names | None = None,
    out: StrPath | None = None,
    resume: bool = False,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
    on_trial: OnTrial = silent_trial,
) -> EvalOutcome | Plan:
    """Measure accuracy on a data set, and its drop against fp32 torch on the same pictures.

    Args:
        *artifacts: one, or those of one model at several sizes.
        dataset: ``cityscapes``, ``ade20k``, ``imagenet``, ``sr``, ``coco`` or ``lvis``.
        root: where the data set was unpacked.
        device: a name from ``vitdeploy.devices``; None: the project file's, else this machine.
        split: None: the one that is published on.
        limit: only so many pictures, spread evenly.
        crop: ImageNet's crop ratio.
        prompt: ``box``, ``detector`` or ``point``, of segment-anything models.
        clicks: 1, 3 or 5, with ``prompt="point"``.
        annotations: None: found below ``root``.
        detections: a detector's boxes, in COCO's format.
        threads: None: the device's physical cores.
        weights: the checkpoint, for the reference, or ``official``.
        accept_licence: use official weights whose licence limits commercial use or is missing.
        reference: evaluate fp32 torch on the same pictures.
        run: runs whose latencies are shown beside the accuracy.
        out: the evaluation's file; None: a new one in ``evals``.
        resume: continue the interrupted evaluation ``out``; without ``out``, the last one of these artifacts and data.
        force: replace an ``out`` that exists, when the new evaluation is whole.
        dry_run: return the plan and do nothing.
        progress: called with each line of progress, as ``print`` can be.
        on_trial: called after each picture.

    Returns:
        The evaluation; `EvalOutcome.error` says whether pictures were not scored.

    Raises:
        VitdeployError: an unknown name or value, an artifact of another data set, or files that cannot be read.
    """
    request = request_of(EvalRequest, locals())
    paths = paths_of("artifacts", artifacts)
    if dry_run:
        return Plan(evaluating.eval_plan(paths, request))
    return evaluating.evaluate_artifact(paths, request, progress=progress, on_image=on_trial)


@verb
def sweep(
    plan: StrPath,
    *,
    scheduler: str | None = None,
    out: StrPath | None = None,
    artifacts: StrPath | None = None,
    resume: bool = False,
    force: bool = False,
    dry_run: bool = False,
    progress: Progress = silent,
    on_trial: OnTrial = silent_trial,
) -> SweepOutcome | Plan:
    """Time a plan's models on many devices at once, on Dask.

    Args:
        plan: a TOML file of models, targets, sizes and devices.
        scheduler: ``tcp://HOST:8786``; None: a Dask cluster on this machine.
        out: the run file; None: a new one in ``runs``.
        artifacts: the folder that missing artifacts are exported to; None: ``artifacts``.
        resume: continue the interrupted run ``out``; without ``out``, the last one of this plan.
        force: replace an ``out`` that exists, when the new run is whole.
        dry_run: return the plan and do nothing.
        progress: called with each line of progress, as ``print`` can be.
        on_trial: called after each trial.

    Raises:
        VitdeployError: the plan cannot be read, names what is not there, or no scheduler answers.
    """
    request = request_of(SweepRequest, locals())
    path = path_of("plan", plan)
    if dry_run:
        return Plan(sweeping.sweep_plan(path, request))
    return sweeping.sweep(path, request, progress=progress, on_trial=on_trial)


@verb
def selftest(
    *, device: str | None = None, out: StrPath | None = None, dry_run: bool = False, progress: Progress = silent
) -> SelfTestOutcome | Plan:
    """Test whether a device is measured rightly.

    Args:
        device: a name from ``vitdeploy.devices``; None: the project file's, else this machine.
        out: file of the answers, with a page and a Markdown block beside it; None: a new one in ``runs/``.
        dry_run: return the plan and do nothing.
        progress: called with each line of progress, as ``print`` can be.

    Returns:
        Each check with its state; a failed one is no exception.

    Raises:
        VitdeployError: no such device, it is not reachable, or the file cannot be written.
    """
    request = request_of(SelfTestRequest, locals())
    if dry_run:
        return Plan(testing.selftest_plan(request))
    return testing.selftest(request, progress=progress)
