"""Instructions that an Arm CPU executes in one inference: counted by a plugin of qemu-user, never timed.

The count of a call is that between two marks around it, less that of two marks with nothing between them; the first
call, in which a runtime prepares itself, is left out. So loading, Python and the marks cancel.
"""

import json
import os
import statistics
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.benchmarks.studies import arm_guest, marked_inferences
from vitdeploy.benchmarks.studies.arm_guest import Guest
from vitdeploy.catalog import registry
from vitdeploy.devices import agent
from vitdeploy.errors import ToolchainFailed

SOURCE: Final = Path(__file__).with_name("count_instructions.c")

HEADER: Final = "qemu-plugin.h"

INSTALLED_HEADER: Final = Path("/usr/include") / HEADER
"""Where newer packages of qemu have it."""

LIMIT_S: Final = 1800.0
"""Of all calls of one file: a call of Seg-B1 at 512x1024 takes a minute."""

QUIET: Final[Mapping[str, str]] = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}
"""No second thread, and the same dictionaries in every process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Instructions of every call but the first."""

    calls: tuple[int, ...]
    facts: Mapping[str, str]
    """What ran it, in the runtime's own words."""

    @property
    def instructions(self) -> float:
        """Of one inference: the median of the calls."""
        return statistics.median(self.calls)

    @property
    def spread(self) -> float:
        """Largest less smallest, as a share of the median."""
        return (max(self.calls) - min(self.calls)) / self.instructions


def plugin(folder: Path) -> Path:
    """The plugin, compiled into ``folder``, with qemu's header, which is fetched there where no package has it.

    Debian's ``qemu-user`` of bookworm has no header: it is taken out of the source package of the same version.

    Raises:
        MissingPackage: gcc or apt-get is not here.
        ToolchainFailed: a fetch or the compiler failed.
    """
    arm_guest.require_tools(("gcc",))
    folder.mkdir(parents=True, exist_ok=True)
    header = INSTALLED_HEADER if INSTALLED_HEADER.is_file() else folder / HEADER
    if not header.is_file():
        _fetch_header(header)
    library = folder / "count_instructions.so"
    arm_guest.run(
        ["gcc", "-O2", "-Wall", "-shared", "-fPIC", f"-I{header.parent}", "-o", str(library), str(SOURCE)],
        f"compiling {SOURCE.name}",
    )
    return library


def count(guest: Guest, library: Path, artifact: Artifact, *, calls: int) -> Counts:
    """Run an artifact ``calls`` times after a first one, on one thread of the guest.

    Raises:
        ToolchainFailed: the guest or its runtime failed, or took longer than `LIMIT_S`.
    """
    runtime = registry.find_target(artifact.manifest.target).runtime
    job = {
        "file": str(artifact.file.resolve()),
        "manifest": msgspec.to_builtins(artifact.manifest),
        "runtime": runtime,
        "calls": 1 + calls,
    }
    with tempfile.TemporaryDirectory(prefix="vitdeploy-arm-") as place:
        zipped, _ = agent.build(Path(place))
        marks = Path(place) / "marks"
        reply = _answered(
            [str(guest.python), "-P", str(Path(marked_inferences.__file__).resolve())],
            json.dumps(job),
            {**QUIET, "PYTHONPATH": str(zipped), "QEMU_PLUGIN": f"file={library},marks={marks}"},
            artifact,
        )
        numbers = [int(line) for line in marks.read_text().split()]
    return Counts(calls=_of_calls(numbers), facts=reply)


def _of_calls(numbers: Sequence[int]) -> tuple[int, ...]:
    pairs = [after - before for before, after in zip(numbers[::2], numbers[1::2], strict=True)]
    empty = statistics.median(pairs[: marked_inferences.EMPTY])
    return tuple(round(pair - empty) for pair in pairs[marked_inferences.EMPTY + 1 :])


def _answered(argv: Sequence[str], job: str, environment: Mapping[str, str], artifact: Artifact) -> dict[str, Any]:
    try:
        done = subprocess.run(
            argv,
            input=job,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolchainFailed(f"{artifact.file} took longer than {LIMIT_S:g} s", "Take a smaller size.") from error
    try:
        answer = json.loads(done.stdout)
    except json.JSONDecodeError as error:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ToolchainFailed(f"{argv[0]} failed: {last[:300]}", "Read what it says.") from error
    if "reply" not in answer:
        raise ToolchainFailed(answer["error"]["message"], answer["error"]["hint"])
    return answer["reply"]


def _fetch_header(header: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="vitdeploy-arm-") as place:
        arm_guest.apt_get(Path(place), "update", architecture="amd64")
        words = ("source", "--download-only", "--only-source", "qemu")
        arm_guest.apt_get(Path(place), *words, architecture="amd64", cwd=Path(place))
        (source,) = Path(place).glob("qemu_*.orig.tar.*")
        with tarfile.open(source) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.name.endswith(f"/include/qemu/{HEADER}") else None
                if stream is not None:
                    header.write_bytes(stream.read())
                    return
    raise ToolchainFailed(f"{source.name} has no {HEADER}", f"Put qemu's header at {header}.")
