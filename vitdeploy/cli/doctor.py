"""`doctor`: what makes exports fail or measurements unreliable on a device."""

from typing import TYPE_CHECKING

from vitdeploy.cli import outcome_errors
from vitdeploy.cli.console import CommandOutput, Table
from vitdeploy.cli.options import Device

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vitdeploy.devices.findings import Finding


def doctor_command(device: Device = None) -> CommandOutput:
    """Check what would fail an export or spoil a measurement.

    It looks at packages, tools, versions, clocks, power mode, temperature, disk space and the link to a device.

    Examples:
        vitdeploy doctor
        vitdeploy doctor --device orin
    """
    from vitdeploy.api import doctor

    return doctor_output(doctor.doctor(device), device)


def doctor_output(findings: "Sequence[Finding]", device: str | None = None) -> CommandOutput:
    """What was looked at, and what to do about it."""
    rows = [
        ("PROBLEM" if finding.state == "problem" else finding.state, finding.what, finding.found, finding.advice)
        for finding in findings
    ]
    table = Table(heads=("", "looked at", "found", "advice"), rows=rows)
    exit_code = max((finding.exit_code for finding in findings), default=0)
    next_command = ("bench", "--suite", "demo", *(("--device", device) if device else ()))
    failures = outcome_errors.of_findings(findings, exit_code)
    return CommandOutput(
        document=findings, human=[table], exit_code=exit_code, failures=failures, next_command=next_command
    )
