"""Commands for a login shell of another machine, whichever it is, and what of its output is the command's.

The command arrives as one string that the account's shell reads: bash, csh, fish. So it holds no character that one of
them treats in its own way. What the shell's start-up files print comes before a mark that nobody can know in advance.
"""

import re
import secrets
import string
from dataclasses import dataclass, field
from typing import Final

from vitdeploy.processes.connection import CommandResult

_PLAIN: Final = frozenset((string.ascii_letters + string.digits + " _./=:,+@-").encode())
_END = re.compile(rb" (\d{1,3})\n")

LONGEST_GREETING_BYTES: Final = 2**20
"""Start-up files that print more than this have no end."""


def command_for_any_shell(script: str) -> str:
    """A script for ``sh`` as a command line that every login shell hands on unchanged."""
    encoded = "".join(chr(byte) if byte in _PLAIN else f"\\0{byte:03o}" for byte in script.encode())
    # csh expands ! and ends at a line break within quotes, fish reads \\ and \' there: none of them is left.
    return f'sh -c \'eval "$(printf %b "{encoded}")"\''


@dataclass(slots=True)
class MarkedOutput:
    """The outputs of one command, as they come in: stdout between two marks, stderr up to the second."""

    mark: bytes = field(default_factory=lambda: secrets.token_hex(12).encode())
    begun: bool = False
    """Whether the command itself has started."""
    greeting: bytes = b""
    """What came before it: of the login shell's own."""

    def script(self, script: str) -> str:
        """The script that prints the marks around what ``script`` prints."""
        begin, end = self.mark.decode(), self.mark[::-1].decode()
        return f"printf %s {begin}; (\n{script}\n); ended=$?; printf %s {end} >&2; printf '%s %s\\n' {end} $ended"

    def strip(self, block: bytes) -> bytes:
        """What of the next block of stdout is the command's."""
        if self.begun:
            return block
        data = self.greeting + block
        before, mark, rest = data.partition(self.mark)
        self.begun = bool(mark)
        self.greeting = before[-LONGEST_GREETING_BYTES:]
        return rest

    def result(self, output: bytes | bytearray, stderr: bytes) -> CommandResult | None:
        """The ended command's result, from all that `strip` let through; None: it has not ended."""
        end = output.rfind(self.mark[::-1])
        match = _END.match(output, end + len(self.mark)) if end >= 0 else None
        if match is None:
            return None
        return CommandResult(
            exit_code=int(match[1]),
            stdout=output[:end].decode(errors="replace"),
            stderr=self.words(stderr).decode(errors="replace"),
        )

    def has_all_words(self, stderr: bytes | bytearray) -> bool:
        """Whether stderr is whole: it comes on a way of its own, before or after what ends stdout."""
        return self.mark[::-1] in stderr

    def words(self, stderr: bytes | bytearray) -> bytes:
        """Stderr without the mark."""
        return bytes(stderr).replace(self.mark[::-1], b"")
