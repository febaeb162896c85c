"""`devices`, `devices show` and `devices add`: which devices there are, what is known of one, and a new one."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from vitdeploy.cli import completion, console
from vitdeploy.cli.console import CommandOutput, Table, Verbatim
from vitdeploy.cli.options import DryRun, request_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vitdeploy.api.device_add import AddedDevice
    from vitdeploy.api.device_details import DeviceDetails


def devices_command(
    probe: Annotated[
        bool, typer.Option("--probe", help="Connect to each one that is configured, all at once, for 10 s at most.")
    ] = False,
) -> CommandOutput:
    """List the devices, show or add one.

    Without --probe none is contacted.

    Examples:
        vitdeploy devices
        vitdeploy devices --probe
    """
    from vitdeploy.api import listings

    rows = listings.devices(probe=probe)
    return console.listing("device", rows, ("doctor", "--device", "local"), last="state")


def devices_show_command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name from `vitdeploy devices`.", autocompletion=completion.devices)
    ],
) -> CommandOutput:
    """Show a device's settings, their origin, and what it runs.

    It is not contacted: `vitdeploy doctor --device NAME` does that.

    Examples:
        vitdeploy devices show orin
    """
    from vitdeploy.api import device_details

    return details_output(device_details.device_details(name))


def devices_add_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name from now on: small letters, digits, dashes.")],
    ssh: Annotated[str | None, typer.Option(metavar="USER@HOST[:PORT]", help="A board or server over SSH.")] = None,
    adb: Annotated[str | None, typer.Option(metavar="SERIAL", help="A phone, as `adb devices` names it.")] = None,
    hub: Annotated[
        str | None, typer.Option(metavar="NAME", help="A hosted phone of Qualcomm AI Hub (docs/phones.md).")
    ] = None,
    from_device: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="DEVICE",
            autocompletion=completion.devices,
            help="Take targets and settings of this device, and check its facts.",
        ),
    ] = None,
    python: Annotated[str | None, typer.Option(metavar="PATH", help="Interpreter there; default: python3.")] = None,
    benchmark_model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Measuring tool for a phone (docs/phones.md).")
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of the file; default: ./devices.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    dry_run: DryRun = False,
) -> CommandOutput:
    """Connect to a device and write its device file.

    The file has what the device says of itself: a device with other facts is refused from then on. What is missing
    there is listed. Nothing is written where the device is not reached.

    Examples:
        vitdeploy devices add my-orin --ssh me@192.168.1.20 --from orin
        vitdeploy devices add my-phone --adb R58M123ABC
        vitdeploy devices add hosted-8gen1 --hub snapdragon-8gen1
    """
    from vitdeploy.api import device_add

    request = request_of(device_add.AddRequest, locals())
    if dry_run:
        return console.plan(device_add.add_plan(request))
    return added_output(device_add.add(request, progress=console.progress))


def details_output(details: "DeviceDetails") -> CommandOutput:
    """Its values with their origins, and its targets."""
    values = [(row.key, _text(row.value), row.origin) for row in details.values]
    targets = [(row.name, row.made, row.missing or row.needs) for row in details.targets]
    lacking = [f"{details.not_configured}. {details.hint}"] if details.not_configured else []
    return CommandOutput(
        document=details,
        human=[
            Table(title=f"{details.name}: {details.title}", heads=("key", "value", "from"), rows=values),
            "",
            Table(heads=("runs", "its file is made", "needs there"), rows=targets),
            *([""] if lacking or details.notices else []),
            *details.notices,
            *lacking,
        ],
        next_command=() if lacking else ("doctor", "--device", details.name),
    )


def added_output(added: "AddedDevice") -> CommandOutput:
    """What was seen, what is missing there, and the next command."""
    seen = list(added.seen)
    seen += [(f"tool {name}", path) for name, path in added.tools.items()]
    missing = [
        ("PROBLEM" if finding.state == "problem" else finding.state, finding.what, finding.found, finding.advice)
        for finding in added.missing
    ]
    document = {
        "path": str(added.path),
        "device": added.device,
        "facts": dict(added.facts),
        "tools": added.tools,
        "missing": added.missing,
        "notices": added.notices,
    }
    lacking = [Table(heads=("", "missing there", "found", "advice"), rows=missing), ""] if missing else []
    name = added.device.name
    words = ("bench", "efficientvit_b0", "--target", added.first_target, "--device", name)
    return CommandOutput(
        document=document,
        human=[
            Table(title=f"{name}: {added.device.title}", heads=("fact", "value"), rows=seen),
            "",
            *lacking,
            *added.notices,
            Verbatim(f"wrote {added.path}"),
            *([added.hint] if added.hint else []),
        ],
        next_command=() if added.hint else words,
    )


def _text(value: Any) -> str:
    if value is None or value == "":
        return "-"
    return " ".join(map(str, cast("Sequence[Any]", value))) if isinstance(value, list | tuple) else str(value)
