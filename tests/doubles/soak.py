"""Soak test: benches in a row, each under a fault; what is lost, doubled, unreadable or left over is counted.

    python -m tests.doubles.soak [--benches 200] [--seed 0] [--folder DIR]

Each bench is a process of its own that meets one fault at a moment drawn at random, and is then resumed until it is
whole. Everything that it may leave behind is looked for: run files that cannot be read, trials that are lost, counted
twice or changed, processes, a held lock, files. The machine's clock is not touched: the benches are shown another one.
Small file systems need root; without it those faults are left out, and that is said.
"""

import contextlib
import fcntl
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from rich.console import Console
from rich.progress import track

from vitdeploy.benchmarks.studies import command_line
from vitdeploy.benchmarks.studies.command_line import print_table, with_errors
from vitdeploy.errors import VitdeployError
from vitdeploy.results import record

MODEL, SIZE = "efficientvit_b0", "64x64"
"""Small, so that most of a bench is what is to be disturbed: starting, writing, ending."""

TRIALS = 3
BENCH_LIMIT_S = 180.0
"""A bench that takes longer hangs."""

MOST_RESUMES = 4
PROMISED = frozenset({0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 130, -9})
"""Exit codes that are no bug; -9 is our own kill. Source: contract, "Exit codes"."""

SHOWN_CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int failed = real(clock, now);
    FILE *file = clock == CLOCK_REALTIME ? fopen(getenv("VITDEPLOY_SOAK_CLOCK"), "r") : NULL;
    long offset_s = 0;
    if (file) { if (fscanf(file, "%ld", &offset_s) == 1) now->tv_sec += offset_s; fclose(file); }
    return failed;
}
"""
"""A wall clock that is not the machine's, for every program of a bench. libfaketime 0.9.10 was tried: where it leaves
the monotonic clock alone its ``clock_nanosleep`` fails with EINVAL, and Python sleeps by that.
"""

MARK = "VITDEPLOY_SOAK"
"""Variable by which every process of a bench is recognized."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where one bench works, and what it sees."""

    root: Path
    folder: Path
    """Of its run file."""
    environment: Mapping[str, str]
    clock: Path
    """Seconds by which the wall clock that it sees is wrong."""

    @property
    def out(self) -> Path:
        """The run file."""
        return self.folder / "run.json"

    def command(self, *more: str) -> list[str]:
        """The bench, as a user would type it."""
        words = ["bench", MODEL, "--size", SIZE, "--target", "onnx-fp32", "--threads", "1", "--quiet"]
        options = ["--trials", str(TRIALS), "--min-time", "0.02", "--artifacts", str(self.root / "artifacts")]
        return [sys.executable, "-m", "vitdeploy", *words, *options, *more]

    def start(self) -> "subprocess.Popen[bytes]":
        """Begin the bench, or go on with it."""
        with (self.root / "said.txt").open("ab") as said:
            return subprocess.Popen(
                self.command("--out", str(self.out), "--resume"),
                env=dict(self.environment),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )


@dataclass(slots=True, kw_only=True)
class Counts:
    """What was found, over all benches of one fault."""

    benches: int = 0
    hit: int = 0
    """Benches that the fault met while they ran."""
    ends: Counter[int] = field(default_factory=Counter[int])
    found: Counter[str] = field(default_factory=Counter[str])
    """What should not be → how often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A bench that runs, and what is drawn for it."""

    place: Place
    bench: "subprocess.Popen[bytes]"
    draw: random.Random


Fault = Callable[[Moment], bool]
"""Disturbs a running bench; whether it still ran when it was disturbed."""


def kill_parent(now: Moment) -> bool:
    """``kill -9`` of the bench."""
    return _wait(now) and _signal(psutil.Process(now.bench.pid).kill)


def kill_worker(now: Moment) -> bool:
    """``kill -9`` of whatever the bench has started."""
    worker = _worker(now)
    return worker is not None and _signal(worker.kill)


def stop_parent(now: Moment) -> bool:
    """Stopped for a while, then continued."""
    return _wait(now) and _pause(psutil.Process(now.bench.pid), now.draw)


def stop_worker(now: Moment) -> bool:
    """The worker stopped for a while, then continued."""
    worker = _worker(now)
    return worker is not None and _pause(worker, now.draw)


def step_clock(now: Moment) -> bool:
    """The wall clock jumps, forwards or back; the monotonic one goes on."""
    running = _wait(now)
    now.place.clock.write_text(str(now.draw.choice((-86400, -3600, 7, 3600, 31_536_000))))
    return running


def fill_disk(now: Moment) -> bool:
    """The file system of the run file is full."""
    running = _wait(now)
    with (now.place.folder / "filler").open("wb", buffering=0) as stream:
        try:
            while True:
                stream.write(bytes(4096))
        except OSError:
            return running


def forbid_writing(now: Moment) -> bool:
    """The file system of the run file becomes read-only."""
    running = _wait(now)
    for _ in range(200):  # busy while a file is being written
        if _mount("-o", "remount,ro", str(now.place.folder)):
            return running
        time.sleep(0.01)
    return False


def spoil_store(now: Moment) -> bool:
    """One byte of every stored file turns over; hard links make it the delivered file's too."""
    for path in Path(now.place.environment["XDG_CACHE_HOME"]).rglob("model.onnx"):
        data = bytearray(path.read_bytes())
        data[now.draw.randrange(len(data))] ^= 0x40
        path.write_bytes(data)
    return now.bench.poll() is None


def second_bench(now: Moment) -> bool:
    """Another bench asks for the same device and writes to a place of its own."""
    running = _wait(now)
    other = Path(tempfile.mkdtemp(dir=now.place.root, prefix="other-")) / "run.json"
    done = subprocess.run(
        now.place.command("--out", str(other)),
        env=dict(now.place.environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=BENCH_LIMIT_S,
        check=False,
    )
    if done.returncode in (0, 8) and record.load(other).results[0].trials:
        return running
    return running and done.returncode == 7


def nothing(now: Moment) -> bool:
    """No fault at all."""
    return now.bench.poll() is None


FAULTS: Mapping[str, Fault] = {
    "none": nothing,
    "parent killed": kill_parent,
    "worker killed": kill_worker,
    "parent stopped": stop_parent,
    "worker stopped": stop_worker,
    "clock stepped": step_clock,
    "disk full": fill_disk,
    "read-only output": forbid_writing,
    "store spoiled": spoil_store,
    "two benches": second_bench,
}
OWN_FILE_SYSTEM = frozenset({"disk full", "read-only output"})


def soak(benches: int, seed: int, root: Path) -> dict[str, Counts]:
    """Run so many benches, each fault in its turn; returns what was found by fault."""
    possible = [name for name in FAULTS if not _impossible(name)]
    counts = {name: Counts() for name in possible}
    if "clock stepped" in possible:
        build = ["cc", "-shared", "-fPIC", "-x", "c", "-o", str(root / "clock.so"), "-", "-ldl"]
        subprocess.run(build, input=SHOWN_CLOCK, text=True, check=True)
    for number in track(range(benches), description="benches", console=Console(stderr=True)):
        name = possible[number % len(possible)]
        draw = random.Random(f"{seed}:{number}")
        place = place_of(root, number, mounted=name in OWN_FILE_SYSTEM, faked=name == "clock stepped")
        try:
            one(place, name, draw, counts[name])
        finally:
            if name in OWN_FILE_SYSTEM:
                subprocess.run(["umount", str(place.folder)], check=False, capture_output=True)
    return counts


def one(place: Place, name: str, draw: random.Random, counts: Counts) -> None:
    """One bench, its fault, its repair, and what is left."""
    counts.benches += 1
    bench = place.start()
    counts.hit += FAULTS[name](Moment(place=place, bench=bench, draw=draw))
    _ended(bench, counts)
    if name in OWN_FILE_SYSTEM:  # the user makes room, and goes on
        _mount("-o", "remount,rw", str(place.folder))
        (place.folder / "filler").unlink(missing_ok=True)
    before = _trials(place.out, counts)
    code = -1
    for _ in range(MOST_RESUMES):
        if (code := _ended(place.start(), counts)) in (0, 8):
            break
    after = _trials(place.out, counts)
    counts.found["never finished"] += code not in (0, 8)
    counts.found["trials lost"] += max(0, TRIALS - len(after))
    counts.found["trials doubled"] += len(after) - len({trial.id for trial in after})
    kept = {trial.id: trial.samples_ns for trial in after}
    counts.found["trials changed"] += sum(kept.get(trial.id) != trial.samples_ns for trial in before)
    counts.found["processes left"] += _orphans(place)
    counts.found["locks left"] += _locked(place)
    counts.found["files left"] += len([path for path in _files(place) if path.suffix == ".part"])


def _ended(bench: "subprocess.Popen[bytes]", counts: Counts) -> int:
    try:
        code = bench.wait(BENCH_LIMIT_S)
    except subprocess.TimeoutExpired:
        counts.found["hangs"] += 1
        bench.kill()
        code = bench.wait()
    counts.ends[code] += 1
    counts.found["internal errors"] += code not in PROMISED
    return code


def _trials(out: Path, counts: Counts) -> Sequence[record.Trial]:
    if not out.exists():
        return ()
    try:
        return record.load(out).results[0].trials
    except VitdeployError:
        counts.found["unreadable files"] += 1
        return ()


def _wait(now: Moment) -> bool:
    """Let a part of a bench pass; whether it still runs."""
    time.sleep(now.draw.uniform(0.0, 3.0))
    return now.bench.poll() is None


def _worker(now: Moment) -> psutil.Process | None:
    """The process that times, at some moment of its life."""
    end = time.monotonic() + BENCH_LIMIT_S
    skipped = now.draw.randrange(TRIALS)
    seen: set[int] = set()
    while now.bench.poll() is None and time.monotonic() < end:
        with contextlib.suppress(psutil.Error):
            for child in psutil.Process(now.bench.pid).children():
                if "vitdeploy.benchmarks.trial.worker" in child.cmdline():
                    seen.add(child.pid)
                    if len(seen) > skipped:
                        time.sleep(now.draw.uniform(0.0, 0.6))
                        return child
        time.sleep(0.01)
    return None


def _pause(process: psutil.Process, draw: random.Random) -> bool:
    if not _signal(process.suspend):
        return False
    time.sleep(draw.uniform(0.2, 2.0))
    return _signal(process.resume)


def _signal(send: Callable[[], None]) -> bool:
    try:
        send()
    except psutil.NoSuchProcess:
        return False
    return True


def _orphans(place: Place) -> int:
    """Processes of the bench that outlive it; they are killed so that the next one is alone."""
    time.sleep(0.3)
    mark, count = place.environment[MARK], 0
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                process.kill()
                count += 1
    return count


def _locked(place: Place) -> int:
    held = 0
    for path in Path(place.environment["VITDEPLOY_LOCK_DIR"]).glob("*.lock"):
        with path.open("r+") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held += 1
    return held


def _files(place: Place) -> list[Path]:
    return [path for folder in (place.folder, place.root / "artifacts") for path in folder.rglob("*")]


def _mount(*words: str) -> bool:
    return subprocess.run(["mount", *words], check=False, capture_output=True).returncode == 0


def place_of(root: Path, number: int, *, mounted: bool, faked: bool) -> Place:
    """The place of one bench: ``mounted`` on a small file system of its own, ``faked`` with a clock of its own."""
    folder = root / f"bench-{number}"
    for path in (folder, root / "tmp", root / "cache"):
        path.mkdir(parents=True, exist_ok=True)
    if mounted and not _mount("-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)):
        raise SystemExit(f"cannot mount a small file system at {folder}")
    clock = root / "clock"
    clock.write_text("0")
    faking = {"LD_PRELOAD": str(root / "clock.so"), "VITDEPLOY_SOAK_CLOCK": str(clock)}
    own = {name: str(root / "tmp") for name in ("TMPDIR", "VITDEPLOY_LOCK_DIR")}
    own |= {"XDG_CACHE_HOME": str(root / "cache"), MARK: f"{root.name}-{number}"}
    environment = {**os.environ, **own, **(faking if faked else {})}
    return Place(root=root, folder=folder, environment=environment, clock=clock)


def _impossible(name: str) -> str | None:
    """Why a fault cannot be made here."""
    if name in OWN_FILE_SYSTEM and os.geteuid() != 0:
        return "needs root, to mount a small file system"
    if name == "clock stepped" and shutil.which("cc") is None:
        return "needs a C compiler, to show the benches another clock"
    return None


@with_errors
def main() -> int:
    """Print the table; returns 1 where anything was found that should not be."""
    parser = command_line.parser(__file__, __doc__)
    parser.add_argument("--benches", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work; kept afterwards")
    given = parser.parse_args()
    root = given.folder or Path(tempfile.mkdtemp(prefix="vitdeploy-soak-"))
    root.mkdir(parents=True, exist_ok=True)
    try:
        by_fault = soak(given.benches, given.seed, root)
    finally:
        if given.folder is None:
            shutil.rmtree(root, ignore_errors=True)
    wrong = sorted({what for counts in by_fault.values() for what in counts.found})
    rows: list[tuple[str, ...]] = []
    for name, counts in by_fault.items():
        ends = ", ".join(f"{code}×{times}" for code, times in sorted(counts.ends.items()))
        figures = (str(counts.found[what]) for what in wrong)
        rows.append((name, str(counts.benches), str(counts.hit), ends, *figures))
    print_table(None, ("fault", "benches", "met it", "exit codes", *wrong), rows, left=("exit codes",))
    for name in FAULTS:
        if why := _impossible(name):
            print(f"{name}: {why}")
    return int(any(counts.found.total() for counts in by_fault.values()))


if __name__ == "__main__":
    sys.exit(main())
