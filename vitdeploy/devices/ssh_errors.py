"""Words of OpenSSH's client on stderr, and what they mean: each cause of a failed connection with what to do about it.

Only lines in the client's own form count: a banner or a login script can hold the same words.
"""

import re
import signal
from typing import Final

from vitdeploy.processes.device_words import one_line

LINK_FAILED: Final = 255
"""What ssh itself ends with; anything else is the far side's. Source: ssh(1)."""

LONGEST_BYTES: Final = 64 * 1024
"""Of stderr so much is looked at, the last of it."""

PROXY_FAILED: Final = "UNKNOWN port 65535"
"""What ssh calls the other end of a proxy command."""

_CAUSES: Final = tuple(
    (re.compile(pattern, re.MULTILINE), meaning, hint)
    for pattern, meaning, hint in (
        (
            r"^(?:channel \d+: open failed: |stdio forwarding failed)(.*)$",
            "its jump host cannot reach it: {detail}",
            "Check `host` and `port` as seen from the jump host, and that it allows forwarding.",
        ),
        (
            PROXY_FAILED,
            "its jump host (or proxy command) failed: {first}",
            "Try `ssh {target}`, and correct ProxyJump or ProxyCommand in ~/.ssh/config.",
        ),
        (
            r"REMOTE HOST IDENTIFICATION HAS CHANGED",
            "its host key changed",
            "Find out why, then correct ~/.ssh/known_hosts.",
        ),
        (
            r"^(Host key verification failed|No \S+ host key is known for)",
            "its host key is not known",
            "Connect once by hand: `ssh {target}`.",
        ),
        (
            r"^(?:Bad owner or permissions on (.+)|(.*Bad configuration option: .*))$",
            "your SSH configuration is refused by ssh: {detail}",
            "Correct that file; `ssh -G {target}` checks it.",
        ),
        (
            r"^Permissions \d+ for '([^'\n]*)' are too open",
            "the private key {detail} can be read by other accounts, so ssh does not use it",
            "Run `chmod 600 {detail}`.",
        ),
        (
            r"agent refused operation|communication with agent failed",
            "the SSH agent refused to sign with the key",
            "Unlock the key: `ssh-add -l`, then `ssh-add`; or confirm it on its token.",
        ),
        (
            r"Too many authentication failures",
            "it refused after too many keys",
            "Name the one key with IdentityFile and `IdentitiesOnly yes` in ~/.ssh/config.",
        ),
        (
            r"^\S*:? ?Permission denied \(|^(\S+@)?\S+: Permission denied",
            "it refused the key",
            "Put your public key there: `ssh-copy-id {target}`.",
        ),
        (r"Could not resolve hostname", "its name is not known", "Check `host` in the device file."),
        (
            r"connect to host .*Connection refused",
            "nothing listens on its SSH port",
            "Start sshd there, or correct `port`.",
        ),
        (
            r"(connect to host .*|Connection |Operation )timed out( during banner exchange)?",
            "it does not answer",
            "Check that it is on and in reach.",
        ),
        (r"No route to host|Network is unreachable", "there is no route to it", "Check the network."),
        (
            r"no matching ([a-z ]+) found",
            "its sshd and this ssh have no {detail} in common",
            "Update the older one, or allow that algorithm for this host in ~/.ssh/config.",
        ),
        (
            r"^(kex_exchange_identification|Connection (closed|reset) by \S+ port)",
            "it closed the connection before the login",
            "Look at sshd's log there: MaxStartups, fail2ban, an account that is locked.",
        ),
    )
)
"""Sign, meaning and hint. The first that fits counts: the causes stand before what follows from them."""


_OWN_LINE: Final = re.compile(r"^ssh: |Permission denied \(|^Host key verification failed|agent refused|too open")
"""A line that says why the client on the way failed, and no banner's."""


def cause_of(stderr: str, target: str) -> tuple[str, str] | None:
    """Why a connection failed and what to do, from what ssh printed; None where it names no cause known here."""
    for sign, meaning, hint in _CAUSES:
        if match := sign.search(stderr):
            detail = one_line(next((group for group in match.groups() if group), ""), 120)
            lines = [one_line(line, 160) for line in stderr.splitlines() if line.strip()]
            first = next((line for line in lines if _OWN_LINE.search(line)), lines[0])
            values = {"target": target, "detail": detail, "first": first}
            return meaning.format(**values), hint.format(**values)
    return None


def signal_of(exit_code: int) -> str | None:
    """The signal that a shell's exit code stands for: 128 and its number."""
    try:
        return signal.Signals(exit_code - 128).name if exit_code > 128 else None
    except ValueError:
        return None
