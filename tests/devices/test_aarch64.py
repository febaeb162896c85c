"""An Arm CPU under qemu-user: our agent runs there, and both runtimes' aarch64 wheels compute what torch computes.

The guest stands behind the SSH server double as a board whose Python is an emulated one. Its times mean nothing.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.doubles import arm_guest, artifacts, board_server
from tests.doubles.ssh_server import SshServer
from vitdeploy.api import check
from vitdeploy.benchmarks.studies import files_by_turns
from vitdeploy.benchmarks.studies.arm_guest import Guest
from vitdeploy.cli.main import main
from vitdeploy.devices import agent, inventory, probe
from vitdeploy.results import record
from vitdeploy.studies import paired_rounds

pytestmark = pytest.mark.slow  # an emulated processor, and files that are converted for it

MODELS = (
    ("efficientvit_b0", "224x224"),
    ("efficientvit_seg_b0_cityscapes", "128x256"),
    ("efficientvit_sr_w075_x2", "64x64"),
    ("efficientvit_sam_l0.encoder", "64x64"),
    ("efficientvit_sam_l0.decoder", "128x128"),
)
"""One of each kind, of two parts both, at a size that an emulated processor computes in seconds."""


@pytest.fixture(scope="module")
def guest() -> Guest:
    return arm_guest.prepared()


@pytest.fixture
def server(guest: Guest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    yield from board_server.serving(tmp_path, monkeypatch, "tflite-fp32", "onnx-fp32", python=str(guest.python))


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder with one photograph."""
    from PIL import Image

    data = pytest.importorskip("skimage.data", reason="the photograph is of scikit-image")
    folder = tmp_path / "photographs"
    folder.mkdir()
    Image.fromarray(data.astronaut()).save(folder / "astronaut.png")
    return folder


def there(guest: Guest, *words: str, path: Path, stdin: str = "") -> str:
    """What the guest's Python prints."""
    done = subprocess.run(
        ["env", f"PYTHONPATH={path}", str(guest.python), *words],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        cwd=guest.root,  # the first place where ``-c`` looks for modules
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def exported(model: str, size: str, target: str, out: Path) -> Path:
    for package in ("torch", *(("onnx2tf", "ai_edge_litert") if target == "tflite-fp32" else ("onnx", "onnxruntime"))):
        pytest.importorskip(package, reason=f"the file is exported with {package}")
    assert main(["export", model, "--target", target, "--size", size, "--out", str(out)]) == 0
    return next(out.rglob("manifest.json")).parent


def test_the_agent_runs_there_on_the_standard_library(guest: Guest, tmp_path: Path):
    """What measures the machine needs no package at all; what computes needs numpy."""
    zipped, _ = agent.build(tmp_path)
    bare = ["vitdeploy.devices.remote", "vitdeploy.devices.computer_facts", *probe.modules()]
    code = (
        "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]; print('numpy' in sys.modules)"
    )
    assert there(guest, "-S", "-c", code, *bare, path=zipped).strip() == "False"
    there(guest, "-c", code, *agent.PROCESSES, path=zipped)
    facts = json.loads(there(guest, "-m", "vitdeploy.devices.computer_facts", path=zipped))["reply"]
    assert facts["machine"] == "aarch64"
    assert {"numpy", "onnxruntime", "ai-edge-litert"} <= set(facts["packages"])
    assert tuple(map(int, facts["python"].split(".")[:2])) >= agent.OLDEST_PYTHON


@pytest.mark.parametrize(("model", "size"), MODELS)
@pytest.mark.parametrize(("target", "runtime"), [("tflite-fp32", "ai-edge-litert"), ("onnx-fp32", "onnxruntime")])
def test_an_arm_cpu_computes_what_torch_computes(
    server: SshServer, photographs: Path, tmp_path: Path, model: str, size: str, target: str, runtime: str
):
    artifact = exported(model, size, target, tmp_path / "out")
    outcome = check.check(artifact, device="board", images=photographs)
    assert outcome.error is None, outcome.parity
    assert f"computed on board by {runtime}" in outcome.parity.reference


def test_xnnpack_is_what_computes(guest: Guest, tmp_path: Path):
    made = artifacts.conv_relu_tflite(tmp_path / "made")
    code = (
        "import sys; from ai_edge_litert.interpreter import Interpreter; "
        "net = Interpreter(model_path=sys.argv[1], num_threads=1); net.allocate_tensors(); "
        "print([node['op_name'] for node in net._get_ops_details()])"
    )
    assert "DELEGATE" in there(guest, "-c", code, str(made.file), path=tmp_path)


def test_a_trial_and_turns_run_there(server: SshServer, tmp_path: Path):
    """The loop, the driver of turns and the lock work on that machine; the times are an emulator's."""
    files = {name: artifacts.conv_relu(tmp_path / name) for name in ("a", "b")}
    out = tmp_path / "bench.json"
    words = ("--trials", "2", "--min-time", "0.05", "--yardstick", "off", "--out", str(out))
    main(["bench", str(tmp_path / "a"), "--device", "board", "--quiet", *words])  # an emulator is seldom steady
    assert [len(row.trials) for row in record.load(out).results] == [2]
    with inventory.connect(inventory.find("board")) as link:
        timed = files_by_turns.timed(files, pairs=2, threads=1, min_time_s=0.05, connection=link)
    assert [len(row.trials) for row in timed.run.results] == [2, 2]
    assert paired_rounds.way(timed.run, timed.run.results) == "turns"
