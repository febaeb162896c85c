"""What a module `probe_*` offers: the state of the machine that computes, now."""

from typing import Protocol


class Probe(Protocol):
    """What a module ``probe_*`` offers; None: not visible on this machine."""

    def clock_hz(self) -> int | None:
        """Clock of what computes, now."""
        ...

    def temperature_c(self) -> float | None:
        """The hottest sensor."""
        ...

    def headroom_c(self) -> float | None:
        """How far the machine is below the nearest temperature at which it slows itself down."""
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
