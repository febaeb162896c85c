"""Files of /proc and /sys: their text or number; what cannot be read is no fact. Standard library only."""

from pathlib import Path


def text_of(path: Path) -> str:
    """What stands in a file, without the white space around it; empty where it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def integer_of(path: Path) -> int | None:
    """The whole number that a file holds; None where it holds none."""
    digits = text_of(path)
    return int(digits) if digits.removeprefix("-").isdecimal() else None
