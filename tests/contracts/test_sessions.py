"""What every runtime promises: four verbs, round trips that do not depend on what was run before."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
import pytest

from tests.doubles import artifacts
from vitdeploy.artifacts.manifest import Artifact
from vitdeploy.catalog import registry
from vitdeploy.errors import ToolchainFailed, UsageError, VitdeployError
from vitdeploy.images import inputs
from vitdeploy.runtimes.session import Array, ProfiledSession, Runtime, Session, SessionOptions, infer

NEEDS = {
    "onnx-fp32": ("onnx", "onnxruntime"),
    "tflite-fp32": ("ai_edge_litert",),
    "torch-fp32": ("torch",),
}
MAKERS: dict[str, Callable[[Path], Artifact]] = {
    "onnx-fp32": artifacts.conv_relu,
    "tflite-fp32": artifacts.conv_relu_tflite,
    "torch-fp32": artifacts.state_dict,
}


@pytest.fixture(params=sorted(MAKERS))
def made(request: pytest.FixtureRequest, tmp_path: Path) -> Artifact:
    for package in NEEDS[request.param]:
        pytest.importorskip(package, reason=f"{request.param} needs {package}")
    return MAKERS[request.param](tmp_path / "artifact")


def opened(made: Artifact, **options: bool) -> Session:
    name = registry.find_target(made.manifest.target).runtime
    assert name is not None
    runtime = cast("Runtime", registry.load(name))
    return runtime.open_session(
        made.file, msgspec.to_builtins(made.manifest), SessionOptions(threads=1, profile=options.get("profile", False))
    )


def pool_of(session: Session) -> list[dict[str, Array]]:
    return inputs.make_pool(session.inputs, seed=3)[:3]


def test_inputs_and_outputs_are_what_the_manifest_says(made: Artifact):
    with opened(made) as session:
        for tensors, described in ((session.inputs, made.manifest.inputs), (session.outputs, made.manifest.outputs)):
            assert [(t.name, t.shape, t.dtype, t.layout) for t in tensors] == [
                (t.name, t.shape, t.dtype, t.layout) for t in described
            ]
        outputs = infer(session, pool_of(session)[0])
        assert {name: value.shape for name, value in outputs.items()} == {t.name: t.shape for t in session.outputs}
        assert all(np.isfinite(value).all() for value in outputs.values())


def test_a_result_depends_on_the_last_input_alone(made: Artifact):
    with opened(made) as session:
        first, second, _ = pool_of(session)
        alone = infer(session, first)
        infer(session, second)
        again = infer(session, first)
        assert all(np.array_equal(alone[name], again[name]) for name in alone)
        assert any(not np.array_equal(alone[name], value) for name, value in infer(session, second).items())


def test_an_input_is_run_as_often_as_asked_without_being_put_again(made: Artifact):
    with opened(made) as session:
        feeds = pool_of(session)[0]
        expected = infer(session, feeds)
        for _ in range(3):
            session.run()
            session.wait()
        assert all(np.array_equal(expected[name], value) for name, value in session.get().items())


def test_two_sessions_do_not_disturb_each_other(made: Artifact):
    with opened(made) as one, opened(made) as two:
        first, second, _ = pool_of(one)
        expected = infer(one, first)
        one.put(first)
        two.put(second)
        one.run()
        two.run()
        one.wait()
        two.wait()
        assert all(np.array_equal(expected[name], value) for name, value in one.get().items())


@pytest.mark.parametrize("wrong", ["name", "missing", "shape", "dtype"])
def test_an_input_that_does_not_fit_is_refused_before_its_memory_is_read(made: Artifact, wrong: str):
    with opened(made) as session:
        (spec,) = session.inputs
        good = pool_of(session)[0][spec.name]
        feeds = {
            "name": {"picture": good},
            "missing": {},
            "shape": {spec.name: good[:, :, 1:]},
            "dtype": {spec.name: good.astype(np.float64)},
        }[wrong]
        with pytest.raises(UsageError, match=spec.name):
            session.put(feeds)


def test_the_facts_name_the_engine_and_its_threads(made: Artifact):
    with opened(made) as session:
        assert session.facts["runtime"].split()[1][0].isdigit()
        assert session.facts["threads"] == "1"
        assert all(isinstance(value, str) for value in session.facts.values())


@pytest.mark.parametrize("content", [b"", b"no model at all", b"PK\x03\x04 half a zip"])
def test_a_file_that_is_no_model_is_refused_with_the_engines_words(made: Artifact, content: bytes):
    made.file.write_bytes(content)
    with pytest.raises(ToolchainFailed, match="refuses"):
        opened(made)


def test_a_refusal_prints_nothing_where_a_worker_answers(tmp_path: Path, capfd: pytest.CaptureFixture[str]):
    pytest.importorskip("onnxruntime", reason="ONNX Runtime is not installed")
    made = artifacts.conv_relu(tmp_path)
    made.file.write_bytes(made.file.read_bytes().replace(b"image", b"im\x9fge", 1))
    with pytest.raises(ToolchainFailed, match="refuses"):
        opened(made)
    assert capfd.readouterr().out == ""


def test_another_models_manifest_is_refused(made: Artifact):
    other = msgspec.structs.replace(made.manifest.outputs[0], shape=(1, 7))
    manifest = msgspec.structs.replace(made.manifest, outputs=(other,), model="efficientvit_b1")
    with pytest.raises(VitdeployError):
        opened(Artifact(made.folder, manifest))


def test_a_profile_times_the_operators_of_an_inference(tmp_path: Path):
    pytest.importorskip("onnx", reason="the toy model is made with onnx")
    pytest.importorskip("onnxruntime", reason="only ONNX Runtime profiles operators")
    session = opened(artifacts.conv_relu(tmp_path), profile=True)
    with session:
        infer(session, pool_of(session)[0])
        assert isinstance(session, ProfiledSession)
        assert session.operator_ns()["Conv"] > 0
