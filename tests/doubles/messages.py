"""What a message to a user looks like."""


def two_lines(err: str) -> None:
    lines = err.strip().splitlines()
    assert len(lines) == 2, err
    assert lines[0].startswith("error: ")
    assert lines[1].startswith("hint: ")
    assert lines[1].rstrip().endswith((".", "?", "!", "`", "'"))
