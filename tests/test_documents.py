"""JSON documents are read strictly and written whole or not at all."""

import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from vitdeploy import documents
from vitdeploy.errors import UnreadableFile


class Note(msgspec.Struct, forbid_unknown_fields=True):
    """A document of the tests."""

    schema: int
    words: list[str]


def read(path: Path) -> Note:
    return documents.read(path, Note, schema=3, what="note")


def test_what_is_written_is_read_again(tmp_path: Path):
    documents.write(tmp_path / "deep" / "note.json", Note(3, ["a", "ü"]))
    assert read(tmp_path / "deep" / "note.json") == Note(3, ["a", "ü"])
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["note.json"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("   \n", "is empty"),
        ('{"schema": 3, "words": ["a"', "not a note file"),
        ('{"words": []}', "schema"),
        ('{"schema": "3", "words": []}', "schema"),
        ('{"schema": 4, "words": [], "more": 1}', "reads up to 3"),
        ('{"schema": 3, "words": [], "more": 1}', "more"),
        ('{"schema": 3, "words": [1]}', "$.words[0]"),
        ("[" * 100_000, "not a note file"),
        ('{"schema": 3, "words": ' + "[" * 100_000, "note file"),
        ("\x00\x01", "not a note file"),
    ],
)
def test_a_bad_document_is_told_by_name_and_field(tmp_path: Path, text: str, said: str):
    path = tmp_path / "note.json"
    path.write_text(text)
    with pytest.raises(UnreadableFile) as caught:
        read(path)
    assert said in caught.value.message
    assert str(path) in caught.value.message
    assert caught.value.exit_code == 9


def test_a_missing_document_is_told(tmp_path: Path):
    with pytest.raises(UnreadableFile, match="No such file"):
        read(tmp_path / "note.json")


def test_a_folder_that_is_a_file_is_told(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UnreadableFile, match="cannot write"):
        documents.write(tmp_path / "file" / "note.json", Note(3, []))


def test_a_full_disk_keeps_the_old_document(tmp_path: Path):
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs needs root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    try:
        documents.write(disk / "note.json", Note(3, ["small"]))
        with pytest.raises(UnreadableFile, match="No space left"):
            documents.write(disk / "note.json", Note(3, ["large"] * 50_000))
        assert read(disk / "note.json") == Note(3, ["small"])
        assert [p.name for p in disk.iterdir()] == ["note.json"]
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("name", ["note.json", "new.json"])
def test_a_read_only_mount_is_named_before_any_work(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch):
    """A file that is there does not help: it is replaced by one that is made beside it."""
    (tmp_path / "note.json").write_text("old")
    state = list(os.statvfs(tmp_path))
    state[8] |= os.ST_RDONLY  # f_flag
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result(state))
    with pytest.raises(UnreadableFile, match="Read-only file system"):
        documents.check_place(tmp_path / name)


def test_what_a_killed_writer_left_is_removed_and_a_living_one_is_not_disturbed(tmp_path: Path):
    dead = subprocess.Popen(["true"])
    dead.wait()
    left = tmp_path / f".run.json.{dead.pid}-abc.part"
    living = tmp_path / f".run.json.{os.getpid()}-abc.part"
    other = tmp_path / f".run.jsonl.{dead.pid}-abc.part"
    for path in (left, living, other):
        path.write_text("half")
    documents.write_bytes(tmp_path / "run.json", b"{}")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(("run.json", living.name, other.name))
