"""The command line: parse, call one function of `api`, print, exit. Nothing else.

Human tables go to stdout, logs and progress to stderr; ``--json FILE|-`` is the machine form of
every command. Errors are two lines on stderr with the contract's exit code.
"""

import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from vitdeploy._version import __version__
from vitdeploy.cli import compare, evaluate, studies, sweep
from vitdeploy.cli.options import ArtifactPath, Device, DryRun, Models, Size, Weights, verb
from vitdeploy.errors import UsageError, VitdeployError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vitdeploy.cli.console import CommandOutcome

app = typer.Typer(
    name="vitdeploy",
    help="Deploy EfficientViT and its rivals, prove every file, and time it so that the number can be believed.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
cache_app = typer.Typer(help="What the content-addressed store holds.", no_args_is_help=True)
app.add_typer(cache_app, name="cache")
app.add_typer(compare.app)
app.add_typer(evaluate.app)
app.add_typer(studies.app)
app.add_typer(sweep.app)

_CliUsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""The parser's usage error; typer carries its parser privately, this is its public way in."""


@app.callback(invoke_without_command=True)
def root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    """Deploy EfficientViT and its rivals, prove every file, and time it so that the number can be believed."""
    if version:
        typer.echo(f"vitdeploy {__version__}")
        raise typer.Exit


@app.command("models")
@verb
def models_command() -> "CommandOutcome":
    """What models there are, and what each needs here."""
    from vitdeploy.api import listings
    from vitdeploy.cli import console

    return console.listing("models", listings.models())


@app.command("targets")
@verb
def targets_command() -> "CommandOutcome":
    """What file formats there are, and which can be made and run here."""
    from vitdeploy.api import listings
    from vitdeploy.cli import console

    return console.listing("targets", listings.targets())


@app.command("devices")
@verb
def devices_command() -> "CommandOutcome":
    """What devices there are, and which can be reached."""
    from vitdeploy.api import listings
    from vitdeploy.cli import console

    return console.listing("devices", listings.devices())


@app.command("suites")
@verb
def suites_command() -> "CommandOutcome":
    """What suites there are, and what each times."""
    from vitdeploy.api import listings
    from vitdeploy.cli import console

    return console.listing("suites", listings.suites())


@app.command("doctor")
@verb
def doctor_command(device: Device = None) -> "CommandOutcome":
    """Tools, versions, clocks, power mode, heat, space, link: what would spoil a number here."""
    from vitdeploy.api import doctor
    from vitdeploy.cli import console

    return console.doctor(doctor.doctor(device or "local"))


@app.command("export")
@verb
def export_command(
    models: Models = None,
    *,
    target: Annotated[str, typer.Option(help="Name from `vitdeploy targets`.")],
    suite: Annotated[str | None, typer.Option(help="Export a suite's models.")] = None,
    size: Size = None,
    batch: Annotated[int, typer.Option(help="Images per inference.")] = 1,
    weights: Weights = None,
    attention: Annotated[str | None, typer.Option(metavar="relu|softmax")] = None,
    head: Annotated[str, typer.Option(metavar="logits|labels")] = "logits",
    io: Annotated[str, typer.Option(metavar="fp32|fp16|uint8", help="Element type at the graph's border.")] = "fp32",
    converter: Annotated[str | None, typer.Option(metavar="onnx2tf|litert-torch|best")] = None,
    without: Annotated[list[str] | None, typer.Option(metavar="REWRITE", help="Leave a rewrite out.")] = None,
    compute_capability: Annotated[str | None, typer.Option(metavar="8.0")] = None,
    device: Device = None,
    out: Annotated[Path, typer.Option(help="Where the artifacts go.")] = Path("artifacts"),
    force: Annotated[bool, typer.Option("--force", help="Build again what is up to date.")] = False,
    dry_run: DryRun = False,
) -> "CommandOutcome":
    """Turn models into files that are proven equal to the fp32 torch reference."""
    from vitdeploy.api import cases, export
    from vitdeploy.cli import console

    order = export.ExportRequest(
        target=target,
        size=size,
        batch=batch,
        weights=weights,
        attention=attention,
        head=head,
        io=io,
        converter=converter,
        without=tuple(without or ()),
        compute_capability=compute_capability,
        device=device,
        out=out,
        force=force,
    )
    names = cases.model_names(models or [], suite)
    if dry_run:
        return console.plan(export.export_plan(names, order))
    return console.exports(export.export(names, order, progress=console.progress))


@app.command("check")
@verb
def check_command(
    artifact: ArtifactPath,
    images: Annotated[Path | None, typer.Option(help="Folder of your photographs.")] = None,
    weights: Annotated[Path | None, typer.Option(help="The checkpoint it was made from.")] = None,
    device: Device = None,
    trace: Annotated[bool, typer.Option("--trace", help="Name the first layer that diverges.")] = False,
    dry_run: DryRun = False,
) -> "CommandOutcome":
    """Prove an artifact again: its outputs against the fp32 torch reference, on your images."""
    from vitdeploy.api import check
    from vitdeploy.cli import console

    if dry_run:
        return console.plan(check.check_plan(artifact))
    return console.check(check.check(artifact, images=images, weights=weights, device=device, trace=trace))


@app.command("predict")
@verb
def predict_command(
    artifact: ArtifactPath,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="A picture, or sample:coffee, sample:rocket, ….")],
    point: Annotated[list[str] | None, typer.Option(metavar="X,Y[,0|1]")] = None,
    box: Annotated[list[str] | None, typer.Option(metavar="X0,Y0,X1,Y1")] = None,
    multimask: Annotated[bool, typer.Option("--multimask")] = False,
    device: Device = None,
    out: Annotated[Path | None, typer.Option(metavar="PNG", help="Default: beside the image's name here.")] = None,
    dry_run: DryRun = False,
) -> "CommandOutcome":
    """Run an artifact on a picture: an overlay with a legend, or the five likeliest classes."""
    from vitdeploy.api import predict
    from vitdeploy.cli import console

    order = predict.PredictRequest(
        artifact=artifact,
        image=image,
        points=tuple(point or ()),
        boxes=tuple(box or ()),
        multimask=multimask,
        device=device,
        out=out,
    )
    if dry_run:
        return console.plan(predict.predict_plan(order))
    return console.prediction(predict.predict(order))


@app.command("bench")
@verb
def bench_command(
    what: Annotated[list[str] | None, typer.Argument(metavar="[MODEL…|ARTIFACT…]")] = None,
    target: Annotated[list[str] | None, typer.Option(help="Default: the suite's; for models onnx-fp32.")] = None,
    device: Device = None,
    suite: Annotated[str | None, typer.Option(help="Name from `vitdeploy suites`.")] = None,
    size: Size = None,
    batch: Annotated[int | None, typer.Option()] = None,
    attention: Annotated[str | None, typer.Option(metavar="relu|softmax")] = None,
    threads: Annotated[int | None, typer.Option(help="Default: the device's physical cores.")] = None,
    trials: Annotated[int, typer.Option(help="Fresh processes per case.")] = 5,
    min_time: Annotated[float, typer.Option(metavar="S", help="Sampling time of a trial.")] = 1.0,
    boundary: Annotated[str, typer.Option(metavar="host-to-host|compute")] = "host-to-host",
    streams: Annotated[int | None, typer.Option(help="Inferences in flight (throughput).")] = None,
    graph: Annotated[str | None, typer.Option(metavar="on|off", help="CUDA graph.")] = None,
    sustained: Annotated[float | None, typer.Option(metavar="S", help="Also the figure after S seconds.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="RUN.json")] = None,
    artifacts: Annotated[Path, typer.Option(help="Where missing artifacts are made.")] = Path("artifacts"),
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an interrupted run.")] = False,
    dry_run: DryRun = False,
) -> "CommandOutcome":
    """Time artifacts: fresh processes, interleaved, every raw sample kept; missing ones are exported first."""
    from vitdeploy.api import bench, cases
    from vitdeploy.cli import console

    order = cases.BenchRequest(
        targets=tuple(target or ()),
        device=device or "local",
        suite=suite,
        size=size,
        batch=batch,
        attention=attention,
        threads=threads,
        trials=trials,
        min_time_s=min_time,
        boundary=boundary,
        streams=streams,
        graph=graph,
        sustained_s=sustained,
        out=out,
        artifacts=artifacts,
        resume=resume,
    )
    if dry_run:
        return console.plan(bench.bench_plan(what or [], order))
    with console.bar() as bar:
        outcome = bench.bench(what or [], order, progress=console.progress, on_trial=bar)
    return console.bench(outcome)


@app.command("report")
@verb
def report_command(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN.json…")],
    *,
    form: Annotated[str, typer.Option("--format", help="html, markdown, github, json, csv, junit, …")] = "markdown",
    baseline: Annotated[Path | None, typer.Option(metavar="RUN.json")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Default: stdout; html: report.html.")] = None,
    dry_run: DryRun = False,
) -> "CommandOutcome":
    """Turn runs into a page, a table or a machine format."""
    from vitdeploy.api import report
    from vitdeploy.cli import console

    if dry_run:
        return console.plan(report.report_plan(runs, form, baseline, out))
    return console.document(report.report(runs, form=form, baseline=baseline, out=out))


@cache_app.command("ls")
@verb
def cache_ls_command() -> "CommandOutcome":
    """What the store holds, and how much space it takes."""
    from vitdeploy.api import cache
    from vitdeploy.cli import console

    return console.cache(cache.cache_ls())


@cache_app.command("gc")
@verb
def cache_gc_command(
    older_than: Annotated[float, typer.Option(metavar="DAYS", help="Only what was not used for so long.")] = 0.0,
    dry_run: DryRun = False,
) -> "CommandOutcome":
    """Remove stored artifacts, and all that is ours on the configured phones; exported folders stay as they are."""
    from vitdeploy.api import cache
    from vitdeploy.cli import console

    gone = cache.cache_gc(older_than_days=older_than, dry_run=dry_run, progress=console.progress)
    return console.cache(gone, removed=True)


def main(argv: list[str] | None = None) -> int:
    """Run the command line and return its exit code; the console script exits with it."""
    arguments = sys.argv[1:] if argv is None else argv
    debug = "--debug" in arguments
    try:
        return int(app(arguments, standalone_mode=False, prog_name="vitdeploy") or 0)
    except VitdeployError as error:
        return _fail(error, debug)
    except _CliUsageError as error:
        return _fail(_as_usage_error(error), debug)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:  # noqa: BLE001 (the outermost border: a bug becomes exit 1 and two lines)
        return _fail(VitdeployError(f"internal error: {type(error).__name__}: {error}"), debug)


def _fail(error: VitdeployError, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    for word, text in (("error", error.message), ("hint", error.hint)):
        print(f"{word}: {' '.join(text.split())}", file=sys.stderr)
    return error.exit_code


def _commands() -> "Mapping[str, object]":
    """Every verb by its name, those of other files too."""
    return getattr(typer.main.get_command(app), "commands", {})


def _as_usage_error(error: Exception) -> UsageError:
    """The parser's complaint in our two lines, with the nearest names for an unknown command or option."""
    formatted: Callable[[], str] = getattr(error, "format_message", lambda: str(error))
    message = formatted().rstrip(".")
    given = message.partition("'")[2].partition("'")[0]
    if message.startswith("No such command"):
        return unknown_name("command", given, list(_commands()), "vitdeploy --help")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "vitdeploy"
    possible: list[str] = getattr(error, "possibilities", None) or []
    hint = f"Did you mean {' or '.join(possible)}? " if possible else ""
    return UsageError(message[:1].lower() + message[1:], f"{hint}`{command} --help` lists the options.")


def run() -> NoReturn:
    """The console script."""
    sys.exit(main())


if __name__ == "__main__":
    run()
