"""Weights: seeded ones are the same everywhere, and no bad checkpoint gets past the reader."""

import os
import pickle
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.doubles import golden
from tests.doubles.checkpoints import FOLDER
from vitdeploy.catalog import registry
from vitdeploy.errors import MissingPackage, UnreadableFile, UsageError
from vitdeploy.models import efficientvit
from vitdeploy.models.create import create
from vitdeploy.models.weights import fit, fit_under_any_prefix, open_checkpoint, read_checkpoint, seeded

B0 = "efficientvit_b0"
SEG = "efficientvit_seg_b0_cityscapes"


class Code:
    """Pickles as a call that leaves a file behind when somebody unpickles it."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return (os.mkdir, (str(self.trace),))


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)


def refusal(path: Path | str) -> str:
    with pytest.raises(UnreadableFile) as caught:
        read_checkpoint(path)
    assert caught.value.exit_code == 9
    return one_line(caught.value, path)


def one_line(error: UnreadableFile, path: Path | str) -> str:
    assert str(path) in error.message
    assert "\n" not in error.message
    assert "\n" not in error.hint
    assert error.hint.endswith(".")
    return error.message


def saved(tmp_path: Path, content: object, name: str = "file.pt", **options: object) -> Path:
    torch.save(content, tmp_path / name, **options)  # pyright: ignore[reportArgumentType]
    return tmp_path / name


# --- seeded -------------------------------------------------------------------------------------------------


def test_seeded_values_are_these_on_every_machine():
    state = seeded(Tiny(), 0)
    assert {key: tensor.flatten()[0].item() for key, tensor in state.items()} == {
        "conv.weight": -0.16524362564086914,
        "conv.bias": -0.06436001509428024,
        "norm.weight": 1.1166118383407593,
        "norm.bias": -0.025877952575683594,
        "norm.running_mean": -0.12128520011901855,
        "norm.running_var": 1.1577199697494507,
        "norm.num_batches_tracked": 0,
    }


def test_another_seed_gives_other_weights_and_the_same_seed_the_same():
    one, again, two = seeded(Tiny(), 1), seeded(Tiny(), 1), seeded(Tiny(), 2)
    assert all(torch.equal(one[key], again[key]) for key in one)
    assert not torch.equal(one["conv.weight"], two["conv.weight"])


def test_seeded_weights_are_scaled_by_their_fan_in():
    layer = seeded(nn.Linear(400, 1000), 0)
    assert layer["weight"].std().item() == pytest.approx(1 / 20, rel=0.01)
    assert abs(layer["weight"].mean().item()) < 1e-3
    assert layer["bias"].std().item() == pytest.approx(0.1, rel=0.1)


def test_seeded_norms_are_near_the_identity_but_not_it():
    norm = seeded(nn.BatchNorm1d(10000), 0)
    assert norm["running_var"].min().item() >= 1
    assert norm["running_var"].mean().item() == pytest.approx(1.09, abs=0.01)
    assert norm["weight"].mean().item() == pytest.approx(1, abs=0.01)
    assert norm["weight"].std().item() == pytest.approx(0.1, rel=0.05)


def test_an_integer_table_that_a_module_computed_is_kept():
    module = nn.Module()
    module.register_buffer("index", torch.arange(5))
    assert seeded(module, 0)["index"].tolist() == [0, 1, 2, 3, 4]


# --- reading ------------------------------------------------------------------------------------------------


def test_a_missing_file_and_a_directory_are_named(tmp_path):
    assert "does not exist" in refusal(tmp_path / "none.pt")
    assert "is a directory" in refusal(tmp_path)


def test_what_is_not_a_regular_file_is_not_read():
    assert "is not a regular file" in refusal("/dev/null")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_permission_is_named(tmp_path):
    path = saved(tmp_path, {"a": torch.ones(1)})
    path.chmod(0)
    assert "cannot be read" in refusal(path)


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "is empty (0 bytes)"),
        (b"hello, this is text\n", "is not a PyTorch checkpoint"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), "is not a PyTorch checkpoint"),
        (bytes(1000), "is not a PyTorch checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "is a Git LFS pointer"),
        (b"\n<!DOCTYPE html><html></html>", "is a web page"),
        (pickle.dumps({"a": 1}, protocol=4), "is a plain Python pickle"),
    ],
)
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content, fault):
    for name in ("file.pt", "file.pth"):
        (tmp_path / name).write_bytes(content)
        assert fault in refusal(tmp_path / name)


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("share", [0.001, 0.01, 0.3, 0.6, 0.99])
def test_a_truncated_checkpoint_is_refused(tmp_path, zipped, share):
    path = saved(tmp_path, seeded(Tiny(), 0), _use_new_zipfile_serialization=zipped)
    content = path.read_bytes()
    path.write_bytes(content[: max(2, int(len(content) * share))])
    assert "is truncated or damaged" in refusal(path)


def test_some_other_zip_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "file.pt", "w") as archive:
        archive.writestr("readme.txt", "nothing here")
    assert "is not a PyTorch checkpoint" in refusal(tmp_path / "file.pt")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_code_in_a_checkpoint_is_named_and_never_run(tmp_path, zipped):
    trace = tmp_path / "it-ran"
    path = saved(tmp_path, {"weight": torch.ones(3), "x": Code(trace)}, _use_new_zipfile_serialization=zipped)
    message = refusal(path)
    assert "holds Python code besides tensors" in message
    assert "mkdir" in message
    assert not trace.exists()


def test_a_pickled_call_alone_is_never_run(tmp_path):
    trace = tmp_path / "it-ran"
    for protocol in (2, 4):
        (tmp_path / "file.pt").write_bytes(pickle.dumps(Code(trace), protocol=protocol))
        refusal(tmp_path / "file.pt")
        assert not trace.exists()


def test_a_whole_pickled_module_is_refused_by_the_name_of_its_class(tmp_path):
    assert "torch.nn.modules.linear.Linear" in refusal(saved(tmp_path, nn.Linear(2, 2)))


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (torch.ones(3), "holds a Tensor, not a dict of tensors"),
        ([torch.ones(3)], "holds a list, not a dict of tensors"),
        ({}, "holds no tensors"),
        ({"state_dict": {}}, "holds no tensors"),
        ({"weight": torch.ones(3), "epoch": 7}, "its entry epoch is a int"),
        ({3: torch.ones(3)}, "its entry 3 is a Tensor"),
        ({"weight": torch.ones(3, dtype=torch.complex64)}, "holds no plain numbers in weight"),
        ({"weight": torch.eye(3).to_sparse()}, "holds no plain numbers in weight"),
    ],
)
def test_anything_but_a_dict_of_tensors_is_refused(tmp_path, content, fault):
    assert fault in refusal(saved(tmp_path, content))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_checkpoint_that_diverged_is_refused(tmp_path, bad):
    state = seeded(Tiny(), 0)
    state["norm.running_var"][2] = bad
    message = refusal(saved(tmp_path, state))
    assert "NaN or infinity in 1 of 7 tensors (norm.running_var)" in message


def test_a_name_out_of_a_file_cannot_forge_lines_or_colors(tmp_path):
    message = refusal(saved(tmp_path, {"a\nerror: \x1b[31mforged": "text"}))
    assert "\x1b" not in message


@pytest.mark.parametrize("wrapper", ["state_dict", "params", "params_ema", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_state_dicts_are_unwrapped(tmp_path, wrapper, prefix):
    state = seeded(Tiny(), 0)
    inside = {prefix + key: tensor for key, tensor in state.items()}
    read = read_checkpoint(saved(tmp_path, {wrapper: inside, "epoch": 300}))
    assert list(read) == list(state)
    assert all(torch.equal(read[key], state[key]) for key in state)


def test_averaged_weights_win_over_raw_ones(tmp_path):
    path = saved(tmp_path, {"params": {"a": torch.zeros(1)}, "params_ema": {"a": torch.ones(1)}})
    assert read_checkpoint(path)["a"].item() == 1


@pytest.mark.parametrize(
    "form",
    [
        {"params": "raw", "params_ema": "averaged"},
        {"state_dict": "raw", "state_dict_ema": "averaged"},
        {"model": "raw", "model_ema": "averaged", "optimizer": {"state": {0: {"exp_avg": torch.ones(9)}}}},
        {"state_dict": "raw", "ema": {0.9998: "averaged"}},
        {"state_dict": "raw", "ema": {"decay": 0.99, "state_dict": "averaged"}},
        {"model": "raw", "ema": {"module": "averaged", "updates": torch.ones(1)}},
        {"state_dict": "raw", "ema_state_dict": "averaged", "meta": {"epoch": 3}},
        {"model": "raw", "swa_model": "averaged"},
        {"model": "raw", "model_ema": "averaged", "avg_grad": {"x": torch.ones(2)}},
    ],
)
def test_averaged_weights_are_taken_and_said_and_the_raw_ones_by_name(tmp_path, form):
    state = seeded(Tiny(), 0)
    kinds = {"raw": state, "averaged": {key: tensor * 2 for key, tensor in state.items()}}

    def filled(entries):
        return {
            key: filled(value) if isinstance(value, dict) else kinds[value] if isinstance(value, str) else value
            for key, value in entries.items()
        }

    path = saved(tmp_path, filled(form))
    checkpoint = open_checkpoint(path)
    assert torch.equal(checkpoint.tensors["conv.weight"], kinds["averaged"]["conv.weight"])
    raw = next(key for key, value in form.items() if value == "raw")
    assert checkpoint.choice.others == (raw,)
    assert "the averaged weights" in (checkpoint.choice.words or "")
    assert torch.equal(open_checkpoint(path, raw).tensors["conv.weight"], state["conv.weight"])
    with pytest.raises(UsageError, match="no state dict 'nothing'") as caught:
        open_checkpoint(path, "nothing")
    assert raw in caught.value.hint


def test_mmengine_keeps_its_raw_weights_under_the_name_of_the_averaged_ones(tmp_path):
    state = seeded(Tiny(), 0)
    raw = {f"module.{key}": tensor for key, tensor in state.items()} | {"steps": torch.tensor(7)}
    averaged = {key: tensor * 2 for key, tensor in state.items()}
    path = saved(tmp_path, {"meta": {}, "state_dict": averaged, "ema_state_dict": raw})
    checkpoint = open_checkpoint(path)
    assert (
        checkpoint.choice.words == "takes the averaged weights, state_dict, not ema_state_dict; --weights-key chooses"
    )
    assert torch.equal(checkpoint.tensors["conv.weight"], averaged["conv.weight"])
    named = open_checkpoint(path, "ema_state_dict")
    assert named.choice.words == "takes the weights, ema_state_dict, not state_dict; --weights-key chooses"
    assert fit(named.tensors, Tiny())["conv.weight"].equal(state["conv.weight"])


def test_averaged_weights_without_names_are_said_not_to_be_taken(tmp_path):
    state = seeded(Tiny(), 0)
    path = saved(tmp_path, {"state_dict": state, "ema": {"decay": 0.9, "shadow_params": list(state.values())}})
    words = open_checkpoint(path).choice.words or ""
    assert "not ema.shadow_params (a list without names" in words


@pytest.mark.parametrize("mark", ["_orig_mod.", "_checkpoint_wrapped_module.", "_fsdp_wrapped_module."])
def test_marks_of_wrapped_parts_are_taken_out_of_keys(tmp_path, mark):
    state = seeded(Tiny(), 0)
    wrapped = {key.replace("conv.", f"conv.{mark}"): tensor for key, tensor in state.items()}
    assert read_checkpoint(saved(tmp_path, wrapped)).keys() == state.keys()


def test_a_checkpoint_that_does_not_fit_says_which_of_its_state_dicts_was_taken(tmp_path):
    state = seeded(Tiny(), 0)
    path = saved(tmp_path, {"model": state, "ema": {"conv.weight": state["conv.weight"]}})
    with pytest.raises(UnreadableFile, match=r"\(takes the averaged weights, ema, not model; --weights-key chooses\)"):
        create(registry.find_model(B0), weights=path)


def test_averaged_weights_beside_raw_ones_under_a_prefix(tmp_path):
    state = seeded(Tiny(), 0)
    both = {f"model.{key}": tensor for key, tensor in state.items()}
    both |= {f"ema_model.{key}": tensor * 2 for key, tensor in state.items()}
    checkpoint = open_checkpoint(saved(tmp_path, {"state_dict": both}))
    assert torch.equal(checkpoint.tensors["conv.weight"], state["conv.weight"] * 2)


def test_a_file_of_one_state_dict_has_no_key_and_one_of_several_unknown_ones_asks(tmp_path):
    state = seeded(Tiny(), 0)
    with pytest.raises(UsageError, match="one state dict"):
        open_checkpoint(saved(tmp_path, state), "state_dict")
    path = saved(tmp_path, {"student": state, "teacher": state})
    with pytest.raises(UnreadableFile, match=r"2 state dicts \(student, teacher\)"):
        open_checkpoint(path)
    assert open_checkpoint(path, "teacher").choice.key == "teacher"


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "_orig_mod.module.", "model.", "net.", "model.net."])
def test_what_training_put_before_or_beside_the_weights_does_not_decide(tmp_path, prefix):
    state = seeded(Tiny(), 0)
    counters = {"total_ops": torch.zeros(1), "n_averaged": torch.tensor(3)}
    inside = {prefix + key: tensor for key, tensor in state.items() if not key.endswith("num_batches_tracked")}
    checkpoint = read_checkpoint(saved(tmp_path, inside | counters | {f"{prefix}conv.total_params": torch.zeros(1)}))
    fitted = fit_under_any_prefix(checkpoint, Tiny(), path="file.pt", model="tiny")
    assert {key: tensor.tolist() for key, tensor in fitted.items()} == {k: v.tolist() for k, v in state.items()}
    for wrong in ({"conv.weight": torch.ones(4, 3, 5, 5)}, {"head.weight": torch.ones(3)}):
        spoiled = inside | {prefix + key: tensor for key, tensor in wrong.items()}
        with pytest.raises(UnreadableFile, match="does not fit"):
            fit_under_any_prefix(read_checkpoint(saved(tmp_path, spoiled)), Tiny(), path="file.pt", model="tiny")
    missing = {key: tensor for key, tensor in inside.items() if not key.endswith("running_var")}
    with pytest.raises(UnreadableFile, match="1 missing"):
        fit_under_any_prefix(read_checkpoint(saved(tmp_path, missing)), Tiny(), path="file.pt", model="tiny")


def test_a_compiled_part_is_known_by_its_mark(tmp_path):
    state = seeded(Tiny(), 0)
    inside = {key.replace("conv.", "conv._orig_mod."): tensor for key, tensor in state.items()}
    assert list(read_checkpoint(saved(tmp_path, inside))) == list(state)


def test_swinir_files_of_another_training_size_fit(tmp_path):
    spec = registry.find_model("swinir_light_x2")
    state = create(spec).state_dict()
    for number, masks in enumerate((torch.full((36, 64, 64), -100.0), None)):
        changed = {
            key: masks if key.endswith("attn_mask") else tensor
            for key, tensor in state.items()
            if masks is not None or not key.endswith(("attn_mask", "relative_position_index"))
        }
        loaded = create(spec, weights=saved(tmp_path, {"params": changed}, f"{number}.pt")).state_dict()
        assert all(torch.equal(loaded[key], state[key]) for key in state if not key.endswith("attn_mask"))
    wrong = state | {key: tensor[:, :2] for key, tensor in state.items() if key.endswith("bias_table")}
    with pytest.raises(UnreadableFile, match="wrongly shaped"):
        create(spec, weights=saved(tmp_path, wrong))


def test_a_prefix_that_only_some_keys_have_belongs_to_the_model(tmp_path):
    path = saved(tmp_path, {"module.a": torch.ones(1), "b": torch.ones(1)})
    assert list(read_checkpoint(path)) == ["module.a", "b"]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_tensors_come_as_float32_whatever_they_are_stored_as(tmp_path, dtype):
    state = {key: tensor.to(dtype) for key, tensor in seeded(Tiny(), 0).items()}
    fitted = fit(read_checkpoint(saved(tmp_path, state)), Tiny())
    assert fitted["conv.weight"].dtype == torch.float32
    assert fitted["norm.num_batches_tracked"].dtype == torch.int64


def test_parameters_lose_their_gradients(tmp_path):
    path = saved(tmp_path, dict(Tiny().named_parameters()))
    assert not any(tensor.requires_grad for tensor in read_checkpoint(path).values())


def test_safetensors_are_read(tmp_path):
    safetensors = pytest.importorskip("safetensors.torch")
    state = seeded(Tiny(), 0)
    path = tmp_path / "model.safetensors"
    safetensors.save_file(state, path)
    read = read_checkpoint(path)
    assert all(torch.equal(read[key], state[key]) for key in state)
    for size in (4, 100, path.stat().st_size - 1):
        (tmp_path / "cut.safetensors").write_bytes(path.read_bytes()[:size])
        assert "is not a readable safetensors file" in refusal(tmp_path / "cut.safetensors")


def test_safetensors_without_the_package_say_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"12345678")
    with pytest.raises(MissingPackage, match="needs the package safetensors"):
        read_checkpoint(path)


# --- fitting ------------------------------------------------------------------------------------------------


def misfit(checkpoint: dict[str, torch.Tensor], model: str = "the model") -> str:
    with pytest.raises(UnreadableFile) as caught:
        fit(checkpoint, Tiny(), path="weights.pt", model=model)
    return one_line(caught.value, "weights.pt")


def test_missing_keys_are_counted_and_the_first_three_named():
    message = misfit({"conv.weight": torch.ones(4, 3, 3, 3)})
    assert "5 missing (conv.bias, norm.weight, norm.bias, …)" in message
    assert "of 7 keys" in message
    assert "unexpected" not in message


def test_unexpected_keys_are_named():
    assert "1 unexpected (head.bias)" in misfit(seeded(Tiny(), 0) | {"head.bias": torch.ones(1)})


def test_wrong_shapes_are_given_as_file_against_model():
    message = misfit(seeded(Tiny(), 0) | {"conv.bias": torch.ones(5)}, model="tiny")
    assert "does not fit tiny" in message
    assert "1 wrongly shaped (conv.bias: file (5,), model (4,))" in message


def test_a_transposed_kernel_of_the_same_size_is_seen():
    state = seeded(Tiny(), 0)
    message = misfit(state | {"conv.weight": state["conv.weight"].transpose(0, 1).contiguous()})
    assert "file (3, 4, 3, 3), model (4, 3, 3, 3)" in message


def test_integer_weights_are_not_taken_for_real_ones():
    state = seeded(Tiny(), 0)
    message = misfit(state | {"conv.bias": torch.ones(4, dtype=torch.int8)})
    assert "conv.bias: file (4,) int8, model (4,)" in message


def test_two_names_for_one_key_are_refused():
    state = seeded(Tiny(), 0)
    with pytest.raises(UnreadableFile, match="1 given under two names"):
        fit(
            state | {"old.bias": state["conv.bias"]},
            Tiny(),
            rename=lambda keys: {key: "conv.bias" if key == "old.bias" else key for key in keys},
        )


def test_the_order_of_a_file_does_not_matter():
    state = seeded(Tiny(), 0)
    assert list(fit(dict(reversed(state.items())), Tiny())) == list(state)


def timm_name(key: str, *, is_l: bool) -> str:
    """The official key in timm's naming, written down the other way round than the code under test."""
    head = {"0.": "in_conv.", "2.linear.": "classifier.0.", "2.norm.": "classifier.1.", "3.linear.": "classifier.4."}
    for official, timm in head.items():
        if key.startswith(f"head.op_list.{official}"):
            return f"head.{timm}" + key.removeprefix(f"head.op_list.{official}")
    parts = key.split(".")
    if parts[1] == "input_stem" or (is_l and parts[2] == "0"):
        block, rest = (parts[3], parts[4:]) if parts[1] == "input_stem" else (parts[4], parts[5:])
        return ".".join(["stem", "in_conv" if block == "0" else f"res{int(block) - 1}", *rest])
    return ".".join(["stages", str(int(parts[2]) - is_l), "blocks", parts[4], *parts[5:]])


@pytest.mark.parametrize("variant", ["b0", "b1", "b2", "b3", "l1", "l2", "l3"])
def test_timm_keys_and_official_keys_both_load(variant):
    with torch.device("meta"):
        keys = list(efficientvit.build(variant).state_dict())
    timm = [timm_name(key, is_l=variant[0] == "l") for key in keys]
    assert not set(timm) & set(keys)
    assert "stem.in_conv.conv.weight" in timm
    assert "stages.0.blocks.0.main.point_conv.conv.weight" in timm
    assert efficientvit.official_keys(timm) == dict(zip(timm, keys, strict=True))
    assert efficientvit.official_keys(keys) == {key: key for key in keys}


def test_create_loads_a_timm_checkpoint_and_computes_with_it(tmp_path):
    model = create(registry.find_model(B0), seed=3)
    state = {timm_name(key, is_l=False): tensor for key, tensor in model.state_dict().items()}
    loaded = create(registry.find_model(B0), weights=saved(tmp_path, state))
    x = golden.image([1, 3, 64, 64])
    assert torch.equal(model(x), loaded(x))


def test_create_names_the_model_that_a_checkpoint_does_not_fit(tmp_path):
    path = saved(tmp_path, create(registry.find_model(B0)).state_dict())
    with pytest.raises(UnreadableFile) as caught:
        create(registry.find_model(SEG), weights=path)
    message = one_line(caught.value, path)
    assert f"does not fit {SEG}: of 230 keys" in message
    assert "head.input_ops.0.op_list.0.conv.weight" in message


# --- the published checkpoint -------------------------------------------------------------------------------

CHECKPOINT = FOLDER / "efficientvit_seg_b0_cityscapes.pt"


@pytest.mark.skipif(not CHECKPOINT.is_file(), reason=f"{CHECKPOINT} is not here (set VITDEPLOY_TEST_WEIGHTS)")
def test_the_published_checkpoint_fits_and_sees():
    data = pytest.importorskip("skimage.data")
    spec = registry.find_model(SEG)
    model = create(spec, weights=CHECKPOINT)
    image = (data.astronaut() / 255 - np.array(spec.preprocessing.mean)) / np.array(spec.preprocessing.std)
    labels = model(torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]).argmax(1)[0]
    person = 11
    assert labels.shape == (64, 64)
    assert (labels[3:33, 20:36] == person).float().mean() > 0.7, "her head and shoulders are left of the middle"
    assert (labels == person).float().mean() < 0.8, "and not everything is her"


def test_a_checkpoint_that_claims_more_than_it_holds_is_refused_before_memory_is_touched(tmp_path: Path):
    torch.save({"a": torch.zeros(1).expand(2**31)}, tmp_path / "wide.pt")
    assert (tmp_path / "wide.pt").stat().st_size < 4096
    with pytest.raises(UnreadableFile, match="claims 8589934592 bytes"):
        read_checkpoint(tmp_path / "wide.pt")
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(2**27))
    with pytest.raises(UnreadableFile, match="claims"):
        read_checkpoint(tmp_path / "bomb.pt")


def test_the_length_of_a_safetensors_header_is_no_web_page(tmp_path: Path):
    save_file = pytest.importorskip("safetensors.torch").save_file
    length = int.from_bytes(b" <" + bytes(6), "little")
    save_file({"a": torch.zeros(1)}, tmp_path / "a.safetensors")
    data = (tmp_path / "a.safetensors").read_bytes()
    head = data[8 : 8 + int.from_bytes(data[:8], "little")]
    (tmp_path / "a.safetensors").write_bytes(length.to_bytes(8, "little") + head.ljust(length) + data[8 + len(head) :])
    assert read_checkpoint(tmp_path / "a.safetensors")["a"].tolist() == [0.0]
