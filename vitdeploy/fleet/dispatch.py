"""Task dispatch of a sweep: tasks that are out with their handlers, artifact deliveries, absent resources."""

import os
import time
from collections.abc import Callable, Mapping

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.errors import DeviceError, VitdeployError
from vitdeploy.fleet import tasks
from vitdeploy.fleet.messages import MEMORY, MissingArtifacts, PermanentError, Pool, Task, TaskResult

POLL_S = 0.25
"""Longest wait for a result before the clock is looked at."""

LOOK_EVERY_S = 2.0
"""How often the scheduler is asked who serves what."""

MOST_SHARE = 0.1
"""Looking and writing take at most this share of the time: a run of a hundred thousand trials is long to write."""

OnDelivered = Callable[[VitdeployError | None, bool], None]
"""Called when an artifact has arrived: the error, and whether another try is worth it."""


class Dispatch:
    """Tasks of one client that are out with a pool."""

    def __init__(self, pool: Pool, progress: Callable[[str], None]) -> None:
        self._pool, self._progress = pool, progress
        self._session = os.urandom(3).hex()
        self._count = 0
        self._handlers: dict[str, Callable[[TaskResult], None]] = {}
        self._sends: dict[tuple[str, str], list[OnDelivered]] = {}
        self._due: dict[str, float] = {}

    def submit(
        self,
        words: str,
        function: Callable[..., object],
        arguments: tuple[object, ...],
        handler: Callable[[TaskResult], None],
        *,
        resources: Mapping[str, float],
        priority: int = 1,
        retries: int = 0,
    ) -> None:
        """Have ``function`` called where the resources are; ``handler`` hears how it ended.

        Args:
            words: start the task's key, which `cancel` finds it by; Dask's dashboard shows them.
        """
        task = Task(
            key=self._key(words),
            function=function,
            arguments=arguments,
            resources=resources,
            priority=priority,
            retries=retries,
        )
        self._handlers[task.key] = handler
        self._pool.submit([task])

    def deliver(self, artifact: Artifact, digest: str, missing: MissingArtifacts, then: OnDelivered) -> None:
        """Have a host's store take an artifact, once whoever asks for it."""
        waiting = self._sends.setdefault((missing.host, digest), [])
        waiting.append(then)
        if len(waiting) > 1:
            return

        def sent(result: TaskResult) -> None:
            for on_delivered in self._sends.pop((missing.host, digest), []):
                on_delivered(error_of(result), result.error is not None)

        key = self._key(f"keep-{digest[:12]}")
        self._handlers[key] = sent
        self._progress(f"{artifact.manifest.model} {artifact.manifest.target} goes to {missing.host}")
        self._pool.send(key, tasks.store_artifact, lambda: tasks.pack(artifact, ""), digest, missing.worker)

    def cancel(self, *prefixes: str) -> None:
        """Do not start the tasks whose words begin so; those that run go on unheard."""
        keys = [key for key in self._handlers if key.startswith(prefixes)]
        for key in keys:
            del self._handlers[key]
        self._pool.cancel(keys)

    def hear(self) -> None:
        """Tell the handlers of all tasks that have ended; waits a moment for one.

        Raises:
            PoolLost: the scheduler is gone, and with it all that was out.
        """
        for result in self._pool.done(POLL_S):
            handler = self._handlers.pop(result.key, None)
            if handler is not None:
                handler(result)

    def now_and_then(self, what: str, every_s: float, act: Callable[[], object]) -> None:
        """Act when it is time again: not more often than every ``every_s``, nor for more than a share of the time."""
        started = time.monotonic()
        if started >= self._due.get(what, 0.0):
            act()
            took_s = time.monotonic() - started
            self._due[what] = started + max(every_s, took_s / MOST_SHARE)

    def find_again(self, lost: DeviceError, wait_s: float) -> None:
        """Wait for the pool to be there again; all that was out has to be given to it anew.

        Raises:
            DeviceError: it is not there within ``wait_s``.
        """
        self._progress(f"{lost.message}; waiting up to {wait_s:g} s for it")
        self._handlers.clear()
        self._sends.clear()
        self._pool.reopen(wait_s)
        self._progress("the scheduler is there again")

    def _key(self, words: str) -> str:
        """A task's key. It is of this client alone: what an earlier one left running is found by its file."""
        self._count += 1
        return f"{words}-{self._session}{self._count}"


class ResourceMonitor:
    """Resources of the workers, and for how long those that are needed have been absent."""

    def __init__(self, pool: Pool, wait_s: float) -> None:
        self._pool, self._wait_s = pool, wait_s
        self._seen_s: dict[str, float] = {}
        self.serving: Mapping[str, Mapping[str, float]] = {}
        """As `Pool.serving` said last."""

    def absent(self, needed: Mapping[str, float], memory_for: str) -> dict[str, DeviceError]:
        """Resources, of those that are needed now, that no worker has offered for too long, each with its error.

        Args:
            needed: resource and its amount.
            memory_for: what the memory is needed for, in words.

        Raises:
            PoolLost: the scheduler does not say.
        """
        self.serving = self._pool.serving()
        now = time.monotonic()
        before, self._seen_s = self._seen_s, {}
        for name, amount in needed.items():
            offered = any(has >= amount for has in self.serving.get(name, {}).values())
            self._seen_s[name] = now if offered else before.get(name, now)
        absent = [name for name, seen_s in self._seen_s.items() if now - seen_s > self._wait_s]
        return {name: self._error(name, needed[name], memory_for) for name in absent}

    def _error(self, name: str, amount: float, memory_for: str) -> DeviceError:
        if name != MEMORY:
            return unserved(name, self._wait_s)
        return DeviceError(
            f"no worker offered {amount:.3g} bytes of {name} for {self._wait_s:g} s, to {memory_for}",
            f'Start one with `dask worker SCHEDULER --resources "{name}={amount:.3g}"`.',
        )

    def begin_anew(self) -> None:
        """Start the waits anew: workers may have been away with the scheduler."""
        self._seen_s.clear()


def unserved(name: str, wait_s: float) -> DeviceError:
    """The error for a device that no worker serves."""
    return DeviceError(
        f"no worker served {name} for {wait_s:g} s",
        f'Start one with `dask worker SCHEDULER --resources "{name}=1"`, and go on with --resume.',
    )


def error_of(result: TaskResult) -> VitdeployError | None:
    """Why a task came to nothing; None where it did not."""
    return result.value.error if isinstance(result.value, PermanentError) else result.error
