"""Turns: a driver on the device hands short turns to loaded sides, so that both see the same neighbors.

    python -m vitdeploy.benchmarks.trial.turns < job.json

One job in (JSON on stdin), one reply out: for each side its trial or its error. The sides, two or more, are fresh
processes, loaded one after the other; then each has a turn, in an order that is drawn anew, and each again in the
opposite order, and so on. A scheduler leaves each where it was loaded, so all of them begin on the same core, and
memory is held beside them (`ballast`). The link to the device is not used between turns. Standard library and numpy
only: this file runs on devices.

Source: duet benchmarking, Bulej et al., ICPE 2020, arXiv:2001.05811: what disturbs both sides alike cancels.
"""

import contextlib
import importlib
import json
import math
import random
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from vitdeploy.benchmarks.trial import ballast, turn_worker
from vitdeploy.devices import disturbance
from vitdeploy.devices.probe import Probe
from vitdeploy.devices.system_files import text_of
from vitdeploy.errors import MissingPackage, ToolchainFailed
from vitdeploy.processes import child_process

LARGEST_SHARE = 0.2
"""Of the time that turns take, a yardstick has at most this share. Source: issue "Shared machines"."""

LARGEST_LINE = 2**28
"""Characters of a worker's answer: a million samples are 10 MB."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnsJob:
    """The driver's job."""

    sides: Sequence[Mapping[str, Any]]
    """A `worker.TrialJob` each, as plain JSON."""
    probe: str
    turn_ns: int
    """How long a turn is sampled, its first inference not counted; a fast side's turns may be longer."""
    min_time_ns: int
    """Sampling time of each side."""
    min_count: int
    """Samples of each side, at least."""
    seed: int
    """Of the turns' order."""
    yardstick_turn_ns: int | None = None
    """The last side is a yardstick: it is sampled so long a turn, and has as many turns as the others need. None: it
    is not."""

    @property
    def yardstick(self) -> int | None:
        """Its place among the sides: its own time and samples need not be reached."""
        return None if self.yardstick_turn_ns is None else len(self.sides) - 1


class _SideFailed(Exception):
    """A side met an error; the others are ended."""

    def __init__(self, place: int, error: Mapping[str, str], *, killed: bool = False) -> None:
        super().__init__(place)
        self.place, self.error, self.killed = place, error, killed


@dataclass(slots=True, kw_only=True)
class Taken:
    """What a side has done so far."""

    turns: int = 0
    samples: int = 0
    wall_ns: int = 0


class _Side:
    """One turn worker."""

    def __init__(self, place: int, job: Mapping[str, Any], *, stops: bool) -> None:
        """Start it; ``stops``: its process is stopped whenever it is not asked, and its threads spin as usual."""
        self._place, self._stops = place, stops
        self._process = subprocess.Popen(
            [sys.executable, "-m", turn_worker.__name__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._send(json.dumps({"side": job, "rests": not stops}))

    @property
    def process_id(self) -> int:
        """Of the worker."""
        return self._process.pid

    def ask(self, command: str) -> Any:
        """The worker's reply to a command.

        Raises:
            _SideFailed: it answered with an error, or ended.
        """
        if self._stops:
            self._process.send_signal(signal.SIGCONT)
        answer = self._answer(command)
        if self._stops:
            self._process.send_signal(signal.SIGSTOP)
        return answer

    def _answer(self, command: str) -> Any:
        self._send(command)
        assert self._process.stdout is not None
        line = self._process.stdout.readline(LARGEST_LINE)
        if not line.endswith("\n"):
            code = self._process.wait()
            cause = f"exit code {code}" if code >= 0 else f"signal {-code}"
            raise _SideFailed(
                self._place,
                child_process.described(
                    ToolchainFailed(
                        f"the turn worker of side {self._place + 1} ended without a reply ({cause})",
                        "Read the worker's log beside the run file; memory may have run out: use --by trials.",
                    )
                ),
                killed=code == -signal.SIGKILL,
            )
        answer = json.loads(line)
        if "error" in answer:
            raise _SideFailed(self._place, answer["error"])
        return answer["reply"]

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # its answer, or the lack of one, says why
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()


def run_job(job: TurnsJob) -> dict[str, Any]:
    """Load all sides, hand out turns until each has its time and its samples; returns each side's trial or error.

    The reply has ``sides``, each ``{"trial": …}``, ``{"error": …}`` or ``{}`` where another side's error ended it;
    ``does_not_fit`` says that memory is too small for all sides at once, and then nothing was timed.
    """
    generator = random.Random(job.seed)  # noqa: S311 (an order, not a secret)
    outcomes: list[dict[str, Any]] = [{} for _ in job.sides]
    sides: dict[int, _Side] = {}
    largest_bytes = 0
    cores: list[int] = []
    held = ballast.hold(ballast.needed_bytes(job.sides), _available_bytes())
    try:
        for place in _load_order(job):
            lacking = _lacking_memory(job.sides[place], largest_bytes) if sides else None
            if lacking:
                return {"sides": outcomes, "does_not_fit": lacking}
            sides[place] = _Side(place, job.sides[place], stops=job.yardstick_turn_ns is not None)
            loaded = sides[place].ask(turn_worker.LOAD)
            largest_bytes = max(largest_bytes, loaded["peak_bytes"])
            if loaded["core"] is not None and loaded["core"] not in cores:
                cores.append(loaded["core"])
            if job.yardstick_turn_ns is not None and place == job.yardstick:
                beside_ns = turn_beside_ns(job.yardstick_turn_ns, loaded["inference_ns"])
                job = replace(job, turn_ns=max(job.turn_ns, beside_ns))
        for place, trial in _take_turns(job, sides, cores, generator).items():
            outcomes[place] = {"trial": trial}
    except _SideFailed as failed:
        if failed.killed and len(sides) > 1:  # alone it may run
            words = f"a process was killed, as for want of memory: {failed.error['message']}"
            return {"sides": outcomes, "does_not_fit": words}
        outcomes[failed.place] = {"error": failed.error}
    finally:
        for side in sides.values():
            side.end()
        if held is not None:
            held.close()
    return {"sides": outcomes, "does_not_fit": None}


def _take_turns(
    job: TurnsJob, sides: Mapping[int, _Side], cores: Sequence[int], generator: random.Random
) -> dict[int, dict[str, Any]]:
    """Place → trial; the turns of one order and its mirror image begin on the same of the cores."""
    try:
        probe = cast("Probe", importlib.import_module(job.probe))
    except ImportError as error:
        raise MissingPackage(f"the probe {job.probe} cannot be imported: {error}", "Install it there.") from error
    workers = frozenset(side.process_id for side in sides.values())
    counters = disturbance.read_counters(workers)
    began_ns, own_ns, busy_ns = time.perf_counter_ns(), time.process_time_ns(), probe.busy_ns()
    places = sorted(sides)
    turns: dict[int, list[int]] = {place: [] for place in places}
    taken = {place: Taken() for place in places}
    lengths_ns = dict.fromkeys(places, job.turn_ns)
    count, core = 0, ""
    while any(_turns_needed(job, taken[place]) for place in taken if place != job.yardstick) or count % (
        2 * len(places)
    ):
        if count % (2 * len(places)) == 0:
            generator.shuffle(places)
            lengths_ns = turn_lengths_ns(job, taken)
            core = f" {cores[count // (2 * len(places)) % len(cores)]}" if cores else ""
        else:
            places.reverse()  # every order is followed by its mirror image: a steady drift cancels
        for place in places:
            progress = sides[place].ask(f"{turn_worker.TURN} {lengths_ns[place]}{core}")
            turns[place].append(count)
            count += 1
            taken[place] = Taken(turns=len(turns[place]), **progress)
    ended = {place: side.ask(turn_worker.END) for place, side in sides.items()}
    wall_ns = time.perf_counter_ns() - began_ns
    own_ns = time.process_time_ns() - own_ns + sum(reply["own_ns"] for reply in ended.values())
    foreign = probe.foreign_cores(busy_ns, probe.busy_ns(), own_ns, wall_ns)
    disturbed = disturbance.facts_between(counters, disturbance.read_counters(workers))
    trials: dict[int, dict[str, Any]] = {}
    for place, reply in ended.items():
        trial = reply["trial"]
        trial["turns"]["places"] = turns[place]
        trial["facts"].pop("busiest_other", None)  # it may be the other side
        trial["facts"] |= {name: value for name, value in disturbed.items() if name == "busiest_other"}
        trial["facts"]["turn_cores"] = " and ".join(map(str, sorted(cores))) or "not visible"
        trial["facts"]["foreign_cores"] = "not visible" if foreign is None else f"{foreign:.3f}"
        holders = trial["facts"].get("foreign_gpu_processes", "")
        if holders.isdigit():  # the other sides are ours
            trial["facts"]["foreign_gpu_processes"] = str(max(0, int(holders) - len(sides) + 1))
        trials[place] = trial
    return trials


def turn_lengths_ns(job: TurnsJob, taken: Mapping[int, Taken]) -> dict[int, int]:
    """How long the next turns of each side are: a fast side's fill its time in the turns that the slowest needs.

    All sides have the same number of turns. Where one inference takes longer than a turn, few turns are enough for that
    side; with turns of one length it would go on until the fast ones have their time.
    """
    counted = {place: side for place, side in taken.items() if place != job.yardstick}
    lengths_ns = dict.fromkeys(counted, job.turn_ns)
    if job.yardstick is not None and job.yardstick_turn_ns is not None:
        lengths_ns[job.yardstick] = job.yardstick_turn_ns
    if not all(side.turns for side in counted.values()):
        return lengths_ns
    fewest = max(2, min(_turns_needed(job, side) for side in counted.values()))  # an order and its mirror image
    for place, side in counted.items():
        lengths_ns[place] = max(job.turn_ns, math.ceil((job.min_time_ns - side.wall_ns) / fewest))
    return lengths_ns


def turn_beside_ns(yardstick_turn_ns: int, inference_ns: int) -> int:
    """The length of a case's turn that leaves a yardstick at most `LARGEST_SHARE` of the time."""
    fewest = 1 + turn_worker.FEWEST_A_TURN
    yardstick_ns = max(yardstick_turn_ns + inference_ns, fewest * inference_ns)
    return round(yardstick_ns * (1 / LARGEST_SHARE - 1))


def _turns_needed(job: TurnsJob, taken: Taken) -> int:
    """How many more turns such as those so far a side needs for its time and its samples."""
    if not taken.turns:
        return 1
    time_turns = (job.min_time_ns - taken.wall_ns) * taken.turns / taken.wall_ns
    count_turns = (job.min_count - taken.samples) * taken.turns / taken.samples
    return max(0, math.ceil(time_turns), math.ceil(count_turns))


def _load_order(job: TurnsJob) -> list[int]:
    """The protocol's order, which is balanced over the pairs of a duel, but those with far more arithmetic first.

    What these take tells whether the others still fit. A yardstick is before all: it is stopped while a case loads,
    which finds the machine as without one.
    """
    sides = job.sides
    order = list(range(len(sides)))
    if job.yardstick_turn_ns is not None:
        return order[::-1]
    return sorted(order, key=lambda place: -round(math.log2(sides[place]["manifest"].get("macs") or 1)))


def _lacking_memory(side: Mapping[str, Any], largest_bytes: int) -> str | None:
    """Why a side does not fit beside those that are loaded; None: it does, or it cannot be told.

    Args:
        largest_bytes: what the largest of the loaded sides took; the next may take as much. Of a GPU it is the GPU's
            memory, which is not looked at here.
    """
    available = _available_bytes()
    if available is None:
        return None
    needed = max(ballast.MEMORY_FACTOR * ballast.files_bytes(side), largest_bytes if side["device"] == "cpu" else 0)
    if needed <= available:
        return None
    return f"it needs about {needed / 2**20:.0f} MiB beside the others, and {available / 2**20:.0f} MiB are free"


def _available_bytes() -> int | None:
    """Memory that can be had without swapping. Source: proc(5), /proc/meminfo, MemAvailable."""
    for line in text_of(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


if __name__ == "__main__":
    sys.exit(child_process.answer(run_job, TurnsJob))
