"""A report as JUnit XML: a test case a row, a failure where it is slower, wrong or cannot be quoted.

Source: the schema of the Jenkins xUnit plugin, junit-10.xsd (elements, attributes and their order).
"""

import re
from xml.etree import ElementTree as ET

from vitdeploy.catalog import registry
from vitdeploy.reports import shown_text
from vitdeploy.reports.report import Report, ReportRow

SUFFIX = ".xml"

_NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Source: the Char production of XML 1.0."""


def render(report: Report) -> bytes:
    """The report as one ``testsuites`` document; times are medians in seconds."""
    report = shown_text.cleaned(report)
    root = ET.Element("testsuites", name="vitdeploy")
    by_run: dict[str, list[ReportRow]] = {}
    for row in report.rows:
        by_run.setdefault(row.run_id, []).append(row)
    for run_id, rows in by_run.items():
        cases = [_case(row) for row in rows]
        suite = ET.SubElement(
            root,
            "testsuite",
            name=_text(run_id),
            tests=str(len(cases)),
            failures=str(sum(case.find("failure") is not None for case in cases)),
            errors=str(sum(case.find("error") is not None for case in cases)),
            skipped="0",
            time=f"{sum(float(case.get('time') or 0) for case in cases):.6f}",
        )
        suite.extend(cases)
    ET.indent(root)
    return ET.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _case(row: ReportRow) -> ET.Element:
    summary = row.result.summary if row.quotable else None
    seconds = f"{summary.median_ms / 1e3:.6f}" if summary else "0"
    case = ET.Element("testcase", name=_text(row.label), classname=_text(row.result.case.model), time=seconds)
    reasons = "\n".join(f"{reason.code}: {reason.message}. {reason.hint}" for reason in row.result.reasons)
    if row.result.status == "failed":
        _child(case, "error", "could not be measured", reasons)
    elif row.result.status == "invalid":
        _child(case, "failure", "has no figure to quote", reasons)
    elif row.change is not None and row.change.verdict == "slower":
        _child(case, "failure", "slower", row.change.reason)
    lines = [] if row.change is None else [f"{row.change.verdict}: {row.change.reason}"]
    lines += registry.notes([row.result.case.model])
    if lines or (reasons and row.quotable):
        output = ET.SubElement(case, "system-out")
        output.text = _text("\n".join([*lines, *([reasons] if row.quotable and reasons else [])]))
    return case


def _child(case: ET.Element, kind: str, message: str, text: str) -> None:
    child = ET.SubElement(case, kind, message=_text(message), type=kind)
    child.text = _text(text)


def _text(value: str) -> str:
    """``value`` without what XML cannot hold."""
    return _NOT_IN_XML.sub("�", shown_text.lines(value))
