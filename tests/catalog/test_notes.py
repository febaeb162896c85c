"""What must be said of a model is said wherever its figures stand: whose design it is, what was frozen in it."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.doubles import make_run
from vitdeploy.api.attention import AttentionOutcome
from vitdeploy.api.bench import BenchOutcome
from vitdeploy.api.compare import CompareOutcome
from vitdeploy.api.reproduce import ReproduceOutcome
from vitdeploy.benchmarks import reproduce as published_tables
from vitdeploy.catalog import registry
from vitdeploy.cli import bench, compare, studies, sweep
from vitdeploy.cli.console import CommandOutput
from vitdeploy.fleet.api import SweepOutcome
from vitdeploy.reports import as_attention, as_reproduction, report
from vitdeploy.results import comparison, record
from vitdeploy.studies import attention_study, reproduction

OWN = "own design"
MODEL = "efficientvit_sr_x2"


def run(suite: str | None = None, seed: int = 1) -> record.Run:
    row = make_run.row(MODEL, "onnx-fp32", 10.0, seed=seed, attention="relu", size=(48, 72))
    made = make_run.run(row, name=f"made-{seed}")
    return msgspec.structs.replace(made, protocol=msgspec.structs.replace(made.protocol, suite=suite))


def printed(outcome: CommandOutput) -> str:
    return "\n".join(map(str, outcome.human))


def reproduced() -> reproduction.Reproduction:
    found = run(reproduction.suite_of("sr", quick=True))
    return reproduction.reproduce("sr", published_tables.find("sr"), found)


def studied() -> attention_study.Study:
    return attention_study.study(run(attention_study.SUITE), published_tables.find("attention"))


def compared() -> comparison.Compared:
    return comparison.runs(run(), run(seed=2), max_slowdown=0.02, alpha=0.01)


PATH = Path("run.json")

SHOWN: dict[str, Any] = {
    "bench": lambda: bench.bench_output(BenchOutcome(run=run(), path=PATH, exit_code=0)),
    "compare": lambda: compare.compare_output(CompareOutcome(compared=compared(), baseline=None, exit_code=0)),
    "sweep": lambda: sweep.sweep_output(SweepOutcome(run=run(), path=PATH, exit_code=0, taken=5, found=0, twice=0)),
    "reproduce": lambda: studies.reproduce_output(ReproduceOutcome(reproduction=reproduced(), path=PATH, page=PATH)),
    "attention": lambda: studies.attention_output(AttentionOutcome(study=studied(), path=PATH, page=PATH)),
}


@pytest.mark.parametrize("verb", SHOWN)
def test_what_a_verb_prints_says_whose_design_it_is(verb: str):
    assert OWN in printed(SHOWN[verb]())


@pytest.mark.parametrize("name", ["html", "markdown", "github", "json", "csv", "junit"])
def test_a_report_says_whose_design_it_is(name: str):
    made: bytes = registry.load(f"{registry.find_format(name)}:render")(report.build([run()]))
    assert OWN in made.decode()


def test_the_pages_of_the_studies_say_whose_design_it_is():
    assert OWN in as_reproduction.render(reproduced()).decode()
    assert OWN in as_attention.render(studied()).decode()


def test_a_model_of_which_nothing_must_be_said_has_no_note():
    assert registry.notes(["efficientvit_b1", "no such model"]) == []
    assert [one.partition(":")[0] for one in registry.notes([MODEL, MODEL, "segnext_t_ade20k"])] == [
        MODEL,
        "segnext_t_ade20k",
    ]
