"""`check` and `predict` on a device, held against this machine: a real OpenSSH server on loopback, a stand-in phone."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.doubles import artifacts, board_server
from tests.doubles.adb_daemon import PhoneDouble
from tests.doubles.ssh_server import SshServer
from vitdeploy.api import check, predict
from vitdeploy.api.predict import PredictRequest
from vitdeploy.artifacts.manifest import Artifact, digest_of, open_artifact, write
from vitdeploy.cli.main import main
from vitdeploy.devices import inventory
from vitdeploy.devices.inventory import Device
from vitdeploy.errors import DeviceError, Impossible, ParityFailed
from vitdeploy.inference import client
from vitdeploy.inference.open_device import open_device

TOOL = Path(__file__).parents[1] / "doubles" / "benchmark_model_double.py"


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported")
    assert main(["export", "efficientvit_b0", "--target", "onnx-fp32", "--size", "64x64", "--out", str(out)]) == 0
    return next(out.rglob("manifest.json")).parent


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    yield from board_server.serving(tmp_path, monkeypatch, "onnx-fp32", "onnx-fp16")


def pushed(server: SshServer) -> set[str]:
    return {path.name for path in (server.home / ".cache" / "vitdeploy" / "files").rglob("*") if path.is_file()}


def with_a_wrong_weight(folder: Path, place: Path) -> Path:
    """The artifact with one matrix in another scale, and a manifest that knows its bytes."""
    import onnx
    from onnx import numpy_helper

    shutil.copytree(folder, place)
    model = onnx.load(str(place / "model.onnx"))
    weight = max(model.graph.initializer, key=lambda tensor: int(np.prod(tensor.dims)))
    changed = numpy_helper.from_array(numpy_helper.to_array(weight) * np.float32(-1), weight.name)
    weight.CopyFrom(changed)
    onnx.save(model, str(place / "model.onnx"))
    manifest = open_artifact(place, check_bytes=False).manifest
    write(place, msgspec.structs.replace(manifest, sha256=digest_of(place / "model.onnx")))
    return place


def test_parity_is_measured_on_the_board(server: SshServer, exported: Path):
    outcome = check.check(exported, device="board")
    assert outcome.error is None
    assert outcome.device == "board"
    assert "; computed on board by onnxruntime" in outcome.parity.reference
    assert outcome.parity.samples > 1
    assert "model.onnx" in pushed(server)
    assert not [name for name in pushed(server) if name.startswith("feeds-")]


def test_a_wrong_weight_fails_there(server: SshServer, exported: Path, tmp_path: Path):
    outcome = check.check(with_a_wrong_weight(exported, tmp_path / "wrong"), device="board")
    assert isinstance(outcome.error, ParityFailed)
    assert "--trace" not in outcome.error.hint


def test_a_picture_comes_from_the_board_and_is_this_machines(server: SshServer, exported: Path, tmp_path: Path):
    def answer(device: str | None):
        return predict.predict(
            PredictRequest(artifact=exported, image="sample:coffee", device=device, out=tmp_path / f"{device}.png")
        )

    here, there = answer(None), answer("board")
    assert [name for name, _ in there.classes] == [name for name, _ in here.classes]
    assert (tmp_path / "board.png").read_bytes() == (tmp_path / "None.png").read_bytes()
    assert here.device == "local"
    assert there.computed_on.startswith("board by onnxruntime")


def test_the_command_says_where_it_was_computed(server: SshServer, exported: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["predict", str(exported), "sample:coffee", "--device", "board"]) == 0
    assert "computed on board by onnxruntime" in capsys.readouterr().out
    assert main(["check", str(exported), "--device", "board", "--dry-run"]) == 0
    assert "model.onnx on board with noise" in capsys.readouterr().out


def test_what_cannot_be_done_there_is_refused(server: SshServer, exported: Path, tmp_path: Path):
    with pytest.raises(Impossible, match="--trace rounds every node on this machine"):
        check.check(exported, device="board", trace=True)
    manifest = msgspec.structs.replace(open_artifact(exported).manifest, target="torch-fp32", parity=None)
    shutil.copytree(exported, tmp_path / "torch")
    write(tmp_path / "torch", manifest)
    with pytest.raises(Impossible, match="torch-fp32 does not run on board"):
        check.check(tmp_path / "torch", device="board")
    with pytest.raises(Impossible, match="torch-fp32 does not run on board"):
        predict.predict(PredictRequest(artifact=tmp_path / "torch", image="sample:coffee", device="board"))


def test_a_board_that_does_not_answer_is_exit_7_and_leaves_no_picture(
    server: SshServer, exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    server.stop()
    for run in (
        lambda: check.check(exported, device="board"),
        lambda: predict.predict(PredictRequest(artifact=exported, image="sample:coffee", device="board")),
        lambda: check.check(exported, device="orin"),
    ):
        with pytest.raises(DeviceError):
            run()
    assert not list(tmp_path.glob("*.png"))


def test_a_board_that_somebody_else_holds_is_not_disturbed(
    server: SshServer, exported: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("vitdeploy.inference.open_device.LOCK_WAIT_S", 0.2)
    request = PredictRequest(artifact=exported, image="sample:coffee", device="board")
    with (
        inventory.connect(inventory.find("board")) as other,
        other.lock(timeout_s=10),
        pytest.raises(DeviceError, match="board is in use"),
    ):
        predict.predict(request)


@pytest.fixture
def telephone(phone: PhoneDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Device:
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert (extra tflite) is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "phone.toml").write_text(
        f'title = "a phone"\nlink = "adb"\nhost = "{phone.serial}"\nthreads = "big-cores"\n'
        f'targets = ["tflite-fp32"]\nbenchmark_model = "{TOOL}"\n'
    )
    return inventory.find("phone")


def outputs_of(artifact: Artifact, device: Device, feed: client.Feed, log: Path) -> np.ndarray:
    with open_device(device, [artifact.manifest.target], log=log) as place:
        return place.outputs(artifact, feed)["logits"]


def test_a_phone_answers_an_input_as_this_machine_does(telephone: Device, tmp_path: Path):
    """An array as parity has it, batch and all: the phone's answer keeps the batch's axis too."""
    artifact = artifacts.conv_relu_tflite(tmp_path / "a")
    feed = {"image": np.random.Generator(np.random.PCG64(1)).normal(size=(1, 32, 32, 3)).astype(np.float32)}
    here = outputs_of(artifact, inventory.find("local"), feed, tmp_path / "log")
    there = outputs_of(artifact, telephone, feed, tmp_path / "log")
    assert there.shape == here.shape == (1, 32, 32, 8)
    np.testing.assert_allclose(there, here, rtol=1e-5, atol=1e-5)


def test_a_phone_runs_no_other_format(telephone: Device, exported: Path):
    with pytest.raises(Impossible, match="onnx-fp32 does not run on phone"):
        check.check(exported, device="phone")
