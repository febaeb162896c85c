"""`doctor`: tools, versions, clocks, heat, space and link of a device."""

from vitdeploy.artifacts import store
from vitdeploy.catalog import packages
from vitdeploy.devices import device_facts, findings, inventory
from vitdeploy.devices.findings import Finding
from vitdeploy.errors import VitdeployError


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
        *findings.computer_findings(device_facts.facts_of(entry)),
        findings.space_finding(store.default_root()),
        *findings.package_findings(packages.missing(needed), needed),
        *findings.tool_findings(),
    ]
