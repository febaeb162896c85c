"""docs/commands.md, made from the parser: every command with its options, exit codes, environment, files, project file.

``python -m tests.commands_page`` writes it anew.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer.main

from vitdeploy import errors
from vitdeploy.api import project
from vitdeploy.cli import app, help_pages, json_forms

PAGE = Path(__file__).parent.parent / "docs" / "commands.md"
SCHEMAS = Path(__file__).parent.parent / "vitdeploy" / "schemas"

FILES_OF_RECORDS = {"bench": "run-1.json", "eval": "evaluation-1.json", "selftest": "selftest-1.json"}
"""Command whose ``--json`` is a kind of file that has a schema of its own."""

ENVIRONMENT = {
    "VITDEPLOY_DEVICE_KEY": "a key of a device file, in capitals: `VITDEPLOY_ORIN_HOST=192.0.2.7` is `host` of `orin`",
    "VITDEPLOY_LITERT_TORCH_PYTHON": "the Python in which `litert-torch` is installed, for `--converter litert-torch`",
    "VITDEPLOY_LOCK_DIR": "folder of the locks that keep two measurements of one device apart",
    "NO_COLOR": "not empty: no colours (https://no-color.org)",
    "TERM": "`dumb`: no colours",
    "XDG_CACHE_HOME": "where the store of artifacts is: `$XDG_CACHE_HOME/vitdeploy`; default `~/.cache`",
    "XDG_CONFIG_HOME": "where your device files are: `$XDG_CONFIG_HOME/vitdeploy/devices`; default `~/.config`",
    "XDG_DATA_HOME": "where calibrations are: `$XDG_DATA_HOME/vitdeploy`; default `~/.local/share`",
    "HF_HOME, HF_HUB_CACHE, HUGGINGFACE_HUB_CACHE": "where downloaded weights of the Hugging Face hub are looked for",
    "HF_ENDPOINT": "the hub that weights are downloaded from",
    "HF_TOKEN": "your token of that hub; it is sent to no other server",
    "HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE": "`1`: `--weights official` downloads nothing, and uses what is here",
    "ADB_SERVER_SOCKET, ANDROID_ADB_SERVER_ADDRESS, ANDROID_ADB_SERVER_PORT": "which adb server is used",
    "ANDROID_SERIAL": "the phone that is used where several are connected and the device file names none",
    "GITHUB_SHA": "the commit that a run records",
    "SOURCE_DATE_EPOCH": "ignored where it is no number",
}

FILES = (
    ("`artifacts/MODEL/HxW/TARGET/`", "`export`, and what `bench` and others export first", "`--out`, `--artifacts`"),
    ("`runs/DEVICE-TIME.json`, `.log` beside it", "`bench`", "`--out`"),
    ("`runs/duel-…`, `runs/calibration-…`, `runs/confirm-…`", "`duel`, `calibrate`, `compare --confirm`", "`--out`"),
    ("`runs/attention-…`, `runs/reproduce-…` with a page", "`attention`, `reproduce`", "`--out`, `--page`"),
    ("`runs/PLAN-…`", "`sweep`", "`--out`"),
    ("`evals/…`", "`eval`", "`--out`"),
    ("`runs/selftest-…` with a page and a Markdown block", "`selftest`", "`--out`"),
    ("`vitdeploy-baselines/DEVICE/SUITE.json`", "`accept`", "`--baselines`"),
    ("`report.html`, `history.html`", "`report --format html`, `history`", "`--out`"),
    ("a picture in the working folder", "`predict`", "`--out`"),
    ("`~/.cache/vitdeploy/store`", "every export; `cache gc` removes what was not used", "`XDG_CACHE_HOME`"),
    ("`~/.cache/vitdeploy/weights`", "`--weights official`, and what you put there by hand", "`XDG_CACHE_HOME`"),
    ("`~/.local/share/vitdeploy/calibrations`", "`calibrate`", "`XDG_DATA_HOME`"),
    ("`/data/local/tmp/vitdeploy` on a phone", "what is timed there; `cache gc` removes it", ""),
)


def page() -> str:
    """The document."""
    root: Any = typer.main.get_command(app.app)
    sections = [
        "# Commands",
        "",
        "This page answers what each command does, takes, writes and ends with. It is made from the program by",
        "`python -m tests.commands_page`; `vitdeploy COMMAND --help` says the same.",
        "",
        *_contents(root),
        "",
        *(line for title, names in app.SECTIONS.items() for line in _section(title, names, root)),
        *_common(root),
        "",
        *_exit_codes(),
        "",
        *_environment(),
        "",
        *_files(),
        "",
        *_project(),
    ]
    return "\n".join(sections).rstrip() + "\n"


def _contents(root: Any) -> list[str]:
    rows = [
        (title, ", ".join(f"[{name}](#vitdeploy-{name})" for name in names if name in root.commands))
        for title, names in app.SECTIONS.items()
    ]
    others = ("exit codes", "environment variables", "files", "project file")
    rows.append(("See also", ", ".join(f"[{name}](#{name.replace(' ', '-')})" for name in others)))
    return table_lines(("what for", "commands"), rows)


def _section(title: str, names: Sequence[str], root: Any) -> Iterator[str]:
    yield from (f"## {title}", "")
    for name in names:
        yield from _command(f"vitdeploy {name}", root.commands[name], 3)


def _command(path: str, command: Any, level: int) -> Iterator[str]:
    text = help_pages.text_of(command.help)
    yield from (f"{'#' * level} {path}", "")
    yield from (text.summary, "")
    yield from ("```", help_pages.usage_of(command, path), "```", "")
    for paragraph in text.paragraphs:
        yield from (paragraph, "")
    parameters = [entry for entry in command.params if entry.name not in help_pages.COMMON]
    rows = [help_pages.row_of(entry) for entry in parameters if not getattr(entry, "hidden", False)]
    if rows:
        yield from table_lines(("option", "meaning"), [(f"`{row.words}`", row.text) for row in rows])
        yield ""
    if text.examples:
        yield from ("```", *text.examples, "```", "")
    words = path.removeprefix("vitdeploy ")
    if words in json_forms.FORMS:
        schema = FILES_OF_RECORDS.get(words, json_forms.file_name(words))
        assert (SCHEMAS / schema).is_file(), schema
        yield from (f"`--json`: [{schema}](../vitdeploy/schemas/{schema}).", "")
    for name, child in getattr(command, "commands", {}).items():
        yield from _command(f"{path} {name}", child, level + 1)


def _common(root: Any) -> list[str]:
    leaf: Any = root.commands["models"]
    rows = [help_pages.row_of(entry) for entry in leaf.params if entry.name in help_pages.COMMON]
    return [
        "## Options of every command",
        "",
        *table_lines(("option", "meaning"), [(f"`{row.words}`", row.text) for row in rows]),
        "",
        "`--format` is an option of the listings alone; `report --format` chooses the kind of document. Results go to",
        "stdout, progress and errors to stderr. An error is two lines, `error: …` and `hint: …`; with `--json -` it is",
        "[a document](../vitdeploy/schemas/output-error.json) on stdout as well. `--dry-run` writes",
        "[a plan](../vitdeploy/schemas/output-plan.json). `vitdeploy` with `--install-completion` makes the shell",
        "complete commands, options, and the names of models, targets, devices and suites.",
    ]


def _exit_codes() -> list[str]:
    rows = [("0", "", "done")]
    for kind in sorted(errors.error_classes(), key=lambda kind: kind.exit_code):
        words = "a bug" if kind is errors.VitdeployError else (kind.__doc__ or "").partition("\n")[0]
        rows.append((str(kind.exit_code), f"`{kind.__name__}`", words))
    return [
        "## Exit codes",
        "",
        *table_lines(("code", "error in Python", "meaning"), rows),
        "",
        "Several rows: all are finished, each failed one says why, and the command ends with the first of 1, 6, 5, 7,",
        "9, 8, 3, 4 that occurred.",
    ]


def _environment() -> list[str]:
    rows = [(", ".join(f"`{word}`" for word in name.split(", ")), text) for name, text in ENVIRONMENT.items()]
    return ["## Environment variables", "", *table_lines(("variable", "meaning"), rows)]


def _files() -> list[str]:
    return ["## Files", "", *table_lines(("written", "by", "changed by"), FILES)]


def _project() -> list[str]:
    meanings = {
        "device": "device of the verbs with `--device`; of `export` only for engines",
        "suite": "what `export` and `bench` take where nothing is named",
        "baselines": "folder of accepted runs, for `compare` and `accept`",
        "max-slowdown": "of `compare`, `duel` and `calibrate`",
        "weights": "of `export`, `bench` and `duel`: a checkpoint, or `official`",
        "out": "folder of artifacts: `export --out`, and `--artifacts` of the others",
    }
    assert meanings.keys() == project.BUILT_IN.keys()
    rows = [(f"`{key}`", meanings[key], value) for key, value in project.BUILT_IN.items()]
    return [
        "## Project file",
        "",
        "Defaults of options can stand in `vitdeploy.toml`, or in `pyproject.toml` below `[tool.vitdeploy]`.",
        "The nearest file counts, from the working folder upwards; an option that is given wins.",
        "Paths start at the file's folder.",
        "Another key ends in exit code 9. `vitdeploy doctor` shows where each default comes from.",
        "",
        "```toml",
        'device = "orin"',
        'suite = "cityscapes"',
        'max-slowdown = "2%"',
        'weights = "official"',
        "```",
        "",
        *table_lines(("key", "default of", "without it"), rows),
    ]


def table_lines(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table."""
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *cells)]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
