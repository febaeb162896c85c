"""Downloads from plain addresses: gone on with where they were cut, checked, and refused as those of the hub are."""

import os
import resource
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doubles import hub_double
from tests.doubles.hub_double import HubDouble
from vitdeploy.catalog.checkpoints import Checkpoint
from vitdeploy.errors import DeviceError, UnreadableFile
from vitdeploy.models import official, refused_download, weights_cache
from vitdeploy.processes.progress import watching_bytes

from_url = pytest.importorskip("vitdeploy.models.from_url", reason="the package requests (extra hub) is not installed")

CONTENT = os.urandom(300_000)
PATH = "/releases/small_net.pt"
Row = Callable[..., Checkpoint]


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_url, "PAUSE_S", 0.0)


def at(hub: HubDouble, row: Row, **fields: object) -> Checkpoint:
    return row(**{"hub": None, "revision": None, "url": hub.url + PATH, **fields})


def test_a_good_file_is_downloaded_checked_and_then_found(hub: HubDouble, row: Row):
    served = hub.add(PATH, CONTENT)
    checkpoint = at(hub, row, sha256=served.sha256, size_bytes=len(CONTENT))
    seen: list[tuple[int, int | None]] = []
    with watching_bytes(lambda done_bytes, total_bytes, label: seen.append((done_bytes, total_bytes))):
        file = official.obtain(checkpoint)
    assert file.path == weights_cache.own_path(checkpoint)
    assert file.path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert official.obtain(checkpoint).sha256 == served.sha256
    assert len(hub.requests) == 1
    assert not [path for path in file.path.parent.iterdir() if ".part" in path.name]


def test_cut_downloads_go_on_where_they_were_cut(hub: HubDouble, row: Row):
    served = hub.add(PATH, CONTENT, cuts=[100_000, 50_000])
    file = official.obtain(at(hub, row, sha256=served.sha256))
    assert file.path.read_bytes() == CONTENT
    assert len(hub.requests) == 3
    assert int(hub.requests[2].headers["range"].removeprefix("bytes=").removesuffix("-")) >= 100_000


def test_the_next_command_goes_on_with_an_unfinished_file(hub: HubDouble, row: Row, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(from_url, "CONTINUATIONS", 0)
    served = hub.add(PATH, CONTENT, cuts=[280_000])
    checkpoint = at(hub, row, sha256=served.sha256)
    with pytest.raises(DeviceError, match=r"the connection was cut after .* of 293.0 KiB; the next attempt goes on"):
        official.obtain(checkpoint)
    assert weights_cache.cached_path(checkpoint) is None
    assert official.obtain(checkpoint).path.read_bytes() == CONTENT
    assert hub.requests[1].headers["range"].startswith("bytes=")


def test_an_unfinished_file_of_another_version_is_not_gone_on_with(
    hub: HubDouble, row: Row, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(from_url, "CONTINUATIONS", 0)
    hub.add(PATH, CONTENT[::-1], cuts=[280_000])
    newer = hub_double.Served(content=CONTENT)
    checkpoint = at(hub, row, sha256=newer.sha256)
    with pytest.raises(DeviceError):
        official.obtain(checkpoint)
    hub.files[PATH] = newer
    assert official.obtain(checkpoint).path.read_bytes() == CONTENT


def test_a_server_without_ranges_starts_again(hub: HubDouble, row: Row):
    served = hub.add(PATH, CONTENT, cuts=[100_000], ranges=False)
    assert official.obtain(at(hub, row, sha256=served.sha256)).path.read_bytes() == CONTENT


def test_a_wrong_digest_is_not_kept(hub: HubDouble, row: Row):
    hub.add(PATH, CONTENT)
    checkpoint = at(hub, row, sha256="0" * 64)
    with pytest.raises(UnreadableFile, match="is not the official checkpoint small_net: its sha256 is") as refused:
        official.obtain(checkpoint)
    assert str(weights_cache.own_path(checkpoint)) in refused.value.hint
    left = [path.name for path in weights_cache.own_folder(checkpoint).iterdir()]
    assert all(name.endswith((".lock", ".etag")) for name in left)


def test_a_wrong_length_is_refused_before_the_body(hub: HubDouble, row: Row):
    hub.add(PATH, CONTENT)
    with pytest.raises(UnreadableFile, match="is 300000 bytes, the official checkpoint small_net is 5"):
        official.obtain(at(hub, row, size_bytes=5))


def test_a_web_page_is_no_checkpoint(hub: HubDouble, row: Row):
    hub.add(PATH, b"<html>sign in</html>", content_type="text/html; charset=utf-8")
    with pytest.raises(DeviceError, match="answers with a web page"):
        official.obtain(at(hub, row))


@pytest.mark.parametrize("status", [401, 403, 404, 429, 503])
def test_a_refusal_is_said_and_the_file_can_be_put_there_by_hand(hub: HubDouble, row: Row, status: int):
    served = hub.add(PATH, CONTENT, status=status)
    checkpoint = at(hub, row, sha256=served.sha256)
    with pytest.raises(DeviceError, match=f"the server answers {status}") as refused:
        official.obtain(checkpoint)
    place = weights_cache.own_path(checkpoint)
    assert all(part in refused.value.hint for part in (hub.url + PATH, served.sha256, str(place)))
    place.write_bytes(CONTENT)
    assert official.obtain(checkpoint).path == place
    place.write_bytes(CONTENT[1:])
    with pytest.raises(UnreadableFile, match="is not the official checkpoint"):
        official.obtain(checkpoint)


def test_no_server(hub: HubDouble, row: Row):
    with pytest.raises(DeviceError, match="refused"):
        official.obtain(at(hub, row, url="http://127.0.0.1:9/small_net.pt"))


def test_a_silent_server_is_left(hub: HubDouble, row: Row, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(from_url, "READ_LIMIT_S", 0.1)
    monkeypatch.setattr(from_url, "CONTINUATIONS", 0)
    served = hub.add(PATH, CONTENT, pause_s=0.5)
    with pytest.raises(DeviceError, match="was cut after"):
        official.obtain(at(hub, row, sha256=served.sha256))


def test_another_server_is_followed_to(hub: HubDouble, row: Row):
    with hub_double.served("localhost") as other:
        served = other.add(PATH, CONTENT)
        hub.add(PATH, b"", redirect_to=other.url)
        assert official.obtain(at(hub, row, sha256=served.sha256)).path.read_bytes() == CONTENT


@pytest.mark.parametrize("name", refused_download.OFFLINE)
def test_offline_means_no_request(hub: HubDouble, row: Row, monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.setenv(name, "1")
    with pytest.raises(DeviceError, match=f"{name}=1 forbids it"):
        official.obtain(at(hub, row))
    assert not hub.requests


def test_a_full_disk_is_said_as_such(hub: HubDouble, row: Row):
    served = hub.add(PATH, CONTENT)
    checkpoint = at(hub, row, sha256=served.sha256)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(UnreadableFile, match=r"cannot write .*File too large"):
            official.obtain(checkpoint)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert official.obtain(checkpoint).path.read_bytes() == CONTENT


def test_who_comes_second_waits_and_takes_what_the_first_has_downloaded(hub: HubDouble, row: Row, tmp_path: Path):
    import threading

    served = hub.add(PATH, CONTENT, pause_s=0.02)
    checkpoint = at(hub, row, sha256=served.sha256)
    lines: list[str] = []
    threads = [
        threading.Thread(target=official.obtain, args=(checkpoint,), kwargs={"progress": lines.append})
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(hub.requests) == 1
    assert sum("another process downloads" in line for line in lines) == 1
    assert weights_cache.own_path(checkpoint).read_bytes() == CONTENT
