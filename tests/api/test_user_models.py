"""The user's own models: what is found out about them, what is refused, and that they go through the same pipe."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vitdeploy.api import cases, export, predict
from vitdeploy.api.cases import BenchRequest
from vitdeploy.api.export_request import ExportRequest
from vitdeploy.api.predict import PredictRequest
from vitdeploy.artifacts.manifest import digest_of, open_artifact
from vitdeploy.catalog import preprocessing, registry, user_models
from vitdeploy.catalog.preprocessing import Preprocessing
from vitdeploy.catalog.spec import Head, Io
from vitdeploy.errors import Impossible, MissingPackage, UnreadableFile, UsageError
from vitdeploy.images import labels, photos, postprocess

for package in ("torch", "onnx", "onnxscript", "onnxruntime", "skimage"):
    pytest.importorskip(package, reason="user models are built and exported with it")

import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from tests.doubles.user_nets import USERS_CODE, job, onnx_file, step_of
from vitdeploy.exporters import pipeline, step
from vitdeploy.models import user, user_onnx, user_preprocessing
from vitdeploy.models.create import count_macs, count_parameters, create


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    (tmp_path / "users_nets.py").write_text(USERS_CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    sys.modules.pop("users_nets", None)
    user_models.forget()
    return tmp_path


@pytest.fixture(autouse=True)
def in_process(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Describe here, but for the tests that are marked: a process each would import torch forty times."""
    if "own_process" not in request.fixturenames:
        monkeypatch.setattr(user_models, "_described", user.describe)


@pytest.fixture
def own_process() -> None:
    """Marks a test whose models are described in a process of their own, as users' are."""


# What is found out.


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("classifier", ("classification", 7, None, None)),
        ("segmenter", ("segmentation", 19, 4, None)),
        ("enlarger", ("super-resolution", 0, None, 2)),
    ],
)
def test_task_and_scale_follow_from_the_answer(function: str, expected: tuple[Any, ...]):
    spec = registry.find_model(f"module:users_nets:{function}")
    assert (spec.task, spec.classes, spec.output_stride, spec.scale) == expected
    assert spec.size == (224, 224)
    assert spec.attentions == ("own",)
    assert spec.user_weights is not None


def test_classes_have_names_even_where_nobody_told_them():
    spec = registry.find_model("module:users_nets:classifier")
    assert labels.names(spec.dataset)[6] == "class 6"
    assert registry.find_model("module:users_nets:segmenter").dataset == "cityscapes"


def test_an_onnx_file_says_its_size_and_counts_itself(place: Path):
    spec = registry.find_model(f"onnx:{onnx_file(place / 'net.onnx')}")
    assert (spec.task, spec.classes, spec.size, spec.sizes) == ("classification", 5, (32, 32), ((32, 32),))
    assert spec.user_weights == digest_of(place / "net.onnx")
    module = create(spec)
    assert count_parameters(module) == 5 * 3 * 3 * 3
    assert count_macs(module, (1, 3, 32, 32)) == 32 * 32 * 5 * 3 * 3 * 3
    with pytest.raises(Impossible, match="takes 32x32"):
        registry.check_size(spec, (64, 64))


def test_an_open_size_is_fixed_by_the_order(place: Path):
    spec = registry.find_model(f"onnx:{onnx_file(place / 'open.onnx', ('n', 3, 'h', 'w'))}")
    assert spec.sizes == ()
    assert create(spec)(torch.zeros(1, 3, 48, 64)).shape == (1, 5)


def test_a_description_is_remembered_until_the_file_changes(
    own_process: None, place: Path, monkeypatch: pytest.MonkeyPatch
):
    path = onnx_file(place / "net.onnx")
    asked: list[str] = []
    described = user_models._described
    monkeypatch.setattr(user_models, "_described", lambda name, size: (asked.append(name), described(name, size))[1])
    for _ in range(2):
        user_models.forget()
        registry.find_model(f"onnx:{path}")
    assert len(asked) == 1
    onnx_file(path, (1, 3, 64, 64))
    user_models.forget()
    assert registry.find_model(f"onnx:{path}").size == (64, 64)
    assert len(asked) == 2


@pytest.mark.slow
def test_a_model_of_transformers_in_a_folder(place: Path):
    transformers: Any = pytest.importorskip("transformers", reason="hf: builds with it")
    config = transformers.SegformerConfig(
        hidden_sizes=(8, 8, 8, 8), depths=(1, 1, 1, 1), num_attention_heads=(1, 1, 1, 1), num_labels=4, image_size=64
    )
    transformers.SegformerForSemanticSegmentation(config).save_pretrained(place / "seg")
    (place / "seg" / "preprocessor_config.json").write_text(
        '{"size": {"height": 64, "width": 96}, "image_mean": [0, 0, 0], "image_std": [1, 1, 1]}'
    )
    spec = registry.find_model(f"hf:{place / 'seg'}")
    assert (spec.task, spec.classes, spec.size, spec.output_stride) == ("segmentation", 4, (64, 96), 4)
    assert spec.preprocessing == Preprocessing(mean=(0, 0, 0), std=(1, 1, 1), source="file")
    made = step_of(place / "out", spec.name)
    assert made.weights.sha256 == spec.user_weights


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", None])
def test_a_model_in_the_hubs_cache_is_found_by_its_name_and_again_when_it_changes(
    place: Path, monkeypatch: pytest.MonkeyPatch, variable: str | None
):
    transformers: Any = pytest.importorskip("transformers", reason="hf: builds with it")
    from huggingface_hub import constants

    hub = place / "hub"
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    if variable:  # otherwise it lies where nobody looks for it: it is described anew each time
        monkeypatch.setenv(variable, "$PLACE/hub")
        monkeypatch.setenv("PLACE", str(place))
    for module, name in ((constants, "HF_HUB_CACHE"), (transformers.utils.hub, "HF_HUB_CACHE")):
        monkeypatch.setattr(module, name, str(hub), raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = hub / "models--someone--tiny"
    config = transformers.ConvNextConfig(hidden_sizes=(8, 8, 8, 8), depths=(1, 1, 1, 1), num_labels=3)

    def downloaded(commit: str, seed: int, side: int) -> None:
        torch.manual_seed(seed)
        snapshot = repository / "snapshots" / commit
        transformers.ConvNextForImageClassification(config).save_pretrained(snapshot)
        (snapshot / "preprocessor_config.json").write_text(f'{{"size": {{"height": {side}, "width": {side}}}}}')
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / "main").write_text(commit)

    downloaded("a" * 40, 1, 64)
    one = registry.find_model("hf:someone/tiny")
    assert (one.task, one.classes, one.size) == ("classification", 3, (64, 64))
    downloaded("b" * 40, 2, 96)
    user_models.forget()
    other = registry.find_model("hf:someone/tiny")
    assert other.size == (96, 96)
    assert other.user_weights != one.user_weights


def test_a_folder_without_all_its_weights_is_refused(place: Path):
    transformers: Any = pytest.importorskip("transformers", reason="hf: builds with it")
    config = transformers.ConvNextConfig(hidden_sizes=(8, 8, 8, 8), depths=(1, 1, 1, 1), num_labels=3)
    transformers.ConvNextModel(config).save_pretrained(place / "backbone")
    text = (place / "backbone" / "config.json").read_text().replace("ConvNextModel", "ConvNextForImageClassification")
    (place / "backbone" / "config.json").write_text(text)
    with pytest.raises(UnreadableFile, match=r"lacks 2 of its tensors \(classifier\.bias"):
        registry.find_model(f"hf:{place / 'backbone'}")
    (place / "backbone" / "model.safetensors").unlink()
    user_models.forget()
    with pytest.raises(UnreadableFile, match="no weights that load"):
        registry.find_model(f"hf:{place / 'backbone'}")


def test_a_module_that_draws_its_weights_draws_the_same_ones_every_time(place: Path):
    (place / "drawn_nets.py").write_text("from torch import nn\ndef make():\n    return nn.Conv2d(3, 4, 1)\n")
    one, other = user.build_module("drawn_nets:make"), user.build_module("drawn_nets:make")
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


class StandIn:
    """What timm offers, as far as it is asked."""

    @staticmethod
    def write(place: Path) -> None:
        (place / "timm").mkdir()
        (place / "timm" / "__init__.py").write_text(
            "from torch import nn\n"
            "def create_model(name, pretrained):\n"
            "    assert not pretrained, 'nothing is downloaded'\n"
            "    if name != 'tiny':\n"
            "        raise RuntimeError(f'Unknown model ({name})')\n"
            "    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 1000))\n"
            "    net.pretrained_cfg = {'input_size': (3, 96, 96), 'mean': (0.5, 0.5, 0.5), 'std': (0.5, 0.5, 0.5)}\n"
            "    return net\n"
        )


def test_timm_by_a_stand_in(place: Path, monkeypatch: pytest.MonkeyPatch):
    StandIn.write(place)
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).parents[2]}:{place}")
    spec = registry.find_model("timm:tiny")
    assert (spec.task, spec.classes, spec.size, spec.preprocessing.mean) == (
        "classification",
        1000,
        (96, 96),
        (0.5, 0.5, 0.5),
    )
    assert spec.user_weights is None
    assert spec.note is not None
    with pytest.raises(UsageError, match=r"Unknown model \(other\)"):
        registry.find_model("timm:other")
    one, other = create(spec), create(spec)
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    sys.modules.pop("timm", None)


def test_a_missing_timm_is_said_with_how_to_get_it():
    if user_models.importlib.util.find_spec("timm") is not None:
        pytest.skip("timm is here")
    with pytest.raises(MissingPackage) as caught:
        registry.find_model("timm:resnet18")
    assert caught.value.exit_code == 3
    assert "pip install timm" in caught.value.hint


def test_tensors_beside_an_onnx_file_are_part_of_it(place: Path, monkeypatch: pytest.MonkeyPatch):
    whole = onnx_file(place / "whole.onnx")
    path = place / "apart.onnx"
    onnx.save(onnx.load(whole), path, save_as_external_data=True, location="tensors", size_threshold=0)
    name = f"onnx:{path}"
    before = registry.find_model(name)
    manifest = step_of(place / "out", name)
    assert manifest.params == 5 * 3 * 3 * 3
    # As beyond 2 GiB: the tensors are not read until they are written.
    monkeypatch.setattr(user_onnx, "READ_AT_ONCE_BYTES", 0)
    step_of(place / "again", name)
    made = [onnx.load(place / one / "model.onnx") for one in ("out", "again")]
    step_of(place / "of-one-file", f"onnx:{whole}")
    made.append(onnx.load(place / "of-one-file" / "model.onnx"))
    weights = [numpy_helper.to_array(one.graph.initializer[0]) for one in made]
    assert all((one == weights[0]).all() and one.any() for one in weights)
    tensors = bytearray((place / "tensors").read_bytes())
    tensors[:400] = bytes(400)
    (place / "tensors").write_bytes(tensors)
    user_models.forget()
    after = registry.find_model(name)
    assert after.user_weights != before.user_weights, "what was made of the tensors that were there is not up to date"
    (place / "tensors").unlink()
    user_models.forget()
    with pytest.raises(UnreadableFile, match="tensors"):
        registry.find_model(name)


# What is refused.


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("onnx:", UsageError, "names no model"),
        ("onnx:nowhere.onnx", UnreadableFile, "no ONNX file at nowhere.onnx"),
        ("onnx:users_nets.py", UnreadableFile, "not a valid ONNX file"),
        ("module:users_nets", UsageError, "names no function"),
        ("module:no.such.module:f", UsageError, "no module no.such"),
        ("module:users_nets:nothing", UsageError, "has no attribute 'nothing'"),
        ("module:users_nets:not_callable", Impossible, "TypeError"),
        ("module:users_nets:no_module", Impossible, "returned a int"),
        ("module:users_nets:broken", Impossible, "ValueError: out of luck"),
        ("module:users_nets:words", Impossible, "returns a str, not a tensor"),
        ("module:users_nets:two_numbers", Impossible, "answers an image"),
        ("hf:no/such-model-here", UnreadableFile, "neither a model's folder nor in the cache"),
    ],
)
def test_bad_names_are_answered_with_what_is_wrong(
    name: str, kind: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    if name.startswith("hf:"):
        pytest.importorskip("transformers", reason="hf: builds with it")
    with pytest.raises(kind, match=said):
        registry.find_model(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("module:users_nets:crashing", "ended with exit code 7"),
        ("module:users_nets:broken", "ValueError: out of luck"),
    ],
)
def test_a_model_that_takes_its_process_along_does_not_take_ours(own_process: None, name: str, said: str):
    with pytest.raises(Impossible, match=said):
        registry.find_model(name)


def test_what_a_users_code_prints_is_not_the_answer(own_process: None):
    assert registry.find_model("module:users_nets:classifier").classes == 7


def test_graphs_that_do_not_take_one_image_are_refused(place: Path):
    other = helper.make_tensor_value_info("prompt", TensorProto.FLOAT, (1, 2))
    for index, (changes, said) in enumerate(
        (
            ({"shape": (1, 32, 32, 3)}, "channels come last"),
            ({"more": (other,)}, "2 inputs"),
            ({"shape": (4, 3, 32, 32)}, "4 images at once"),
        )
    ):
        path = place / f"bad{index}.onnx"
        try:
            onnx_file(path, **changes)
        except onnx.checker.ValidationError:
            continue
        with pytest.raises((Impossible, UnreadableFile), match=said):
            registry.find_model(f"onnx:{path}")


def test_an_onnx_file_keeps_its_weights_its_inputs_and_outputs_and_is_no_torch_module(place: Path):
    spec = registry.find_model(f"onnx:{onnx_file(place / 'net.onnx')}")
    cases: list[tuple[str, bool, tuple[Head, Io], str]] = [
        ("onnx-fp32", True, ("logits", "fp32"), "its own weights"),
        ("torch-fp32", False, ("logits", "fp32"), "no torch module"),
        ("onnx-fp32", False, ("labels", "fp32"), "keeps its graph inputs and outputs"),
        ("onnx-fp32", False, ("logits", "uint8"), "keeps its graph inputs and outputs"),
    ]
    for target, weights, (head, io), said in cases:
        with pytest.raises(Impossible, match=said):
            user_models.check(spec, target, weights=weights, head=head, io=io)


# Names.


def test_folders_have_names_that_files_can_have():
    assert user_models.folder_name("efficientvit_b0", "abc") == "efficientvit_b0"
    assert user_models.folder_name("onnx:/data/my net.v2.onnx", "0123456789") == "onnx-my-net.v2-01234567"
    assert user_models.folder_name("module:pkg.mod:make", None) == "module-pkg.mod-make"
    assert user_models.folder_name("timm:efficientvit_b0.r224", None) == "timm-efficientvit_b0.r224"


def test_benches_and_duels_take_own_names(place: Path):
    name = f"onnx:{onnx_file(place / 'net.onnx')}"
    planned = cases.plan([name], BenchRequest())
    assert (planned[0].variant.full_model, planned[0].variant.target) == (name, "onnx-fp32")
    assert cases.side(f"{name}:onnx-fp16", BenchRequest()).variant.target == "onnx-fp16"
    assert cases.side(name, BenchRequest()).variant.target == "onnx-fp32"


# The pipe.


@pytest.mark.parametrize("target", ["onnx-fp32", "onnx-fp16"])
def test_an_onnx_file_goes_through_and_keeps_its_function(place: Path, target: str):
    manifest = step_of(place / "out", f"onnx:{onnx_file(place / 'net.onnx')}", target)
    assert [one.name for one in manifest.inputs] == ["image"]
    assert [one.name for one in manifest.outputs] == ["logits"]
    assert manifest.weights.source == "file"
    assert (manifest.params, manifest.macs) == (135, 32 * 32 * 135)


@pytest.mark.parametrize("function", ["classifier", "segmenter", "enlarger"])
def test_a_users_module_goes_through(place: Path, function: str):
    manifest = step_of(place / "out", f"module:users_nets:{function}")
    assert manifest.model == f"module:users_nets:{function}"
    assert manifest.params > 0
    assert manifest.macs > 0


def test_a_file_that_computes_something_else_fails(place: Path, monkeypatch: pytest.MonkeyPatch):
    """A planted failure: the exported graph is of other weights than the reference's."""
    spec = registry.find_model("module:users_nets:classifier")
    (place / "out").mkdir()
    exporter: Any = registry.load("vitdeploy.exporters.to_onnx")
    right = exporter.make

    def wrong(model: Any, *rest: Any) -> Any:
        inner = model.model[4]
        with torch.no_grad():
            kept = inner.weight.clone()
            inner.weight.mul_(1.5)
            made = right(model, *rest)
            inner.weight.copy_(kept)
        return made

    monkeypatch.setattr(exporter, "make", wrong)
    step.run(job(place / "out", spec.name))
    parity = open_artifact(place / "out").manifest.parity
    assert parity is not None
    assert not parity.passed


def test_meaning_of_shapes():
    assert user.task_of_output("m", (1, 10), (64, 64)) == {"task": "classification", "classes": 10}
    assert user.task_of_output("m", (1, 3, 64, 64), (64, 64)) == {"task": "super-resolution", "scale": 1}
    assert user.task_of_output("m", (1, 2, 8, 8), (64, 64)) == {
        "task": "segmentation",
        "classes": 2,
        "output_stride": 8,
    }
    for shape in ((1, 5, 4), (2, 10), (1, 7, 60, 60), (1, 7, 32, 16)):
        with pytest.raises(Impossible, match="answers an image"):
            user.task_of_output("m", shape, (64, 64))


# How pictures become inputs.


def artifact_of(place: Path, name: str, **options: Any) -> Any:
    (row,) = export.export([name], ExportRequest(target="onnx-fp32", size="32x32", out=place / "artifacts", **options))
    assert row.error is None, row.error
    assert row.artifact is not None
    return row.artifact


@pytest.mark.slow
def test_a_users_enlarger_takes_pictures_as_they_are(place: Path):
    (place / "twice.py").write_text(
        "from torch import nn\ndef make():\n    return nn.Upsample(scale_factor=2, mode='nearest')\n"
    )
    photo = photos.resize(photos.read(photos.bundled()[0]), (32, 32))
    Image.fromarray(photo).save(place / "photo.png")
    for io in ("fp32", "uint8"):
        made = artifact_of(place, "module:twice:make", io=io)
        used = made.manifest.preprocessing
        assert (used.mean, used.std, used.source) == ((0, 0, 0), (1, 1, 1), "assumed")
        shown = predict.predict(PredictRequest(artifact=made.folder, image="photo.png", out=place / "out.png"))
        assert "mean 0 0 0" in shown.preprocessing
        enlarged = photo.repeat(2, axis=0).repeat(2, axis=1)
        assert np.abs(photos.read(place / "out.png").astype(int) - enlarged).max() <= 1


def test_what_nobody_says_of_a_classifier_is_asked_for(place: Path):
    name = "module:users_nets:classifier"
    made = artifact_of(place, name)
    assert made.manifest.preprocessing.source == "assumed"
    with pytest.raises(Impossible, match="not known") as caught:
        predict.predict(PredictRequest(artifact=made.folder, image="sample:coffee"))
    assert "--mean" in caught.value.hint
    with pytest.raises(Impossible, match="not known"):
        artifact_of(place, name, io="uint8")
    with pytest.raises(UsageError, match="--scale alone"):
        artifact_of(place, name, scale="1")


@pytest.mark.slow
def test_given_preprocessing_is_used_inside_and_outside_the_graph(place: Path):
    name = "module:users_nets:classifier"
    given: dict[str, Any] = {"mean": "10,20,30", "std": (50, 60, 70), "scale": "1", "channel_order": "bgr"}
    outside, inside = artifact_of(place, name, **given), artifact_of(place, name, io="uint8", **given)
    assert outside.folder != artifact_of(place, name).folder
    used = outside.manifest.preprocessing
    assert used == Preprocessing(mean=(10, 20, 30), std=(50, 60, 70), scale=1, channel_order="bgr", source="given")
    photo = photos.resize(photos.read(photos.bundled()[0]), (32, 32))
    feed = ((photo[..., ::-1].astype(np.float32) - used.mean) / used.std).transpose(2, 0, 1)[None].astype(np.float32)
    spec = registry.find_model(name)
    feeds = [postprocess.model_inputs(photo, made.manifest, spec)["image"] for made in (outside, inside)]
    assert np.abs(feeds[0] - feed).max() < 1e-5
    answers: list[Any] = [
        onnxruntime.InferenceSession(made.file, providers=["CPUExecutionProvider"]).run(None, {"image": one})[0]
        for made, one in zip((outside, inside), feeds, strict=True)
    ]
    assert np.abs(answers[0] - answers[1]).max() < 1e-4
    parity, error = pipeline.prove(inside, weights=None, images=None)
    assert parity.passed, error


@pytest.mark.parametrize(
    ("option", "value"),
    [("mean", "1,2"), ("mean", "a,b,c"), ("std", "1,0,1"), ("scale", "0"), ("scale", "1/0"), ("channel_order", "gbr")],
)
def test_values_that_are_no_preprocessing_are_usage_errors(option: str, value: str):
    with pytest.raises(UsageError, match=option.replace("_", "-")):
        preprocessing.options(**{option: value})


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"do_normalize": False, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
            {"mean": (0, 0, 0), "std": (1, 1, 1)},
        ),
        ({"do_rescale": True, "rescale_factor": 1 / 255}, {"mean": (0, 0, 0), "std": (1, 1, 1)}),
        ({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}, {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.25, 0.25)}),
        (
            {"do_rescale": False, "do_normalize": True, "image_mean": [104, 117, 123], "image_std": [1, 1, 1]},
            {"mean": (104, 117, 123), "std": (1, 1, 1), "scale": 1.0},
        ),
        ({"do_flip_channel_order": True}, {"mean": (0, 0, 0), "std": (1, 1, 1), "channel_order": "bgr"}),
        (
            {"rescale_factor": 1 / 127.5, "rescale_offset": True},
            {"mean": (1, 1, 1), "std": (1, 1, 1), "scale": 1 / 127.5},
        ),
    ],
)
def test_an_image_processor_is_read_whole(fields: dict[str, Any], expected: dict[str, Any]):
    assert user_preprocessing.of_processor("net", fields) == Preprocessing(**expected, source="file")


def test_steps_that_are_not_scale_and_normalize_are_refused():
    with pytest.raises(Impossible, match="do_color_quantize"):
        user_preprocessing.of_processor("net", {"do_color_quantize": True})


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({"size": 64}, (64, 64)),
        ({"size": {"shortest_edge": 72}}, (72, 72)),
        ({"size": {"height": 64, "width": 96}}, (64, 96)),
        ({"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}}, (64, 64)),
        ({"size": 48, "crop_size": 64, "do_center_crop": False}, (48, 48)),
        ({"size": 48, "do_resize": False}, (32, 32)),
    ],
)
def test_the_size_of_an_image_processor(fields: dict[str, Any], size: tuple[int, int], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(user_preprocessing, "_processor", lambda _: fields)
    config = SimpleNamespace(image_size=32)
    assert user_preprocessing.of_transformers("net", config, (224, 224))[0] == size


@pytest.mark.slow
def test_the_state_dict_that_was_taken_is_in_the_manifest_and_is_said(place: Path):
    name = "module:users_nets:classifier"
    raw = create(registry.find_model(name)).state_dict()
    raw = {key.removeprefix("model."): tensor for key, tensor in raw.items()}
    averaged = {key: tensor * 2 for key, tensor in raw.items()}
    torch.save({"state_dict": raw, "state_dict_ema": averaged}, place / "net.pt")
    said: list[str] = []
    request = ExportRequest(target="onnx-fp32", size="32x32", out=place / "artifacts", weights=place / "net.pt")
    folders: set[Path] = set()
    for key, expected, other in (
        (None, "state_dict_ema", "state_dict"),
        ("state_dict", "state_dict", "state_dict_ema"),
    ):
        (row,) = export.export([name], replace(request, weights_key=key), progress=said.append)
        assert row.artifact is not None
        recorded = row.artifact.manifest.weights
        assert (recorded.key, recorded.other_keys) == (expected, (other,))
        assert any(f"{expected} is taken, not {other}" in line for line in said)
        folders.add(row.artifact.folder)
        parity, error = pipeline.prove(row.artifact, weights=place / "net.pt", images=None)
        assert parity.passed, error
    assert len(folders) == 2
    with pytest.raises(UsageError, match="no state dict"):
        export.export([name], replace(request, weights_key="modle"))
