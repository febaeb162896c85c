"""A pool of workers on dask.distributed: somebody's scheduler by its address, or a cluster of processes here.

Dask's own resources, priorities, retries and failure handling do the work; its scheduler keeps nothing, so
whoever uses this keeps files.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportMissingTypeArgument=false, reportUnknownParameterType=false
# pyright: reportUnknownLambdaType=false, reportPrivateImportUsage=false

import contextlib
import importlib.util
import logging
import os
import queue
import re
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from types import TracebackType
from typing import Any

import dask
import distributed
import psutil
from distributed import Client, Future, Nanny, Scheduler, SpecCluster, get_worker
from distributed.security import Security

from vitdeploy.errors import DeviceError, MissingPackage, UsageError, VitdeployError
from vitdeploy.fleet.messages import ArtifactFiles, PoolLost, Task, TaskResult
from vitdeploy.fleet.silent_workers import SilentWorkers
from vitdeploy.processes.device_words import one_line
from vitdeploy.processes.progress import Progress, silent

CONNECT_LIMIT_S = 15.0
"""A scheduler that does not answer within this is not there."""

CLOSE_LIMIT_S = 10.0

GATHER_LIMIT_S = 30.0
"""Results are small; a worker that died with one does not bring it at all."""

SEND_LIMIT_S = 1800.0
"""Of an artifact on its way to a worker. Source: a choice; 2.5 GB by 1.5 MB/s."""

_ADDRESS = re.compile(
    r"(?:(?:tcp|tls|ucx|wss?)://)?[^\s/:]+:\d{1,5}|(?:(?:tcp|tls|ucx|wss?)://)?\[[0-9a-fA-F:.%]+\]:\d{1,5}"
)
"""Of a scheduler: without a protocol it is TCP. Source: ``distributed.comm.addressing``."""

CONFIG = {
    # The profiler looks at all threads a hundred times a second: load beside what is timed.
    "distributed.worker.profile.enabled": False,
    # An export and its subprocess have more memory than Dask counts; what runs is never to be paused or killed for it.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    # A link that is lost shows soon.
    "distributed.comm.timeouts.connect": "10s",
}
"""What the local cluster sets; docs/fleet.md tells the same to those who start workers."""


_EndedTask = tuple[str, "Future | VitdeployError"]
"""The key of a task and its future; or the error of one that could not even be submitted."""


class _Client(Client):
    """A client whose remains do nothing: Dask's own waits half a minute for a connection that there never was."""

    def __del__(self) -> None:
        """Nothing: `DaskPool` closes what it opened."""


class DaskPool:
    """A client of a scheduler; with a cluster of its own when it has none to ask."""

    def __init__(
        self,
        address: str | None,
        cluster: SpecCluster | None = None,
        place: "tempfile.TemporaryDirectory[str] | None" = None,
        *,
        silent_s: float = CONNECT_LIMIT_S,
        progress: Progress = silent,
    ) -> None:
        self._silent, self._progress = SilentWorkers(silent_s), progress
        self._given_up: set[str] = set()
        self._address = address
        self._cluster = cluster
        self._place = place
        self._finished: queue.SimpleQueue[_EndedTask] = queue.SimpleQueue()
        self._futures: dict[str, Future] = {}
        self._bundles: dict[str, Future] = {}
        self._sending: dict[str, str] = {}
        """Key of a delivery → the digest that it carries."""
        self._client = self._connect(CONNECT_LIMIT_S)

    def __enter__(self) -> "DaskPool":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel(list(self._futures))
        orphans = self._child_processes()
        with contextlib.suppress(Exception):  # what is gone needs no goodbye
            self._client.close(timeout=CLOSE_LIMIT_S)
        if self._cluster is not None:
            with contextlib.suppress(Exception):
                self._cluster.close(timeout=CLOSE_LIMIT_S)
        for process in orphans:
            with contextlib.suppress(psutil.Error):
                process.kill()
        if self._place is not None:
            self._place.cleanup()

    @property
    def dashboard(self) -> str | None:
        """Address of Dask's own page; None where the scheduler has none."""
        link = self._client.dashboard_link if self._client.status == "running" else ""
        return link or None

    def submit(self, tasks: Sequence[Task]) -> None:
        """As `Pool.submit`."""
        for task in tasks:
            future = self._client.submit(
                task.function,
                *task.arguments,
                key=task.key,
                resources=dict(task.resources) or None,
                priority=task.priority,
                retries=task.retries,
                pure=False,
            )
            self._watch(task.key, future)

    def send(
        self, key: str, function: Callable[..., Any], bundle: Callable[[], ArtifactFiles], digest: str, to: str
    ) -> None:
        """As `Pool.send`: it goes from here to one worker, and from worker to worker from there on."""
        copy: Any = self._bundles.get(digest)
        try:
            if copy is None or copy.status != "finished":
                files = bundle()
                copy = self._limited(
                    lambda: self._client.scatter(files, workers=[to], hash=False, asynchronous=True), SEND_LIMIT_S
                )
                self._bundles[digest] = copy
            future = self._client.submit(function, copy, key=key, workers=[to], allow_other_workers=False, pure=False)
        except (OSError, TimeoutError, ValueError) as error:  # ValueError: the worker has gone meanwhile
            self._finished.put((key, DeviceError(f"the worker at {to} is gone: {error}", "Start it again.")))
            return
        self._sending[key] = digest
        self._watch(key, future)

    def done(self, timeout_s: float) -> list[TaskResult]:
        """As `Pool.done`."""
        ended = self._drain(timeout_s)
        futures = [future for _, future in ended if isinstance(future, Future)]
        if self._client.status != "running" or any(future.status in ("cancelled", "lost") for future in futures):
            raise PoolLost("the Dask scheduler is gone", "Start it again, then its workers.")
        good = [future for future in futures if future.status == "finished"]
        try:
            gathered: Any = (
                self._limited(lambda: self._client.gather(good, asynchronous=True), GATHER_LIMIT_S) if good else ()
            )
            values: dict[Any, Any] = dict(zip((future.key for future in good), gathered, strict=True))
        except Exception:  # noqa: BLE001 (a worker that died with its results: each is asked for alone)
            values = {}
        results = [self._result(key, future, values) for key, future in ended]
        for key, _ in ended:
            self._forget(key)
        return results

    def cancel(self, keys: Sequence[str]) -> None:
        """As `Pool.cancel`."""
        futures = [self._futures.pop(key) for key in keys if key in self._futures]
        if futures and self._client.status == "running":
            with contextlib.suppress(Exception):
                self._client.cancel(futures)

    def serving(self) -> Mapping[str, Mapping[str, float]]:
        """As `Pool.serving`."""
        try:
            scheduler: dict[str, Any] = self._client.scheduler_info(n_workers=-1)
        except Exception as error:
            raise PoolLost(f"the Dask scheduler is gone: {error}", "Start it again, then its workers.") from error
        resources: dict[str, dict[str, float]] = {}
        workers: dict[str, Any] = scheduler.get("workers", {})
        silent_workers = self._silent.look({address: worker["last_seen"] for address, worker in workers.items()})
        for address in set(silent_workers) - self._given_up:
            self._give_up(address)
        self._given_up = set(silent_workers)
        for worker in (worker for address, worker in workers.items() if address not in silent_workers):
            for name, amount in worker["resources"].items():
                hosts = resources.setdefault(name, {})
                hosts[worker["host"]] = max(amount, hosts.get(worker["host"], 0.0))
        return resources

    def reopen(self, timeout_s: float) -> None:
        """As `Pool.reopen`."""
        if self._cluster is not None:
            raise DeviceError("the local Dask cluster has ended", "Run the command again with --resume.")
        with contextlib.suppress(Exception):
            self._client.close(timeout=1)
        self._futures.clear()
        self._bundles.clear()
        self._sending.clear()
        self._finished = queue.SimpleQueue()
        self._client = self._connect(timeout_s)

    def tell_all(self, function: Callable[..., Any], *arguments: Any) -> None:
        """As `Pool.tell_all`."""

        def tell() -> None:
            with contextlib.suppress(Exception):
                self._client.run(function, *arguments, on_error="ignore")

        # A worker that does not answer is waited for without an end: not by us.
        thread = threading.Thread(target=tell, daemon=True)
        thread.start()
        thread.join(CLOSE_LIMIT_S)

    def _give_up(self, address: str) -> None:
        """Have the scheduler take a silent worker for gone: what it was doing is done by others."""
        self._progress(self._silent.words(address))

        # A function within a function travels by value: the scheduler need not have vitdeploy.
        def remove(dask_scheduler: Any) -> None:
            dask_scheduler.loop.add_callback(dask_scheduler.remove_worker, address, stimulus_id="vitdeploy-silent")

        with contextlib.suppress(Exception):  # a scheduler that runs no functions finds out by itself
            self._client.run_on_scheduler(remove)

    def _limited(self, act: Callable[[], Any], limit_s: float) -> Any:
        """What an asynchronous call of the client brings within a time.

        Raises:
            TimeoutError: nothing, in that time.
        """

        async def awaited() -> Any:
            return await act()

        return self._client.sync(awaited, callback_timeout=limit_s)

    def _child_processes(self) -> "list[psutil.Process]":
        """What the workers of the local cluster have started: it must not go on when they have ended."""
        processes: list[psutil.Process] = []
        for worker in self._cluster.workers.values() if self._cluster is not None else ():
            with contextlib.suppress(psutil.Error, AttributeError, TypeError):
                processes += psutil.Process(worker.pid).children(recursive=True)
        return processes

    def _connect(self, timeout_s: float) -> Client:
        if self._address is not None:
            _check_protocol(self._address)
        deadline = time.monotonic() + timeout_s
        while True:
            left_s = max(0.1, deadline - time.monotonic())
            try:
                return _Client(
                    self._cluster or self._address, timeout=min(left_s, CONNECT_LIMIT_S), set_as_default=False
                )
            except ValueError as error:
                raise UsageError(
                    f"{self._address!r} is no address of a Dask scheduler: {error}", "Write it as tcp://HOST:8786."
                ) from error
            except (OSError, TimeoutError) as error:
                if time.monotonic() >= deadline:
                    raise DeviceError(
                        f"no Dask scheduler answers at {self._address} within {timeout_s:g} s",
                        "Start one with `dask scheduler`, and name its address with --scheduler.",
                    ) from error
                time.sleep(min(0.5, left_s))
            except Exception as error:  # another version answers in its own way, with any error there is
                raise DeviceError(
                    f"the Dask scheduler at {self._address} does not work with this client (distributed "
                    f"{distributed.__version__}): {type(error).__name__}: {one_line(str(error))}",
                    f"Install the same version there: `pip install distributed=={distributed.__version__}`.",
                ) from error

    def _watch(self, key: str, future: Future) -> None:
        self._futures[key] = future
        box = self._finished
        future.add_done_callback(lambda ended: box.put((key, ended)))

    def _drain(self, timeout_s: float) -> "list[_EndedTask]":
        ended: list[_EndedTask] = []
        with contextlib.suppress(queue.Empty):
            ended.append(self._finished.get(timeout=timeout_s))
            while True:
                ended.append(self._finished.get_nowait())
        # What was cancelled or replaced meanwhile is nobody's any more.
        return [(key, end) for key, end in ended if isinstance(end, VitdeployError) or self._futures.get(key) is end]

    @staticmethod
    def _result(key: str, future: Future | VitdeployError, values: Mapping[Any, Any]) -> TaskResult:
        if isinstance(future, VitdeployError):
            return TaskResult(key=key, error=future)
        if future.status == "finished" and future.key in values:
            return TaskResult(key=key, value=values[future.key])
        try:
            return TaskResult(key=key, value=future.result(timeout=CONNECT_LIMIT_S))
        except VitdeployError as error:
            return TaskResult(key=key, error=error)
        except Exception as error:  # noqa: BLE001 (whatever a task or Dask raises is this task's end, not ours)
            return TaskResult(key=key, error=_as_device_error(error))

    def _forget(self, key: str) -> None:
        self._futures.pop(key, None)
        digest = self._sending.pop(key, None)
        if digest is not None and digest not in self._sending.values():
            self._bundles.pop(digest, None)


def address() -> str:
    """Of the worker that runs this call."""
    return str(get_worker().address)


def open_pool(
    address: str | None,
    resources: Sequence[Mapping[str, float]],
    *,
    verbose: bool = False,
    silent_s: float = 60.0,
    progress: Progress = silent,
) -> DaskPool:
    """The workers behind the scheduler at ``address``; None: one process here for each of ``resources``.

    Args:
        silent_s: a worker that has not reported for so long is given up.
        progress: is told of those.

    Raises:
        UsageError: the address is none, or names a protocol that is not configured here.
        MissingPackage: its protocol needs a package that is not here.
        DeviceError: no scheduler answers there, or one that this client does not work with.
    """
    if not verbose:
        logging.getLogger("distributed").setLevel(logging.CRITICAL)
    dask.config.set(CONFIG)
    if address is not None:
        if not _ADDRESS.fullmatch(address):  # Dask says so as well, and then waits half a minute
            raise UsageError(f"{address!r} is no address of a Dask scheduler", "Write it as tcp://HOST:8786.")
        return DaskPool(address, silent_s=silent_s, progress=progress)
    place = tempfile.TemporaryDirectory(prefix="vitdeploy-dask-", ignore_cleanup_errors=True)
    cluster = _local(resources, place.name, verbose=verbose)
    return DaskPool(None, cluster, place, silent_s=silent_s, progress=progress)


def _local(resources: Sequence[Mapping[str, float]], folder: str, *, verbose: bool) -> SpecCluster:
    """A scheduler in this process, and one worker process for each of ``resources``; the system chooses all ports."""
    silence: Any = logging.INFO if verbose else logging.CRITICAL
    with _environment({} if verbose else {"DASK_DISTRIBUTED__LOGGING__DISTRIBUTED": "critical"}):
        return SpecCluster(
            scheduler={
                "cls": Scheduler,
                "options": {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0"},
            },
            workers={
                place: {
                    "cls": Nanny,
                    "options": {
                        "host": "127.0.0.1",
                        "nthreads": 1,
                        "resources": dict(amounts),
                        "local_directory": folder,
                        "memory_limit": 0,
                        "dashboard_address": None,
                        "silence_logs": silence,
                        "config": CONFIG,
                    },
                }
                for place, amounts in enumerate(resources)
            },
            silence_logs=silence,
        )


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Generator[None]:
    """Environment variables for the processes that start inside; afterwards they are as before."""
    before = {name: os.environ[name] for name in variables if name in os.environ}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name, None)
        os.environ.update(before)


def _check_protocol(address: str) -> None:
    """Refuse a protocol that cannot work here, before Dask tries it for half a minute.

    Raises:
        UsageError: it needs certificates, and none are configured.
        MissingPackage: it needs a package that is not here.
    """
    protocol = address.partition("://")[0] if "://" in address else "tcp"
    if protocol in ("tls", "wss") and Security().get_connection_args("client")["ssl_context"] is None:
        raise UsageError(
            f"{address} needs certificates, and Dask's configuration names none",
            "Set distributed.comm.tls.ca-file, .client.cert and .client.key in ~/.config/dask, or use tcp://.",
        )
    if protocol == "ucx" and importlib.util.find_spec("distributed_ucxx") is None:
        raise MissingPackage(
            f"{address} needs the package distributed-ucxx, which is not here",
            "Run `pip install distributed-ucxx-cu12`, or use a tcp:// address.",
        )


def _as_device_error(error: Exception) -> VitdeployError:
    """The end of a task that Dask, or a bug, brought about."""
    name = type(error).__name__
    if name == "KilledWorker":
        return DeviceError(
            "every worker that ran it died", "Look for the cause in the worker's log, and for the out-of-memory killer."
        )
    return DeviceError(f"{name}: {' '.join(str(error).split())[:300]}", "Look at the worker's log.")
