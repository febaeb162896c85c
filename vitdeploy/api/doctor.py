"""`doctor`: tools, versions, clocks, heat, space and link of a device."""

import subprocess

from vitdeploy._version import __version__
from vitdeploy.artifacts import store
from vitdeploy.catalog import packages
from vitdeploy.devices import device_facts, findings, inventory
from vitdeploy.devices.findings import Finding
from vitdeploy.errors import VitdeployError

TOOL_LIMIT_S = 10.0
"""A tool that does not say its version within it is shown without one."""


def doctor(device: str = "local") -> list[Finding]:
    """What would spoil a number or stop an export."""
    entry = inventory.find(device)
    if entry.link != "local":
        try:
            facts = device_facts.facts_of(entry)
        except VitdeployError as error:
            return [findings.unreachable_finding(device, error)]
        if entry.link == "adb":
            return findings.phone_findings(facts)
        address = f"{entry.user}@{entry.host}" if entry.user else entry.host
        return findings.ssh_findings(facts, address=address, targets=entry.targets, trtexec=entry.trtexec)
    needed = sorted(packages.EXTRAS)
    return [
        Finding("vitdeploy", f"{__version__} at {packages.PACKAGE}"),
        *findings.computer_findings(device_facts.facts_of(entry)),
        findings.space_finding(store.default_root()),
        *findings.package_findings(packages.missing(needed), packages.versions(needed), needed),
        *findings.tool_findings(_tool_versions()),
    ]


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
