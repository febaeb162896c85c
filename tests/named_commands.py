"""The verbs of the command line and their options, from the parser itself; for tests of documents and hints."""

from functools import cache
from typing import Any

import typer.main

from vitdeploy.cli import app


@cache
def _commands() -> dict[str, set[str]]:
    root: Any = typer.main.get_command(app.app)
    options: dict[str, set[str]] = {}
    for name, command in root.commands.items():
        subcommands: dict[str, Any] = getattr(command, "commands", {})
        for words, leaf in (
            {f"{name} {inner}": child for inner, child in subcommands.items()} or {name: command}
        ).items():
            options[words] = {"--help"}.union(*((*entry.opts, *entry.secondary_opts) for entry in leaf.params))
        if subcommands:
            options[name] = {"--help"}.union(*((*entry.opts, *entry.secondary_opts) for entry in command.params))
    return options


def command_names() -> set[str]:
    """Every verb, those with two words too."""
    return set(_commands())


def options_of(verb: str) -> set[str]:
    """The options of a verb."""
    return _commands()[verb]
