"""`selftest`: is this device measured rightly?"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitdeploy.cli import console
from vitdeploy.cli.console import CommandOutput, Table
from vitdeploy.cli.options import Device, DryRun, request_of

if TYPE_CHECKING:
    from vitdeploy.api.selftest import SelfTestOutcome


def selftest_command(
    *,
    device: Device = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.json",
            help="File of the answers, with a page and a Markdown block beside it; default: a new one in runs/.",
        ),
    ] = None,
    dry_run: DryRun = False,
) -> CommandOutput:
    """Test whether a device is measured rightly.

    It takes less than ten minutes. Each check has passed, has failed with what was seen, or is not possible there and
    says why. The files hold no host name, user name, address or serial number. Exit code 8: a check failed.

    Examples:
        vitdeploy selftest
        vitdeploy selftest --device orin --out orin.json
    """
    from vitdeploy.api import selftest

    request = request_of(selftest.SelfTestRequest, locals())
    if dry_run:
        return console.plan(selftest.selftest_plan(request))
    with console.working() as progress:
        return selftest_output(selftest.selftest(request, progress=progress))


def selftest_output(outcome: "SelfTestOutcome") -> CommandOutput:
    """The checks, and where the files are."""
    document = outcome.document
    rows = [
        ("FAILED" if check.state == "failed" else check.state, check.name, check.seen, check.proves)
        for check in document.checks
    ]
    table = Table(heads=("", "check", "seen", "proves"), rows=rows, details=("proves",))
    return CommandOutput(
        document=document,
        human=[
            table,
            f"{document.words}: {outcome.path}, {outcome.page}",
            f"To report this device, paste {outcome.block} into an issue.",
        ],
        failures=[] if outcome.error is None else [outcome.error],
        verdict=True,
    )
