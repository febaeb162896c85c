"""Downloads from hub repositories: a double that speaks the hub's resolve addresses, and all that may go wrong."""

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doubles import hub_double
from tests.doubles.hub_double import COMMIT, HubDouble
from vitdeploy.catalog.checkpoints import Checkpoint
from vitdeploy.errors import DeviceError, UnreadableFile
from vitdeploy.models import official, refused_download, weights_cache
from vitdeploy.processes.progress import watching_bytes

pytest.importorskip("huggingface_hub", reason="the package huggingface_hub (extra hub) is not installed")

CONTENT = os.urandom(300_000)
REPOSITORY, FILE = "lab/small-net", "small_net.pt"
Row = Callable[..., Checkpoint]


def good_row(row: Row, served: hub_double.Served) -> Checkpoint:
    return row(sha256=served.sha256, size_bytes=len(served.content))


def test_a_good_file_is_downloaded_checked_and_then_found_in_the_cache(hub: HubDouble, row: Row):
    served = hub.add_to_hub(REPOSITORY, FILE, CONTENT)
    checkpoint = good_row(row, served)
    seen: list[tuple[int, int | None]] = []
    lines: list[str] = []
    with watching_bytes(lambda done_bytes, total_bytes, label: seen.append((done_bytes, total_bytes))):
        file = official.obtain(checkpoint, progress=lines.append)
    assert file.path.read_bytes() == CONTENT
    assert file.sha256 == served.sha256
    assert file.path.is_relative_to(Path(os.environ["HF_HOME"]) / "hub")
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert lines == [f"downloading {hub.url}/{REPOSITORY}/resolve/{COMMIT}/{FILE} (293.0 KiB, MIT)"]
    before = len(hub.requests)
    assert official.obtain(checkpoint).path == file.path
    assert weights_cache.cached_path(checkpoint) == file.path
    assert len(hub.requests) == before


def test_the_newest_revision_is_found_in_the_cache_by_its_name(hub: HubDouble, row: Row):
    served = hub.add_to_hub(REPOSITORY, FILE, CONTENT, revision="main")
    checkpoint = row(revision=None, sha256=served.sha256)
    file = official.obtain(checkpoint)
    assert weights_cache.cached_path(checkpoint) == file.path


def test_the_user_s_own_cache_and_token_are_used(
    hub: HubDouble, row: Row, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "mine"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    file = official.obtain(good_row(row, hub.add_to_hub(REPOSITORY, FILE, CONTENT)))
    assert file.path.is_relative_to(tmp_path / "mine")
    assert hub.requests[0].headers["authorization"] == "Bearer hf_secret"


def test_a_token_does_not_leave_the_hub(hub: HubDouble, row: Row, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with hub_double.served("localhost") as other:
        other.add_to_hub(REPOSITORY, FILE, CONTENT)
        served = hub.add_to_hub(REPOSITORY, FILE, CONTENT, redirect_to=other.url)
        file = official.obtain(good_row(row, served))
        assert file.path.read_bytes() == CONTENT
        assert [request.method for request in other.requests] == ["GET"]
        assert "authorization" not in other.requests[0].headers


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"sha256": "0" * 64}, "its sha256 is"),
        ({"sha256_prefix": "00000000"}, "its sha256 is"),
        ({"size_bytes": 5}, "300000 bytes"),
    ],
)
def test_another_file_is_refused_before_it_is_downloaded(
    hub: HubDouble, row: Row, fields: dict[str, object], words: str
):
    hub.add_to_hub(REPOSITORY, FILE, CONTENT)
    checkpoint = row(**fields)
    with pytest.raises(UnreadableFile, match=words) as refused:
        official.obtain(checkpoint)
    assert str(weights_cache.own_path(checkpoint)) in refused.value.hint
    assert not hub.gets()


def test_a_server_that_lies_about_the_digest_is_found_out(hub: HubDouble, row: Row):
    hub.add_to_hub(REPOSITORY, FILE, CONTENT, digest="1" * 64)
    with pytest.raises(UnreadableFile, match="is not the official checkpoint") as refused:
        official.obtain(row(sha256="1" * 64))
    assert "Remove that file" in refused.value.hint


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
def test_a_refusal_is_said_with_all_that_is_needed_to_do_without(hub: HubDouble, row: Row, status: int):
    served = hub.add_to_hub(REPOSITORY, FILE, CONTENT, status=status)
    checkpoint = good_row(row, served)
    with pytest.raises(DeviceError, match=f"the server answers {status}") as refused:
        official.obtain(checkpoint)
    assert len(hub.requests) == 1
    hint = refused.value.hint
    assert all(part in hint for part in (refused_download.address(checkpoint), served.sha256, "--weights FILE"))
    place = weights_cache.own_path(checkpoint)
    assert str(place) in hint
    place.parent.mkdir(parents=True)
    place.write_bytes(CONTENT)
    assert official.obtain(checkpoint).path == place


def test_a_refusal_of_the_body_is_said_too(hub: HubDouble, row: Row):
    served = hub.add_to_hub(REPOSITORY, FILE, CONTENT, get_status=503)
    with pytest.raises(DeviceError, match="the server answers 503"):
        official.obtain(good_row(row, served))


def test_no_server(row: Row, hub: HubDouble, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(DeviceError, match=r"cannot download the weights small_net: .*refused"):
        official.obtain(row(sha256="0" * 64))


def test_a_cut_download_goes_on_where_it_was_cut(hub: HubDouble, row: Row):
    content = CONTENT * 40  # huggingface_hub keeps whole blocks of 10 MB
    served = hub.add_to_hub(REPOSITORY, FILE, content, cuts=[11_000_000])
    assert official.obtain(good_row(row, served)).path.read_bytes() == content
    ranges = [request.headers.get("range") for request in hub.gets()]
    assert ranges[0] is None
    assert ranges[1] is not None


def test_a_short_file_is_not_kept(hub: HubDouble, row: Row):
    served = hub.add_to_hub(REPOSITORY, FILE, CONTENT, size_bytes=len(CONTENT) + 1)
    checkpoint = row(sha256=served.sha256)
    with pytest.raises(DeviceError, match="should be of size"):
        official.obtain(checkpoint)
    assert weights_cache.cached_path(checkpoint) is None


@pytest.mark.parametrize("name", refused_download.OFFLINE)
def test_offline_means_no_request(hub: HubDouble, row: Row, monkeypatch: pytest.MonkeyPatch, name: str):
    served = hub.add_to_hub(REPOSITORY, FILE, CONTENT)
    checkpoint = good_row(row, served)
    file = official.obtain(checkpoint)
    monkeypatch.setenv(name, "1")
    assert official.obtain(checkpoint).path == file.path  # what is here is here
    with pytest.raises(DeviceError, match=f"{name}=1 forbids it"):
        official.obtain(row(name="other", file="other.pt", sha256=served.sha256))
    assert {request.path for request in hub.requests} == {f"/{REPOSITORY}/resolve/{COMMIT}/{FILE}"}


def test_a_full_disk_is_said_as_such(hub: HubDouble, row: Row):
    checkpoint = good_row(row, hub.add_to_hub(REPOSITORY, FILE, CONTENT))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(UnreadableFile, match=r"cannot write .*File too large"):
            official.obtain(checkpoint)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert weights_cache.cached_path(checkpoint) is None


def test_what_is_not_published_is_noted_and_held_against_later(hub: HubDouble, row: Row):
    served = hub.add_to_hub(REPOSITORY, FILE, CONTENT)
    lines: list[str] = []
    file = official.obtain(row(), progress=lines.append)
    assert f"no digest is published; what came is noted: sha256 {served.sha256}" in lines[-1]
    file.path.unlink()
    hub.add_to_hub(REPOSITORY, FILE, CONTENT[::-1])
    with pytest.raises(UnreadableFile, match=f"no digest is published, and on .* it was {served.sha256}"):
        official.obtain(row())


def test_a_part_of_a_digest_is_said_to_be_a_part(hub: HubDouble, row: Row):
    served = hub.add_to_hub(REPOSITORY, FILE, CONTENT)
    lines: list[str] = []
    official.obtain(row(sha256_prefix=served.sha256[:8]), progress=lines.append)
    assert f"only {served.sha256[:8]}… is published" in lines[-1]


ONE = """
import sys
from vitdeploy.catalog.checkpoints import Checkpoint
from vitdeploy.models import official
fields = eval(sys.argv[1])
print(official.obtain(Checkpoint(**fields)).path)
"""


def at_once(checkpoint: Checkpoint) -> list[str]:
    """What two processes say that download the same file at the same time."""
    fields = repr({name: getattr(checkpoint, name) for name in checkpoint.__dataclass_fields__})
    command = [sys.executable, "-c", ONE, fields]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=120)[0].strip() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    return said


@pytest.mark.slow
def test_two_processes_at_once(hub: HubDouble, row: Row):
    served = hub.add_to_hub(REPOSITORY, FILE, CONTENT, pause_s=0.05)
    first, second = at_once(good_row(row, served))
    assert first == second
    assert Path(first).read_bytes() == CONTENT
