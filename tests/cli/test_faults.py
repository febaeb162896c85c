"""The fault matrix: every verb that writes, killed, without space or permission, twice at once, with closed streams.

Afterwards every kept file is whole and every finished trial is there. ``-s`` prints what each cell ended in; that table
stands in docs/faults.md.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import pytest

from tests.doubles import artifacts, make_run
from vitdeploy.artifacts.manifest import digest_of, write
from vitdeploy.results import record

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PROGRAM = f"exec '{sys.executable}' -m vitdeploy"
BUGS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """A command line, ``{out}`` its file, and the exit codes that it may have undisturbed."""

    line: str
    ending: str = ".json"
    codes: tuple[int, ...] = (0,)
    twice: tuple[int, ...] = (0,)
    """Codes of the later one of two at once."""


VERBS: Mapping[str, Verb] = {
    "report html": Verb(line="report base.json --format html --out {out}", ending=".html"),
    "report csv": Verb(line="report base.json --format csv --out {out}", ending=".csv"),
    "compare --json": Verb(line="compare base.json head.json --json {out}", codes=(10,), twice=(10,)),
    "accept": Verb(line="accept base.json --because why --baselines bl --json {out}"),
    "predict": Verb(line="predict seg sample:coffee --out {out}", ending=".png"),
    "bench": Verb(line="bench a --trials 3 --min-time 0.1 --out {out}", codes=(0, 8), twice=(2, 7)),
    "duel": Verb(line="duel a b --pairs 3 --min-time 0.1 --by trials --out {out}", codes=(0, 8), twice=(2, 7)),
    "cache gc": Verb(line="cache gc --json {out}"),
}
_table: dict[tuple[str, str], str] = {}


@pytest.fixture(scope="module", autouse=True)
def table() -> Iterator[None]:
    """Print what every cell ended in."""
    yield
    faults = list(dict.fromkeys(fault for _, fault in _table))
    print("\n| verb | " + " | ".join(faults) + " |")
    print("| --- " * (len(faults) + 1) + "|")
    for verb in VERBS:
        print(f"| {verb} | " + " | ".join(_table.get((verb, fault), "-") for fault in faults) + " |")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with two runs, two small artifacts to time and one to predict with."""
    for name, median_ms in (("base", 7.4), ("head", 8.4)):
        row = make_run.row("efficientvit_b1", "onnx-fp32", median_ms, seed=1)
        record.save(make_run.run(row, name=name), tmp_path / f"{name}.json")
    artifacts.conv_relu(tmp_path / "a")
    artifacts.conv_relu(tmp_path / "b", channels=16)
    artifacts.conv_relu(tmp_path / "seg", channels=19, model_name="efficientvit_seg_b0_cityscapes")
    return tmp_path


def start(place: Path, verb: Verb, out: str, shell: str = "") -> "subprocess.Popen[str]":
    return subprocess.Popen(
        ["bash", "-c", f"{shell}{PROGRAM} {verb.line.format(out=out)} {'' if '>&-' not in shell else '>&- 2>&-'}"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(place / "cache")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def end(process: "subprocess.Popen[str]") -> tuple[int, str]:
    _, said = process.communicate(timeout=300)
    return process.returncode, said


def check_whole(place: Path) -> list[str]:
    """Names of the kept documents, each of which is whole."""
    names: list[str] = []
    for path in place.rglob("*"):
        if not path.is_file() or path.name.startswith(".") or "cache" in path.relative_to(place).parts:
            continue
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".html":
            assert path.read_text().rstrip().endswith("</html>")
        elif path.suffix == ".png":
            assert path.read_bytes().endswith(b"IEND\xaeB`\x82")
        names.append(path.name)
    return names


def trial_ids(path: Path) -> set[str]:
    return {trial.id for result in record.load(path).results for trial in result.trials}


def noted(name: str, fault: str, codes: list[int]) -> None:
    _table[name, fault] = ", ".join(map(str, sorted(set(codes))))
    assert BUGS not in codes, (name, fault)


@pytest.mark.parametrize("name", VERBS)
def test_killed_at_random_moments(place: Path, name: str):
    verb = VERBS[name]
    generator = random.Random(name)
    began = time.monotonic()
    code, said = end(start(place, verb, f"first{verb.ending}"))
    took_s = time.monotonic() - began
    assert code in verb.codes, said
    resumable = "bench" in name
    codes: list[int] = []
    for number in range(2):
        out = f"out{number}{verb.ending}"
        process = start(place, verb, out)
        time.sleep(generator.uniform(0.1, 0.95) * took_s)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        check_whole(place)
        finished = trial_ids(place / out) if resumable and (place / out).exists() else set[str]()
        line = f"{verb.line} --resume" if resumable else verb.line
        if (place / out).exists() and not resumable:
            (place / out).unlink()
        code, said = end(start(place, replace(verb, line=line), out))
        assert code in verb.codes, said
        assert not resumable or finished <= trial_ids(place / out)
        codes.append(code)
    assert not list(place.glob(".*.claim"))
    noted(name, "killed, then again", codes)


@pytest.mark.parametrize("name", VERBS)
def test_without_space(place: Path, name: str):
    """A file-size limit of 1 KiB stands for a full disk: it needs no mount."""
    verb = VERBS[name]
    earlier = place / f"out{verb.ending}"
    earlier.write_text("earlier")
    out = "fresh.json" if name in ("bench", "duel") else earlier.name
    code, said = end(start(place, verb, out, "ulimit -f 1; "))
    assert "Traceback" not in said
    if earlier.read_text() == "earlier":
        earlier.unlink()
    else:
        assert code in verb.codes
    check_whole(place)
    noted(name, "file-size limit", [code])


@pytest.mark.parametrize("name", VERBS)
def test_where_nothing_can_be_written(place: Path, name: str):
    code, said = end(start(place, VERBS[name], f"/proc/out{VERBS[name].ending}"))
    assert code in (9, *VERBS[name].codes[:1]), said
    assert code == 9 or code in (10, 12), said
    assert "Traceback" not in said
    noted(name, "read-only folder", [code])


@pytest.mark.parametrize("name", VERBS)
def test_two_at_once(place: Path, name: str):
    verb = VERBS[name]
    both = [start(place, verb, f"same{verb.ending}") for _ in range(2)]
    ended = [end(process) for process in both]
    codes = [code for code, _ in ended]
    assert any(code in verb.codes for code in codes), ended
    assert all(code in (*verb.codes, *verb.twice) for code in codes), ended
    check_whole(place)
    noted(name, "two at once", codes)


@pytest.mark.parametrize("name", VERBS)
def test_with_closed_streams(place: Path, name: str):
    verb = VERBS[name]
    code, _ = end(start(place, verb, f"out{verb.ending}", ": >&-; "))
    assert code in verb.codes
    assert f"out{verb.ending}" in check_whole(place)
    noted(name, "closed streams", [code])


@pytest.mark.parametrize("kind", ["onnx", "tflite"])
def test_mutated_files_never_end_the_program(tmp_path: Path, kind: str, say, capsys: pytest.CaptureFixture[str]):
    generator = random.Random(kind)
    folder = tmp_path / "mutated"
    if kind == "onnx":
        artifact = artifacts.conv_relu(folder, channels=19, model_name="efficientvit_seg_b0_cityscapes")
    else:
        artifact = artifacts.conv_relu_tflite(folder, channels=19)
    manifest = msgspec.structs.replace(artifact.manifest, model="efficientvit_seg_b0_cityscapes", task="segmentation")
    whole = artifact.file.read_bytes()
    codes: list[int] = []
    for _ in range(32):
        data = bytearray(whole)
        for _ in range(generator.choice((1, 4, 16))):
            data[generator.randrange(len(data) // 4)] = generator.randrange(256)
        artifact.file.write_bytes(data)
        write(folder, msgspec.structs.replace(manifest, sha256=digest_of(artifact.file), size_bytes=len(data)))
        code, _, err = say("predict", str(folder), "sample:coffee", "--out", "out.png")
        codes.append(code)
        assert code in (0, 4, 5, 9), err
    assert set(codes) & {5, 9}
