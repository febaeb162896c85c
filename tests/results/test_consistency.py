"""What cannot be true is refused with its field, whatever reads the file; what is derived is derived again.

Every field of a run is given every hostile value in turn: it is refused, derived again, or changes no figure.
"""

import contextlib
import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.doubles import edited, make_run
from vitdeploy.errors import UnreadableFile, error_classes
from vitdeploy.reports import as_csv, as_json, as_markdown, report
from vitdeploy.results import baselines, comparison, history, lineage, record, validity
from vitdeploy.results.record import Run

Edit = Callable[[dict[str, Any]], Any]


def good_run(name: str = "good") -> Run:
    rows = [
        make_run.row(f"efficientvit_b{number}", "onnx-fp32", 7.4, seed=number, trials=3, count=12) for number in (1, 2)
    ]
    first = rows[0].trials[0]
    reading = record.Reading(t_ns=1, clock_hz=2_000_000_000, temp_c=40.0, power_mw=None)
    stages = record.Stages(h2d=(1,) * 12, compute=(2,) * 12, d2h=(3,) * 12)
    first = msgspec.structs.replace(first, telemetry=(reading,), stages_ns=stages, resolution_ns=1)
    rows[0] = msgspec.structs.replace(rows[0], trials=(first, *rows[0].trials[1:]), size_bytes=1000)
    return make_run.run(*rows, name=name)


def document(run: Run) -> dict[str, Any]:
    return json.loads(msgspec.json.encode(run))


def row(run: dict[str, Any]) -> dict[str, Any]:
    return run["results"][0]


def trials(run: dict[str, Any]) -> list[dict[str, Any]]:
    return row(run)["trials"]


def together(run: dict[str, Any], *places: list[int], turn_s: float | None = 0.06) -> None:
    """Make the rows a group whose first trials took turns at these places."""
    run["groups"] = [{"rows": [0, 1], "turn_s": turn_s}]
    for result, side in zip(run["results"], places, strict=True):
        counts = [12 // len(side)] * len(side)
        result["trials"][0].update(pair=0, turns={"counts": counts, "places": side, "first_ns": [1] * len(side)})


REFUSED: dict[str, tuple[Edit, str]] = {
    "one trial six times": (lambda run: row(run).update(trials=[trials(run)[0]] * 6), "$.results[0].trials[1].id"),
    "a trial under another id": (
        lambda run: trials(run).append({**trials(run)[0], "id": "x"}),
        "$.results[0].trials[3].samples_ns",
    ),
    "another file": (
        lambda run: trials(run)[2].update(artifact_sha256="f" * 64),
        "$.results[0].trials[2].artifact_sha256",
    ),
    "the same case twice": (
        lambda run: run["results"].append({**row(run), "trials": []}),
        "$.results[2].case",
    ),
    "another device's case": (lambda run: row(run)["case"].update(device="orin"), "$.results[0].case.device"),
    "a second in a microsecond": (lambda run: trials(run)[0].update(wall_ns=1000), "$.results[0].trials[0].wall_ns"),
    "a second in ten days": (lambda run: trials(run)[0].update(wall_ns=10**15), "$.results[0].trials[0].wall_ns"),
    "more streams than time": (lambda run: trials(run)[0].update(samples_ns=[10**9] * 12), "wall_ns"),
    "batch 0": (lambda run: row(run)["case"].update(batch=0), "$.results[0].case.batch"),
    "batch -4": (lambda run: row(run)["case"].update(batch=-4), "$.results[0].case.batch"),
    "a batch of 400 digits": (lambda run: row(run)["case"].update(batch=10**400), "$.results[0].case.batch"),
    "streams -4": (lambda run: row(run)["case"].update(streams=-4), "$.results[0].case.streams"),
    "memory -1": (
        lambda run: trials(run)[1].update(peak_memory_bytes=-1),
        "$.results[0].trials[1].peak_memory_bytes",
    ),
    "-5 trials": (lambda run: run["protocol"].update(trials=-5), "$.protocol.trials"),
    "5e-324 s": (lambda run: run["protocol"].update(min_time_s=5e-324), "$.protocol.min_time_s"),
    "2099": (lambda run: run.update(started_utc="2099-01-01T00:00:00+00:00"), "$.started_utc"),
    "yesterday": (lambda run: run.update(started_utc="yesterday"), "$.started_utc"),
    "month 13": (
        lambda run: trials(run)[0].update(started_utc="2026-13-01T00:00:00Z"),
        "$.results[0].trials[0].started_utc",
    ),
    "-4 cores": (lambda run: run["device"]["facts"].update(cores_physical=-4), "$.device.facts.cores_physical"),
    "-1 bytes of memory": (lambda run: run["host"].update(memory_bytes=-1), "$.host.memory_bytes"),
    "-4 cores of one of many": (
        lambda run: run["device"]["facts"].update({"orin-1 cores_logical": -4}),
        "$.device.facts.orin-1 cores_logical",
    ),
    "-1 operations": (lambda run: row(run).update(macs=-1), "$.results[0].macs"),
    "-1 parameters": (lambda run: row(run).update(params=-1), "$.results[0].params"),
    "no samples": (lambda run: trials(run)[0].update(samples_ns=[]), "$.results[0].trials[0].samples_ns"),
    "a fact of 400 digits": (lambda run: run["device"]["facts"].update(memory_bytes=10**400), "memory_bytes"),
    "a copy that is moved by a nanosecond": (
        lambda run: trials(run)[1].update(samples_ns=[sample + 1 for sample in trials(run)[0]["samples_ns"]]),
        "$.results[0].trials[1].samples_ns",
    ),
    "equal samples, told in nanoseconds": (
        lambda run: trials(run)[0].update(samples_ns=[10**7] * 12, wall_ns=12 * 10**7),
        "$.results[0].trials[0].resolution_ns",
    ),
    "stages longer than the sample": (
        lambda run: trials(run)[0]["stages_ns"].update(compute=[10**9] * 12),
        "$.results[0].trials[0].stages_ns",
    ),
    "two kinds of samples": (
        lambda run: trials(run)[1].update(sample_kind="block_median", block_inferences=12),
        "$.results[0].trials",
    ),
    "turns without places": (
        lambda run: trials(run)[1].update(turns={"counts": [6, 6], "places": [0], "first_ns": []}),
        "$.results[0].trials[1].turns.places",
    ),
    "two turns at one place": (
        lambda run: trials(run)[1].update(turns={"counts": [6, 6], "places": [3, 3], "first_ns": [1, 1]}),
        "$.results[0].trials[1].turns.places",
    ),
    "a group of row 7": (lambda run: run.update(groups=[{"rows": [0, 7], "turn_s": 0.06}]), "$.groups[0].rows"),
    "a group of one row": (lambda run: run.update(groups=[{"rows": [0], "turn_s": 0.06}]), "$.groups[0].rows"),
    "a row in two groups": (
        lambda run: run.update(groups=[{"rows": [0, 1], "turn_s": None}, {"rows": [1, 0], "turn_s": None}]),
        "$.groups[1].rows",
    ),
    "a row twice in a group": (
        lambda run: run.update(groups=[{"rows": [1, 1], "turn_s": 0.06}]),
        "$.groups[0].rows",
    ),
    "a turn of a thousand days": (
        lambda run: run.update(groups=[{"rows": [0, 1], "turn_s": 86_400_000.0}]),
        "$.groups[0].turn_s",
    ),
    "whole trials of a group without turns": (
        lambda run: run.update(groups=[{"rows": [0, 1], "turn_s": None, "whole": "no memory"}]),
        "$.groups[0].whole",
    ),
    "turns in a group without turns": (
        lambda run: together(run, [0, 2], [1, 3], turn_s=None),
        "$.groups[0].turn_s",
    ),
    "one turn of two rows": (lambda run: together(run, [0, 2], [1, 2]), "$.groups[0]"),
    "more turns of one row": (lambda run: together(run, [0, 2], [1]), "$.groups[0]"),
    "a cosine of 7": (lambda run: row(run)["parity"].update(cosine=7.0), "$.results[0].parity.cosine"),
    "a negative error": (lambda run: row(run)["parity"].update(max_abs=-1.0), "$.results[0].parity.max_abs"),
    "a mean above the maximum": (lambda run: row(run)["parity"].update(mean_abs=1.0), "$.results[0].parity.mean_abs"),
    "500 % agreement": (lambda run: row(run)["parity"]["metric"].update(value=5.0), "$.results[0].parity.metric.value"),
    "a floor of nothing": (
        lambda run: row(run)["parity"]["metric"].update(value=0.1, floor=0.0),
        "$.results[0].parity.metric.floor",
    ),
    "a limit of a billion": (
        lambda run: row(run)["parity"].update(error_std=100.0, error_std_limit=1e9),
        "$.results[0].parity.error_std_limit",
    ),
    "no limit": (lambda run: row(run)["parity"].update(error_std_limit=None), "$.results[0].parity.error_std_limit"),
    "passed and failed": (lambda run: row(run)["parity"].update(reason="it is off"), "$.results[0].parity.reason"),
    "stages of other samples": (lambda run: trials(run)[0]["stages_ns"].update(h2d=[1]), "trials[0].stages_ns"),
}


def test_a_group_that_took_turns_is_a_record():
    edited = document(good_run())
    together(edited, [0, 3], [1, 2])
    run = record.parse(json.dumps(edited).encode(), "run.json")
    assert run.groups == (record.Group(rows=(0, 1), turn_s=0.06),)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_true_is_refused_with_its_field(name: str):
    edit, field = REFUSED[name]
    edited = document(good_run())
    edit(edited)
    with pytest.raises(UnreadableFile) as refusal:
        record.parse(json.dumps(edited).encode(), "edited.json")
    assert field in refusal.value.message


def test_a_run_and_its_copy_under_another_id_are_not_compared():
    run = good_run()
    copied = msgspec.structs.replace(run, id="another")
    with pytest.raises(UnreadableFile, match="one is a copy of the other"):
        comparison.runs(run, copied, max_slowdown=0.02, alpha=0.01)


DUEL = {"names": ["a", "b"], "pairs": 3, "most_pairs": 3, "alpha": 0.01, "max_slowdown": 0.02, "stopped": None}


@pytest.mark.parametrize(
    ("changes", "crossed", "field"),
    [
        ({"pairs": 4}, False, "$.duel.pairs"),
        ({"pairs": 20, "most_pairs": 20}, False, "$.duel.pairs"),
        ({"alpha": 0.5}, False, "$.duel.alpha"),
        ({}, True, "$.results"),
        ({}, False, None),
    ],
)
def test_a_duel_whose_sides_are_crossed_or_whose_numbers_cannot_be_is_refused(
    changes: dict[str, Any], crossed: bool, field: str | None
):
    rows = [make_run.row(f"efficientvit_b{i % 2}", "onnx-fp32", 7, seed=i, trials=3, count=12) for i in range(4)]
    sides = [msgspec.structs.replace(row, side="AABB"[place]) for place, row in enumerate(rows)]
    edited = document(make_run.run(*sides))
    edited["duel"] = DUEL | changes
    if crossed:
        edited["results"][2:] = reversed(edited["results"][2:])
    data = json.dumps(edited).encode()
    if field is None:
        assert len(record.parse(data, "edited.json").couples) == 2
        return
    with pytest.raises(UnreadableFile) as refusal:
        record.parse(data, "edited.json")
    assert field in refusal.value.message


def test_every_field_of_a_duel_with_every_hostile_value_is_refused_derived_again_or_harmless():
    rows = [make_run.row("efficientvit_b1", "onnx-fp32", 7, seed=i, trials=3, count=12) for i in range(2)]
    sides = [
        msgspec.structs.replace(
            row, side="AB"[place], trials=tuple(msgspec.structs.replace(t, pair=n) for n, t in enumerate(row.trials))
        )
        for place, row in enumerate(rows)
    ]
    plain = document(make_run.run(*sides)) | {"duel": DUEL}
    good = record.parse(json.dumps(plain).encode(), "good")
    figures = [result.summary for result in good.results]
    refused = read = 0
    for place, value, data in edited.documents(plain):
        try:
            run = record.parse(data, "edited.json")
        except UnreadableFile:
            refused += 1
            continue
        read += 1
        if not set(place) & set(MEASURED):
            assert all(one.summary is None or one.summary in figures for one in run.results), (place, value)
        if place[0] == "duel" or read % 10 == 0:
            with contextlib.suppress(*error_classes()[1:]):
                comparison.duel(run)
    print(f"duel: {refused} refused, {read} derived again or harmless")
    assert refused > 800
    assert read > 100


def test_fewer_trials_than_planned_are_told_whatever_the_file_says():
    edited = document(good_run())
    edited["protocol"]["trials"] = 50
    row(edited)["reasons"] = []
    (first, _) = record.parse(json.dumps(edited).encode(), "edited.json").results
    assert [reason.code for reason in first.reasons] == [validity.INCOMPLETE]
    assert "3 of 50" in first.reasons[0].message


@pytest.mark.parametrize(
    ("edit", "code"),
    [
        (lambda trial: trial.update(samples_ns=[round(1e7 * 1.05**place) for place in range(24)]), "not-steady"),
        (lambda trial: trial["facts"].update(throttle="3 events"), "throttled"),
        (lambda trial: trial["facts"].update(throttled_after_s="1.5"), "throttled"),
    ],
)
def test_a_trial_is_judged_by_what_it_holds_and_not_by_what_it_says(edit: Callable[[Any], None], code: str):
    edited = document(good_run())
    edited["protocol"]["trials"] = 3
    for place, trial in enumerate(trials(edited)):
        edit(trial)
        trial["samples_ns"] = [sample + place * step for step, sample in enumerate(trial["samples_ns"])]
        trial.update(wall_ns=sum(trial["samples_ns"]), stages_ns=None, steady="steady", throttled=False)
    (first, _) = record.parse(json.dumps(edited).encode(), "edited.json").results
    assert (first.status, first.reasons[0].code) == ("invalid", code)


def test_a_parity_that_its_own_numbers_contradict_is_failed():
    edited = document(good_run())
    row(edited)["parity"]["error_std"] = 0.5
    (first, _) = record.parse(json.dumps(edited).encode(), "edited.json").results
    assert first.status == "invalid"
    assert "0.5" in first.reasons[0].message


def test_a_failed_row_does_not_become_valid_by_saying_so():
    failed = make_run.failed("efficientvit_b3", "it cannot", "Do not.")
    edited = document(make_run.run(failed))
    row(edited)["status"] = "valid"
    (first,) = record.parse(json.dumps(edited).encode(), "edited.json").results
    assert (first.status, first.summary) == ("failed", None)


MEASURED = ("samples_ns", "wall_ns", "batch", "streams", "resolution_ns")
"""Fields that figures are computed from: a value that can be true is believed."""

HOSTILE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    7,
    1e308,
    5e-324,
    10**400,
    "",
    "\x1b[2J::error::",
    [],
    {},
    ["x"],
    {"x": 1},
)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths of all fields, but of lists of numbers only the first and the last."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, inner in value.items():  # pyright: ignore[reportUnknownVariableType]
            yield from places(inner, (*path, key))
    elif isinstance(value, list):
        for number in {0, len(value) - 1} if value else set[int]():  # pyright: ignore[reportUnknownArgumentType]
            yield from places(value[number], (*path, number))


def planted(run: dict[str, Any], path: tuple[Any, ...], value: Any) -> bytes:
    edited = copy.deepcopy(run)
    holder: Any = edited
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return json.dumps(edited).encode()


def read_everywhere(path: Path, base: Run, folder: Path) -> None:
    """Every reader of a run; only errors with a code of the contract may come out."""
    run = record.load(path)
    readers: tuple[Callable[[], Any], ...] = (
        lambda: comparison.runs(base, run, max_slowdown=0.02, alpha=0.01),
        lambda: history.read([path]),
        lambda: lineage.of_run(path, [], None),
        lambda: [module.render(report.build([run], base)) for module in (as_json, as_csv, as_markdown)],
        lambda: baselines.place_of(run, folder) and baselines.names_of(run),
    )
    for reader in readers:
        with contextlib.suppress(*error_classes()[1:]):  # all but an internal error
            reader()


def test_every_field_with_every_hostile_value_is_refused_derived_again_or_harmless(tmp_path: Path):
    good, base = good_run(), good_run("base")
    plain = document(good)
    figures = [result.summary for result in record.parse(json.dumps(plain).encode(), "good").results]
    path = tmp_path / "edited.json"
    refused = read = 0
    for place in places(plain):
        for value in HOSTILE:
            data = planted(plain, place, value)
            try:
                run = record.parse(data, "edited.json")
            except UnreadableFile:
                refused += 1
                continue
            read += 1
            for result in run.results:
                assert record.rederive(result, run.protocol) == result, (place, value)
            if not set(place) & set(MEASURED):
                derived = [result.summary for result in run.results]
                assert all(one is None or one in figures for one in derived), (place, value)
            if value in ("", "\x1b[2J::error::", 7) or read % 5 == 0:
                path.write_bytes(data)
                read_everywhere(path, base, tmp_path)
    print(f"run: {refused} refused, {read} derived again or harmless")
    assert refused > 1500
    assert read > 100
