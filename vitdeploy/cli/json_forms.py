"""What ``--json`` writes, command by command: types, of which the schemas that ship are made.

Fields may be added; what is here keeps its name, type and meaning.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from vitdeploy.api.cache import CacheRow
from vitdeploy.api.device_details import DeviceDetails
from vitdeploy.api.listings import ListingRow
from vitdeploy.artifacts.manifest import Manifest, Parity
from vitdeploy.catalog.spec import Size
from vitdeploy.devices.findings import Finding
from vitdeploy.devices.inventory import Device
from vitdeploy.evaluation.record import Evaluation
from vitdeploy.results.baselines import Acceptance
from vitdeploy.results.calibration import Calibration
from vitdeploy.results.lineage import Link
from vitdeploy.results.record import Attribution, By, Group, Run, RunDevice
from vitdeploy.results.selftest import SelfTest
from vitdeploy.results.verdict import Comparison
from vitdeploy.studies.attention_study import Kernel
from vitdeploy.studies.paired_rounds import Estimate
from vitdeploy.studies.published import Column
from vitdeploy.studies.reproduction import Difference


class ErrorBody(msgspec.Struct, frozen=True, kw_only=True, rename={"kind": "class"}):
    """One error; ``class`` is its name in Python."""

    kind: str
    message: str
    hint: str
    exit_code: int


class ErrorForm(msgspec.Struct, frozen=True, kw_only=True):
    """A command that ended before it had a result."""

    error: ErrorBody


class PlanForm(msgspec.Struct, frozen=True, kw_only=True):
    """``--dry-run`` of any command."""

    plan: Sequence[str]


class RowError(msgspec.Struct, frozen=True, kw_only=True):
    """Why one of several rows failed."""

    exit_code: int
    message: str
    hint: str


class StageForm(msgspec.Struct, frozen=True, kw_only=True):
    """One stage in which a file was made."""

    name: str
    seconds: float


class StepForm(msgspec.Struct, frozen=True, kw_only=True):
    """One file that was made for a model."""

    file: str
    """Its model, target and size."""
    stages: Sequence[StageForm]
    """In the order in which they began."""


class ExportRow(msgspec.Struct, frozen=True, kw_only=True):
    """One model of `export`; a file that failed parity has both a manifest and an error."""

    model: str
    target: str
    folder: str | None
    manifest: Manifest | None
    reused: bool
    seconds: float
    steps: Sequence[StepForm]
    """The files that were made for it; empty where an earlier one was up to date."""
    error: RowError | None


class OfficialAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """A published figure of a checkpoint."""

    dataset: str
    metric: str
    value: float
    source: str


class WeightsRow(msgspec.Struct, frozen=True, kw_only=True):
    """One official checkpoint of `weights`."""

    checkpoint: str
    title: str
    model: str
    size: Size | None
    hub: str | None
    revision: str | None
    url: str | None
    file: str
    other_names: Sequence[str]
    size_bytes: int | None
    sha256: str | None
    sha256_prefix: str | None
    digest_source: str | None
    code_licence: str
    weights_licence: str
    commercial: str
    restriction: str | None
    needs_acceptance: bool
    terms: str
    accuracy: Sequence[OfficialAccuracy]
    unfit: str | None
    cached: str | None


class CheckForm(msgspec.Struct, frozen=True, kw_only=True):
    """`check`."""

    artifact: str
    weights: str
    inputs: str
    device: str
    parity: Parity


class PredictForm(msgspec.Struct, frozen=True, kw_only=True):
    """`predict`: names and shares or probabilities, or decibels."""

    picture: str
    measure: str
    classes: Sequence[tuple[str, float]]
    psnr_db: Sequence[tuple[str, float]]
    note: str | None
    weights: str
    preprocessing: str
    masks: Sequence[str]
    device: str
    computed_on: str


class AddedDeviceForm(msgspec.Struct, frozen=True, kw_only=True):
    """`devices add`: the file, what it says, what was seen, and what is missing there."""

    path: str
    device: Device
    facts: Mapping[str, Any]
    tools: Mapping[str, str]
    missing: Sequence[Finding]
    notices: Sequence[str]


class ReportForm(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`report`: the text, or the file that it was written to."""

    path: str | None = None
    text: str | None = None
    annotations: Sequence[str] = ()


class _Verdicts(msgspec.Struct, frozen=True, kw_only=True):
    base: str
    head: str
    historical: bool
    max_slowdown: float
    alpha: float
    comparisons: Sequence[Comparison]
    notes: Sequence[str]
    attribution: Attribution | None = None


class DuelForm(_Verdicts, frozen=True, kw_only=True):
    """`duel`: the verdicts, and where the run is."""

    run: str


class CompareForm(_Verdicts, frozen=True, kw_only=True):
    """`compare`: the verdicts and the exit code that they ask for."""

    exit_code: int


class AcceptForm(msgspec.Struct, frozen=True, kw_only=True):
    """`accept`."""

    path: str
    acceptance: Acceptance
    replaced: Acceptance | None
    remarks: Sequence[str]
    left_out: Sequence[str]


class CalibrateForm(msgspec.Struct, frozen=True, kw_only=True):
    """`calibrate`."""

    calibration: Calibration
    path: str
    run: str


class VerifyForm(msgspec.Struct, frozen=True, kw_only=True):
    """`verify`: each link of the lineage."""

    path: str
    links: Sequence[Link]


class SweepForm(msgspec.Struct, frozen=True, kw_only=True):
    """`sweep` of a plan that names evaluations; without, the document is the run."""

    run: Run | None
    evaluations: Sequence[Evaluation]


class AttentionPoint(msgspec.Struct, frozen=True, kw_only=True):
    """Both attentions at one size."""

    size: Size
    linear_ms: Estimate | None
    softmax_ms: Estimate | None
    softmax_over_linear: Estimate | None
    by: By | None
    published: float | None
    linear_macs: int | None
    softmax_macs: int | None
    linear_peak_memory_bytes: int | None
    softmax_peak_memory_bytes: int | None
    why_not: str | None


class AttentionSeries(msgspec.Struct, frozen=True, kw_only=True):
    """A module or a network over resolutions."""

    name: str
    kind: str
    linear_exponent: Estimate | None
    softmax_exponent: Estimate | None
    linear_exponent_upper: Estimate | None
    softmax_exponent_upper: Estimate | None
    crossing_pixels: Estimate | None
    crossing_words: str
    points: Sequence[AttentionPoint]


class AttentionForm(msgspec.Struct, frozen=True, kw_only=True):
    """`attention`."""

    run: str
    groups: Sequence[Group]
    device: RunDevice
    series: Sequence[AttentionSeries]
    kernels: Sequence[Kernel]


class ReproducedRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of a published table, measured again."""

    name: str
    model: str | None
    size: Size
    published: Mapping[str, float]
    latency_ms: Estimate | None
    images_per_s: float | None
    peak_memory_bytes: int | None
    macs: float | None
    why_not: str | None
    note: str | None


class ReproducedClaim(msgspec.Struct, frozen=True, kw_only=True):
    """A claimed speed-up beside the measured ratio."""

    words: str
    slow: str
    fast: str
    column: str | None
    quoted: float | None
    published: float | None
    source: str
    note: str | None
    measured: Estimate | None
    by: By | None
    holds: bool | None
    why_not: str | None


class ReproduceForm(msgspec.Struct, frozen=True, kw_only=True):
    """`reproduce TABLE`; without a table it lists them as `models` does."""

    table: str
    title: str
    quick: bool
    run: str
    groups: Sequence[Group]
    device: RunDevice
    columns: Mapping[str, Column]
    comparable: Mapping[str, bool]
    rows: Sequence[ReproducedRow]
    claims: Sequence[ReproducedClaim]
    differences: Sequence[Difference]


FORMS: Mapping[str, Any] = {
    "error": ErrorForm,
    "plan": PlanForm,
    "models": list[ListingRow],
    "targets": list[ListingRow],
    "devices": list[ListingRow],
    "devices show": DeviceDetails,
    "devices add": AddedDeviceForm,
    "suites": list[ListingRow],
    "weights": list[WeightsRow],
    "doctor": list[Finding],
    "selftest": SelfTest,
    "export": list[ExportRow],
    "check": CheckForm,
    "predict": PredictForm,
    "bench": Run,
    "report": ReportForm,
    "duel": DuelForm,
    "compare": CompareForm,
    "accept": AcceptForm,
    "calibrate": CalibrateForm,
    "verify": VerifyForm,
    "eval": Evaluation,
    "attention": AttentionForm,
    "reproduce": ReproduceForm | list[ListingRow],
    "sweep": SweepForm,
    "cache ls": list[CacheRow],
    "cache gc": list[CacheRow],
}
"""Command, ``plan`` and ``error`` → the type of its document."""


def file_name(command: str) -> str:
    """The schema of a command's document: ``output-cache-ls.json``."""
    return f"output-{command.replace(' ', '-')}.json"
