"""Words of a device, a tool or another account: strangers' text made fit to stand in a message of ours.

Standard library only: the agent carries this file to devices.
"""

LONGEST_WORDS = 300
"""Characters of a stranger's text in one message."""


def one_line(text: str, limit: int = LONGEST_WORDS) -> str:
    """The text on one line of printable characters, cut at ``limit``.

    Control, bidirectional and other invisible characters become blanks: they could change what a terminal shows.
    """
    # A text of any length is cut before it is looked at; blanks that are joined make it shorter still.
    head = text[: 4 * limit]
    words = "".join(char if char.isprintable() else " " for char in head).split()
    line = " ".join(words)
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def last_line(text: str, otherwise: str = "no output", limit: int = LONGEST_WORDS) -> str:
    """The last line of a text that is not blank, as `one_line` has it."""
    for line in reversed(text[-16 * limit :].splitlines()):
        if shown := one_line(line, limit):
            return shown
    return otherwise
