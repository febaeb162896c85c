"""By turns or by whole trials: what is asked for, and what the device and the cases can do."""

from collections.abc import Sequence
from typing import get_args

from vitdeploy.api.cases import Planned
from vitdeploy.benchmarks.trial import prepared_device
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import UsageError
from vitdeploy.results import record


def obstacle(by: str | None, device: Device, cases: Sequence[Planned]) -> str | None:
    """Why the cases do not take turns; None: they do.

    Args:
        by: as requested: ``turns``, ``trials``, or None for turns wherever they can be taken.

    Raises:
        UsageError: turns were asked for, and they cannot be taken; or it is neither of the two.
    """
    if by not in (None, *get_args(record.By)):
        raise UsageError(f"--by {by!r} is not a valid value", f"Use {' or '.join(get_args(record.By))}.")
    if by == "trials":
        return "--by trials"
    words = prepared_device.no_turns(
        device,
        targets=[case.variant.target for case in cases],
        streams=max((case.streams for case in cases), default=1),
    )
    if words and by == "turns":
        raise UsageError(f"--by turns cannot be: {words}", "Use --by trials.")
    return words
