"""Names that the shell completes: models, targets, devices, suites and the words of an option."""

import contextlib
from collections.abc import Callable, Iterable

from vitdeploy.errors import VitdeployError

Complete = Callable[[str], list[str]]
"""What the parser asks: the beginning of a word → the words it may become."""


def _begun(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def models(incomplete: str) -> list[str]:
    """Names of models, and of their parts once a dot is typed."""
    from vitdeploy.catalog import registry

    names = list(registry.models())
    return _begun(names if "." in incomplete else dict.fromkeys(name.partition(".")[0] for name in names), incomplete)


def targets(incomplete: str) -> list[str]:
    """Names of targets."""
    from vitdeploy.catalog import registry

    return _begun(registry.targets(), incomplete)


def devices(incomplete: str) -> list[str]:
    """Names of devices, those of the user's files too; none where one of these cannot be read."""
    from vitdeploy.devices import inventory

    names: list[str] = []
    with contextlib.suppress(VitdeployError):
        names = list(inventory.load().devices)
    return _begun(names, incomplete)


def suites(incomplete: str) -> list[str]:
    """Names of suites."""
    from vitdeploy.benchmarks import suite

    return _begun(suite.suites(), incomplete)


def tables(incomplete: str) -> list[str]:
    """Names of published tables."""
    from vitdeploy.benchmarks import reproduce

    return _begun(reproduce.names(), incomplete)


def formats(incomplete: str) -> list[str]:
    """Names of report formats."""
    from vitdeploy.catalog import registry

    return _begun(registry.FORMATS, incomplete)


def words(*choices: str) -> Complete:
    """A completion of a fixed set of words."""

    def complete(incomplete: str) -> list[str]:
        return _begun(choices, incomplete)

    return complete
