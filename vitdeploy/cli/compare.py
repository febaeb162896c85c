"""`duel`, `compare`, `accept`, `calibrate` and `verify`: verdicts with their intervals and reasons, and baselines."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitdeploy import units
from vitdeploy.cli import completion, console, outcome_errors
from vitdeploy.cli.console import CommandOutput, Table, Verbatim
from vitdeploy.cli.options import (
    AcceptLicence,
    Artifacts,
    Device,
    DryRun,
    Force,
    Out,
    Priority,
    Size,
    Threads,
    Weights,
    request_of,
    share,
)
from vitdeploy.errors import Regression

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vitdeploy.api.calibrate import CalibrateOutcome
    from vitdeploy.api.compare import CompareOutcome
    from vitdeploy.api.duel import DuelOutcome
    from vitdeploy.api.verify import VerifyOutcome
    from vitdeploy.results.baselines import Baseline
    from vitdeploy.results.comparison import Compared


MaxSlowdown = Annotated[
    float | None,
    typer.Option(metavar="SHARE", parser=share, help="A slowdown up to this does not matter; default: 2%."),
]
Alpha = Annotated[
    float, typer.Option(metavar="SHARE", parser=share, help="Chance of a false claim, over all cases together.")
]
Baselines = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Folder of accepted runs; default: vitdeploy-baselines.")
]
DuelTime = Annotated[
    float | None,
    typer.Option(
        "--min-time", metavar="S", help="Sampling time of a side in each pair; default: 2.5, of whole trials 1."
    ),
]
DuelBy = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="turns|trials",
        help="Short turns of both processes, or whole trials one after the other; default: turns.",
        autocompletion=completion.words("turns", "trials"),
    ),
]
_SIDE = "An artifact, or MODEL[+softmax][:TARGET][@HxW]."


def duel_command(
    a: Annotated[str, typer.Argument(metavar="A", help=_SIDE, autocompletion=completion.models)],
    b: Annotated[str, typer.Argument(metavar="B", help=_SIDE, autocompletion=completion.models)],
    *,
    device: Device = None,
    size: Size = None,
    weights: Weights = None,
    accept_licence: AcceptLicence = False,
    threads: Threads = None,
    pairs: Annotated[
        int | None, typer.Option(metavar="N", help="At most so many pairs; default: 12, of whole trials 10.")
    ] = None,
    by: DuelBy = None,
    min_time_s: DuelTime = None,
    priority: Priority = None,
    max_slowdown: MaxSlowdown = None,
    alpha: Alpha = 0.01,
    out: Out = None,
    force: Force = False,
    artifacts: Artifacts = None,
    dry_run: DryRun = False,
) -> CommandOutput:
    """Time two artifacts against each other until it is clear.

    Pairs of fresh processes take short turns, so that what disturbs the machine meets both. Two folders of artifacts
    are a duel of every case that both have.

    Examples:
        vitdeploy duel efficientvit_b1 efficientvit_b1+softmax
        vitdeploy duel efficientvit_b0:onnx-fp32 efficientvit_b0:tflite-fp32
        vitdeploy duel before/ after/ --max-slowdown 1%
    """
    from vitdeploy.api import duel

    request = request_of(duel.DuelRequest, locals())
    if dry_run:
        return console.plan(duel.duel_plan(a, b, request))
    with console.bar() as bar:
        return duel_output(duel.duel(a, b, request, progress=console.progress, on_trial=bar))


def compare_command(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="[BASE.json] HEAD.json", help="Two runs; or one, which is held against its baseline."),
    ],
    *,
    baselines: Baselines = None,
    max_slowdown: MaxSlowdown = None,
    alpha: Alpha = 0.01,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Confirm a suspected slowdown by a duel of the stored files.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 12 if a case is inconclusive.")] = False,
    dry_run: DryRun = False,
) -> CommandOutput:
    """Say which cases became slower, and by how much.

    Two runs are compared, or a run with the baseline of its device and suite. Exit code 10: a case is slower than
    --max-slowdown allows. 11: there is no baseline, or nothing in it can be compared.

    Examples:
        vitdeploy compare before.json after.json
        vitdeploy compare run.json --baselines vitdeploy-baselines --max-slowdown 2%
        vitdeploy compare run.json --confirm --strict
    """
    from vitdeploy.api import compare

    request = request_of(compare.CompareRequest, locals())
    if dry_run:
        return console.plan(compare.compare_plan(runs, request))
    with console.bar() as bar:
        return compare_output(compare.compare(runs, request, progress=console.progress, on_trial=bar), runs)


def accept_command(
    run: Annotated[Path, typer.Argument(metavar="RUN.json", help="The run whose figures are right.")],
    *,
    because: Annotated[str, typer.Option(metavar="TEXT", help="Why these figures are right.")],
    baselines: Baselines = None,
    dry_run: DryRun = False,
) -> CommandOutput:
    """Make a run the baseline of its device and suite.

    Who accepted it, when and why is kept with the run and the digests of its files.

    Examples:
        vitdeploy accept run.json --because "first run on this board"
    """
    from vitdeploy.api import accept

    if dry_run:
        return console.plan(accept.accept_plan(run, root=baselines))
    return accept_output(accept.accept(run, because=because, root=baselines))


def calibrate_command(
    *,
    device: Device = None,
    threads: Threads = None,
    pairs: Annotated[int | None, typer.Option(metavar="N", help="Pairs of the same file; default: 20.")] = None,
    by: DuelBy = None,
    min_time_s: DuelTime = None,
    priority: Priority = None,
    max_slowdown: MaxSlowdown = None,
    alpha: Alpha = 0.01,
    out: Out = None,
    force: Force = False,
    artifacts: Artifacts = None,
    dry_run: DryRun = False,
) -> CommandOutput:
    """Measure the noise and drift of a device.

    One file is timed against itself. The answer says how often a verdict would be false here, and how many pairs a
    duel needs. `compare` uses it.

    Examples:
        vitdeploy calibrate
        vitdeploy calibrate --device orin
    """
    from vitdeploy.api import calibrate, duel

    request = request_of(duel.DuelRequest, locals())
    if dry_run:
        return console.plan(calibrate.calibrate_plan(request))
    with console.bar() as bar:
        return calibrate_output(calibrate.calibrate(request, progress=console.progress, on_trial=bar))


def verify_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A run, or an artifact's folder, manifest or file.")],
    *,
    artifacts: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where to look for artifacts, beside the store; default: artifacts."),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The checkpoint that the artifacts were exported from.")
    ] = None,
    deep: Annotated[
        bool, typer.Option("--deep", help="Measure the parity of each file again. Exit 6: it fails.")
    ] = False,
    dry_run: DryRun = False,
) -> CommandOutput:
    """Check the lineage of a result or an artifact.

    Every link is checked again: result, manifest, file, parents, weights, commit. Exit code 9: a byte was changed.

    Examples:
        vitdeploy verify run.json
        vitdeploy verify artifacts/efficientvit_b1/224x224/onnx-fp32 --deep
    """
    from vitdeploy.api import verify

    if dry_run:
        return console.plan(verify.verify_plan(file, deep=deep))
    return verify_output(verify.verify(file, artifacts=artifacts, weights=weights, deep=deep))


def duel_output(outcome: "DuelOutcome") -> CommandOutput:
    """A duel's two medians, its verdict, and the smallest change that it can detect."""
    results = outcome.run.results
    medians = units.milliseconds([result.summary and result.summary.median_ms for result in results])
    rows = [
        (result.side or "", result.case.name, median, str(len(result.trials)), console.status(result))
        for result, median in zip(results, medians, strict=True)
    ]
    sides = Table(heads=("side", "case", "median ms", "trials", "status"), right=(2, 3), rows=rows)
    reasons = [f"{row.side}: {reason.message}. {reason.hint}" for row in results for reason in row.reasons]
    return CommandOutput(
        document={"run": str(outcome.path), **asdict(outcome.compared)},
        human=[sides, *_verdicts(outcome.compared), *reasons, Verbatim(str(outcome.path))],
        next_command=("report", str(outcome.path), "--format", "html"),
        exit_code=outcome.exit_code,
        failures=outcome_errors.of_results(results, outcome.exit_code),
    )


def compare_output(outcome: "CompareOutcome", runs: "Sequence[Path]" = ()) -> CommandOutput:
    """Every case's verdict with its interval and reason; ``runs`` are the files, for the next command."""
    names = [str(run) for run in runs]
    next_command: list[str] = []
    if names and outcome.exit_code == Regression.exit_code:
        next_command = ["compare", *names, "--confirm"]
    elif names:
        base = ["--baseline", names[0]] if len(names) > 1 else []
        next_command = ["report", names[-1], *base, "--format", "html"]
    return CommandOutput(
        document={"exit_code": outcome.exit_code, **asdict(outcome.compared)},
        human=_verdicts(outcome.compared),
        next_command=next_command,
        exit_code=outcome.exit_code,
        failures=outcome_errors.of_verdicts(outcome.compared, outcome.exit_code),
        verdict=True,
    )


def accept_output(baseline: "Baseline") -> CommandOutput:
    """The cases of a baseline, and those that were not accepted."""
    from vitdeploy.results import baselines

    acceptance = baseline.acceptance
    rows = list(zip(baselines.names_of(baseline.run), baseline.run.results, strict=True))
    left_out = [name for name, _ in rows if name not in acceptance.artifacts]
    remarks = [f"{name}: {reason.message}" for name, row in rows if row.status == "valid" for reason in row.reasons]
    count = f"{len(acceptance.artifacts)} case" + "s" * (len(acceptance.artifacts) != 1)
    lines = [f"{count} of {acceptance.suite} on {acceptance.device} accepted by {acceptance.who}: {acceptance.because}"]
    if (old := baseline.replaced) is not None:
        lines.append(f"in the place of run {old.run_id}, accepted by {old.who} on {old.accepted_utc[:10]}")
    lines += [f"accepted with a remark: {remark}" for remark in remarks]
    lines += [f"not accepted, because its figure is not valid: {name}" for name in left_out]
    return CommandOutput(
        document={
            "path": str(baseline.path),
            "acceptance": acceptance,
            "replaced": baseline.replaced,
            "remarks": remarks,
            "left_out": left_out,
        },
        human=[*lines, Verbatim(str(baseline.path))],
        next_command=("verify", str(baseline.path)),
    )


def calibrate_output(outcome: "CalibrateOutcome") -> CommandOutput:
    """A device's noise, and the pairs and thresholds that follow from it."""
    from vitdeploy.benchmarks import duel

    noise = outcome.calibration
    alpha = f"{noise.alpha:g}"
    way = "processes by turns" if noise.by == "turns" else "whole trials"
    default = duel.PAIRS[noise.by]
    title = f"{noise.device}, {noise.case}, {noise.pairs} pairs of {way} of the same file"
    answers = (
        ("spread between fresh processes", f"{noise.run_spread:.2%} (standard deviation)"),
        ("drift that a pair shares", f"{noise.drift:.2%}"),
        ("autocorrelation within a process", f"{noise.autocorrelation:.2f}"),
        (
            f"false `slower` at {alpha}, ±{noise.max_slowdown:.1%}",
            _rate(noise.false_alarms, noise.comparisons, noise.false_alarm_rate_ci95),
        ),
        (
            f"interval that excludes no change, at {alpha}",
            _rate(noise.false_alarms_any, noise.comparisons, noise.false_alarm_any_rate_ci95),
        ),
        (
            "smallest slowdown detected with 95 % probability",
            ", ".join(f"{count} pairs {ratio - 1:.1%}" for count, ratio in noise.detectable.items()),
        ),
        (f"pairs that show {(1 + noise.max_slowdown) ** 2 - 1:.1%}", str(noise.recommended_pairs or "more than 50")),
        (f"--max-slowdown for {default} pairs", f"{noise.recommended_max_slowdown:.1%}"),
    )
    return CommandOutput(
        document={"calibration": noise, "path": str(outcome.path), "run": str(outcome.run_path)},
        human=[Table(title=title, heads=("question", "answer"), rows=answers), Verbatim(str(outcome.path))],
        next_command=("bench", "--device", noise.device),
    )


def _is_result(path: Path) -> bool:
    return path.suffix == ".json" and path.name != "manifest.json"


def verify_output(outcome: "VerifyOutcome") -> CommandOutput:
    """Every link of the lineage, and the first that is broken."""
    rows = [
        (link.of, link.what, link.state.upper() if link.state in ("changed", "failed") else link.state, link.said)
        for link in outcome.links
    ]
    table = Table(heads=("of", "link", "state", "what was found"), rows=rows)
    absent = sum(link.state == "not here" for link in outcome.links)
    note = f"{absent} of {len(outcome.links)} links of the lineage could not be checked."
    return CommandOutput(
        document={"path": str(outcome.path), "links": outcome.links},
        human=[table, note] if absent else [table],
        next_command=("report", str(outcome.path), "--format", "html") if _is_result(outcome.path) else (),
        failures=[outcome.error] if outcome.error else [],
    )


def _rate(count: int, comparisons: int, interval: tuple[float, float]) -> str:
    return f"{count} of {comparisons} null comparisons, {interval[0]:.2%} … {interval[1]:.2%}"


def _verdicts(compared: "Compared") -> "Sequence[Table | str]":
    from vitdeploy.catalog import registry
    from vitdeploy.reports import cells, explanations

    title = f"{compared.head} against {compared.base}"
    heads = ("case", "verdict", "head / base", "interval", "smallest detectable change")
    rows = [(row.case.name, row.verdict, *cells.comparison(row)) for row in compared.comparisons]
    return [
        Table(title=title, heads=heads, right=(2, 4), rows=rows, details=heads[4:]),
        *(f"{row.case.name}: {row.reason}." for row in compared.comparisons),
        *(f"{line}." for line in explanations.attribution(compared.attribution)),
        f"Bound ±{compared.max_slowdown:.1%}; error rate of each interval end, over all cases: {compared.alpha:.2%}.",
        *compared.notes,
        *registry.notes(row.case.model for row in compared.comparisons),
    ]
