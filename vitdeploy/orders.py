"""What each verb is asked for and what it returns: frozen data between the command line and `api`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from vitdeploy.artifact import Artifact, Manifest, Parity
from vitdeploy.errors import VitdeployError
from vitdeploy.spec import Attention, Size
from vitdeploy.variant import Variant

if TYPE_CHECKING:
    from vitdeploy.baselines import Baseline
    from vitdeploy.calibration import Calibration
    from vitdeploy.chain import Link
    from vitdeploy.comparison import Compared
    from vitdeploy.record import Run
    from vitdeploy.reproduction import Reproduction
    from vitdeploy.scaling import Study


class OnTrial(Protocol):
    """Called after each trial of a bench."""

    def __call__(self, done: int, total: int, label: str) -> None:
        """``done`` of ``total`` trials are finished; ``label`` says which was last."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One row of `models`, `targets`, `devices` or `suites`."""

    name: str
    facts: Mapping[str, str]
    usable: bool
    why_not: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOrder:
    """What `export` is asked for, beside the models; texts are checked when it is planned."""

    target: str
    size: str | None = None
    batch: int = 1
    weights: Path | None = None
    weights_sha256: str | None = None
    """Digest of ``weights``, where the caller has read them already."""
    attention: str | None = None
    """None: the first that each model has."""
    head: str = "logits"
    io: str = "fp32"
    converter: str | None = None
    without: tuple[str, ...] = ()
    compute_capability: str | None = None
    device: str | None = None
    out: Path = Path("artifacts")
    force: bool = False

    @classmethod
    def of(cls, variant: Variant, **options: Any) -> "ExportOrder":
        """The order for a variant of the model `Variant.full_model`, under its default weights."""
        return cls(
            target=variant.target,
            size=variant.size_words,
            batch=variant.batch,
            attention=variant.attention,
            head=variant.head,
            io=variant.io,
            **options,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportRow:
    """What became of one model: an artifact, an error, or both (a file that failed parity)."""

    model: str
    target: str
    artifact: Artifact | None
    error: VitdeployError | None
    reused: bool
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """The parity of an artifact, measured again."""

    folder: Path
    manifest: Manifest
    inputs: str
    parity: Parity
    error: VitdeployError | None
    trace: str | None = None
    """The first node that diverges in half precision, or that none does; None: it was not asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictOrder:
    """What `predict` is asked for."""

    artifact: Path
    image: str
    points: tuple[str, ...] = ()
    boxes: tuple[str, ...] = ()
    multimask: bool = False
    device: str | None = None
    out: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What an artifact saw in a picture."""

    picture: Path
    measure: str
    """What the number beside a class is: its share of the pixels, its probability, or how good the mask is."""
    classes: tuple[tuple[str, float], ...]
    """Empty where the answer is an image."""
    psnr_db: tuple[tuple[str, float], ...] = ()
    """Of an image: by whom it was enlarged, and how near that is to the picture at that size."""
    note: str | None
    masks: tuple[Path, ...] = ()
    """Of objects: pictures of their numbers, at the picture's size and in the model's frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOrder:
    """What `bench` is asked for, beside models and artifacts; None: the suite's or the device's default."""

    targets: tuple[str, ...] = ()
    device: str = "local"
    suite: str | None = None
    size: str | None = None
    batch: int | None = None
    attention: str | None = None
    threads: int | None = None
    trials: int = 5
    min_time_s: float = 1.0
    boundary: str = "host-to-host"
    streams: int | None = None
    graph: str | None = None
    sustained_s: float | None = None
    out: Path | None = None
    artifacts: Path = Path("artifacts")
    resume: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class DuelOrder:
    """What `duel` is asked for, beside its two sides; None: the default."""

    device: str = "local"
    size: str | None = None
    threads: int | None = None
    pairs: int | None = None
    min_time_s: float = 1.0
    max_slowdown: float = 0.02
    alpha: float = 0.01
    early: bool = True
    """Look at the data before the end."""
    out: Path | None = None
    artifacts: Path = Path("artifacts")


@dataclass(frozen=True, slots=True, kw_only=True)
class DuelOutcome:
    """A duel's run, where it was written, its verdict, and the exit code that its rows ask for."""

    run: "Run"
    path: Path
    compared: "Compared"
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOrder:
    """What `compare` is asked for, beside the runs."""

    baselines: Path = Path("vitdeploy-baselines")
    max_slowdown: float = 0.02
    alpha: float = 0.01
    confirm: bool = False
    strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareOutcome:
    """The verdicts, the baseline they are against where it was one, and the exit code they ask for."""

    compared: "Compared"
    baseline: "Baseline | None"
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibrated:
    """What an A/A duel said, and where that and its run are kept."""

    calibration: "Calibration"
    path: Path
    run_path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """The links of a chain, and the error of the first that is broken."""

    path: Path
    links: "tuple[Link, ...]"
    error: VitdeployError | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One model of a suite, and how it is timed."""

    model: str
    targets: tuple[str, ...] = ()
    """Empty: `workload.FALLBACK_TARGETS`."""
    size: Size | None = None
    """None: the resolution of the model's published latency."""
    batch: int = 1
    attention: Attention | None = None
    """None: the first that the model has."""
    streams: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One case that a study would like to time, or why it is not even tried."""

    entry: Entry
    refused: VitdeployError | None = None
    macs: float | None = None
    """Its arithmetic, as far as it is known before the file is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldOrder:
    """What `attention` and `reproduce` are asked for; None: the default, which `quick` lowers."""

    device: str = "local"
    target: str | None = None
    quick: bool = False
    threads: int | None = None
    trials: int | None = None
    min_time_s: float | None = None
    out: Path | None = None
    page: Path | None = None
    artifacts: Path = Path("artifacts")
    resume: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Studied:
    """What was found of attention: the study, its run file and its page."""

    study: "Study"
    path: Path
    page: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Reproduced:
    """What was found of a published table: it beside the run, the run file and the page."""

    reproduction: "Reproduction"
    path: Path
    page: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOutcome:
    """A run, where it was written, and the exit code its rows ask for."""

    run: "Run"
    path: Path
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A report: its text, or the file it was written to."""

    text: str
    path: Path | None
    annotations: tuple[str, ...] = ()
    """Workflow commands that go to stdout, wherever the text goes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheRow:
    """One stored artifact."""

    name: str
    size_bytes: int
    used: str
    """Day of the last use, ISO 8601."""
    key: str = field(default="")
