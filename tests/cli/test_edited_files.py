"""Files beside a run, edited or cut: calibrations, kernels, plans, the state of a sweep; each is refused or harmless.

Nothing else than an error with a code of the contract comes out, and no figure changes without a word.
"""

import collections
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.doubles import edited, make_run
from vitdeploy import documents
from vitdeploy.api import attention
from vitdeploy.errors import UnreadableFile, error_classes
from vitdeploy.fleet import api as fleet
from vitdeploy.fleet.shards import ShardFiles, ShardRecords
from vitdeploy.fleet.trial_files import TrialFiles
from vitdeploy.results import calibration, record
from vitdeploy.studies.attention_study import Kernel

EXPECTED = error_classes()[1:]
"""All errors but an internal one."""


def read_or_refused(reader: Callable[[], Any]) -> Any:
    """What is read; None: it is refused."""
    try:
        return reader()
    except EXPECTED:
        return None


def plain_calibration() -> calibration.Calibration:
    return calibration.Calibration(
        schema=calibration.SCHEMA,
        device="local",
        facts=dict(make_run.FACTS),
        run_id="calibration",
        case="efficientvit_b1 onnx-fp32 224x224",
        started_utc="2026-01-01T00:00:00+00:00",
        pairs=20,
        run_spread=0.01,
        drift=0.002,
        autocorrelation=0.1,
        comparisons=2000,
        alpha=0.01,
        false_alarms=0,
        false_alarm_rate_ci95=(0.0, 0.01),
        false_alarms_any=10,
        false_alarm_any_rate_ci95=(0.0, 0.01),
        max_slowdown=0.02,
        detectable={"6": 1.03},
        recommended_pairs=None,
        recommended_max_slowdown=0.05,
    )


def test_a_calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    good = plain_calibration()
    path = calibration.save(good)
    plain, data = json.loads(path.read_text()), path.read_bytes()
    refused = read = 0
    for place, value, changed in edited.documents(plain):
        path.write_bytes(changed)
        found = read_or_refused(lambda: calibration.find("local", make_run.FACTS))
        refused, read = refused + (found is None), read + (found is not None)
        if found is not None and place[-1] not in ("drift", "run_spread"):
            assert (found.drift, found.run_spread) == (good.drift, good.run_spread), (place, value)
        assert found is None or 0 <= found.drift <= 1
    for broken in edited.cut(data):
        path.write_bytes(broken)
        with pytest.raises(UnreadableFile):
            calibration.find("local", make_run.FACTS)
    print(f"calibration: {refused} refused or of another machine, {read} harmless")
    assert refused > 300


def test_the_kernels_of_an_attention_study(tmp_path: Path):
    run = make_run.run(make_run.row("efficientvit_b1", "onnx-fp32", 10.0, seed=1, trials=2, count=12))
    name = run.results[0].case.name
    path = tmp_path / "run.kernels.json"
    documents.write(path, [Kernel(case=name, graph={"Conv": 3}, ran_ms={"Conv": 1.5}, said=None)])
    data = path.read_bytes()
    assert len(attention._kept_kernels(run, path)) == 1
    refused = read = 0
    for _, _, changed in edited.documents(json.loads(data)):
        path.write_bytes(changed)
        kernels = read_or_refused(lambda: attention._kept_kernels(run, path))
        refused, read = refused + (kernels is None), read + (kernels is not None)
        for kernel in kernels or ():
            assert kernel.case == name
            assert all(0 <= time_ms < 1e11 for time_ms in kernel.ran_ms.values())
    for broken in edited.cut(data):
        path.write_bytes(broken)
        if broken not in (b"[]", data[: len(data) - 1]):
            with pytest.raises(UnreadableFile):
                attention._kept_kernels(run, path)
    print(f"kernels: {refused} refused, {read} harmless")
    assert refused > 60


@pytest.mark.parametrize(
    "model", ["attention_w", "attention_wx", "attention_w-3", "attention_w\u0663", "attention_w1e9"]
)
def test_a_study_of_a_module_that_is_none_is_shown(say: Any, tmp_path: Path, model: str):
    """Planted: the width in a module's name was read as a number, whatever it was."""
    row = make_run.row(model, "onnx-fp32", 10.0, seed=1, trials=3, count=12)
    run = make_run.run(row)
    protocol = msgspec.structs.replace(run.protocol, suite="attention-study")
    record.save(msgspec.structs.replace(run, protocol=protocol), tmp_path / "run.json")
    code, _, err = say("attention", "--from", "run.json")
    assert code == 0, err


PLAN: dict[str, Any] = {
    "title": "A lab",
    "trials": 3,
    "min_time_s": 0.5,
    "wait_s": 20.0,
    "rows": [
        {"models": ["efficientvit_b0"], "targets": ["onnx-fp32"], "sizes": ["64x64"], "devices": ["one"], "batch": 1}
    ],
    "evals": [{"artifacts": ["a"], "devices": ["one"], "dataset": "cityscapes", "root": "data", "shards": 2}],
}


def toml(document: Any) -> str:
    """A plan as TOML; JSON's lists and texts are TOML's, inline tables are not."""
    lines = [f"{key} = {inline(value)}" for key, value in document.items()]
    return "\n".join(lines) + "\n"


def inline(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {inline(entry)}" for key, entry in value.items()) + "}"  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return "[" + ", ".join(map(inline, value)) + "]"  # pyright: ignore[reportUnknownArgumentType]
    return "nothing" if value is None else json.dumps(value).replace("NaN", "nan").replace("Infinity", "inf")


SWEEP = ("sweep", "lab.toml", "--dry-run", "--scheduler", "tcp://nowhere:1")


@pytest.mark.slow  # half a minute of values
def test_a_plan(say: Any, tmp_path: Path):
    path = tmp_path / "lab.toml"
    without = {key: value for key, value in PLAN.items() if key != "evals"}
    path.write_text(toml(without))
    assert say(*SWEEP)[0] == 0
    codes: collections.Counter[int] = collections.Counter()
    for document in (without, PLAN):
        for place in edited.places(document):
            for value in edited.HOSTILE:
                path.write_text(toml(edited.planted(document, place, value)))
                code, _, err = say(*SWEEP)
                assert code in (0, 2, 4, 9), (place, value, err)
                codes[code] += 1
    for broken in (*edited.cut(toml(without).encode()), b"a = 1979-05-27", b"[[rows]]\n" * 50_000):
        path.write_bytes(broken)
        assert say(*SWEEP)[0] in (2, 9)
    print(f"plan: {dict(codes)}")
    assert codes[9] > 400


def test_the_state_of_a_sweep(tmp_path: Path):
    row = make_run.row("efficientvit_b1", "onnx-fp32", 7.0, seed=1, trials=1, count=10)
    trial = msgspec.structs.replace(row.trials[0], id="run-1/0/0")
    files = TrialFiles(tmp_path / "run.trials")
    files.keep(trial)
    path = tmp_path / "run.trials" / "0-0.json"
    good = json.loads(path.read_bytes())
    none = 0
    for place, value, data in edited.documents(good):
        path.write_bytes(data)
        found = list(files.trials("run-1"))
        none += not found
        assert all(one.id == "run-1/0/0" for one in found), (place, value)
    for broken in edited.cut(json.dumps(good).encode()):
        path.write_bytes(broken)
        assert list(files.trials("run-1")) == []
    assert none > 200

    shards = ShardFiles(tmp_path / "parts", 1)
    shards.keep(0, ShardRecords(facts={"cpu": "x"}, threads=2, records=b"{}\n"))
    assert shards.missing() == []
    about = tmp_path / "parts" / "0.facts.json"
    data = about.read_bytes()
    for changed in (*(changed for *_, changed in edited.documents(json.loads(data))), *edited.cut(data)):
        about.write_bytes(changed)
        assert [reply.threads >= 0 for reply in shards.replies()] == [True] * (1 - len(shards.missing()))


@pytest.mark.parametrize(
    "text", ["", "x", "../../etc", "evals-", "evals-12345\x00789abc", "evals-0123456789ab\n", "é" * 9]
)
def test_the_id_of_a_sweeps_evaluations(tmp_path: Path, text: str):
    (tmp_path / "id").write_text(text)
    with pytest.raises(UnreadableFile, match="no id"):
        fleet._id_of(tmp_path)
