"""The store: what lies there is what was made, byte for byte, or it does not count."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.doubles import artifacts
from vitdeploy.artifacts import manifest
from vitdeploy.artifacts.store import Store
from vitdeploy.errors import UnreadableFile, UsageError

KEY = "ab" * 32


def stored(root: Path, content: bytes = b"model", *, replace: bool = False) -> Store:
    store = Store(root)
    folder = store.workplace(KEY)
    artifacts.plain_file(folder, content)
    store.add(KEY, folder, replace=replace)
    store.discard(folder)
    return store


def test_what_was_added_is_found_and_delivered(tmp_path: Path):
    store = stored(tmp_path / "store")
    assert store.find(KEY) is not None
    made = store.deliver(KEY, tmp_path / "out")
    manifest.check_digests(made)
    assert sorted(p.name for p in made.folder.iterdir()) == ["manifest.json", "model.onnx"]


def test_what_was_never_added_is_not_found(tmp_path: Path):
    assert Store(tmp_path / "nowhere").find(KEY) is None
    assert Store(tmp_path / "nowhere").entries() == []


def test_a_damaged_entry_does_not_count_and_is_removed(tmp_path: Path):
    store = stored(tmp_path / "store")
    path = next(tmp_path.rglob("model.onnx"))
    path.write_bytes(b"other")
    assert store.find(KEY) is None
    assert not path.exists()


def test_what_another_process_made_meanwhile_stays_where_it_is_read(tmp_path: Path):
    store = stored(tmp_path, b"theirs")
    entry = (store.folder(KEY) / "manifest.json").stat().st_ino
    stored(tmp_path, b"ours")
    assert (store.folder(KEY) / "manifest.json").stat().st_ino == entry
    assert (store.folder(KEY) / "model.onnx").read_bytes() == b"theirs"
    assert [path.name for path in tmp_path.iterdir()] == [KEY[:2]], "no workplace is left"


def test_a_damaged_or_replaced_entry_makes_room(tmp_path: Path):
    store = stored(tmp_path, b"first")
    (store.folder(KEY) / "model.onnx").write_bytes(b"spoiled")
    stored(tmp_path, b"second")
    assert (store.folder(KEY) / "model.onnx").read_bytes() == b"second"
    stored(tmp_path, b"third", replace=True)
    assert (store.folder(KEY) / "model.onnx").read_bytes() == b"third"


def test_an_unfinished_workplace_is_never_found(tmp_path: Path):
    store = Store(tmp_path)
    artifacts.plain_file(store.workplace(KEY))
    assert store.find(KEY) is None


def test_delivering_again_replaces_what_was_there(tmp_path: Path):
    out = tmp_path / "out"
    artifacts.plain_file(out, b"older")
    store = stored(tmp_path / "store", b"newer")
    manifest.check_digests(store.deliver(KEY, out))
    assert (out / "model.onnx").read_bytes() == b"newer"
    assert not list(out.glob(".*"))


def test_delivering_to_a_place_that_cannot_be_written_leaves_nothing(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnreadableFile, match="cannot write"):
        stored(tmp_path / "store").deliver(KEY, tmp_path / "file" / "out")


def test_collecting_removes_what_was_not_used_for_so_long(tmp_path: Path):
    store = stored(tmp_path)
    assert store.collect(older_than_days=1) == []
    old = time.time() - 3 * 86400
    os.utime(next(tmp_path.rglob("manifest.json")), (old, old))
    assert [entry.key for entry in store.collect(older_than_days=1, dry_run=True)] == [KEY]
    assert store.find(KEY) is not None  # a use: it is young again
    assert store.collect(older_than_days=1) == []
    assert [entry.key for entry in store.collect()] == [KEY]
    assert store.find(KEY) is None


def test_what_cannot_be_removed_is_not_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Planted: a folder that cannot be changed, as on a read-only mount."""
    store = stored(tmp_path)

    def leave(*_: object, **__: object) -> None:
        return None

    monkeypatch.setattr(shutil, "rmtree", leave)
    with pytest.raises(UnreadableFile, match="1 of 1 stored artifacts cannot be removed"):
        store.collect()


def test_using_an_entry_keeps_it_young(tmp_path: Path):
    store = stored(tmp_path)
    assert store.find(KEY) is not None
    assert time.time() - store.entries()[0].used_s < 60


KILLED = """
import sys
from pathlib import Path
from vitdeploy.artifacts.store import Store
(Store(Path(sys.argv[1])).workplace("f" * 64) / "model.onnx").write_bytes(b"half")
print("there", flush=True)
sys.stdin.read()
"""


def test_a_living_workplace_stays_and_what_a_killed_process_left_is_swept_by_the_next(tmp_path: Path):
    worker = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert worker.stdout is not None
    worker.stdout.readline()
    (living,) = tmp_path.glob("*.part")
    store = Store(tmp_path)
    store.collect()
    assert (living / "model.onnx").exists()
    own = store.workplace(KEY)
    assert (living / "model.onnx").exists()
    worker.kill()
    worker.wait()
    store.discard(store.workplace("e" * 64))
    assert list(tmp_path.glob("*.part")) == [own]
    store.discard(own)
    assert list(tmp_path.glob("*.part")) == []


@pytest.mark.parametrize("days", [-5.0, float("nan"), float("inf"), -0.001])
def test_a_number_of_days_that_is_none_removes_nothing(tmp_path: Path, days: float):
    store = stored(tmp_path)
    with pytest.raises(UsageError, match="older-than"):
        store.collect(older_than_days=days)
    assert store.find(KEY) is not None
