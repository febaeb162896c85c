"""`models`, `targets`, `devices` and `suites`: what can be named, and what is usable here."""

from vitdeploy.cli import console
from vitdeploy.cli.console import CommandOutput


def models_command() -> CommandOutput:
    """List the models, and the packages that each lacks here."""
    from vitdeploy.api import listings

    return console.listing("model", listings.models())


def targets_command() -> CommandOutput:
    """List the file formats, and which can be exported and run here."""
    from vitdeploy.api import listings

    return console.listing("target", listings.targets())


def devices_command() -> CommandOutput:
    """List the devices, and which are configured; none is contacted."""
    from vitdeploy.api import listings

    return console.listing("device", listings.devices())


def suites_command() -> CommandOutput:
    """List the suites, and how many cases each times."""
    from vitdeploy.api import listings

    return console.listing("suite", listings.suites())
