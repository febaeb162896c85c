"""Progress of long work: what is called with each line, after each trial, and as the bytes of a download arrive."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class OnTrial(Protocol):
    """Called after each trial of a bench."""

    def __call__(self, done: int, total: int, label: str) -> None:
        """``done`` of ``total`` trials are finished; ``label`` says which was last."""
        ...


class OnBytes(Protocol):
    """Called as the bytes of a download arrive."""

    def __call__(self, done_bytes: int, total_bytes: int | None, label: str) -> None:
        """``done_bytes`` of ``total_bytes`` (None: not known) of the file ``label`` are here."""
        ...


GOES_ON = "…"
"""The end of a line that says what begins now; a terminal shows it with a clock until the next line."""

Progress = Callable[[str], None]


def silent(_: str) -> None:
    """Progress that nobody reads."""


def silent_trial(done: int, total: int, label: str) -> None:
    """Trials that nobody watches."""


def silent_bytes(done_bytes: int, total_bytes: int | None, label: str) -> None:
    """A download that nobody watches."""


_on_bytes: ContextVar[OnBytes] = ContextVar("_on_bytes", default=silent_bytes)


@contextmanager
def watching_bytes(on_bytes: OnBytes) -> Generator[None, None, None]:
    """Have downloads inside of the block tell ``on_bytes``.

    Every verb may download, some of them deep inside of other work: the watcher is the context's and no parameter.
    """
    token = _on_bytes.set(on_bytes)
    try:
        yield
    finally:
        _on_bytes.reset(token)


def bytes_arrived(done_bytes: int, total_bytes: int | None, label: str) -> None:
    """Tell whoever watches."""
    _on_bytes.get()(done_bytes, total_bytes, label)
