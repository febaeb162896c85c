"""Cool-down before a trial: a hot one would slow itself down in the middle of it.

Standard library only: the worker carries it.
"""

import time
from collections.abc import Callable

from vitdeploy.devices.probe import Thermometer
from vitdeploy.errors import DeviceError

HEADROOM_C = 15.0
"""A trial starts only this far below where the machine slows itself down. Source: a choice, about what a second of work
on all cores adds to the temperature of a small machine.
"""

WAIT_S = 300.0
"""A machine that is not cool by then is too hot. Source: as for phones, `phone_state.COOL_WAIT_S`."""

POLL_S = 2.0


def wait_until_cool(
    probe: Thermometer,
    *,
    below_c: float | None,
    wait_s: float = WAIT_S,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, str]:
    """Return when the machine is cool enough to be timed, with what is to be written down of it.

    Args:
        below_c: the limit of the device's file; None: the machine's own limits decide.

    Raises:
        DeviceError: it is still too hot after ``wait_s``.
    """
    began = clock()
    while True:
        temperature, headroom = probe.temperature_c(), probe.headroom_c()
        if below_c is not None and temperature is not None:
            cool, limit = temperature < below_c, f"{below_c:g} °C by its device file"
        elif headroom is not None:
            cool, limit = headroom >= HEADROOM_C, f"{HEADROOM_C:g} °C below where it slows itself down"
        else:
            return {"cooling": "not visible"}
        waited = clock() - began
        if cool:
            return {"cooling": f"{waited:.0f} s" if waited >= 1 else "none needed"}
        if waited >= wait_s:
            shown = "no temperature" if temperature is None else f"{temperature:.1f} °C"
            raise DeviceError(
                f"the machine is too hot: {shown} after {wait_s:g} s of waiting, the limit is {limit}",
                "Let it cool down, or set cool_c in its device file.",
            )
        sleep(POLL_S)
