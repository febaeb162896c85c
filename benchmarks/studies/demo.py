"""The demo: its suite is timed, its models draw a picture each, and a page shows both.

    python -m vitdeploy.benchmarks.studies.demo [--out build/demo] [--weights FILE] [--within 30]

`make demo` runs it. The pictures are drawn with official weights, where these are here or come within some seconds;
else a line says why not, and the page shows no picture. The timed files have official weights where all of them are
here already, else random ones: the latency is the same. Where other work takes the machine's cores, a line says so at
the start, and rows that came out invalid are measured in a second round. Every command is printed before it runs.
"""

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from vitdeploy.benchmarks import suite
from vitdeploy.benchmarks.studies import command_line, demo_rounds
from vitdeploy.benchmarks.suite import Entry
from vitdeploy.catalog import registry
from vitdeploy.catalog.spec import Task
from vitdeploy.errors import ToolchainFailed, VitdeployError
from vitdeploy.models import official, weights_cache

SUITE: Final = "demo"
OUT: Final = Path("build/demo")

TIME_BUDGET_S: Final = 100
"""Of sampling, beside the exports."""

AT_ONCE: Final = 2
"""Exports side by side: most of one is a tracer's and runs on one core."""

ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
"""Of each of them: with all cores' threads that wait actively, two at a time take twice as long as one by one."""

ALONE: Final = ("--yardstick", "off")
"""Nothing is compared with an earlier run, and the yardstick's processes would add half a minute."""

WITHIN_S: Final = 30.0
"""Downloads of the pictures' weights, 4.4 MB, end by then."""

END_LIMIT_S: Final = 5.0
"""An interrupted download takes its unfinished file away."""

TARGET: Final = "onnx-fp32"

EXPORTED: Final = "export.json"
"""What `export` says of a picture's model."""

IMAGE: Final = "sample:china"
"""The only photograph of a street that ships with the packages. Source: `vitdeploy.images.photos`."""

NOT_TO_QUOTE: Final = 8
"""Exit code of a run with rows that may not be quoted; the report says why. Source: contract, "Exit codes"."""

ANSWERS: Final[Mapping[Task, tuple[str, tuple[str, ...]]]] = {
    "segmentation": ("segmentation", ()),
    "super-resolution": ("super-resolution", ()),
    "segment-anything": ("masks", ("--point", "320,200")),
}
"""Tasks whose answer is a picture → its file's name, and the options of `predict`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoPicture:
    """One picture of the demo: the first model of the suite with its task."""

    model: str
    size: str
    name: str
    options: tuple[str, ...]


def pictures(entries: Iterable[Entry]) -> list[DemoPicture]:
    """The pictures of a suite, one a task."""
    chosen: dict[Task, DemoPicture] = {}
    for entry in entries:
        spec = registry.find_model(entry.model)
        if spec.task in ANSWERS and spec.task not in chosen:
            name, options = ANSWERS[spec.task]
            chosen[spec.task] = DemoPicture(model=spec.whole, size=_size_words(entry), name=name, options=options)
    return list(chosen.values())


def _size_words(entry: Entry) -> str:
    height, width = entry.size or registry.find_model(entry.model).size
    return f"{height}x{width}"


def all_are_here(entries: Iterable[Entry]) -> bool:
    """Whether the official weights of all entries lie on this machine, and need no acceptance."""
    for entry in entries:
        spec = registry.find_model(entry.model)
        try:
            checkpoint = official.choose(spec, entry.size, accept_licence=False)
        except VitdeployError:
            return False
        if weights_cache.cached_path(checkpoint) is None:
            return False
    return True


def missing_weights(wanted: Sequence[DemoPicture], within_s: float) -> dict[str, str]:
    """Models whose official weights are not to be had within some seconds → why not.

    The downloads run in a process of their own, because nothing else ends a slow one at a given time.
    """
    command = [sys.executable, "-m", "vitdeploy.benchmarks.studies.demo", "--fetch"]
    command += [f"{picture.model}@{picture.size}" for picture in wanted]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            said, _ = process.communicate(timeout=within_s)
        except subprocess.TimeoutExpired:
            said = _interrupted(process)
    replies: dict[str, str | None] = {}
    for line in said.splitlines():
        with contextlib.suppress(ValueError):
            replies |= json.loads(line)
    late = f"they did not come within {within_s:g} s"
    reasons = {picture.model: replies.get(picture.model, late) for picture in wanted}
    return {model: reason for model, reason in reasons.items() if reason is not None}


def _interrupted(process: "subprocess.Popen[str]") -> str:
    """What a process has said that is ended by Ctrl-C, or killed where that does not help."""
    process.send_signal(signal.SIGINT)
    try:
        return process.communicate(timeout=END_LIMIT_S)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0]


def fetch(names: Sequence[str]) -> int:
    """Download the official weights of ``MODEL@HxW``, and print a line of JSON for each: null, or why not."""
    for name in names:
        model, _, size = name.partition("@")
        reason: str | None = None
        try:
            spec = registry.find_model(model)
            checkpoint = official.choose(spec, registry.parse_size(size), accept_licence=False)
            official.obtain(checkpoint, progress=lambda line: print(line, file=sys.stderr))
        except VitdeployError as error:
            reason = error.message
        print(json.dumps({model: reason}), flush=True)
    return 0


def run(*words: str, allowed: Sequence[int] = (), one_of_several: bool = False) -> None:
    """Run a command of vitdeploy, printed first.

    Args:
        allowed: exit codes that are no failure, beside 0.
        one_of_several: others run at the same time: it has one thread, and what it says on stdout is not shown.

    Raises:
        ToolchainFailed: it failed; it has said why.
    """
    print(f"+ vitdeploy {shlex.join(words)}", flush=True)
    stdout = subprocess.DEVNULL if one_of_several else None
    environment = {**os.environ, **(ONE_THREAD if one_of_several else {})}
    command = [sys.executable, "-m", "vitdeploy", *words]
    code = subprocess.run(command, check=False, stdout=stdout, env=environment).returncode
    if code not in (0, *allowed):
        raise ToolchainFailed(f"`vitdeploy {words[0]}` ended with exit code {code}", "Read what it says above.")


def run_side_by_side(commands: Sequence[Sequence[str]]) -> None:
    """Run commands of vitdeploy, `AT_ONCE` at a time; each says nothing but what is wrong.

    Raises:
        ToolchainFailed: one failed; the others are done all the same.
    """

    def alone(words: Sequence[str]) -> None:
        run(*words, "--quiet", one_of_several=True)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(alone, commands))


def export_words(picture: DemoPicture, weights: Sequence[str], out: Path) -> tuple[str, ...]:
    """The command that exports a picture's model; `draw` reads what it writes."""
    folder = _folder(picture, out)
    folder.mkdir(parents=True, exist_ok=True)
    where = ("--out", str(folder), "--json", str(folder / EXPORTED))
    return ("export", picture.model, "--target", TARGET, "--size", picture.size, *weights, *where)


def draw(picture: DemoPicture, out: Path) -> Path:
    """Run a picture's model on the photograph, and return the prediction's document."""
    document = out / f"{picture.name}.json"
    rows: list[dict[str, Any]] = json.loads((_folder(picture, out) / EXPORTED).read_text())
    places = ("--out", str(out / f"{picture.name}.png"), "--json", str(document))
    run("predict", rows[0]["folder"], IMAGE, *picture.options, *places)
    return document


def _folder(picture: DemoPicture, out: Path) -> Path:
    return out / "predict" / picture.name


def make(out: Path, weights: Path | None, within_s: float) -> None:
    """Time, draw and report into ``out``."""
    if (busy := demo_rounds.busy_words()) is not None:
        print(busy, flush=True)
    entries = suite.find(SUITE).entries
    wanted = pictures(entries)
    missing = {} if weights is not None else missing_weights(wanted, within_s)
    for reason in dict.fromkeys(missing.values()):
        models = " and ".join(model for model, other in missing.items() if other == reason)
        print(f"no official weights of {models}: {reason}; going on with random ones", flush=True)
    timed = ("--weights", official.OFFICIAL) if weights is None and all_are_here(entries) else ()
    record, artifacts = out / "run.json", out / "artifacts"
    drawn = {picture: options_of(picture, weights, missing) for picture in wanted}
    # Without weights one picture is drawn all the same: its size and its legend, which says that it means nothing.
    chosen = [picture for picture, options in drawn.items() if options or picture.name == "segmentation"]
    timed_words = dict.fromkeys(
        ("export", entry.model, "--target", target, "--size", _size_words(entry), *timed, "--out", str(artifacts))
        for entry in entries
        for target in entry.targets
    )
    run_side_by_side([*timed_words, *(export_words(picture, drawn[picture], out) for picture in chosen)])
    budget = ("--time-budget", str(TIME_BUDGET_S))
    places = ("--out", str(record), "--artifacts", str(artifacts))
    run("bench", "--suite", SUITE, *budget, *ALONE, *timed, *places, allowed=(NOT_TO_QUOTE,))
    records = [str(record), *second_rounds(record, artifacts)]
    shown: list[str] = []
    for picture in chosen:
        document = draw(picture, out)
        shown += ["--prediction", str(document)] if drawn[picture] else []
    run("report", *records, "--format", "markdown", "--out", str(out / "report.md"))
    run("report", *records, "--format", "html", *shown, "--out", str(out / "report.html"))


def second_rounds(record: Path, artifacts: Path) -> list[str]:
    """Measure rows of a run again that came out invalid; the files of what was measured."""
    files: list[str] = []
    for number, rows in enumerate(demo_rounds.second_round(record, artifacts), start=2):
        if not files:
            print("some rows are invalid, because the machine was not steady: they are measured again", flush=True)
        out = record.with_name(f"run-{number}.json")
        run(*demo_rounds.options(rows, out, artifacts), allowed=(NOT_TO_QUOTE,))
        files.append(str(out))
    return files


def options_of(picture: DemoPicture, weights: Path | None, missing: Mapping[str, str]) -> tuple[str, ...]:
    """The options of `export` for a picture; none: its weights would be random."""
    if weights is not None:
        return ("--weights", str(weights)) if picture.name == "segmentation" else ()
    return () if picture.model in missing else ("--weights", official.OFFICIAL)


@command_line.with_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo, or the downloads alone; returns the exit code."""
    parser = command_line.parser(__file__, __doc__)
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--weights", type=Path, help="an official checkpoint of the suite's first segmentation model")
    parser.add_argument("--within", type=float, default=WITHIN_S, help="seconds that downloads may take")
    parser.add_argument("--fetch", nargs="+", metavar="MODEL@HxW", help="download official weights, and nothing else")
    options = parser.parse_args(arguments)
    if options.fetch:
        return fetch(options.fetch)
    make(options.out, options.weights, options.within)
    return 0


if __name__ == "__main__":
    sys.exit(main())
