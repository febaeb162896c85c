"""The verbs of the fault matrix: their command lines on small inputs, what they keep, and whether that is whole."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from tests.doubles import artifacts, eval_sets, make_run
from vitdeploy import documents
from vitdeploy.artifacts.manifest import MANIFEST, open_artifact
from vitdeploy.evaluation import image_records, reading
from vitdeploy.evaluation.record import ImageRecord
from vitdeploy.fleet.trial_files import TrialFiles, client_folder
from vitdeploy.results import calibration, record

ROOT = Path(__file__).parents[2]
LIMIT_S = 300.0
PICTURES = 4
SIZE = (64, 128)
PLAN = """title = "A fault"
trials = 3
min_time_s = 0.05
wait_s = 30
[[rows]]
models = ["a"]
devices = ["local"]
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """A command line, ``{out}`` its file, and the exit codes that it may have undisturbed."""

    line: str
    ending: str = ".json"
    """Of its file; empty: a folder."""
    codes: tuple[int, ...] = (0,)
    twice: tuple[int, ...] = (0,)
    """Codes of the later one of two at once."""
    keeps: bool = False
    """It refuses a file that is there."""
    resumes: bool = False
    """It has ``--resume``."""
    warm: bool = False
    """It needs models of the catalog, which stay in a cache that the cells share."""
    module: str = "vitdeploy"


TIMED = "--trials 3 --min-time 0.05"
VERBS: Mapping[str, Verb] = {
    "report html": Verb(line="report base.json --format html --out {out}", ending=".html"),
    "report csv": Verb(line="report base.json --format csv --out {out}", ending=".csv"),
    "compare --json": Verb(line="compare base.json head.json --json {out}", codes=(10,), twice=(10,)),
    "accept": Verb(line="accept base.json --because why --baselines bl --json {out}"),
    "predict": Verb(line="predict seg sample:coffee --out {out}", ending=".png"),
    "export": Verb(line="export attention_w32 --size 8x8 --target onnx-fp32 --force --out {out}", ending=""),
    "bench": Verb(line=f"bench a {TIMED} --out {{out}}", codes=(0, 8), twice=(2, 7), keeps=True, resumes=True),
    "duel": Verb(
        line="duel a b --pairs 3 --min-time 0.1 --by trials --out {out}", codes=(0, 8), twice=(2, 7), keeps=True
    ),
    "calibrate": Verb(
        line="calibrate --threads 1 --pairs 4 --min-time 0.1 --out {out}",
        codes=(0, 8),
        twice=(2, 7),
        keeps=True,
        warm=True,
    ),
    "eval": Verb(
        line="eval painted --dataset cityscapes --root city --no-reference --threads 1 --out {out}",
        twice=(2, 7),
        keeps=True,
        resumes=True,
    ),
    "attention": Verb(
        line=f"attention --quick {TIMED} --out {{out}}",
        twice=(2, 7),
        keeps=True,
        resumes=True,
        warm=True,
        module="tests.doubles.small_studies",
    ),
    "reproduce": Verb(
        line=f"reproduce attention --quick {TIMED} --target onnx-fp32 --out {{out}}",
        twice=(2, 7),
        keeps=True,
        resumes=True,
        warm=True,
        module="tests.doubles.small_studies",
    ),
    "sweep": Verb(line="sweep lab.toml --out {out}", codes=(0, 8), twice=(2, 7), keeps=True, resumes=True),
    "cache gc": Verb(line="cache gc --older-than 0 --yes --json {out}"),
}


def furnish(place: Path) -> None:
    """Put into a folder what the verbs need: two runs, small artifacts, a data set and a plan."""
    for name, median_ms in (("base", 7.4), ("head", 8.4)):
        row = make_run.row("efficientvit_b1", "onnx-fp32", median_ms, seed=1)
        record.save(make_run.run(row, name=name), place / f"{name}.json")
    artifacts.conv_relu(place / "a")
    artifacts.conv_relu(place / "b", channels=16)
    artifacts.conv_relu(place / "seg", channels=19, model_name="efficientvit_seg_b0_cityscapes")
    maps = [eval_sets.block_map(seed, SIZE, 19) for seed in range(PICTURES)]
    eval_sets.cityscapes_set(place / "city", {f"aachen/p_{seed:06d}": (seen, seen) for seed, seen in enumerate(maps)})
    eval_sets.nearest_color(place / "painted", "efficientvit_seg_b0_cityscapes", size=SIZE, classes=19)
    (place / "lab.toml").write_text(PLAN)


def start(
    place: Path, verb: Verb, out: str, *, cache: Path, shell: str = "", more: str = ""
) -> "subprocess.Popen[str]":
    """The program in a session of its own; ``shell`` stands before it, ``more`` behind its line."""
    program = f"exec '{sys.executable}' -m {verb.module}"
    closed = ">&- 2>&-" if ">&-" in shell else ""
    return subprocess.Popen(
        ["bash", "-c", f"{shell}{program} {verb.line.format(out=out)} {more} {closed}"],
        cwd=place,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "XDG_CACHE_HOME": str(cache if verb.warm else place / "cache"),
            "XDG_DATA_HOME": str(place / "data"),
            "VITDEPLOY_LOCK_DIR": str(place),  # another test's machine is another one
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(process: "subprocess.Popen[str]") -> tuple[int, str]:
    """Wait for it; its exit code and what it said on stderr."""
    _, said = process.communicate(timeout=LIMIT_S)
    return process.returncode, said


def check_whole(place: Path) -> list[str]:
    """Names of the kept files, each of which is whole: read as its verb reads it, digests looked at."""
    names: list[str] = []
    for path in sorted(place.rglob("*")):
        if not path.is_file() or path.name.startswith(".") or "cache" in path.relative_to(place).parts:
            continue
        if path.suffix == ".json":
            _check_document(path)
        elif path.suffix == ".jsonl":
            _check_image_records(path)
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>"), path
        elif path.suffix == ".png":
            assert path.read_bytes().endswith(b"IEND\xaeB`\x82"), path
        names.append(path.name)
    return names


def finished(out: Path) -> set[str]:
    """The trials and pictures that are done in ``out`` and in what lies beside it."""
    done: set[str] = set()
    if out.exists():
        document = json.loads(out.read_text())
        if "results" in document:
            done = _trial_ids(out)
            done |= {trial.id for trial in TrialFiles(client_folder(out)).trials(document["id"])}
    images = _images_of(out)
    if images.exists():
        rows = [msgspec.convert(row, ImageRecord) for row in _whole_lines(images)[1:]]
        done |= {row.image for row in rows if row.status == "scored"}
    return done


def _trial_ids(path: Path) -> set[str]:
    return {trial.id for result in record.load(path).results for trial in result.trials}


def _images_of(out: Path) -> Path:
    return out.with_name(f"{out.stem}.images.jsonl")


def _check_document(path: Path) -> None:
    document = json.loads(path.read_text())
    if path.name == MANIFEST:
        open_artifact(path.parent)
    elif path.parent.name == "calibrations":
        documents.read(path, calibration.Calibration, schema=calibration.SCHEMA, what="calibration")
    elif isinstance(document, dict) and "protocol" in document and "results" in document:
        record.load(path)
    elif isinstance(document, dict) and document.get("kind") == "evaluation":
        evaluation = reading.load(path)
        assert image_records.digest(_images_of(path)) == evaluation.images_sha256, path


def _check_image_records(path: Path) -> None:
    """Each line is a record, but for one that was being written: `eval --resume` drops it."""
    assert _whole_lines(path), path


def _whole_lines(path: Path) -> list[Any]:
    *lines, _ = path.read_bytes().split(b"\n")
    return [json.loads(line) for line in lines]
