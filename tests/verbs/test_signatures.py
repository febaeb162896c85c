"""The functions of the package have the arguments and options of the command line: same names, same defaults."""

import dataclasses
import importlib
import inspect
import subprocess
import sys
from functools import cache
from typing import Any

import pytest
import typer.main

import vitdeploy
from vitdeploy.api.requests import field_of
from vitdeploy.cli import app
from vitdeploy.cli import options as shared_options

COMMON = {*shared_options._COMMON, *shared_options._LISTING, "help"}
"""Options of every command that say how it prints."""

CALLBACKS = {"progress", "on_trial"}
"""Arguments of a function that stand for the terminal's progress lines and bar."""

ONLY_PYTHON = {"create_model", "load", "load_history", "errors", "VitdeployError", "__version__"}
"""Names of the package that are no verb; the request classes are not either."""

REQUESTS = {
    "export": vitdeploy.ExportRequest,
    "predict": vitdeploy.PredictRequest,
    "bench": vitdeploy.BenchRequest,
    "duel": vitdeploy.DuelRequest,
    "calibrate": vitdeploy.DuelRequest,
    "eval": vitdeploy.EvalRequest,
    "sweep": vitdeploy.SweepRequest,
    "compare": vitdeploy.CompareRequest,
    "attention": vitdeploy.StudyRequest,
    "reproduce": vitdeploy.StudyRequest,
}


@cache
def commands() -> dict[str, Any]:
    """``cache_ls`` → the parser's command."""
    leaves: dict[str, Any] = {}

    def walk(command: Any, words: tuple[str, ...]) -> None:
        below: dict[str, Any] = getattr(command, "commands", {})
        own = getattr(command, "callback", None)
        if words and (not below or (command.invoke_without_command and len(command.params) > 0)):
            leaves["_".join(words)] = command
        del own
        for name, child in below.items():
            walk(child, (*words, name.replace("-", "_")))

    walk(typer.main.get_command(app.app), ())
    return leaves


def options(command: Any) -> dict[str, Any]:
    """Name of an option as an argument of a function → its default; `inspect.Parameter.empty`: it must be given."""
    named: dict[str, Any] = {}
    for entry in command.params:
        if entry.param_type_name == "option" and entry.name not in COMMON:
            name = max(entry.opts, key=len).lstrip("-").replace("-", "_")
            name = f"{name}_" if name in ("from", "import", "class") else name
            named[name] = inspect.Parameter.empty if entry.required else entry.default
    return named


def positions(command: Any) -> list[tuple[bool, bool]]:
    """Of each argument: whether it must be given, and whether it takes many."""
    arguments = [entry for entry in command.params if entry.param_type_name == "argument"]
    return [(entry.required, entry.nargs == -1) for entry in arguments]


def keywords(function: Any) -> dict[str, Any]:
    """Keyword of a function → its default, without positional arguments and callbacks."""
    parameters = inspect.signature(function).parameters.values()
    taken = [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.name not in CALLBACKS]
    return {p.name: p.default for p in taken}


def test_every_command_is_a_function_and_every_function_a_command():
    requests = {name for name in vitdeploy.__all__ if name.endswith("Request")}
    assert set(vitdeploy.__all__) - requests - ONLY_PYTHON == set(commands())


@pytest.mark.parametrize("verb", sorted(commands()))
def test_the_options_have_the_same_names_and_defaults(verb: str):
    on_the_line, in_python = options(commands()[verb]), keywords(getattr(vitdeploy, verb))
    assert in_python == on_the_line


@pytest.mark.parametrize("verb", sorted(commands()))
def test_the_arguments_are_the_same(verb: str):
    parameters = inspect.signature(getattr(vitdeploy, verb)).parameters.values()
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)]
    taken = [(p.default is p.empty and p.kind is not p.VAR_POSITIONAL, p.kind is p.VAR_POSITIONAL) for p in positional]
    expected = [(required and not many, many) for required, many in positions(commands()[verb])]
    assert taken == expected


@pytest.mark.parametrize("verb", sorted(REQUESTS))
def test_a_default_that_a_function_shows_is_that_of_the_request(verb: str):
    fields = {field.name: field.default for field in dataclasses.fields(REQUESTS[verb])}
    shown = {name: default for name, default in keywords(getattr(vitdeploy, verb)).items() if default is not None}
    for name, default in shown.items():
        field = field_of(name, fields)
        if field is not None and default is not inspect.Parameter.empty:
            assert default == fields[field], name


@pytest.mark.parametrize("verb", sorted(commands()))
def test_every_argument_is_explained(verb: str):
    module = getattr(vitdeploy, verb)
    function = inspect.unwrap(module)
    text = inspect.getdoc(function) or ""
    for name in inspect.signature(function).parameters:
        assert f"{name}:" in text, name


def test_so_many_options_are_the_same(capsys: pytest.CaptureFixture[str]):
    verbs, count = len(commands()), sum(len(options(command)) for command in commands().values())
    with capsys.disabled():
        print(f"\n{verbs} verbs and {count} options are the same on the command line and in Python")
    assert verbs >= 21
    assert count >= 130


@pytest.mark.parametrize("folder", ["models", "devices"])
@pytest.mark.parametrize("imports", ["", "import vitdeploy.{0}\n", "from vitdeploy import {0}\n"])
def test_a_verb_that_is_also_a_folder_lists_however_the_folder_was_imported(folder: str, imports: str):
    code = f"{imports.format(folder)}import vitdeploy\nprint(vitdeploy.{folder}().kind, vitdeploy.{folder}.__path__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith(folder.removesuffix("s")), done.stderr
    assert importlib.import_module(f"vitdeploy.{folder}") is getattr(vitdeploy, folder)


def test_the_names_that_are_completed_are_those_that_exist():
    assert dir(vitdeploy) == sorted(vitdeploy.__all__)
    for name in vitdeploy.__all__:
        assert getattr(vitdeploy, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'benhc'"):
        vitdeploy.benhc  # noqa: B018 # pyright: ignore[reportAttributeAccessIssue]


def test_a_verb_costs_no_pandas():
    code = "import sys, vitdeploy\nvitdeploy.bench, vitdeploy.export, vitdeploy.report\nprint('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
