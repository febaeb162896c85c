"""Figures of accuracy in words, the same on the terminal and on the page."""

from vitdeploy import units


def number(value: float | None, unit: str) -> str:
    """A figure with its unit: percent and decibels with three decimals, plain numbers with four."""
    if value is None:
        return units.MISSING
    return f"{value:.4f}" if not unit else f"{value:.3f} {unit}"


def signed(value: float | None, unit: str) -> str:
    """A difference with its sign."""
    if value is None:
        return units.MISSING
    return f"{value:+.4f}" if not unit else f"{value:+.3f} {unit}"
