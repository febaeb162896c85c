"""What reports say of official weights: which checkpoint a figure is of, and what its licence forbids."""

from collections.abc import Iterable

from vitdeploy.artifacts.weights_origin import Official
from vitdeploy.catalog import checkpoint_identity
from vitdeploy.catalog.checkpoint_identity import Identity
from vitdeploy.results.record import Result


def official_of(result: Result) -> Official | None:
    """The official checkpoint of a result; in a record without it, the one whose digest its case has."""
    if result.official is not None:
        return result.official
    return Official.of(Identity(checkpoint=checkpoint_identity.of_weights(result.case.weights), proof="digest"))


def notes(results: Iterable[Result]) -> list[str]:
    """One line for each checkpoint that these figures are of, the restricted ones first."""
    records = {official.checkpoint: official for result in results if (official := official_of(result)) is not None}
    lines = [f"Weights: {official.words}." for official in records.values() if official.restriction is None]
    limited = [
        f"Restricted weights: {official.words}. The licence holds for what is made with them too."
        for official in records.values()
        if official.restriction is not None
    ]
    return [*limited, *lines]
