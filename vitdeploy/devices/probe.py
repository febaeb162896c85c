"""Probe: the protocol of the modules `probe_*`, which read the state of the machine that computes."""

from pathlib import Path
from typing import Protocol


def modules() -> list[str]:
    """Names of all probes, of which a job names one."""
    return [f"{__package__}.{path.stem}" for path in sorted(Path(__file__).parent.glob("probe_*.py"))]


class Thermometer(Protocol):
    """What a wait for a cool machine reads; None: not visible on this machine."""

    def temperature_c(self) -> float | None:
        """The hottest sensor."""
        ...

    def headroom_c(self) -> float | None:
        """How far the machine is below the nearest temperature at which it slows itself down."""
        ...


class Probe(Thermometer, Protocol):
    """What a module ``probe_*`` offers; None: not visible on this machine."""

    def clock_hz(self) -> int | None:
        """Clock of what computes, now."""
        ...

    def power_mw(self) -> int | None:
        """What the machine draws now."""
        ...

    def throttle_count(self) -> int | None:
        """A counter that grows when the machine slows itself down."""
        ...

    def busy_ns(self) -> int | None:
        """CPU time of everything on the machine since boot."""
        ...

    def foreign_cores(
        self, busy_before_ns: int | None, busy_after_ns: int | None, own_ns: int, wall_ns: int
    ) -> float | None:
        """Cores that other processes took on average."""
        ...

    def peak_memory_bytes(self) -> int:
        """Largest resident size of this process since `forget_peak`."""
        ...

    def forget_peak(self) -> bool:
        """Start the peak anew, where that can be done."""
        ...
