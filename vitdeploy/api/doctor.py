"""`doctor`: tools, versions, clocks, heat, space and link of a device."""

from vitdeploy.devices import findings
from vitdeploy.devices.findings import Finding
from vitdeploy.errors import VitdeployError


def doctor(device: str = "local") -> list[Finding]:
    """What would spoil a number or stop an export."""
    from vitdeploy.artifacts import store
    from vitdeploy.catalog import packages
    from vitdeploy.devices import device_facts, inventory

    found = inventory.find(device)
    if found.link != "local":
        try:
            facts = device_facts.facts_of(found)
        except VitdeployError as error:
            return [findings.unreachable_finding(device, error)]
        if found.link == "adb":
            return findings.phone_findings(facts)
        address = f"{found.user}@{found.host}" if found.user else found.host
        return findings.ssh_findings(facts, address=address, targets=found.targets, trtexec=found.trtexec)
    needed = sorted(packages.EXTRAS)
    return [
        *findings.computer_findings(device_facts.facts_of(found)),
        findings.space_finding(store.default_root()),
        *findings.package_findings(packages.missing(needed), needed),
        *findings.tool_findings(),
    ]
