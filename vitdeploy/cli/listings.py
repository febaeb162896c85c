"""`models`, `targets`, `devices` and `suites`: what can be named, and what is usable here."""

from vitdeploy.cli import console
from vitdeploy.cli.console import CommandOutput


def models_command() -> CommandOutput:
    """List the models, and which can be built here.

    Examples:
        vitdeploy models
    """
    from vitdeploy.api import listings

    return console.listing("model", listings.models())


def targets_command() -> CommandOutput:
    """List the file formats, and which work here.

    Examples:
        vitdeploy targets
    """
    from vitdeploy.api import listings

    return console.listing("target", listings.targets())


def devices_command() -> CommandOutput:
    """List the devices, and which are configured.

    Examples:
        vitdeploy devices
    """
    from vitdeploy.api import listings

    return console.listing("device", listings.devices())


def suites_command() -> CommandOutput:
    """List the suites, and which can be run here.

    Examples:
        vitdeploy suites
    """
    from vitdeploy.api import listings

    return console.listing("suite", listings.suites())
