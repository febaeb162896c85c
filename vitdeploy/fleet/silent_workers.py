"""Workers of a scheduler that have fallen silent: a cut network leaves them in its list for minutes."""

import time
from collections.abc import Callable, Mapping

LEAST_SILENCE_S = 30.0
"""A worker reports several times a second, but a loaded machine may be late. Source: a choice."""


class SilentWorkers:
    """When each worker was heard of last, on the clock of this process: the clocks of hosts differ."""

    def __init__(self, limit_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit_s, self._clock = max(limit_s, LEAST_SILENCE_S), clock
        self._heard: dict[str, tuple[float, float]] = {}

    def look(self, last_seen: Mapping[str, float]) -> list[str]:
        """The workers that are silent for longer than the limit; each look names them again.

        Args:
            last_seen: address → what the scheduler says of its last report, on whatever clock.
        """
        now = self._clock()
        before, self._heard = self._heard, {}
        for address, reported in last_seen.items():
            earlier = before.get(address)
            self._heard[address] = earlier if earlier is not None and earlier[0] == reported else (reported, now)
        return [address for address, (_, heard) in self._heard.items() if now - heard > self._limit_s]

    def words(self, address: str) -> str:
        """What is said of one that is given up."""
        return f"the worker at {address} has not reported for {self._limit_s:g} s: its tasks go to others, or wait"
