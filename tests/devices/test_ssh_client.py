"""The two outputs of a command come on ways of their own: what it said last is never lost to a race."""

from pathlib import Path

from vitdeploy.devices.ssh_client import SshClient

LATE = 'exec 3>&2; sh -c "$0" 2>"{kept}"; sleep 0.3; cat "{kept}" >&3'
"""Stands for ssh: runs the command here, and lets its stderr out after all its stdout."""


def client(words: list[str]) -> SshClient:
    return SshClient("orin", "someone@orin", words)


def test_words_that_come_after_the_end_of_stdout_are_kept(tmp_path: Path):
    late = client(["sh", "-c", LATE.format(kept=tmp_path / "kept")])
    result = late.shell("echo out; echo why it failed >&2; exit 3", timeout_s=30)
    assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "why it failed\n")


def test_a_shell_that_sends_stderr_elsewhere_has_no_words_and_still_an_answer():
    silent = client(["sh", "-c", 'sh -c "$0" 2>/dev/null'])
    result = silent.shell("echo out; echo why it failed >&2; exit 3", timeout_s=30)
    assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "")


def test_a_program_left_behind_with_the_pipes_does_not_hold_the_answer():
    here = client(["sh", "-c", 'sh -c "$0"'])
    result = here.shell("sleep 30 & echo out; echo words >&2", timeout_s=10)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "out\n", "words\n")
