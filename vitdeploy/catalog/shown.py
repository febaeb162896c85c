"""What a verb returns, as an interactive session shows it: the table of the verb's command, as text or as HTML."""

from typing import ClassVar, TypeVar

from vitdeploy.catalog.registry import load

T = TypeVar("T")

_TEXT, _HTML = "vitdeploy.cli.notebook:text", "vitdeploy.cli.notebook:html"


class Shown:
    """Base of outcomes: what a command prints of them is what a notebook shows."""

    __slots__ = ()

    shown_by: ClassVar[str]
    """Function of the command line that makes the command's output of it, as `registry.load` takes it."""

    def __repr__(self) -> str:
        """The first rows, and where the result lies."""
        return load(_TEXT)(type(self).__name__, load(self.shown_by)(self))

    def _repr_html_(self) -> str:
        """For notebooks: all tables and notes, and the picture where the outcome has one."""
        return load(_HTML)(load(self.shown_by)(self), getattr(self, "picture", None))


class Rows(Shown, tuple[T, ...]):
    """Rows that a verb returns; a tuple that shows itself as the verb's table."""

    __slots__ = ()
