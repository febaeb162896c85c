"""Checks of the link: a command, a file there and back, the device facts, and our agent."""

import os
import time

from vitdeploy._version import __version__
from vitdeploy.api.selftest_checks.subject import Answer, Subject, failed, passed
from vitdeploy.artifacts.manifest import digest_of
from vitdeploy.catalog.fact_table import DeviceFacts
from vitdeploy.devices import device_facts, inventory

FILE_BYTES = 2**20
COMMAND_S = 60.0
NEEDED = (DeviceFacts.cpu, DeviceFacts.cores_physical, DeviceFacts.memory_bytes, DeviceFacts.os)
"""Facts without which runs of two machines could not be told apart."""


def link(subject: Subject) -> Answer:
    """A command answers, and a file comes back as it went."""
    sent, back = subject.folder / "sent.bin", subject.folder / "back.bin"
    sent.write_bytes(os.urandom(FILE_BYTES))
    sha256 = digest_of(sent)
    with inventory.connect(subject.device) as connection:
        begin = time.perf_counter()
        reply = connection.run(["echo", "vitdeploy"], timeout_s=COMMAND_S)
        answered = time.perf_counter()
        remote = connection.push(sent, sha256=sha256)
        connection.pull(remote, back)
        copied = time.perf_counter()
        if subject.device.link != "local":
            connection.run(["rm", "-f", remote], timeout_s=COMMAND_S)
    if reply.exit_code or reply.stdout.strip() != "vitdeploy":
        return failed(f"`echo` ended with {reply.exit_code} and said {reply.stdout.strip()!r}", "Check its shell.")
    if digest_of(back) != sha256:
        return failed("a file came back with other bytes than were sent", "Check the link and the device's disk.")
    command_ms, copy_ms = 1e3 * (answered - begin), 1e3 * (copied - answered)
    return passed(
        f"a command answers in {command_ms:.0f} ms; 1 MiB goes there and back in {copy_ms:.0f} ms, unchanged",
        command_ms=command_ms,
        copy_1mib_both_ways_ms=copy_ms,
    )


def facts(subject: Subject) -> Answer:
    """The device says twice the same of itself, and everything that comparisons need."""
    again = device_facts.facts_of(subject.device)
    before, after = (device_facts.stable_facts(subject.device, reading) for reading in (subject.facts, again))
    changed = [name for name in before if before[name] != after.get(name)]
    if changed:
        words = "; ".join(f"{name} was {before[name]}, is {after.get(name)}" for name in changed)
        return failed(f"facts that should stay changed: {words}", "Look for what changes it meanwhile.")
    hidden = [fact.name for fact in NEEDED if again.get(fact.name) is None]
    if hidden:
        return failed(f"not visible: {', '.join(hidden)}", "Report it with the output of `vitdeploy doctor`.")
    return passed(f"{len(again.known())} facts are visible, and those that should stay are the same twice")


def agent(subject: Subject) -> Answer:
    """Our own code runs there, in the version that is here."""
    code = "import sys, numpy, vitdeploy; print(vitdeploy.__version__, *sys.version_info[:2], numpy.__version__)"
    with inventory.connect(subject.device) as connection:
        words = connection.interpreter()
        begin = time.perf_counter()
        reply = connection.run([*words, "-c", code], timeout_s=COMMAND_S)
        took_ms = 1e3 * (time.perf_counter() - begin)
    said = reply.stdout.split()
    if reply.exit_code or len(said) != 4:
        last = next(reversed(reply.stderr.strip().splitlines()), "nothing")
        return failed(
            f"our code does not run there: exit code {reply.exit_code}, {last}", "Check its Python and numpy."
        )
    if said[0] != __version__:
        return failed(f"version {said[0]} answers, {__version__} was sent", "Remove ~/.cache/vitdeploy there.")
    where = "this installation" if subject.device.link == "local" else "the agent's zip"
    return passed(f"{where} runs by Python {said[1]}.{said[2]} with numpy {said[3]}", start_ms=took_ms)
