"""The commands that decide: duel, compare, accept, calibrate, verify. They parse, call `api_decide`, print, exit."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitdeploy.cli.options import Device, DryRun, Size, verb

if TYPE_CHECKING:
    from vitdeploy.cli.console import CommandOutcome

app = typer.Typer()


def _share(text: str | float) -> float:
    """``2%`` or ``0.02``; the parser also hands over the default, which is a number already."""
    if isinstance(text, int | float):
        return text
    number = text.strip().removesuffix("%")
    try:
        return float(number) / (100 if text.strip().endswith("%") else 1)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is neither a share like 2% nor a number like 0.02") from error


MaxSlowdown = Annotated[
    float, typer.Option(metavar="SHARE", parser=_share, help="A slowdown up to this does not matter: 2% or 0.02.")
]
Alpha = Annotated[float, typer.Option(metavar="SHARE", parser=_share, help="Chance of a false claim, over all cases.")]
Baselines = Annotated[Path, typer.Option(metavar="DIR", help="Directory of accepted runs.")]
MinTime = Annotated[float, typer.Option(metavar="S", help="Sampling time of a trial.")]
Threads = Annotated[int | None, typer.Option(help="Default: the device's physical cores.")]
RunOut = Annotated[Path | None, typer.Option(metavar="RUN.json")]
Artifacts = Annotated[Path, typer.Option(help="Where missing artifacts are made.")]
_SIDE = "An artifact, or MODEL[+softmax][:TARGET][@HxW]."


@app.command("duel")
@verb
def duel_command(
    a: Annotated[str, typer.Argument(metavar="A", help=_SIDE)],
    b: Annotated[str, typer.Argument(metavar="B", help=_SIDE)],
    *,
    device: Device = None,
    size: Size = None,
    threads: Threads = None,
    pairs: Annotated[int | None, typer.Option(help="At most so many pairs; default 10.")] = None,
    min_time: MinTime = 1.0,
    max_slowdown: MaxSlowdown = 0.02,
    alpha: Alpha = 0.01,
    out: RunOut = None,
    artifacts: Artifacts = Path("artifacts"),
    dry_run: DryRun = False,
) -> "CommandOutcome":
    """Time two artifacts against each other in interleaved pairs of fresh processes, until the answer is clear."""
    from vitdeploy.api import duel
    from vitdeploy.api.duel import DuelRequest
    from vitdeploy.cli import compare_tables, console

    order = DuelRequest(
        device=device or "local",
        size=size,
        threads=threads,
        pairs=pairs,
        min_time_s=min_time,
        max_slowdown=max_slowdown,
        alpha=alpha,
        out=out,
        artifacts=artifacts,
    )
    if dry_run:
        return console.plan(duel.duel_plan(a, b, order))
    with console.bar() as bar:
        outcome = duel.duel(a, b, order, progress=console.progress, on_trial=bar)
    return compare_tables.duel(outcome)


@app.command("compare")
@verb
def compare_command(
    runs: Annotated[list[Path], typer.Argument(metavar="[BASE.json] HEAD.json")],
    *,
    baselines: Baselines = Path("vitdeploy-baselines"),
    max_slowdown: MaxSlowdown = 0.02,
    alpha: Alpha = 0.01,
    confirm: Annotated[
        bool, typer.Option("--confirm", help="Decide a suspicion by a duel of the stored files.")
    ] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 12 where a case cannot be told.")] = False,
    dry_run: DryRun = False,
) -> "CommandOutcome":
    """Verdicts on every case: two runs, a run and its baseline, or the two sides of a duel. Exit 10: slower."""
    from vitdeploy.api import compare
    from vitdeploy.api.compare import CompareRequest
    from vitdeploy.cli import compare_tables, console

    order = CompareRequest(baselines=baselines, max_slowdown=max_slowdown, alpha=alpha, confirm=confirm, strict=strict)
    if dry_run:
        return console.plan(compare.compare_plan(runs, order))
    with console.bar() as bar:
        outcome = compare.compare(runs, order, progress=console.progress, on_trial=bar)
    return compare_tables.compare(outcome)


@app.command("accept")
@verb
def accept_command(
    run: Annotated[Path, typer.Argument(metavar="RUN.json")],
    *,
    because: Annotated[str, typer.Option(metavar="TEXT", help="Why these figures are right.")],
    baselines: Baselines = Path("vitdeploy-baselines"),
    dry_run: DryRun = False,
) -> "CommandOutcome":
    """Make a run the baseline of its device and suite, with who, when, why and the files' digests."""
    from vitdeploy.api import accept
    from vitdeploy.cli import compare_tables, console

    if dry_run:
        return console.plan(accept.accept_plan(run, root=baselines))
    return compare_tables.accepted(accept.accept(run, because=because, root=baselines))


@app.command("calibrate")
@verb
def calibrate_command(
    *,
    device: Device = None,
    threads: Threads = None,
    pairs: Annotated[int | None, typer.Option(help="Pairs of the same file; default 20.")] = None,
    min_time: MinTime = 1.0,
    max_slowdown: MaxSlowdown = 0.02,
    alpha: Alpha = 0.01,
    out: RunOut = None,
    artifacts: Artifacts = Path("artifacts"),
    dry_run: DryRun = False,
) -> "CommandOutcome":
    """Time one file against itself: the device's noise, how often a verdict would be false, how many pairs it needs."""
    from vitdeploy.api import calibrate
    from vitdeploy.api.duel import DuelRequest
    from vitdeploy.cli import compare_tables, console

    order = DuelRequest(
        device=device or "local",
        threads=threads,
        pairs=pairs,
        min_time_s=min_time,
        max_slowdown=max_slowdown,
        alpha=alpha,
        out=out,
        artifacts=artifacts,
    )
    if dry_run:
        return console.plan(calibrate.calibrate_plan(order))
    with console.bar() as bar:
        outcome = calibrate.calibrate(order, progress=console.progress, on_trial=bar)
    return compare_tables.calibrated(outcome)


@app.command("verify")
@verb
def verify_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A run, or an artifact's folder, manifest or file.")],
    *,
    artifacts: Annotated[Path, typer.Option(help="Where to look for artifacts, beside the store.")] = Path("artifacts"),
    weights: Annotated[Path | None, typer.Option(help="The checkpoint that they were made from.")] = None,
    dry_run: DryRun = False,
) -> "CommandOutcome":
    """Re-check the chain result → manifest → file → parents → weights → commit. Exit 9: a byte was changed."""
    from vitdeploy.api import verify
    from vitdeploy.cli import compare_tables, console

    if dry_run:
        return console.plan(verify.verify_plan(file))
    return compare_tables.verified(verify.verify(file, artifacts=artifacts, weights=weights))
