"""The one protocol of all child processes: what each entry does with its stdin, what its parent makes of its end."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from vitdeploy import documents
from vitdeploy.errors import DeviceError, Impossible, ToolchainFailed, UnreadableFile, UsageError, VitdeployError
from vitdeploy.processes import child_process, child_reply
from vitdeploy.processes.connection import CommandResult
from vitdeploy.processes.local import LocalConnection

ROOT = Path(__file__).parents[2]

ENTRIES = {
    "vitdeploy.benchmarks.trial.worker": "run_job",
    "vitdeploy.inference.worker": "run_job",
    "vitdeploy.inference.local_reference": "run_job",
    "vitdeploy.benchmarks.profile.worker": "measure",
    "vitdeploy.devices.computer_facts": "read_facts",
    "vitdeploy.exporters.step": "run",
    "vitdeploy.exporters.engines.build": "build",
    "vitdeploy.exporters.tflite.onnx2tf_process": "convert",
    "vitdeploy.models.user": "describe",
}
"""What is started with ``-m``, and the function of it that does the work."""

PLANTED = """
import os, runpy, sys
from vitdeploy.processes import child_process
from vitdeploy.errors import Impossible

def planted(*given, **named):
    print("a framework says hello", flush=True)
    os.write(1, b"and so does native code\\n")
    {body}

answer = child_process.answer
child_process.answer = lambda run, kind=None: answer(planted)
runpy.run_module({module!r}, run_name="__main__")
"""
"""An entry as it is, but that its work is planted."""


@pytest.fixture(params=ENTRIES)
def entry(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    try:
        assert hasattr(importlib.import_module(name), ENTRIES[name])
    except ModuleNotFoundError as error:
        pytest.skip(f"{error.name} is not installed")
    return name


def started(module: str, given: str = "null", *, body: str | None = None) -> CommandResult:
    """What a parent gets of an entry, or of one whose work is ``body``."""
    source = ["-m", module] if body is None else ["-c", PLANTED.format(body=body, module=module)]
    return LocalConnection().run([sys.executable, *source], stdin=given, timeout_s=120)


def test_garbage_on_stdin_is_an_error_with_its_class(entry: str):
    done = started(entry, "{no json")
    with pytest.raises(UsageError, match="the job is no JSON"):
        child_reply.read(done, object, what="it")
    assert done.exit_code == UsageError.exit_code
    assert "Traceback" not in done.stderr


def test_an_error_of_the_tree_is_raised_as_itself_and_prints_reach_the_log_alone(entry: str, tmp_path: Path):
    done = started(entry, body="raise Impossible('it cannot be', 'Do without.')")
    with pytest.raises(Impossible, match="it cannot be") as caught:
        child_reply.read(done, object, what="it", log=tmp_path / "log")
    assert caught.value.hint == "Do without."
    assert done.exit_code == Impossible.exit_code
    assert json.loads(done.stdout).keys() == {"error"}
    log = (tmp_path / "log").read_text()
    assert log.startswith("== it: exit code 4\n")
    assert "a framework says hello" in log
    assert "and so does native code" in log


def test_a_reply_is_alone_on_stdout(entry: str):
    done = started(entry, body="return {'given': given[0]}")
    assert child_reply.read(done, dict[str, Any], what="it") == {"given": None}
    assert done.exit_code == 0


def test_a_crash_leaves_no_reply_and_its_last_word(entry: str, tmp_path: Path):
    done = started(entry, body="raise KeyError('planted')")
    with pytest.raises(ToolchainFailed, match="it ended with exit code 1 and left no reply: KeyError: 'planted'"):
        child_reply.read(done, object, what="it", log=tmp_path / "log")
    assert "Traceback" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("number", "words", "hint"),
    [
        (signal.SIGKILL, "it was killed: the machine ran out of memory, most likely", "Free memory"),
        (signal.SIGSEGV, "it was killed by SIGSEGV and left no reply: .*native code", "Read "),
    ],
)
def test_a_signal_is_told_by_its_name(tmp_path: Path, number: signal.Signals, words: str, hint: str):
    done = started("vitdeploy.devices.computer_facts", body=f"os.kill(os.getpid(), {int(number)})")
    with pytest.raises(ToolchainFailed, match=words) as caught:
        child_reply.read(done, object, what="it", log=tmp_path / "log")
    assert caught.value.hint.startswith(hint)
    assert str(tmp_path / "log") in caught.value.hint


def test_a_reply_counts_though_the_process_crashes_after_it():
    body = "import atexit; atexit.register(os.kill, os.getpid(), 11); return 7"
    done = started("vitdeploy.devices.computer_facts", body=body)
    assert done.exit_code == -signal.SIGSEGV
    assert child_reply.read(done, int, what="it") == 7


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
def test_a_killed_parent_takes_its_child_along(entry: str, tmp_path: Path):
    note = tmp_path / "pid"
    body = f"open({str(note)!r}, 'w').write(str(os.getpid())); import time; time.sleep(120)"
    child = PLANTED.format(body=body, module=entry)
    parent = "import subprocess, sys; subprocess.run([sys.executable, '-c', sys.argv[1]], input=b'null')"
    with subprocess.Popen([sys.executable, "-c", parent, child], stderr=subprocess.DEVNULL, cwd=ROOT) as process:
        while not (note.exists() and note.read_text()):
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
    assert ended(int(note.read_text()))


def ended(pid: int) -> bool:
    """Whether a process is gone, or soon is."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize(
    ("stdout", "words"),
    [
        ("", "left no reply: the last word"),
        ("hello", "left a reply that cannot be read (JSON is malformed"),
        ('{"reply": "a word"}', "left a reply that cannot be read (Expected `int`, got `str`)"),
        ('{"reply": 1, "more": 2}', "cannot be read (Object contains unknown field `more`)"),
        ('{"error": {"kind": "Impossible"}}', "missing required field `message`"),
        ("{}", "left an empty reply"),
        ("[" * 100_000, "cannot be read"),
        ('{"reply": ' + "1" * 200 + "}", "a reply of 211 characters, more than any"),
    ],
)
def test_what_is_no_reply_is_told_with_the_last_word(monkeypatch: pytest.MonkeyPatch, stdout: str, words: str):
    if stdout.endswith("1}"):
        monkeypatch.setattr(documents, "LARGEST_BYTES", 200)
    with pytest.raises(ToolchainFailed) as caught:
        child_reply.read(CommandResult(exit_code=0, stdout=stdout, stderr="first\nthe last word\n"), int, what="it")
    assert words in caught.value.message
    assert caught.value.message.endswith(": the last word")


@pytest.mark.parametrize(("kind", "expected"), [("DeviceError", DeviceError), ("Nonsense", ToolchainFailed)])
def test_an_error_of_another_version_is_a_tool_that_failed(kind: str, expected: type[VitdeployError]):
    stdout = json.dumps({"error": {"kind": kind, "message": "what", "hint": "Do."}})
    with pytest.raises(VitdeployError) as caught:
        child_reply.read(CommandResult(exit_code=1, stdout=stdout, stderr=""), int, what="it")
    assert type(caught.value) is expected


@pytest.mark.parametrize("job", [[], {"nonsense": 1}])
@pytest.mark.parametrize("module", list(ENTRIES)[:3] + list(ENTRIES)[5:7])
def test_a_job_that_does_not_fit_does_no_work(module: str, job: Any):
    done = started(module, json.dumps(job))
    with pytest.raises(UsageError, match=r"the job (is a list|does not fit)"):
        child_reply.read(done, object, what="it")


# A process here, whose log grows while it runs.


def run_local(tmp_path: Path, body: str, job: Any = None, **options: Any) -> CommandResult:
    given: dict[str, Any] = {"what": "it", "timeout_s": 60, "log": tmp_path / "log", **options}
    return child_reply.run_local([sys.executable, "-c", body], job, **given)


def test_a_process_without_a_job_has_all_it_prints_in_its_log(tmp_path: Path):
    done = run_local(tmp_path, "import sys; print('out'); print('err', file=sys.stderr); sys.stdin.read()")
    assert (done.exit_code, done.stdout) == (0, "")
    assert sorted((tmp_path / "log").read_text().split()) == ["err", "out"]
    assert "it ended with exit code 0: " in child_reply.failure("it", done, tmp_path / "log").message


def test_a_job_may_hold_paths_and_what_no_encoding_has(tmp_path: Path):
    job = {"place": Path("/a/b"), "word": "é\udcff"}
    done = run_local(tmp_path, "import json, sys; print(json.dumps({'reply': json.load(sys.stdin)['place']}))", job)
    assert child_reply.read(done, str, what="it") == "/a/b"


@pytest.mark.parametrize("own_group", [True, False])
def test_what_takes_too_long_is_killed_and_its_log_named(tmp_path: Path, own_group: bool):
    body = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(120)"
    with pytest.raises(ToolchainFailed, match="it took more than 2 s") as caught:
        run_local(tmp_path, body, timeout_s=2, own_group=own_group)
    assert caught.value.hint == f"Read {tmp_path / 'log'}."
    assert ended(int((tmp_path / "pid").read_text()))


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path):
    with pytest.raises(UnreadableFile, match="cannot write"):
        run_local(tmp_path, "", log=tmp_path / "none" / "log")
    with pytest.raises(UnreadableFile, match="cannot write"):
        child_reply.keep_log(tmp_path / "none" / "log", "it", CommandResult(exit_code=1, stdout="", stderr=""))


def test_the_childs_side_needs_the_standard_library_alone():
    code = "import sys; import vitdeploy.processes.child_process; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = {name.split(".")[0] for name in said.stdout.split()}
    assert loaded <= sys.stdlib_module_names | {"vitdeploy", "__main__", "sitecustomize", "usercustomize"}


def test_a_job_is_held_against_its_dataclass():
    with pytest.raises(UsageError, match="the job is a list"):
        child_process.job_of(CommandResult, [])
    with pytest.raises(UsageError, match="unexpected keyword argument 'more'") as caught:
        child_process.job_of(CommandResult, {"more": 1})
    assert caught.value.hint == "Give exit_code, stdout, stderr, device."
