"""Catalogue of the exports: every model at every target, each at its smallest useful size, in one table.

    python -m vitdeploy.benchmarks.studies.catalogue [--models NAME…] [--targets NAME…]
                                                    [--out catalogue.json] [--table FILE]

Each export is a process of its own, and as many run at once as cores and memory allow. What is finished is kept in
``--out`` after every export, so the same command again goes on; rows that failed are tried again. MACs are counted at
the resolution of the published figures, exports are made at the small size that the table names.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.progress import track

from vitdeploy import documents, units
from vitdeploy.benchmarks.studies import command_line, published_counts
from vitdeploy.benchmarks.studies.command_line import size_words, with_errors
from vitdeploy.catalog import registry
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.catalog.spec import ModelSpec, Size
from vitdeploy.devices import computer_facts
from vitdeploy.errors import Impossible

TARGETS: Final = ("onnx-fp32", "onnx-fp16", "tflite-fp32", "trt-rtx-fp16")

CI_MODELS: Final = ("efficientvit_b0", "efficientvit_seg_b0_cityscapes", "bsrn_x2", "segformer_b0_ade20k")
"""The small part that CI runs, through ``onnx-fp32``: one of each kind that is made in seconds."""

LIMIT_S = 3600.0
"""An export that takes longer is a failed row."""

MEMORY_NEEDS: Final = {"tflite-fp32": (3 * 2**30, 8)}
OTHER_NEEDS = (3 * 2**29, 5)
"""Bytes that an export takes beside its weights, and how many times the weights lie in memory at the peak: the module,
its program, the graph, its bytes, the runtime's. Measured on this table's own peaks.
"""

PHONE_BYTES = 400 * 10**6
"""Larger fp32 weights are not converted for phones: a limit of this table, so that it ends, not of TFLite."""

ELSEWHERE: Final[Mapping[tuple[str, str], Size]] = {
    (f"segnext_{variant}", "tflite-fp32"): (64, 96)
    for variant in ("b_cityscapes", "l_cityscapes", "b_ade20k", "l_ade20k")
}
"""Where `smallest` is a size at which onnx2tf takes one axis for another of the same length: the 64 columns of a factor
for its 64 rows, one for each pixel of a map of 8x8. The export refuses such a file."""


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one model at one target."""

    model: str
    target: str
    size: Size
    state: str
    """``ready``, ``deferred``, ``failed`` or ``left out``."""
    said: str | None = None
    """Why it failed or was left out."""
    parity_passed: bool | None = None
    error_std: float | None = None
    seconds: float | None = None
    peak_bytes: int | None = None
    """Largest resident memory of one process of the export."""
    size_bytes: int | None = None
    rewrites: tuple[str, ...] = ()


class Count(msgspec.Struct, frozen=True, kw_only=True):
    """Parameters, and MACs at the resolution of the published figures."""

    model: str
    parameters: int
    macs: int | None
    size: Size


class Book(msgspec.Struct, kw_only=True):
    """The file that a run goes on from."""

    machine: dict[str, Any]
    counts: list[Count] = []
    cells: list[Cell] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One export that is to be made."""

    spec: ModelSpec
    target: str
    size: Size
    memory_bytes: int


def smallest(spec: ModelSpec) -> Size:
    """The smallest size at which every stage of a model still has a map worth the name."""
    if spec.sizes:
        return min(spec.sizes)
    step = spec.size_multiple
    side = max(64 if spec.task != "super-resolution" else 48, spec.least_side)
    side = -(-side // step) * step
    return (side, side)


def expanded(names: Sequence[str]) -> list[ModelSpec]:
    """The rows that are exported: a model's parts in its place."""
    return [row for name in names for row in registry.exported_models(name)]


def needed_bytes(parameters: int, target: str) -> int:
    """An estimate of an export's memory, on the safe side."""
    base_bytes, copies = MEMORY_NEEDS.get(target, OTHER_NEEDS)
    return base_bytes + 4 * parameters * copies


class Memory:
    """Lets an export start when what it needs is free; one that needs more than there is runs alone."""

    def __init__(self, total_bytes: int) -> None:
        self._total = total_bytes
        self._free = total_bytes
        self._changed = threading.Condition()

    def take(self, size_bytes: int) -> int:
        """Wait for so many bytes, or for all of them where that is more."""
        taken_bytes = min(size_bytes, self._total)
        with self._changed:
            self._changed.wait_for(lambda: self._free >= taken_bytes)
            self._free -= taken_bytes
        return taken_bytes

    def give(self, taken: int) -> None:
        """Give back what `take` returned."""
        with self._changed:
            self._free += taken
            self._changed.notify_all()


def counts(specs: Iterable[ModelSpec]) -> list[Count]:
    """Parameters and MACs of each model, counted on meta tensors."""
    create = registry.load("vitdeploy.models.create")
    counted: list[Count] = []
    for spec in specs:
        module, shapes = create.unfilled(spec)
        parameters, macs = create.count_parameters(module), create.count_macs(module, *shapes)
        counted.append(Count(model=spec.name, parameters=parameters, macs=macs, size=spec.size))
    return counted


def export(work: Work, place: Path) -> Cell:
    """Make one export with the command line, and see what it took."""
    command = [sys.executable, "-m", "vitdeploy", "export", work.spec.name, "--target", work.target]
    command += ["--size", size_words(work.size), "--out", str(place / "artifacts"), "--json", "-", "--quiet"]
    # A store of its own: what was made before would cost nothing here, and show no cost.
    environment = command_line.environment(place)
    started = time.monotonic()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(command, stdout=out, stderr=err, stdin=subprocess.DEVNULL, env=environment)
        timer = threading.Timer(LIMIT_S, process.kill)
        timer.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
        finally:
            timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - started
        out.seek(0)
        err.seek(0)
        output, log = out.read(), err.read().decode(errors="replace")
    cost: dict[str, Any] = {"seconds": seconds, "peak_bytes": used.ru_maxrss * 1024}
    rows: list[dict[str, Any]] = json.loads(output) if output.strip().startswith(b"[") else []
    manifest = rows[0]["manifest"] if rows else None
    if manifest is None:
        lines = [line for line in log.splitlines() if line.startswith("error:")] or log.splitlines()[-1:]
        why = lines[0].removeprefix("error: ") if lines else f"exit code {process.returncode}"
        # Exit 4: the target cannot take this model, and says why; trying again would say the same.
        state = "left out" if process.returncode == Impossible.exit_code else "failed"
        return Cell(model=work.spec.name, target=work.target, size=work.size, state=state, said=why, **cost)
    parity: dict[str, Any] | None = manifest["parity"]
    error: dict[str, Any] = rows[0]["error"] or {}
    return Cell(
        model=work.spec.name,
        target=work.target,
        size=work.size,
        state="failed" if error else manifest["state"],
        said=error.get("message") or manifest["parity_skipped"],
        parity_passed=parity["passed"] if parity else None,
        error_std=parity["error_std"] if parity else None,
        size_bytes=manifest["size_bytes"] + sum(entry["size_bytes"] for entry in manifest["beside"]),
        rewrites=tuple(manifest["rewrites"]),
        **cost,
    )


def run(specs: Sequence[ModelSpec], targets: Sequence[str], out: Path, *, jobs: int) -> Book:
    """Make all exports that ``out`` does not have yet; it is rewritten after each."""
    facts = DeviceFacts(computer_facts.read_facts())
    if out.is_file():
        book = msgspec.json.decode(out.read_bytes(), type=Book)
    else:
        keys = ("cpu", "cores_logical", "memory_bytes", "python", "packages")
        book = Book(machine={key: facts[key] for key in keys})
    counted = {count.model for count in book.counts}
    book.counts += counts(spec for spec in specs if spec.name not in counted)
    parameters = {count.model: count.parameters for count in book.counts}
    finished = {(cell.model, cell.target, cell.size) for cell in book.cells if cell.state != "failed"}
    works: list[Work] = []
    for spec in specs:
        for target in targets:
            size = ELSEWHERE.get((spec.name, target), smallest(spec))
            if (spec.name, target, size) in finished:
                continue
            book.cells = [c for c in book.cells if (c.model, c.target, c.size) != (spec.name, target, size)]
            if target == "tflite-fp32" and 4 * parameters[spec.name] > PHONE_BYTES:
                reason = (
                    f"{units.size_bytes(4 * parameters[spec.name])} of fp32 weights exceed this table's limit of 400 MB"
                )
                book.cells.append(Cell(model=spec.name, target=target, size=size, state="left out", said=reason))
                continue
            needs = needed_bytes(parameters[spec.name], target)
            works.append(Work(spec=spec, target=target, size=size, memory_bytes=needs))
    documents.write(out, book)
    memory = Memory(int(0.85 * (facts.memory_free_bytes or 4 * 2**30)))

    def limited(work: Work) -> Cell:
        taken = memory.take(work.memory_bytes)
        try:
            return export(work, out.parent)
        finally:
            memory.give(taken)

    console = Console(stderr=True)
    with ThreadPoolExecutor(max_workers=jobs) as pool:
        exports = as_completed([pool.submit(limited, work) for work in works])
        shown = track(exports, "exports", len(works), console=console, disable=not sys.stderr.isatty())
        for cell in (future.result() for future in shown):
            book.cells.append(cell)
            documents.write(out, book)
            print(_line(cell), file=sys.stderr, flush=True)
    return book


def table(book: Book, names: Sequence[str], targets: Sequence[str]) -> str:
    """The catalogue as a Markdown table, models in the catalog's order, and below it why what is missing is missing."""
    cells = {(cell.model, cell.target): cell for cell in book.cells}
    counted = {count.model: count for count in book.counts}
    heads = ["model", "parameters", "published", "GMACs", "published", "at", "exported at", *targets, "seconds", "peak"]
    rows: list[list[str]] = []
    notes: list[str] = []
    for name in names:
        own = [cells[name, target] for target in targets if (name, target) in cells]
        if not own or name not in counted:
            continue
        count = counted[name]
        printed = published_counts.of(name, count.size)
        took = sum(cell.seconds or 0 for cell in own)
        peak = max((cell.peak_bytes or 0 for cell in own), default=0)
        row = [
            name,
            f"{count.parameters:,}",
            f"{printed.parameters_m}M" if printed and printed.parameters_m else "",
            f"{count.macs / 1e9:.4g}" if count.macs is not None else "",
            f"{printed.macs_g}G" if printed and printed.macs_g else "",
            size_words(count.size),
            size_words(own[0].size),
            *(_verdict(cells.get((name, target)), own[0].size) for target in targets),
            f"{took:.0f}",
            f"{peak / 2**30:.1f} GiB" if peak else "",
        ]
        rows.append(row)
        notes += [f"- {name} {cell.target}: {cell.said}." for cell in own if cell.said and cell.state != "ready"]
        differ = (printed.parameters_differ, printed.macs_differ) if printed else ()
        notes += [f"- {name}: {why}." for why in dict.fromkeys(differ) if why]
    unproven = {cell.said for cell in book.cells if cell.state == "ready" and cell.parity_passed is None and cell.said}
    notes += [f"- built, not run: {reason}." for reason in sorted(unproven)]
    return "\n".join([*command_line.markdown(heads, rows), "", *notes, ""])


def _verdict(cell: Cell | None, usual: Size) -> str:
    if cell is None:
        return "not run"
    if cell.parity_passed is not None:
        agreement = f"{'yes' if cell.parity_passed else '**no**'} {cell.error_std:.0e}" if cell.error_std else "yes 0"
        return agreement if cell.size == usual else f"{agreement} at {size_words(cell.size)}"
    return {"ready": "built", "deferred": "deferred"}.get(cell.state, cell.state)


def _line(cell: Cell) -> str:
    took = f" in {cell.seconds:.0f} s" if cell.seconds else ""
    return f"{cell.model} {cell.target} {size_words(cell.size)}: {_verdict(cell, cell.size)}{took}" + (
        f" ({cell.said})" if cell.said else ""
    )


@with_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is missing, print the table; 1 when a row failed."""
    parser = command_line.parser(__file__, __doc__)
    parser.add_argument("--models", nargs="+", help="default: all")
    parser.add_argument("--ci", action="store_true", help="the small part that CI runs")
    parser.add_argument("--targets", nargs="+", default=list(TARGETS))
    parser.add_argument("--out", type=Path, default=Path("build/catalogue/catalogue.json"))
    parser.add_argument("--table", type=Path, help="write the table there as well")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="exports at once")
    options = parser.parse_args(arguments)
    names = options.models or (CI_MODELS if options.ci else list(registry.models()))
    targets = ("onnx-fp32",) if options.ci else tuple(registry.find_target(name).name for name in options.targets)
    specs = expanded(names)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    book = run(specs, targets, options.out, jobs=options.jobs)
    markdown = table(book, [spec.name for spec in specs], targets)
    print(markdown)
    if options.table:
        documents.write_bytes(options.table, markdown.encode())
    selected = {spec.name for spec in specs}
    return int(any(cell.state == "failed" and cell.model in selected for cell in book.cells))


if __name__ == "__main__":
    sys.exit(main())
