"""Progress of long work: what is called with each line, and after each trial."""

from collections.abc import Callable
from typing import Protocol


class OnTrial(Protocol):
    """Called after each trial of a bench."""

    def __call__(self, done: int, total: int, label: str) -> None:
        """``done`` of ``total`` trials are finished; ``label`` says which was last."""
        ...


Progress = Callable[[str], None]


def silent(_: str) -> None:
    """Progress that nobody reads."""


def silent_trial(done: int, total: int, label: str) -> None:
    """Trials that nobody watches."""
