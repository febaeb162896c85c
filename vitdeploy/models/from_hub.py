"""Checkpoints of hub repositories: downloaded by huggingface_hub into the user's own cache.

That package reads its variables once, when it is imported, and somebody may have imported it before: the address, the
folder and the token are therefore handed to it. It compares sizes and not digests, and what it says of a failed
attempt hides the cause; so the server is asked once, without repetition, before the download begins.
"""

# pyright: reportUnknownMemberType=false

import contextlib
import io
import logging
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError
from tqdm.auto import tqdm

from vitdeploy import documents
from vitdeploy.catalog.checkpoints import Checkpoint
from vitdeploy.models import refused_download, weights_cache
from vitdeploy.processes.progress import bytes_arrived

ANSWER_LIMIT_S = 10.0
"""A server that says nothing for so long is not reached. Source: huggingface_hub, ``DEFAULT_ETAG_TIMEOUT``."""

_SHA256 = re.compile(r"[0-9a-f]{64}")


class _Bar(tqdm):
    """What huggingface_hub takes for its progress bar: it prints nothing and tells who watches."""

    label = ""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{**options, "file": io.StringIO(), "disable": False})

    def update(self, n: float | None = 1) -> bool | None:
        """So many bytes more."""
        shown = super().update(n)
        bytes_arrived(int(self.n), None if self.total is None else int(self.total), self.label)
        return shown


def download(checkpoint: Checkpoint) -> Path:
    """The file in the user's cache; nothing is downloaded of a file that is not the published one.

    Raises:
        DeviceError: no network, or the server does not give the file.
        UnreadableFile: it is another file, or the cache cannot be written.
    """
    assert checkpoint.hub is not None, checkpoint.name
    revision = checkpoint.revision or weights_cache.DEFAULT_REVISION
    endpoint, cache = refused_download.endpoint(), weights_cache.hub_cache()
    token = huggingface_hub.get_token()
    url = huggingface_hub.hf_hub_url(checkpoint.hub, checkpoint.file, revision=revision, endpoint=endpoint)
    with _failures_of(checkpoint, cache), _quiet():
        answer = huggingface_hub.get_hf_file_metadata(url, token=token, timeout=ANSWER_LIMIT_S, endpoint=endpoint)
        if checkpoint.size_bytes is not None and answer.size not in (None, checkpoint.size_bytes):
            raise refused_download.wrong_size(checkpoint, answer.size or 0)
        published = checkpoint.sha256 or checkpoint.sha256_prefix or ""
        if answer.etag and _SHA256.fullmatch(answer.etag) and not answer.etag.startswith(published):
            raise refused_download.wrong_digest(checkpoint, answer.etag)
        bar = type("_LabelledBar", (_Bar,), {"label": checkpoint.name})
        return Path(
            huggingface_hub.hf_hub_download(
                checkpoint.hub,
                checkpoint.file,
                revision=revision,
                cache_dir=cache,
                endpoint=endpoint,
                token=token,
                etag_timeout=ANSWER_LIMIT_S,
                tqdm_class=bar,
            )
        )


@contextlib.contextmanager
def _failures_of(checkpoint: Checkpoint, cache: Path) -> Generator[None, None, None]:
    """Whatever the package raises, as one of our errors."""
    try:
        yield
    except HfHubHTTPError as error:
        words = refused_download.status_words(error.response.status_code)
        raise refused_download.failed(checkpoint, words) from error
    except OSError as error:
        if error.errno is not None:  # the disk's own; the package's have no number
            raise documents.cannot_write(cache, error) from error
        raise refused_download.failed(checkpoint, _first_line(error)) from error
    except Exception as error:
        if refused_download.is_of_the_network(error):
            raise refused_download.failed(checkpoint, _first_line(error)) from error
        raise


@contextlib.contextmanager
def _quiet() -> Generator[None, None, None]:
    """What the package logs of attempts is said by our own messages."""
    log = logging.getLogger("huggingface_hub")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


def _first_line(error: Exception) -> str:
    """The cause of a failure in one line."""
    cause: BaseException = error.__cause__ or error
    line = (str(cause).strip().splitlines() or [""])[0]
    return f"{type(cause).__name__}: {line}" if line else type(cause).__name__
