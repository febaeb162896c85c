"""Our calls fit every version of TensorRT that we claim: held against NVIDIA's own bindings and the page of them.

The slow tests download the bindings (1 MB a version, kept in the user's cache folder) and compile stand-ins of the
libraries that they load. The fast ones hold the page docs/tensorrt-versions.md against our source.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests import tensorrt_calls, tensorrt_held, tensorrt_versions_page
from tests.doubles import nvidia_bindings
from tests.doubles.nvidia_bindings import RTX, TENSORRT, Interface

ROOT = Path(__file__).parent.parent
RUN = ROOT / "tests" / "doubles" / "bindings_without_library.py"

NOT_TENSORRTS = {"engine", "logger", "name"}
"""Members of our own objects that a class of TensorRT happens to have too."""

PLANTED = """
def work(trt: Any, config: "tensorrt.IBuilderConfig", engine: "tensorrt.ICudaEngine", cache: "tensorrt.ITimingCache"):
    {line}
"""


def planted(line: str) -> tensorrt_calls.Gathered:
    """The calls of a function with one line."""
    return tensorrt_calls.gather_source(PLANTED.format(line=line), "planted.py")


def told(line: str, offered: Interface) -> str:
    """What is wrong with the calls of that line."""
    gathered = planted(line)
    assert gathered.calls
    return "; ".join(words for call in gathered.calls for words in tensorrt_held.problems(call, offered))


def test_every_call_is_on_the_page_and_fits_every_version_there():
    text = tensorrt_versions_page.PAGE.read_text(encoding="utf-8")
    section = text.partition("## What is called")[2].partition("## What differs")[0]
    rows = [tuple(cell.strip() for cell in line.split("|")[1:-1]) for line in section.strip().splitlines()[2:]]
    called = tensorrt_versions_page.call_rows(tensorrt_calls.gather().calls)
    assert [row[:2] for row in rows] == called, "write it anew: python -m tests.tensorrt_versions_page"
    every = f"{TENSORRT[0].name}–{TENSORRT[-1].name}"
    assert {row[3] for row in rows} == {every, "not called"}
    assert {row[4] for row in rows} == {"yes"}


def test_no_object_of_tensorrt_is_used_without_saying_what_it_is():
    assert not tensorrt_calls.gather().lost
    (lost,) = planted("network = trt.Builder(None).create_network(1); network.num_layers").lost
    assert lost == "planted.py:3: num_layers of the result of Builder.create_network"


def _member(*signatures: tuple[str, str], writable: bool = False, number: int | None = None) -> dict[str, Any]:
    return {"signatures": signatures, "writable": writable, "number": number}


SMALL = Interface(
    "11.9",
    {
        "IBuilderConfig": {
            "buffer": False,
            "members": {
                "clear_flag": _member(("(self: IBuilderConfig, flag: BuilderFlag)", "None")),
                "set_timing_cache": _member(
                    ("(self: IBuilderConfig, cache: ITimingCache, ignore_mismatch: bool)", "bool")
                ),
                "create_timing_cache": _member(
                    ("(self: IBuilderConfig, serialized: typing_extensions.Buffer)", "ITimingCache")
                ),
                "progress": _member(("(arg0: IBuilderConfig)", "int")),
            },
        },
        "ITimingCache": {"buffer": False, "members": {"serialize": _member(("(self: ITimingCache)", "IHostMemory"))}},
        "IHostMemory": {"buffer": False, "members": {}},
        "BuilderFlag": {"buffer": False, "members": {"TF32": _member(number=6)}},
        "MemoryPoolType": {"buffer": False, "members": {"WORKSPACE": _member(number=0)}},
        "ILogger": {"buffer": False, "members": {"log": _member(("(self: ILogger, text: str)", "None"))}},
    },
    {"nptype": ["trt_type"]},
)
"""A version made up for the test."""


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("config.clear_flag(trt.BuilderFlag.TF32)", ""),
        ("config.set_timing_cache(cache, ignore_mismatch=False)", ""),
        ("config.create_timing_cache(b'')", ""),
        ("config.clear_flag(trt.BuilderFlag.FP16)", "BuilderFlag.FP16 is not there"),
        ("config.set_flag(trt.BuilderFlag.TF32)", "IBuilderConfig.set_flag is not there"),
        ("config.clear_flag(trt.MemoryPoolType.WORKSPACE)", r"not \(MemoryPoolType\)"),
        ("config.clear_flag()", "clear_flag takes"),
        ("config.set_timing_cache(cache, True, False)", "set_timing_cache takes"),
        ("config.set_timing_cache(cache, ignore=False)", r"not \(ITimingCache, ignore=bool\)"),
        ("config.create_timing_cache('text')", r"not \(str\)"),
        ("made: tensorrt.IHostMemory = config.create_timing_cache(b'')", "returns ITimingCache, not IHostMemory"),
        ("config.progress = 1", "progress cannot be set"),
        ("bytes(cache.serialize())", "returns IHostMemory, which is used as bytes"),
        ("tuple(config.progress)", "returns int, which is used as iterated"),
        ("engine.get_binding_name(0)", "ICudaEngine.get_binding_name is not there"),
        ("trt.nptype(1, 2)", r"nptype takes \(trt_type\)"),
        ("trt.volume(1)", "volume is not there"),
    ],
)
def test_a_call_that_a_version_lacks_or_takes_otherwise_is_told(line: str, words: str):
    assert re.search(words, told(line, SMALL))
    assert bool(told(line, SMALL)) is bool(words)


def test_a_method_of_ours_that_tensorrt_calls_takes_what_it_gives():
    source = "def make(trt):\n    class Logger(trt.ILogger):\n        def log(self, severity, text): ..."
    (call,) = tensorrt_calls.gather_source(source, "planted.py").calls
    assert tensorrt_held.problems(call, SMALL) == ["11.9: planted.py:3: ILogger.log is called with [['text']]"]


@pytest.fixture(scope="module")
def offered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Interface, ...]:
    return nvidia_bindings.interfaces(tmp_path_factory.mktemp("bindings"))


@pytest.mark.slow  # downloads 20 MB the first time
def test_every_call_fits_nvidias_own_bindings_of_every_version(offered: tuple[Interface, ...]):
    gathered = tensorrt_calls.gather()
    *tensorrt, rtx = offered
    wrong = [
        words
        for call in gathered.calls
        for interface in ([rtx] if call.package == "tensorrt_rtx" else [*tensorrt, rtx])
        for words in tensorrt_held.problems(call, interface)
    ]
    assert not wrong
    owners = {call.owner for call in gathered.calls if call.owner}
    names = {name for one in offered for owner in owners for name in one.classes.get(owner, {}).get("members", {})}
    others = {name for name, _ in gathered.others if not name.startswith("__")}
    assert others & names <= NOT_TENSORRTS, "a call to what is not known to be TensorRT's: annotate its object"


@pytest.mark.slow  # downloads 20 MB the first time
def test_the_page_is_that_of_nvidias_bindings(offered: tuple[Interface, ...]):
    assert tensorrt_versions_page.PAGE.read_text(encoding="utf-8") == tensorrt_versions_page.page(offered), (
        "write it anew: python -m tests.tensorrt_versions_page"
    )


@pytest.mark.slow  # downloads 20 MB the first time
@pytest.mark.parametrize(
    "line",
    [
        "config.set_flag(trt.BuilderFlag.FP16)",
        "1 << int(trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH)",
        "engine.create_execution_context_without_device_memory()",
    ],
)
def test_a_planted_call_that_11_no_longer_has_fails(line: str, offered: tuple[Interface, ...]):
    for interface in offered:
        assert bool(told(line, interface)) is not interface.name.startswith("10."), (interface.name, line)


@pytest.mark.slow  # downloads 20 MB the first time
@pytest.mark.parametrize("release", [*TENSORRT, RTX], ids=lambda release: release.name)
def test_a_builder_and_a_runtime_that_do_not_start_are_told(release: nvidia_bindings.Release, tmp_path: Path):
    variables = nvidia_bindings.environment(release, tmp_path)
    variables["PYTHONPATH"] = os.pathsep.join((variables["PYTHONPATH"], str(ROOT)))
    command = [sys.executable, str(RUN), release.module]
    done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    answer = json.loads(done.stdout)
    assert answer["kept"] == ["planted", "planted"]
    assert answer["layers"] == {"layer": [0.5]}
    assert answer["builder"] == ["ToolchainFailed", "tensorrt does not start: planted"]
    assert answer["runtime"] == ["ToolchainFailed", "tensorrt of the test does not start: it said nothing"]
