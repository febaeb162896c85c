"""A run: what was timed, under which protocol, every raw sample of it, and what follows from them.

Raw nanoseconds are kept; `Summary` is derived from the trials and derived again on loading.

# Run schema history (newest first):
#   1  first version
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from vitdeploy import documents
from vitdeploy.artifacts.manifest import Parity
from vitdeploy.catalog.fact_table import TrialFacts
from vitdeploy.catalog.spec import Attention, Boundary, Head, Io, Size
from vitdeploy.catalog.variant import Variant
from vitdeploy.results import noise, stats, sustained

SCHEMA = 1

Status = Literal["valid", "invalid", "failed"]
Steady = Literal["steady", "warming", "drifting"]
Side = Literal["A", "B"]
By = Literal["turns", "trials"]
"""How the two processes of a pair are timed: in short turns, or one after the other."""
Nanoseconds = Annotated[int, msgspec.Meta(ge=0, le=10**16)]
"""A time; a third of a year is beyond any run, and what is larger would overflow the statistics."""
Sample = Annotated[int, msgspec.Meta(ge=1, le=10**16)]
"""A time that was measured: its logarithm is taken."""
Positive = Annotated[float, msgspec.Meta(gt=0)]
MOST_UNSTEADY = 0.2
"""More than this share of trials that are not steady makes a row noisy, and where they share a trend, invalid. Source:
contract, "A run"."""
NOISY = 0.05
"""A wider half of the interval is flagged. Source: contract, "Commands": the default of ``--until``."""
FEWEST_SAMPLES = 10
"""A trial with fewer samples says too little of itself. Source: peers.md, E (hyperfine's least count)."""


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of everything in a run: immutable, and strict about what it does not know."""


class Case(_Record, frozen=True, kw_only=True):
    """What was timed. Two figures are comparable exactly when their cases are equal."""

    model: str
    part: str | None
    attention: Attention
    target: str
    size: Size
    batch: int
    device: str
    threads: int
    boundary: Boundary
    streams: int
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


class Reason(_Record, frozen=True, kw_only=True):
    """Why a row is what it is: a code for programs, a sentence and a hint for people."""

    code: str
    message: str
    hint: str


class Stages(_Record, frozen=True, kw_only=True):
    """Where the time of each inference went, by device events, in sample order."""

    h2d: tuple[int, ...]
    compute: tuple[int, ...]
    d2h: tuple[int, ...]


class Reading(_Record, frozen=True, kw_only=True):
    """One look at the machine's state during a trial."""

    t_ns: int
    clock_hz: int | None
    temp_c: float | None
    power_mw: int | None


class Turns(_Record, frozen=True, kw_only=True):
    """How a trial's samples were taken in short turns with the other side of its pair."""

    counts: tuple[int, ...]
    """Samples of each turn, in sample order."""
    places: tuple[int, ...]
    """Position of each turn among all turns of the pair, from 0."""
    first_ns: tuple[Nanoseconds, ...]
    """The first inference of each turn, which is no sample: it finds the other side's caches."""


class Trial(_Record, frozen=True, kw_only=True):
    """One fresh process that loaded the artifact, warmed up and sampled."""

    id: str
    started_utc: str
    order: int
    """Position in the run's interleaved order, from 0."""
    pair: int | None
    build: int | None
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
    warmup_count: int
    peak_memory_bytes: int
    steady: Steady
    telemetry: tuple[Reading, ...]
    throttled: bool
    facts: Mapping[str, str]
    """What the runtime said of itself: version, provider, threads."""
    parity: Parity | None = None
    """Of this trial's own output, where it is fetched from the device."""
    block_inferences: int | None = None
    """Of a block median: how many inferences it is the median of."""
    turns: Turns | None = None
    """Where the sides of a duel took turns; None: the trial was sampled in one piece."""
    resolution_ns: Sample | None = None
    """The samples are known only this well: the grid of the tool's clock or file; None: that of our own clock."""

    @property
    def inferences(self) -> int:
        """How many timed inferences its figures come from."""
        return len(self.samples_ns) if self.block_inferences is None else self.block_inferences


class Summary(_Record, frozen=True, kw_only=True):
    """What the trials say. Percentiles are null where the count does not allow them."""

    samples: int
    trials: int
    median_ms: Positive
    median_ci95_ms: tuple[Positive, Positive] | None
    p90_ms: Positive | None
    p99_ms: Positive | None
    throughput_per_s: Positive
    energy_mj: float | None


class Sustained(_Record, frozen=True, kw_only=True):
    """What a long load did to the figure; derived from the samples."""

    burst_ms: Positive
    """Median of what a usual trial would have measured."""
    sustained_ms: Positive
    """Median of the last tenth of the time."""
    slowed_after_s: float | None
    """When it became slower than the burst for good; None: it did not."""
    throttled_after_s: float | None
    """When the machine first said that it slows itself down; None: it did not, or does not show it."""


class Result(_Record, frozen=True, kw_only=True):
    """One row: a case, the artifact that was timed, its trials and whether the figure may be quoted."""

    case: Case
    artifact_sha256: str | None
    parity: Parity | None
    status: Status
    reasons: tuple[Reason, ...]
    trials: tuple[Trial, ...]
    summary: Summary | None
    params: int | None = None
    macs: int | None = None
    size_bytes: int | None = None
    """Of the artifact's files together."""
    manifest_sha256: str | None = None
    """Of the manifest that lay beside the file when it was timed."""
    side: Side | None = None
    """Which side of a duel this is."""
    sustained: Sustained | None = None
    """Where the run was made with ``--sustained`` and the trials were long enough."""


class Protocol(_Record, frozen=True, kw_only=True):
    """How the run was measured."""

    suite: str | None
    trials: int
    min_time_s: float
    warmup_limit_s: float
    order: str
    seed: int
    inputs: str
    """What the timed inputs are, and how many distinct ones."""
    sustained_s: float | None = None
    until: float | None = None
    """Trials were added until the interval of a row was within this share of its median; None: ``trials`` exactly."""
    priority: Literal["realtime"] | None = None
    """At which processes sampled; None: the usual one."""
    time_budget_s: float | None = None
    """Sampling time of the whole run after which none were added; None: a multiple of what the first trials took."""


class OperatorShare(_Record, frozen=True, kw_only=True):
    """The time of one operator type on both sides of a duel."""

    name: str
    base_ms: float
    head_ms: float


class Attribution(_Record, frozen=True, kw_only=True):
    """What explains a duel's difference."""

    operators: tuple[OperatorShare, ...]
    """Those that explain most of it, the largest first."""
    graph: Mapping[str, tuple[int, int]]
    """Operator type → its count in A's graph and in B's, where they differ."""
    said: str | None
    """Why there are no operator times; None when there are."""


class Duel(_Record, frozen=True, kw_only=True):
    """That a run is a duel: rows A and B of one or several cases, in interleaved pairs of fresh processes."""

    names: tuple[str, str]
    """What was asked for, A and B."""
    pairs: int
    """How many were run."""
    most_pairs: int
    alpha: float
    """What is left of the error for the verdict on the pairs that were run."""
    max_slowdown: float
    stopped: str | None
    """Why it ended before ``most_pairs``; None: it did not."""
    by: By = "trials"
    """The two processes of a pair took short turns, or were run one after the other."""
    turn_s: float | None = None
    """How long a turn was sampled; None: there were none."""
    attribution: Attribution | None = None
    """Where a side was slower: what explains it."""


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

    schema: int
    id: str
    started_utc: str
    vitdeploy: Version
    device: RunDevice
    host: Mapping[str, Any]
    protocol: Protocol
    results: tuple[Result, ...]
    duel: Duel | None = None
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


def load(path: Path) -> Run:
    """Read a run; its summaries and statuses are derived anew from the trials.

    Raises:
        UnreadableFile: truncated, empty, of a newer schema, or with fields that are unknown.
    """
    run = documents.read(path, Run, schema=SCHEMA, what="run")
    return msgspec.structs.replace(run, results=tuple(rederive(result, run.protocol) for result in run.results))


def save(run: Run, path: Path) -> None:
    """Write a run, whole or not at all: indented for people, but a row with its thousands of samples in one line."""
    frame = msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(run, results=())), indent=1)
    before, empty, after = frame.partition(b'"results": []')
    assert empty, "the frame has an empty list of results"
    rows = b",\n  ".join(msgspec.json.encode(result) for result in run.results)
    data = b'"results": [' + (b"\n  " + rows + b"\n " if rows else b"") + b"]"
    documents.write_bytes(path, before + data + after + b"\n")


def rederive(result: Result, protocol: Protocol | None = None) -> Result:
    """``result`` with the summary and status that its trials support; failed rows stay failed.

    Under a long load slowing down is what is measured, and does not make a row invalid.
    """
    if result.status == "failed":
        return result
    long = protocol is not None and protocol.sustained_s is not None
    kept = tuple(reason for reason in result.reasons if reason.code not in _DERIVED)
    derived = tuple(r for r in _reasons(result.trials, result.parity) if not (long and r.code in _OF_HEAT))
    summary = summarize(result.trials, result.case.batch)
    noisy = () if long else tuple(_noisy(result.trials, summary))
    return msgspec.structs.replace(
        result,
        summary=summary,
        reasons=(*derived, *noisy, *kept),
        status="invalid" if derived or not result.trials else "valid",
        sustained=_sustained(result, protocol) if long and protocol is not None else None,
    )


def _sustained(result: Result, protocol: Protocol) -> Sustained | None:
    trials = result.trials
    heat = sustained.of_trials(
        [trial.samples_ns for trial in trials if trial.sample_kind == "inference"],
        burst_s=protocol.min_time_s,
        streams=result.case.streams,
    )
    if heat is None:
        return None
    throttled = [TrialFacts(trial.facts).throttled_after_s for trial in trials]
    return Sustained(
        burst_ms=heat.burst_ns / 1e6,
        sustained_ms=heat.sustained_ns / 1e6,
        slowed_after_s=heat.slowed_after_s,
        throttled_after_s=min((time_s for time_s in throttled if time_s is not None), default=None),
    )


def summarize(trials: Sequence[Trial], batch: int) -> Summary | None:
    """The figures of a row; None without a sample."""
    blocks = [trial.samples_ns for trial in trials if trial.samples_ns]
    if not blocks:
        return None
    latencies = all(trial.sample_kind == "inference" for trial in trials)
    interval = stats.median_interval(blocks)
    return Summary(
        samples=sum(map(len, blocks)),
        trials=len(blocks),
        median_ms=stats.median_of_medians(blocks) / 1e6,
        median_ci95_ms=None if interval is None else (interval[0] / 1e6, interval[1] / 1e6),
        p90_ms=_ms(stats.percentile(blocks, 0.90)) if latencies else None,
        p99_ms=_ms(stats.percentile(blocks, 0.99)) if latencies else None,
        throughput_per_s=batch * sum(map(len, blocks)) / (sum(t.wall_ns for t in trials if t.samples_ns) / 1e9),
        energy_mj=None,
    )


_DERIVED = frozenset({"parity-failed", "throttled", "not-steady", "too-few-samples", "noisy"})
"""Reasons that follow from the trials and the parity; all but ``noisy`` make a row invalid."""
_OF_HEAT = frozenset({"throttled", "not-steady"})


def _reasons(trials: Sequence[Trial], parity: Parity | None) -> Iterator[Reason]:
    """Why the figure of a row may not be quoted, as far as it follows from its trials and its parity."""
    if parity is not None and not parity.passed:
        yield Reason(
            code="parity-failed",
            message=f"the file does not compute what the model computes: {parity.reason}",
            hint="Run `vitdeploy check` on the artifact, and do not deploy it.",
        )
    refused = [trial.parity.reason for trial in trials if trial.parity is not None and not trial.parity.passed]
    if refused:
        yield Reason(
            code="parity-failed",
            message=f"the device's outputs differ from this computer's in {len(refused)} of {len(trials)} trials: "
            f"{refused[0]}",
            hint="Do not deploy it there; look for fp16 arithmetic or another runtime on the device.",
        )
    if throttled := sum(trial.throttled for trial in trials):
        yield Reason(
            code="throttled",
            message=f"the clock was throttled in {throttled} of {len(trials)} trials",
            hint="Let the device cool down, or measure with --sustained.",
        )
    unsteady = [trial.steady for trial in trials if trial.steady != "steady"]
    if _share_a_trend(trials):
        yield Reason(
            code="not-steady",
            message=f"{len(unsteady)} of {len(trials)} trials were not steady ({', '.join(sorted(set(unsteady)))})",
            hint="Let the machine cool down, or raise --min-time, so that the warm-up ends before the samples.",
        )
    fewest = min((trial.inferences for trial in trials), default=0)
    if trials and fewest < FEWEST_SAMPLES:
        yield Reason(
            code="too-few-samples",
            message=f"a trial has {fewest} samples, fewer than {FEWEST_SAMPLES}",
            hint="Raise --min-time.",
        )


def _share_a_trend(trials: Sequence[Trial]) -> bool:
    """Whether the trials drift alike, as by warming up or by heat: then no figure is typical of the case.

    Noise of the machine takes single trials up or down, and shows in the interval. A trend is one that most trials
    share, and that is larger than their scatter; with fewer than three trials, each that is not steady counts.
    """
    alone = [trial for trial in trials if trial.turns is None]  # what both sides of a pair saw in turns cancels
    unsteady = [trial for trial in alone if trial.steady != "steady"]
    if len(unsteady) <= MOST_UNSTEADY * len(alone):
        return False
    if len(alone) < stats.FEWEST_FOR_INTERVAL:
        return True
    drifts = [stats.drift(trial.samples_ns) for trial in unsteady]
    alike = max(([drift for drift in drifts if drift > 0], [drift for drift in drifts if drift < 0]), key=len)
    typical = abs(sum(alike)) / max(1, len(alike))
    return 2 * len(alike) > len(alone) and typical > stats.scatter([trial.samples_ns for trial in alone])


def _noisy(trials: Sequence[Trial], summary: Summary | None) -> Iterator[Reason]:
    """That the machine was not quiet, and who disturbed it; the figure holds, and its interval is wide."""
    if all(trial.turns is not None for trial in trials):
        return  # the interval of a duel's ratio says how noisy that was
    unsteady = sum(trial.steady != "steady" for trial in trials)
    wide = None if summary is None or summary.median_ci95_ms is None else stats.half_share(summary.median_ci95_ms)
    if (wide is None or wide <= NOISY) and unsteady <= MOST_UNSTEADY * len(trials):
        return
    causes = noise.causes([TrialFacts(trial.facts) for trial in trials], [trial.samples_ns for trial in trials])
    what = (
        f"the interval is ±{wide:.0%}" if wide is not None and wide > NOISY else f"{unsteady} of {len(trials)} drifted"
    )
    yield Reason(
        code="noisy",
        message=f"{what}: {'; '.join(causes) or 'no cause is visible'}",
        hint="Stop other work on the machine, raise --time-budget, or compare two files by `vitdeploy duel`.",
    )


def _ms(value_ns: float | None) -> float | None:
    return None if value_ns is None else value_ns / 1e6
