"""A run: what was timed, under which protocol, every raw sample of it, and what follows from them.

Raw nanoseconds are kept; what follows from them is derived by `derivation`, and derived again on loading.

# Run schema history (newest first):
#   1  first version
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from vitdeploy import documents
from vitdeploy.artifacts.manifest import Parity
from vitdeploy.artifacts.weights_origin import Official
from vitdeploy.catalog import registry
from vitdeploy.catalog.fact_table import TrialFacts
from vitdeploy.catalog.spec import Attention, Boundary, Head, Io
from vitdeploy.catalog.variant import Variant
from vitdeploy.errors import UnreadableFile
from vitdeploy.results import consistency
from vitdeploy.results.derivation import Reason, Summary, Sustained, rederive
from vitdeploy.results.quantities import (
    Bytes,
    Celsius,
    Count,
    CountOrZero,
    ErrorChance,
    Hertz,
    Milliseconds,
    Milliwatts,
    Nanoseconds,
    Operations,
    Pixels,
    Sample,
    SamplingTime,
    SchemaNumber,
    Seconds,
    Seed,
    Share,
    Utc,
)

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1

Status = Literal["valid", "invalid", "failed"]
Steady = Literal["steady", "warming", "drifting"]
Side = Literal["A", "B"]
By = Literal["turns", "trials"]
"""How the two processes of a pair are timed: in short turns, or one after the other."""


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of everything in a run: immutable, and strict about what it does not know."""


class Case(_Record, frozen=True, kw_only=True):
    """What was timed. Two figures are comparable exactly when their cases are equal."""

    model: str
    part: str | None
    attention: Attention
    target: str
    size: tuple[Pixels, Pixels]
    batch: Count
    device: str
    threads: CountOrZero
    """0: not known, in a row of a sweep whose device was never reached."""
    boundary: Boundary
    streams: Count
    graph: bool
    io: Io
    head: Head
    prompts: str | None
    weights: str
    """``random:0`` or ``sha256:…``: values can change the time (denormals, zeros)."""
    power_mode: str | None
    memory: str | None
    """``pageable``, ``pinned``, ``mapped``: where the host buffers lie."""

    @property
    def variant(self) -> Variant:
        """Which file was timed."""
        return Variant.of(self, self.weights)

    @property
    def name(self) -> str:
        """Short and unique within a device: ``efficientvit_b1 onnx-fp32 224x224``."""
        words = [self.variant.words]
        words += [f"{self.streams} streams"] if self.streams > 1 else []
        words += [self.boundary] if self.boundary != "host-to-host" else []
        words += [self.head] if self.head != "logits" else []
        words += [self.io] if self.io != "fp32" else []
        return " ".join(words)


class Stages(_Record, frozen=True, kw_only=True):
    """Where the time of each inference went, by device events, in sample order."""

    h2d: tuple[Nanoseconds, ...]
    compute: tuple[Nanoseconds, ...]
    d2h: tuple[Nanoseconds, ...]


class Reading(_Record, frozen=True, kw_only=True):
    """One look at the machine's state during a trial."""

    t_ns: Nanoseconds
    clock_hz: Hertz | None
    temp_c: Celsius | None
    power_mw: Milliwatts | None


class Turns(_Record, frozen=True, kw_only=True):
    """How a trial's samples were taken in short turns with the other sides of its pair, or with the yardstick."""

    counts: tuple[Count, ...]
    """Samples of each turn, in sample order."""
    places: tuple[CountOrZero, ...]
    """Position of each turn among all turns of the processes that took them, from 0."""
    first_ns: tuple[Nanoseconds, ...]
    """The first inference of each turn, which is no sample: it finds the caches of another side."""


class Trial(_Record, frozen=True, kw_only=True):
    """One fresh process that loaded the artifact, warmed up and sampled."""

    id: str
    started_utc: Utc
    order: CountOrZero
    """Position in the run's interleaved order, from 0."""
    pair: CountOrZero | None
    build: CountOrZero | None
    artifact_sha256: str
    sample_kind: Literal["inference", "block_median"]
    samples_ns: tuple[Sample, ...]
    """Every sample in the order taken; nothing is dropped."""
    wall_ns: Sample
    """From the first sample's start to the last one's end: throughput comes from it."""
    stages_ns: Stages | None
    load_ns: Nanoseconds
    first_ns: Nanoseconds
    warmup_ns: Nanoseconds
    warmup_count: CountOrZero
    peak_memory_bytes: Bytes
    steady: Steady
    """Judged again on loading: what the samples do not bear out does not hold."""
    telemetry: tuple[Reading, ...]
    throttled: bool
    facts: Mapping[str, str]
    """What the runtime said of itself: version, provider, threads."""
    parity: Parity | None = None
    """Of this trial's own output, where it is fetched from the device."""
    block_inferences: Count | None = None
    """Of a block median: how many inferences it is the median of."""
    turns: Turns | None = None
    """Where the sides of a duel, the rows of a group, or a case and the yardstick took turns; None: the trial was
    sampled in one piece."""
    yardstick_ns: tuple[Sample, ...] | None = None
    """Samples of the yardstick that took turns with the case; None: none did."""
    yardstick_turns: Turns | None = None
    """How these samples were taken: each of its turns is beside the case's of the same number."""
    resolution_ns: Sample | None = None
    """The step in which the clock or the tool tells times; None: not said, and taken from the samples."""

    @property
    def in_pair(self) -> bool:
        """Whether it took turns with the other sides of its pair: what all saw cancels in their ratio."""
        return self.turns is not None and self.yardstick_ns is None

    @property
    def inferences(self) -> int:
        """How many timed inferences its figures come from."""
        return len(self.samples_ns) if self.block_inferences is None else self.block_inferences


class Result(_Record, frozen=True, kw_only=True):
    """One row: a case, the artifact that was timed, its trials and whether the figure may be quoted."""

    case: Case
    artifact_sha256: str | None
    parity: Parity | None
    status: Status
    reasons: tuple[Reason, ...]
    trials: tuple[Trial, ...]
    summary: Summary | None
    params: Operations | None = None
    macs: Operations | None = None
    size_bytes: Bytes | None = None
    """Of the artifact's files together."""
    manifest_sha256: str | None = None
    """Of the manifest that lay beside the file when it was timed."""
    official: Official | None = None
    """The official checkpoint that the artifact was made from."""
    side: Side | None = None
    """Which side of a duel this is."""
    sustained: Sustained | None = None
    """Where the run was made with ``--sustained`` and the trials were long enough."""


class Protocol(_Record, frozen=True, kw_only=True):
    """How the run was measured."""

    suite: str | None
    trials: Count
    min_time_s: SamplingTime
    warmup_limit_s: Seconds
    order: str
    seed: Seed
    inputs: str
    """What the timed inputs are, and how many distinct ones."""
    sustained_s: SamplingTime | None = None
    until: Share | None = None
    """Trials were added until the interval of a row was within this share of its median; None: ``trials`` exactly."""
    priority: Literal["realtime"] | None = None
    """At which processes sampled; None: the usual one."""
    time_budget_s: Seconds | None = None
    """Sampling time of the whole run after which none were added; None: a multiple of what the first trials took."""


class OperatorShare(_Record, frozen=True, kw_only=True):
    """The time of one operator type on both sides of a duel."""

    name: str
    base_ms: Milliseconds
    head_ms: Milliseconds


class Attribution(_Record, frozen=True, kw_only=True):
    """What explains a duel's difference."""

    operators: tuple[OperatorShare, ...]
    """Those that explain most of it, the largest first."""
    graph: Mapping[str, tuple[CountOrZero, CountOrZero]]
    """Operator type → its count in A's graph and in B's, where they differ."""
    said: str | None
    """Why there are no operator times; None when there are."""
    unlisted: tuple[str, ...] = ()
    """Targets whose files list no operators: their graphs are not known, and ``graph`` says nothing."""


class Duel(_Record, frozen=True, kw_only=True):
    """That a run is a duel: rows A and B of one or several cases, in interleaved pairs of fresh processes."""

    names: tuple[str, str]
    """What was asked for, A and B."""
    pairs: CountOrZero
    """How many were run."""
    most_pairs: Count
    alpha: ErrorChance
    """What is left of the error for the verdict on the pairs that were run."""
    max_slowdown: Share
    stopped: str | None
    """Why it ended before ``most_pairs``; None: it did not."""
    by: By = "trials"
    """The two processes of a pair took short turns, or were run one after the other."""
    turn_s: SamplingTime | None = None
    """How long a turn was sampled; None: there were none."""
    attribution: Attribution | None = None
    """Where a side was slower: what explains it."""


class Group(_Record, frozen=True, kw_only=True):
    """Rows whose ratios are wanted: their fresh processes of a round are beside each other, and are one pair."""

    rows: Annotated[tuple[CountOrZero, ...], msgspec.Meta(min_length=2)]
    """Places of the rows in ``results``."""
    turn_s: SamplingTime | None
    """How long a turn was to be sampled, and of fast rows beside slow ones longer; None: whole trials were asked for,
    or another tool than our worker times them."""
    whole: str | None = None
    """Why they were run as whole trials after all, from some round on; None: they were not."""


class Yardstick(_Record, frozen=True, kw_only=True):
    """The small fixed network that was timed in turns with the cases, as a measure of the machine at that moment."""

    networks: Mapping[str, str]
    """Target → SHA-256 of the network's file in its format."""
    off: Mapping[str, str]
    """Target → why its cases, or the last trials of them, were timed without it."""


class RunDevice(_Record, frozen=True, kw_only=True):
    """The device's name and what was found on it."""

    name: str
    facts: Mapping[str, Any]


class Version(_Record, frozen=True, kw_only=True):
    """Which vitdeploy measured."""

    version: str
    commit: str | None
    dirty: bool | None


class Run(_Record, frozen=True, kw_only=True):
    """One run file."""

    schema: SchemaNumber
    id: str
    started_utc: Utc
    vitdeploy: Version
    device: RunDevice
    host: Mapping[str, Any]
    protocol: Protocol
    results: tuple[Result, ...]
    duel: Duel | None = None
    groups: tuple[Group, ...] = ()
    """Of a study: rows that took turns; empty where ratios come from rounds of whole trials."""
    yardstick: Yardstick | None = None
    """None: a duel, or a run that was measured before there was one."""
    commit: str | None = None
    """Of the repository that the command was run in: it names the change behind a regression."""

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Runtimes of the trials with their versions, each once."""
        runtimes = (TrialFacts(trial.facts).runtime for result in self.results for trial in result.trials)
        return tuple(dict.fromkeys(runtime for runtime in runtimes if runtime is not None))

    @property
    def couples(self) -> tuple[tuple[Result, Result], ...]:
        """Rows A and B of each case of a duel; empty where this is none."""
        by_side = ([result for result in self.results if result.side == side] for side in ("A", "B"))
        return tuple(zip(*by_side, strict=False))

    def to_pandas(self, *, samples: bool = False) -> "pd.DataFrame":
        """One row a result, units in the column names; ``samples``: one row a sample."""
        return registry.load("vitdeploy.reports.as_pandas:run_frame")(self, samples=samples)

    def __repr__(self) -> str:
        """The run's name and its figures."""
        return registry.load("vitdeploy.reports.as_notebook:text")(self)

    def _repr_html_(self) -> str:
        """For notebooks: the report's tables."""
        return registry.load("vitdeploy.reports.as_notebook:html")(self)


def load(path: Path, *, tails: bool = True) -> Run:
    """Read a run: what cannot be true is refused, and its summaries and statuses are derived anew from the trials.

    Args:
        tails: derive the percentiles too; without them they are null.

    Raises:
        UnreadableFile: truncated, empty, of a newer schema, with unknown fields, or with values that cannot be true.
    """
    return _checked(documents.read(path, Run, schema=SCHEMA, what="run"), str(path), tails=tails)


def parse(data: bytes, name: str) -> Run:
    """As `load`, from the bytes of a file; ``name`` is what messages call it."""
    return _checked(documents.decode(data, Run, schema=SCHEMA, what="run", name=name), name, tails=True)


def _checked(run: Run, name: str, *, tails: bool) -> Run:
    for field, why in consistency.faults(run):
        raise UnreadableFile(
            f"{name} holds what cannot be true, `{field}`: {why}", "Take the run as it was measured, or measure again."
        )
    derived = (rederive(result, run.protocol, tails=tails) for result in run.results)
    return msgspec.structs.replace(run, results=tuple(derived))


def load_all(paths: Iterable[Path]) -> list[Run]:
    """The runs of several files, each run once, however often it is named.

    Raises:
        UnreadableFile: as `load`, two files hold different runs of one id, or one run under two.
    """
    runs: dict[str, tuple[Path, Run]] = {}
    trials = consistency.TrialOwners()
    for path in paths:
        run = load(path)
        earlier, known = runs.setdefault(run.id, (path, run))
        if known != run:
            raise UnreadableFile(f"{earlier} and {path} hold different runs of the id {run.id}", "Leave one out.")
        trials.add(path, run.id, consistency.fingerprints(run))
    return [run for _, run in runs.values()]


def save(run: Run, path: Path) -> None:
    """Write a run, whole or not at all: indented for people, but a row with its thousands of samples in one line."""
    frame = msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(run, results=())), indent=1)
    before, empty, after = frame.partition(b'"results": []')
    assert empty, "the frame has an empty list of results"
    rows = b",\n  ".join(msgspec.json.encode(result) for result in run.results)
    data = b'"results": [' + (b"\n  " + rows + b"\n " if rows else b"") + b"]"
    documents.write_bytes(path, before + data + after + b"\n")
