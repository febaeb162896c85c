"""What `eval` prints: the figures with their drop, the worst classes and pictures, what was not scored."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vitdeploy import units
from vitdeploy.cli import console
from vitdeploy.cli.console import CommandOutcome
from vitdeploy.evaluation.metric_words import number, signed

if TYPE_CHECKING:
    from vitdeploy.evaluation.record import ClassFigure, Evaluation, Figure
    from vitdeploy.evaluation.request import EvalOutcome

FEW = 8
"""Classes and pictures that the terminal shows; the document and the page have more."""


def evaluated(outcome: "EvalOutcome") -> CommandOutcome:
    """The figures first, then where they come from."""
    found = outcome.evaluation
    subject = found.subjects[0]
    sizes = ", ".join(f"{s.size[0]}x{s.size[1]}" for s in found.subjects)
    data = found.dataset
    title = (
        f"{subject.model} {subject.target} {sizes} on {found.device.name}: "
        f"{data.scored} of {data.asked} pictures of {data.name} {data.split}".rstrip()
    )
    shown = console.table(title, "figure", "value", "fp32 torch", "drop", "95 % interval", right=(1, 2, 3, 4))
    for figure in found.figures:
        low_high = figure.drop_ci95
        shown.add_row(
            figure.name,
            number(figure.value, figure.unit),
            number(figure.reference, figure.unit),
            signed(figure.drop, figure.unit),
            f"{_plain(low_high[0], figure, sign=True)} … {_plain(low_high[1], figure, sign=True)}"
            if low_high
            else units.MISSING,
        )
    parts: list[Any] = [shown]
    if outcome.latency:
        parts.append(outcome.latency)
    parts += _classes(found)
    parts += _worst(found)
    parts += [
        f"{c.library} says {c.theirs:.4f} {c.figure} of the first {c.images}, ours is {c.ours:.4f}."
        for c in found.cross_checks
    ]
    if found.reference_why_not:
        parts.append(f"No drop: {found.reference_why_not}.".replace("..", "."))
    parts += list(found.warnings)
    parts += [str(outcome.path)] + ([str(outcome.page)] if outcome.page else [])
    error = outcome.error
    return CommandOutcome(
        document=found,
        human=parts,
        exit_code=error.exit_code if error else 0,
        failures=[(error.message, error.hint)] if error else [],
    )


def _classes(found: "Evaluation") -> list[Any]:
    seen = [one for one in found.classes if one.value is not None]
    if not seen:
        return []
    lowest: Sequence[ClassFigure] = sorted(seen, key=lambda one: one.value or 0.0)[:FEW]
    what = f"lowest of {len(seen)} classes that occur, of {len(found.classes)}"
    shown = console.table(None, what, "%", "fp32 torch", "labeled", right=(1, 2, 3))
    for one in lowest:
        shown.add_row(one.name, number(one.value, "%"), number(one.reference, "%"), f"{one.count}")
    return [shown]


def _worst(found: "Evaluation") -> list[Any]:
    if not found.worst:
        return []
    shown = console.table(None, "worst pictures", "its figure", "fp32 torch", right=(1, 2))
    for one in found.worst[:FEW]:
        shown.add_row(one.image, f"{one.score:.3f}", units.MISSING if one.reference is None else f"{one.reference:.3f}")
    return [shown]


def _plain(value: float, figure: "Figure", *, sign: bool) -> str:
    decimals = 3 if figure.unit else 4
    return f"{value:+.{decimals}f}" if sign else f"{value:.{decimals}f}"
