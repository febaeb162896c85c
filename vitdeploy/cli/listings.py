"""`models`, `targets` and `suites`: what can be named, and what is usable here."""

from typing import TYPE_CHECKING

from vitdeploy.cli import console
from vitdeploy.cli.console import CommandOutput

if TYPE_CHECKING:
    from vitdeploy.api.listings import Listing


def models_command() -> CommandOutput:
    """List the models, and which can be built here.

    Examples:
        vitdeploy models
        vitdeploy models --format tsv
    """
    from vitdeploy.api import listings

    return console.listing("model", listings.models(), ("export", "efficientvit_b1", "--target", "onnx-fp32"))


def targets_command() -> CommandOutput:
    """List the file formats, and which work here.

    Examples:
        vitdeploy targets
    """
    from vitdeploy.api import listings

    rows = listings.targets()
    usable = next((row.name for row in rows if row.usable), rows[0].name)
    return console.listing("target", rows, ("export", "efficientvit_b1", "--target", usable))


def suites_command() -> CommandOutput:
    """List the suites, and which can be run here.

    Examples:
        vitdeploy suites
    """
    from vitdeploy.api import listings

    return console.listing("suite", listings.suites(), ("bench", "--suite", "demo"))


def listing_output(listing: "Listing") -> CommandOutput:
    """The table of any listing."""
    last = "state" if listing.kind == "device" else "usable here"
    return console.listing(listing.kind, listing, last=last)
