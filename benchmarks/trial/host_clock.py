"""Dates of runs and trials where this machine's clock steps meanwhile: nothing is dated in the future.

Latencies are taken from monotonic clocks and do not change. A date that readers refuse would lose what was measured.
"""

import time
from datetime import datetime, timedelta, timezone

from vitdeploy.results import consistency

_ELAPSED = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Goes on while the machine sleeps, where the system has such a clock."""


class HostClock:
    """This machine's clock, beside one that does not step."""

    def __init__(self) -> None:
        self._began_utc, self._began_s = datetime.now(timezone.utc), time.clock_gettime(_ELAPSED)

    def now(self) -> datetime:
        """The clock's moment, or the one that is expected since the process began: the earlier one that can be true."""
        passed = timedelta(seconds=time.clock_gettime(_ELAPSED) - self._began_s)
        moments = (datetime.now(timezone.utc), self._began_utc + passed)
        return min((moment for moment in moments if moment >= consistency.EARLIEST), default=moments[0])

    def credible(self, text: str) -> str:
        """A date as it stands; where it cannot be true or is ahead of `now`, now."""
        now = self.now()
        why = consistency.moment_fault(text)
        if why is None and consistency.moment(text) <= now + consistency.AHEAD:
            return text
        return now.isoformat(timespec="milliseconds")


HOST = HostClock()
"""Of this process."""
