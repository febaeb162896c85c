"""Help of the commands: one line each in groups, every option with its text, examples as they are typed.

A command's docstring is its help: the summary, what more there is to say, and under ``Examples:`` commands to paste.
"""

import shutil
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from typer.core import TyperCommand, TyperGroup

WIDEST = 80
"""Columns that help takes at most: longer lines are harder to read."""

NARROWEST = 40

MOST_INDENT = 28
"""Columns of an option and its value; the text of a longer one begins below it."""

COMMON = ("json", "table_format", "quiet", "verbose", "debug", "help")
"""Options of every command, which are listed apart."""

_EXAMPLES = "Examples:"


@dataclass(frozen=True, slots=True, kw_only=True)
class HelpText:
    """The parts of a command's docstring."""

    summary: str
    paragraphs: Sequence[str] = ()
    examples: Sequence[str] = ()
    """Command lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HelpRow:
    """An option or argument: how it is written, and what it means."""

    words: str
    text: str


def text_of(docstring: str | None) -> HelpText:
    """The parts of a docstring."""
    said, _, examples = textwrap.dedent(docstring or "").partition(_EXAMPLES)
    summary, *paragraphs = [" ".join(part.split()) for part in said.strip().split("\n\n") if part.strip()] or [""]
    return HelpText(
        summary=summary,
        paragraphs=paragraphs,
        examples=[line.strip() for line in examples.splitlines() if line.strip()],
    )


def row_of(parameter: Any) -> HelpRow:
    """The row of one parameter of a command."""
    text: str = (parameter.help or "").strip()
    if parameter.param_type_name == "argument":
        return HelpRow(words=parameter.metavar or parameter.name.upper(), text=text)
    names = ", ".join(sorted(parameter.opts, key=len))
    if parameter.secondary_opts:
        names += f" / {', '.join(parameter.secondary_opts)}"
    takes_value = not parameter.is_flag and not parameter.count
    words = f"{names} {parameter.metavar or 'VALUE'}" if takes_value else names
    notes = [
        *(["required"] if parameter.required else []),
        *(["can be given several times"] if parameter.multiple else []),
        *([f"default: {default}"] if takes_value and (default := _default(parameter)) else []),
    ]
    return HelpRow(words=words, text=f"{text} [{'; '.join(notes)}]" if notes else text)


def _default(parameter: Any) -> str:
    value = parameter.default
    if value is None or callable(value):
        return ""
    if parameter.metavar == "SHARE":
        return f"{100 * value:g}%"
    return f"{value:g}" if isinstance(value, float) else str(value)


def usage_of(command: Any, path: str) -> str:
    """``vitdeploy check ARTIFACT [OPTIONS]``."""
    arguments = [row_of(entry).words for entry in command.params if entry.param_type_name == "argument"]
    required = [
        f"{max(entry.opts, key=len)} {entry.metavar or 'VALUE'}"
        for entry in command.params
        if entry.param_type_name == "option" and entry.required
    ]
    last = ["COMMAND"] if getattr(command, "commands", None) else []
    return " ".join([path, *last, *arguments, *required, "[OPTIONS]"])


def rows_of(command: Any, context: Any) -> tuple[list[HelpRow], list[HelpRow], list[HelpRow]]:
    """Arguments, own options and common options of a command, in the order they are declared."""
    shown = [entry for entry in command.get_params(context) if not getattr(entry, "hidden", False)]
    arguments = [row_of(entry) for entry in shown if entry.param_type_name == "argument"]
    options = [entry for entry in shown if entry.param_type_name == "option"]
    own = [row_of(entry) for entry in options if entry.name not in COMMON]
    common = [row_of(entry) for entry in options if entry.name in COMMON]
    return arguments, own, common


class VerbCommand(TyperCommand):
    """A command whose help is made of its docstring and its options."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        arguments, own, common = rows_of(self, ctx)
        text = text_of(self.help)
        parts = [
            *_head(usage_of(self, ctx.command_path), text),
            *_section("Arguments", arguments),
            *_section("Options", own),
            *_section("Common options", common),
            *_examples(text),
        ]
        formatter.write("\n".join(parts) + "\n")

    def get_short_help_str(self, limit: int = WIDEST) -> str:
        """The summary, whole."""
        del limit
        return text_of(self.help).summary.rstrip(".")


class VerbGroup(TyperGroup):
    """A command with commands below it, which its help lists in sections."""

    sections: ClassVar[Mapping[str, Sequence[str]]] = {}
    """Title → names of commands; what is in none comes last."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the help."""
        arguments, own, common = rows_of(self, ctx)
        text = text_of(self.help)
        parts = _head(usage_of(self, ctx.command_path), text)
        placed = {name for names in self.sections.values() for name in names}
        rest = [name for name in self.commands if name not in placed]
        for title, names in {**self.sections, "Other commands" if placed else "Commands": rest}.items():
            rows = [
                HelpRow(words=name, text=self.commands[name].get_short_help_str(WIDEST))
                for name in names
                if name in self.commands
            ]
            parts += _section(title, rows, indent=max(map(len, self.commands)) + 4)
        parts += [*_section("Arguments", arguments), *_section("Options", [*own, *common]), *_examples(text)]
        formatter.write("\n".join(parts) + "\n")

    def get_short_help_str(self, limit: int = WIDEST) -> str:
        """The summary, whole."""
        del limit
        return text_of(self.help).summary.rstrip(".")


def _width() -> int:
    return max(NARROWEST, min(WIDEST, shutil.get_terminal_size().columns))


def _head(usage: str, text: HelpText) -> list[str]:
    parts = [*textwrap.wrap(f"Usage: {usage}", _width(), subsequent_indent=" " * 9, break_long_words=False), ""]
    for paragraph in (text.summary, *text.paragraphs):
        parts += [*_wrapped(paragraph, _width()), ""]
    return parts[:-1]


def _section(title: str, rows: Sequence[HelpRow], indent: int | None = None) -> list[str]:
    if not rows:
        return []
    width = _width()
    fitting = [len(row.words) + 4 for row in rows if len(row.words) + 4 <= MOST_INDENT]
    column = min(indent or max(fitting, default=MOST_INDENT), width // 2)
    parts = ["", f"{title}:"]
    for row in rows:
        lines = _wrapped(row.text, width - column)
        if len(row.words) + 4 > column:
            parts.append(f"  {row.words}")
        else:
            parts.append(f"  {row.words}".ljust(column) + (lines.pop(0) if lines else ""))
        parts += [" " * column + line for line in lines]
    return parts


def _examples(text: HelpText) -> list[str]:
    return ["", "Examples:", *(f"  {line}" for line in text.examples)] if text.examples else []


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
