"""The fault matrix: every verb that writes, killed, without space or permission, twice at once, with closed streams.

Afterwards every kept file is whole and every finished trial is there. ``-s`` prints what each cell ended in; that table
stands in docs/faults.md.
"""

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.doubles import artifacts, fault_cells
from tests.doubles.fault_cells import VERBS, check_whole, end, finished, start
from vitdeploy.artifacts.manifest import digest_of, write

pytestmark = pytest.mark.slow

BUGS = 1
REGRESSION = {10}
"""A verdict is decided before anything is written, and stands."""
MOMENTS = 2
"""Kills of one verb, each at another moment."""

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


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that keeps the models of the catalog from one cell to the next."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with what the verbs need."""
    fault_cells.furnish(tmp_path)
    return tmp_path


@pytest.fixture(params=VERBS)
def name(request: pytest.FixtureRequest) -> str:
    """Each verb."""
    if request.param == "sweep":
        pytest.importorskip("distributed", reason="Dask (extra fleet) is not installed")
    return request.param


def noted(name: str, fault: str, codes: list[int]) -> None:
    _table[name, fault] = ", ".join(map(str, sorted(set(codes))))
    assert BUGS not in codes, (name, fault)


def test_killed_at_random_moments(place: Path, cache: Path, name: str):
    verb = VERBS[name]
    generator = random.Random(name)
    began = time.monotonic()
    code, said = end(start(place, verb, f"first{verb.ending}", cache=cache))
    took_s = time.monotonic() - began
    assert code in verb.codes, said
    codes: list[int] = []
    for number in range(MOMENTS):
        out = place / f"out{number}{verb.ending}"
        process = start(place, verb, out.name, cache=cache)
        time.sleep(generator.uniform(0.1, 0.95) * took_s)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        check_whole(place)
        before = finished(out) if verb.resumes else set[str]()
        if verb.keeps and not verb.resumes:
            out.unlink(missing_ok=True)
        more = "--resume" if verb.resumes else ""
        code, said = end(start(place, verb, out.name, cache=cache, more=more))
        assert code in verb.codes, said
        assert before <= finished(out) if verb.resumes else out.exists()
        check_whole(place)
        codes.append(code)
    assert not list(place.glob(".*.claim"))
    noted(name, "killed, then again", codes)


def test_without_space(place: Path, cache: Path, name: str):
    """A file-size limit of 1 KiB stands for a full disk: it needs no mount."""
    verb = VERBS[name]
    earlier = place / f"out{verb.ending}"
    if verb.ending and not verb.keeps:
        earlier.write_text("earlier")
    out = f"fresh{verb.ending}" if verb.keeps else earlier.name
    code, said = end(start(place, verb, out, cache=cache, shell="ulimit -f 1; "))
    assert "Traceback" not in said
    if earlier.is_file() and earlier.read_text() == "earlier":
        earlier.unlink()
    else:
        assert code in (*verb.codes, 9), said
    check_whole(place)
    noted(name, "file-size limit", [code])


def test_where_nothing_can_be_written(place: Path, cache: Path, name: str):
    verb = VERBS[name]
    code, said = end(start(place, verb, f"/proc/out{verb.ending}", cache=cache))
    assert code in {9, *(REGRESSION & {*verb.codes})}, said
    assert "Traceback" not in said
    noted(name, "read-only folder", [code])


def test_two_at_once(place: Path, cache: Path, name: str):
    verb = VERBS[name]
    both = [start(place, verb, f"same{verb.ending}", cache=cache) for _ in range(2)]
    ended = [end(process) for process in both]
    codes = [code for code, _ in ended]
    assert any(code in verb.codes for code in codes), ended
    assert all(code in (*verb.codes, *verb.twice) for code in codes), ended
    check_whole(place)
    noted(name, "two at once", codes)


def test_with_closed_streams(place: Path, cache: Path, name: str):
    verb = VERBS[name]
    code, _ = end(start(place, verb, f"out{verb.ending}", cache=cache, shell=": >&-; "))
    assert code in verb.codes
    check_whole(place)
    assert (place / f"out{verb.ending}").exists()
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
