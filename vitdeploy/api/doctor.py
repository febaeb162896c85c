"""`doctor`: tools, versions, clocks, heat, space and link of a device."""

import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import ClassVar

from vitdeploy._version import __version__
from vitdeploy.api import project
from vitdeploy.api.project import Project
from vitdeploy.artifacts import store
from vitdeploy.catalog import packages
from vitdeploy.catalog.shown import Rows
from vitdeploy.devices import device_facts, findings, inventory
from vitdeploy.devices.findings import Finding
from vitdeploy.errors import VitdeployError

TOOL_LIMIT_S = 10.0
"""A tool that does not say its version within it is shown without one."""

IMPORTS_S = 2.0
"""So long the doctor waits for imports that were not tested before. Source: a choice; TensorFlow's alone takes 8 s."""


class Findings(Rows[Finding]):
    """What was looked at."""

    __slots__ = ()

    shown_by: ClassVar = "vitdeploy.cli.doctor:doctor_output"

    @property
    def problems(self) -> tuple[Finding, ...]:
        """Those that stop or spoil something."""
        return tuple(finding for finding in self if finding.state == "problem")


def doctor(device: str | None = None) -> list[Finding]:
    """What would spoil a number or stop an export, on a device: the project file's, else this machine."""
    device = device or project.load().text_of("device") or project.BUILT_IN["device"]
    entry = inventory.find(device)
    if entry.link != "local":
        try:
            facts = device_facts.facts_of(entry)
        except VitdeployError as error:
            return [*_defaults(), _device_file(device), findings.unreachable_finding(device, error)]
        return [*_defaults(), _device_file(device), *findings.of_device(entry, facts)]
    needed = sorted(packages.EXTRAS)
    with ThreadPoolExecutor(max_workers=1) as pool:  # the imports are processes: the rest is looked at meanwhile
        imports = pool.submit(packages.tried, needed, within_s=IMPORTS_S)
        machine = [
            Finding("vitdeploy", f"{__version__} at {packages.PACKAGE}"),
            *_defaults(),
            *findings.computer_findings(device_facts.facts_of(entry)),
            findings.space_finding(store.default_root()),
        ]
        versions, tools = packages.versions(needed), findings.tool_findings(_tool_versions())
    return [*machine, *findings.package_findings(imports.result(), versions, needed), *tools]


def _defaults() -> list[Finding]:
    """The defaults of options, and where each comes from."""
    found = project.load()
    where = "none" if found.path is None else str(found.path)
    advice = f"defaults can stand in {project.OWN_FILE}, or in {project.SHARED_FILE} below [tool.vitdeploy]"
    return [
        Finding("project file", where, advice=advice if found.path is None else ""),
        *(
            Finding(f"default {key}", f"{found.values.get(key, value)}, {_origin(found, key)}")
            for key, value in project.BUILT_IN.items()
        ),
    ]


def _origin(found: Project, key: str) -> str:
    return f"from {found.path}" if key in found.values else "built in"


def _tool_versions() -> dict[str, str]:
    """The first line that each command-line tool says of its version; a tool that says none is left out."""
    said: dict[str, str] = {}
    for tool, option in findings.VERSION_OPTION.items():
        try:
            reply = subprocess.run(
                [tool, option], capture_output=True, text=True, timeout=TOOL_LIMIT_S, check=False, errors="replace"
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        said[tool] = next(iter((reply.stdout + reply.stderr).strip().splitlines()), "")
    return said


def _device_file(device: str) -> Finding:
    """Which files describe a device."""
    loaded = inventory.load()
    file = loaded.files.get(device)
    merged = [notice.removeprefix(f"device {device}: ") for notice in loaded.notices_of(device)]
    return Finding("device file", "; ".join(merged) or (str(file) if file else "none"))
