"""Checks of the files: export and build for the device, and parity with outputs that the device computed."""

import time

from vitdeploy import units
from vitdeploy.api.selftest_checks import subject as subjects
from vitdeploy.api.selftest_checks.subject import Answer, Subject, failed, not_possible, passed
from vitdeploy.errors import Impossible, MissingPackage, VitdeployError
from vitdeploy.exporters import pipeline


def build(subject: Subject) -> Answer:
    """Each target's file is made, an engine by the device itself."""
    words: list[str] = []
    missing: list[str] = []
    wrong: list[VitdeployError] = []
    begin = time.perf_counter()
    for target in subject.targets:
        try:
            job = subjects.build(subject, target)
        except (Impossible, MissingPackage) as error:
            missing.append(f"{target}: {error.message}")
            continue
        except VitdeployError as error:  # the other targets can still be tested
            missing.append(f"{target} failed: {error.message}")
            wrong.append(error)
            continue
        assert job.artifact is not None, "what was built is there"
        manifest = job.artifact.manifest
        bound = f", bound to {', '.join(map(str, manifest.bound_to.values()))}" if manifest.bound_to else ""
        words.append(f"{target} {units.size_bytes(manifest.size_bytes)}{bound}")
    if wrong:
        return failed("; ".join((*missing, *words)), wrong[0].hint)
    if not words:
        return not_possible("; ".join(missing))
    return passed("; ".join((*words, *missing)), build_s=time.perf_counter() - begin)


def parity(subject: Subject) -> Answer:
    """The device computes what the fp32 torch model computes, on photographs and noise."""
    words: list[str] = []
    wrong: list[str] = []
    missing: list[str] = []
    figures: dict[str, float] = {}
    for target, job in subject.jobs.items():
        assert job.artifact is not None, "what was built is there"
        try:
            measured, error = pipeline.prove(job.artifact, weights=None, images=None, device=subject.device.name)
        except Impossible as refusal:
            missing.append(f"{target}: {refusal.message}")
            continue
        except VitdeployError as refusal:
            wrong.append(f"{target}: {refusal.message}")
            continue
        name = target.replace("-", "_")
        figures |= {} if measured.max_abs is None else {f"{name}_max_abs": measured.max_abs}
        figures |= {} if measured.metric.value is None else {f"{name}_metric": measured.metric.value}
        value = "" if measured.metric.value is None else f" {measured.metric.value:.4g}"
        seen = f"{target}: {measured.metric.name}{value} on {measured.samples} inputs, {measured.reference}"
        if error is None:
            words.append(seen)
        else:
            wrong.append(f"{target}: {measured.reason or error.message}")
    if wrong:
        listed = "; ".join((*wrong, *missing, *words))
        return failed(listed, "Do not use figures of this device; report this.", **figures)
    if not words:
        return not_possible("; ".join(missing))
    return passed("; ".join((*words, *missing)), **figures)
