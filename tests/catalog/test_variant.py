"""A variant is the same value wherever it is held: request, plan, job, manifest, case and subject."""

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.doubles import artifacts
from vitdeploy import documents
from vitdeploy.api import evaluate
from vitdeploy.artifacts.manifest import MANIFEST, SCHEMA, Artifact, Manifest, digest_of
from vitdeploy.artifacts.weights_origin import Weights
from vitdeploy.catalog import registry
from vitdeploy.catalog.variant import RANDOM, RECORDED, Variant
from vitdeploy.evaluation.record import Subject
from vitdeploy.exporters import job as jobs
from vitdeploy.exporters import planning
from vitdeploy.exporters.job import StepJob
from vitdeploy.processes import child_reply
from vitdeploy.results.record import Case

DIGEST = "0123456789abcdef" * 4

variants = st.builds(
    Variant,
    model=st.sampled_from(["efficientvit_b0", "efficientvit_sam_l0", "onnx:/data/net.onnx"]),
    part=st.sampled_from([None, "encoder", "decoder"]),
    attention=st.sampled_from(["relu", "softmax", "own"]),
    target=st.sampled_from(["onnx-fp32", "trt-fp16", "tflite-fp32"]),
    size=st.tuples(st.integers(1, 4096), st.integers(1, 4096)),
    batch=st.integers(1, 64),
    head=st.sampled_from(["logits", "labels"]),
    io=st.sampled_from(["fp32", "fp16", "uint8"]),
    weights=st.sampled_from([RANDOM, "random:7", f"sha256:{DIGEST}"]),
    converter=st.sampled_from([None, "litert-torch"]),
    compute_capability=st.sampled_from([(), ("8.0", "8.6")]),
    without=st.sampled_from([(), ("padded-stem",)]),
)


def kept(variant: Variant) -> Variant:
    """As much of it as records keep."""
    return replace(variant, converter=None, compute_capability=(), without=())


def weights_of(variant: Variant) -> Weights:
    source, _, which = variant.weights.partition(":")
    if source == "random":
        return Weights(source="random", seed=int(which))
    return Weights(source="file", sha256=which, name="weights.pt")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return artifacts.plain_file(tmp_path_factory.mktemp("made"), content=b"bytes")


@given(variants)
def test_it_goes_through_job_manifest_case_and_subject_unchanged(made: Artifact, variant: Variant):
    job = StepJob(variant=variant, rewrites=("padded-stem",), folder=Path("folder"), weights=Path("weights.pt"))
    assert jobs.decode(json.loads(child_reply.encode(job))) == job
    manifest = msgspec.structs.replace(made.manifest, **job.variant.recorded, weights=weights_of(job.variant))
    manifest = msgspec.json.decode(msgspec.json.encode(manifest), type=Manifest)
    assert manifest.variant == kept(variant)
    case = msgspec.structs.replace(artifacts.case_of(made), **variant.recorded, weights=variant.weights)
    assert msgspec.json.decode(msgspec.json.encode(case), type=Case).variant == kept(variant)
    subject = evaluate.subject_of(Artifact(made.folder, manifest))
    assert msgspec.json.decode(msgspec.json.encode(subject), type=Subject).variant == kept(variant)


def test_the_steps_of_a_plan_hold_what_their_manifests_will(tmp_path: Path):
    weights = tmp_path / "weights.pt"
    weights.write_bytes(b"weights")
    spec = registry.find_model("efficientvit_sam_l0", "encoder")
    wanted = registry.variant_of(spec, "trt-fp16", without=("scaled-length",))
    (plan,) = planning.plans([planning.ArtifactRequest(variant=wanted, weights=weights, out=tmp_path)])
    assert plan.variant == replace(wanted, weights=f"sha256:{digest_of(weights)}")
    assert plan.variant.full_model == spec.name
    for step, target in zip(plan.steps, ("onnx-fp16", "trt-fp16"), strict=True):
        assert step.variant == replace(kept(plan.variant), target=target)
        assert "scaled-length" not in step.rewrites


@given(variants, variants)
def test_equal_ones_are_the_same_file(one: Variant, other: Variant):
    same = all(getattr(one, field.name) == getattr(other, field.name) for field in fields(Variant))
    assert (one == other) is same
    assert len({one, other}) == 2 - same


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "efficientvit_b1 onnx-fp32 224x224"),
        ({"attention": "softmax", "batch": 4}, "efficientvit_b1 softmax onnx-fp32 224x224 b4"),
        ({"part": "decoder", "size": (1024, 512)}, "efficientvit_b1.decoder onnx-fp32 1024x512"),
        ({"head": "labels", "io": "uint8", "weights": f"sha256:{DIGEST}"}, "efficientvit_b1 onnx-fp32 224x224"),
    ],
)
def test_its_words_are_those_of_plans_and_cases(made: Artifact, changes: dict[str, Any], words: str):
    variant = registry.variant_of(registry.find_model("efficientvit_b1"), "onnx-fp32", size=(224, 224))
    variant = replace(variant, **changes)
    assert variant.words == words
    case = msgspec.structs.replace(artifacts.case_of(made), **variant.recorded, streams=2)
    options = [word for word in (variant.head, variant.io) if word not in ("logits", "fp32")]
    assert case.name == " ".join([words, "2 streams", *options])


def test_records_stay_flat(made: Artifact):
    written = documents.read(made.folder / MANIFEST, dict[str, Any], schema=SCHEMA, what="manifest")
    for record in (
        written,
        msgspec.to_builtins(artifacts.case_of(made)),
        msgspec.to_builtins(evaluate.subject_of(made)),
    ):
        assert set(RECORDED) <= set(record)
        assert "variant" not in record
