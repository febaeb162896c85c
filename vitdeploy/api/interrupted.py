"""Work that was interrupted: the file that ``--resume`` goes on with where none is named."""

from collections.abc import Callable, Sequence
from pathlib import Path

from vitdeploy.api.cases import Planned
from vitdeploy.benchmarks import bench as timing
from vitdeploy.catalog.variant import Variant
from vitdeploy.errors import VitdeployError
from vitdeploy.evaluation import image_records
from vitdeploy.evaluation.image_records import RecordsHeader
from vitdeploy.results import record
from vitdeploy.results.record import Protocol, Run

Search = Callable[[Path, str], Path | None]
"""The newest file of a folder, of those whose name begins with a prefix, that interrupted work of one kind has left."""

RECORDS = ".images.jsonl"
"""Ends the name of an evaluation's records, which are there before its own file is."""


def records_path(out: Path) -> Path:
    """Where the records of the evaluation ``out`` lie."""
    return out.with_name(f"{out.stem}{RECORDS}")


def of_workload(cases: Sequence[Planned], protocol: Protocol) -> Search:
    """Runs of the same cases and suite that lack trials. Whether they can be resumed is checked when they are."""
    planned = [_identity(case.variant) for case in cases]

    def is_this(run: Run) -> bool:
        recorded = [_identity(result.case.variant) for result in run.results]
        return run.protocol.suite == protocol.suite and recorded == planned and timing.is_unfinished(run)

    def search(folder: Path, prefix: str) -> Path | None:
        return next((path for path in newest(folder) if _begins(path, prefix) and _run_fits(path, is_this)), None)

    return search


def of_evaluation(head: RecordsHeader) -> Search:
    """Evaluations of the same files and pictures of which there are records only."""

    def search(folder: Path, prefix: str) -> Path | None:
        for records in newest(folder, f"*{RECORDS}"):
            path = records.with_name(f"{records.name.removesuffix(RECORDS)}.json")
            if _begins(path, prefix) and not path.exists() and _head(records) == head:
                return path
        return None

    return search


def _identity(variant: Variant) -> tuple[object, ...]:
    """What a case has before its artifact is known."""
    return variant.model, variant.part, variant.target, tuple(variant.size), variant.batch, variant.attention


def _begins(path: Path, prefix: str) -> bool:
    return path.name.startswith(f"{prefix}-")


def _run_fits(path: Path, is_this: Callable[[Run], bool]) -> bool:
    try:
        return is_this(record.load(path))
    except VitdeployError:
        return False


def _head(records: Path) -> RecordsHeader | None:
    try:
        return image_records.head_of(records)
    except VitdeployError:
        return None


def newest(folder: Path, pattern: str = "*.json") -> list[Path]:
    """The JSON files of a folder, or those of another pattern, the last changed first."""
    return sorted(folder.glob(pattern), key=_changed_s, reverse=True)


def _changed_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
