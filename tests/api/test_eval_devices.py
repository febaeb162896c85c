"""The same evaluation behind a link: a real OpenSSH server on loopback, and a link that is cut in the middle."""

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.doubles import artifacts, board_server, eval_sets
from tests.doubles.adb_daemon import PhoneDouble
from tests.doubles.ssh_server import SshServer
from vitdeploy.api import evaluate
from vitdeploy.artifacts.manifest import write
from vitdeploy.errors import DeviceError, Impossible
from vitdeploy.evaluation.request import EvalRequest
from vitdeploy.inference import client as feeding

TOOL = Path(__file__).parents[1] / "doubles" / "benchmark_model_double.py"

SIZE = (32, 64)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    yield from board_server.serving(tmp_path, monkeypatch, "onnx-fp32")


def city(tmp_path: Path) -> tuple[Path, Path]:
    maps = [eval_sets.block_map(place, SIZE, 19) for place in range(12)]
    seen = [one.copy() for one in maps]
    for place, one in enumerate(seen):
        one[:, : 4 * place] = 2
    pairs = {f"ulm/p_{i:06d}": pair for i, pair in enumerate(zip(seen, maps, strict=True))}
    root = eval_sets.cityscapes_set(tmp_path / "city", pairs)
    made = eval_sets.nearest_color(tmp_path / "a", "efficientvit_seg_b0_cityscapes", size=SIZE, classes=19)
    return root, made.folder


def test_a_board_over_ssh_gives_the_same_figures_and_keeps_nothing_but_the_artifact(server: SshServer, tmp_path: Path):
    root, folder = city(tmp_path)

    def order(device: str) -> EvalRequest:
        out = tmp_path / f"{device}.json"
        return EvalRequest(dataset="cityscapes", root=root, device=device, out=out, reference=False, threads=1)

    here = evaluate.evaluate_artifact([folder], order("local")).evaluation
    there = evaluate.evaluate_artifact([folder], order("board")).evaluation
    assert there.device.name == "board"
    assert there.figures == here.figures
    assert there.classes == here.classes
    left = {path.name for path in (server.home / ".cache" / "vitdeploy" / "files").rglob("*") if path.is_file()}
    assert "model.onnx" in left
    assert not [name for name in left if name.startswith("feeds-")]


def test_a_link_that_is_cut_is_exit_7_and_what_was_finished_is_not_done_again(
    server: SshServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    root, folder = city(tmp_path)
    order = EvalRequest(
        dataset="cityscapes",
        root=root,
        device="board",
        out=tmp_path / "e.json",
        reference=False,
        threads=1,
        resume=True,
    )
    original = feeding._answer
    calls: list[int] = []

    def cut_the_second(*given):
        calls.append(len(given[2]))
        if len(calls) == 2:
            server.cut()
        return original(*given)

    monkeypatch.setattr(feeding, "_answer", cut_the_second)
    with pytest.raises(DeviceError):
        evaluate.evaluate_artifact([folder], order)
    images = tmp_path / "e.images.jsonl"
    finished = images.read_text().splitlines()[1:]
    assert len(finished) == calls[0]
    found = evaluate.evaluate_artifact([folder], order).evaluation
    assert found.dataset.scored == 12
    assert images.read_text().splitlines()[1 : 1 + calls[0]] == finished


def test_a_device_that_does_not_run_the_target_is_refused(server: SshServer, tmp_path: Path):
    root, _ = city(tmp_path)
    made = eval_sets.nearest_color(
        tmp_path / "t", "efficientvit_seg_b0_cityscapes", size=SIZE, classes=19, target="trt-fp16"
    )
    order = EvalRequest(dataset="cityscapes", root=root, device="board", out=tmp_path / "e.json", reference=False)
    with pytest.raises(Impossible, match="does not run on board"):
        evaluate.evaluate_artifact([made.folder], order)


def test_a_phone_answers_through_benchmark_model_as_this_machine_does(
    phone: PhoneDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("ai_edge_litert", reason="ai-edge-litert (extra tflite) is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "phone.toml").write_text(
        f'name = "phone"\ntitle = "a phone"\nlink = "adb"\nhost = "{phone.serial}"\nthreads = "big-cores"\n'
        f'targets = ["tflite-fp32"]\nbenchmark_model = "{TOOL}"\n'
    )
    # A convolution and a ReLU of random weights: eight "classes" of ADE20K, whichever they are.
    made = artifacts.conv_relu_tflite(tmp_path / "a")
    manifest = msgspec.structs.replace(
        made.manifest, model="efficientvit_seg_b0_cityscapes", task="segmentation", recipe="made by hand"
    )
    write(made.folder, manifest)
    maps = [eval_sets.block_map(place, (32, 32), 8) for place in range(3)]
    root = eval_sets.cityscapes_set(tmp_path / "city", {f"ulm/p_{i}": (one, one) for i, one in enumerate(maps)})

    def figures(device: str):
        order = EvalRequest(
            dataset="cityscapes", root=root, device=device, out=tmp_path / f"{device}.json", reference=False, threads=1
        )
        return evaluate.evaluate_artifact([made.folder], order).evaluation

    here, there = figures("local"), figures("phone")
    assert there.dataset.scored == 3
    assert there.figures == here.figures
    assert there.classes == here.classes
    assert "benchmark_model" in there.device.facts["ran_runtime"]
