"""A self-test as a page, and as a Markdown block for an issue; both say what the document says and nothing else."""

import re
from collections.abc import Mapping
from typing import Any, cast

from vitdeploy.reports import shown_text
from vitdeploy.reports.pages import page as pages
from vitdeploy.reports.pages.study_page import PageTable, Panel
from vitdeploy.results.selftest import CheckResult, SelfTest

PRIVACY = "Host name, user name, address and serial number were taken out."

_MARKUP = re.compile(r"([\\`*_\[\]<>#|~@])")


def page(document: SelfTest) -> bytes:
    """The page; every text in it is escaped, and nothing is fetched."""
    document = shown_text.cleaned(document)
    rows = tuple(
        (check.name, check.state, _said(check), check.proves, _seconds(check.seconds)) for check in document.checks
    )
    table = PageTable(heads=("check", "state", "seen", "proves", "took"), rows=rows, texts=(0, 1, 2, 3))
    figures = tuple(
        (check.name, name.replace("_", " "), f"{value:.4g}")
        for check in document.checks
        for name, value in check.figures.items()
    )
    measured = PageTable(heads=("check", "figure", "value"), rows=figures, texts=(0, 1)) if figures else None
    return pages.render(
        "study.html.j2",
        styles=("page.css", "study.css"),
        scripts=(),
        data={},
        title=f"Self-test of {document.machine}",
        lead=[f"{document.words}."],
        notes=[*([document.remark] if document.remark else []), PRIVACY],
        panels=[
            Panel(id="checks", title="Checks", words=(), table=table),
            Panel(id="figures", title="Figures", words=(), table=measured),
        ],
        facts=[("started", document.started_utc), *_origin(document), *_facts(document)],
    )


def block(document: SelfTest) -> str:
    """Markdown to paste into an issue."""
    document = shown_text.cleaned(document)
    lines = [
        f"### Self-test of {_plain(document.machine)}: {document.words}",
        "",
        *([f"{_plain(document.remark)}", ""] if document.remark else []),
        "; ".join(
            f"{name}: {_plain(value)}" for name, value in (("started", document.started_utc), *_origin(document))
        ),
        "",
        "| check | state | seen |",
        "| --- | --- | --- |",
        *(f"| {_plain(check.name)} | {_state(check)} | {_plain(_said(check))} |" for check in document.checks),
        "",
        "<details><summary>Device facts</summary>",
        "",
        *(f"- {_plain(name)}: {_plain(value)}" for name, value in _facts(document)),
        "",
        "</details>",
        "",
        PRIVACY,
    ]
    return "\n".join(lines) + "\n"


def _origin(document: SelfTest) -> list[tuple[str, str]]:
    version = document.vitdeploy
    commit = f", commit {version.commit[:12]}{' with changes' if version.dirty else ''}" if version.commit else ""
    height, width = document.size
    return [
        ("vitdeploy", f"{version.version}{commit}"),
        ("link", document.link),
        ("model", f"{document.model} {height}x{width}, {', '.join(document.targets) or 'no target'}"),
        ("took", _seconds(document.seconds)),
    ]


def _facts(document: SelfTest) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), _value(value)) for name, value in document.facts.items()]


def _value(value: Any) -> str:
    """A fact; of packages each with its version."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {entry}" for key, entry in cast("Mapping[str, Any]", value).items())
    return str(value)


def _said(check: CheckResult) -> str:
    return f"{check.seen} ({check.hint})" if check.hint else check.seen


def _state(check: CheckResult) -> str:
    return "**FAILED**" if check.state == "failed" else check.state


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 1 else f"{value:.1f} s"


def _plain(text: str) -> str:
    """Text that Markdown shows as it stands: a name in it begins no link, no mention and no cell."""
    return _MARKUP.sub(r"\\\1", text)
