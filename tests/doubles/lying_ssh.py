"""TEST DOUBLE of ssh and the device behind it: a program of that name that answers as a file beside it says.

Run by the tests' Python without site-packages. It does what a machine would do to open a connection, and then lies:
what it prints stands in ``lie.json``. Marks are taken from the command, as a hostile device could.
"""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

PLACE = Path(__file__).parent


def main() -> int:
    command = sys.argv[-1]
    if "-O" in sys.argv:
        return 0
    question = re.search(r"vitdeploy.devices.remote (?:run|hold) ([0-9a-f]{24})", command)
    mark = question or re.search(r"printf \\0045s ([0-9a-f]{24})", command)
    assert mark, command
    lie = json.loads((PLACE / "lie.json").read_text())
    if not question and lie["verb"] != "shell":
        say(mark[1] + honest(command) + mark[1][::-1] + " 0\n")
        return 0
    if lie.get("leaves_stderr_open"):  # a process in the background holds it
        subprocess.Popen(["sleep", str(lie["leaves_stderr_open"])], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    sys.stderr.write(lie.get("stderr", ""))
    sys.stderr.flush()
    say(lie.get("greeting", ""))
    if "endless" in lie:
        block = (lie["endless"] * 65536).encode()
        target = 2 if lie.get("endless_on") == "stderr" else 1
        if lie.get("marked"):
            say(mark[1])
        while True:
            os.write(target, block)
    if "hex" in lie:
        os.write(1, mark[1].encode() + bytes.fromhex(lie["hex"]) + b"\n")
    if "text" in lie:
        say(lie["text"].replace("MARK", mark[1]).replace("KRAM", mark[1][::-1]))
    time.sleep(lie.get("sleep_s", 0))
    return lie.get("exit_code", 0)


def honest(command: str) -> str:
    if "HOME" in command:
        return "/home/liar"
    return "3 11\n" if "version_info" in command else ""


def say(text: str) -> None:
    data = text.encode("utf-8", "surrogatepass")
    while data:
        data = data[os.write(1, data) :]


if __name__ == "__main__":
    try:
        code = main()
    except BrokenPipeError:
        code = 1
    sys.stdout = None  # nothing is flushed into a pipe that may be gone
    os._exit(code)
