"""Words and table cells of `attention` and `reproduce`, for the pages, the terminal and JSON."""

from collections.abc import Mapping
from typing import Any

from vitdeploy import units
from vitdeploy.results.record import By, Run
from vitdeploy.studies.attention_study import Kernel, Point, Series, Study, peak_memory_bytes
from vitdeploy.studies.paired_rounds import Crossing, Estimate
from vitdeploy.studies.published import Column
from vitdeploy.studies.reproduction import ClaimOutcome, MeasuredRow, Reproduction

MOST_KERNELS = 5
"""Operators of the profile that are named, the costliest first."""


def published_cells(figure: MeasuredRow, columns: Mapping[str, Column]) -> list[str]:
    """The quality of a row, and its published values: ``45.9 ms``; ``≈`` where one was read from a chart."""
    quality, values = figure.row.quality, figure.row.values
    return [
        "" if quality is None else f"{quality:g}",
        *(
            f"{'≈' if column.chart else ''}{values[name]:g} {column.unit}" if name in values else ""
            for name, column in columns.items()
        ),
    ]


def measured_cells(figure: MeasuredRow) -> list[str]:
    """The latency of a row and its peak memory, as measured."""
    return [
        latency(figure.latency) if figure.latency else units.MISSING,
        units.size_bytes(figure.peak_memory_bytes) if figure.peak_memory_bytes else "",
    ]


def latency(estimate: Estimate) -> str:
    """``12.3 ms [12.1 … 12.5]``."""
    low, high = estimate.interval or (None, None)
    text = f"{units.milliseconds([estimate.value])[0]} ms"
    return text if low is None else f"{text} [{units.interval(low, high, estimate.value)}]"


def ratio(estimate: Estimate | None) -> str:
    """``6.21 [6.05 … 6.37]``, or missing."""
    if estimate is None:
        return units.MISSING
    text = f"{estimate.value:.2f}"
    return text if estimate.interval is None else f"{text} [{estimate.interval[0]:.2f} … {estimate.interval[1]:.2f}]"


WAYS: Mapping[By | None, str] = {"turns": "turns", "trials": "whole trials", None: ""}
"""How a ratio was measured, in a table's cell."""


def way_words(run: Run) -> list[str]:
    """How the ratios were measured, in sentences; and why a group that was to take turns did not."""
    turn_s = next((group.turn_s for group in run.groups if group.turn_s is not None), None)
    if turn_s is None:
        return ["Ratios are taken between whole trials of one round, which were run one after the other."]
    explained = (
        f"By turns: the processes of a round took turns of {1000 * turn_s:g} ms, fast files longer ones where a slow "
        "file is among them. The ratio is taken turn by turn, and the first inference of a turn is no sample. By whole "
        "trials: they were run one after the other."
    )
    lines = [explained]
    for group in run.groups:
        if group.whole is not None:
            names = ", ".join(run.results[place].case.name for place in group.rows)
            lines.append(f"Whole trials, without turns, of {names}: {group.whole}.")
    return lines


DISTURBED = ("noisy", "foreign-load")
"""Codes of reasons that valid rows have where the machine was not quiet."""


def disturbed_words(run: Run) -> list[str]:
    """That the machine was not quiet, in sentences; empty where it was."""
    valid = [result for result in run.results if result.status == "valid"]
    lines: list[str] = []
    for code in DISTURBED:
        rows = [(result, reason) for result in valid for reason in result.reasons if reason.code == code]
        if rows:
            result, reason = rows[0]
            lines.append(f"{code}: {len(rows)} of {len(valid)} rows, among them {result.case.name}: {reason.message}.")
    if lines:
        lines.append(
            "Turns cancel what all processes of a round see alike. Where other work keeps the cores busy, files of "
            "many short parallel steps lose more than others, and these ratios are those of a busy machine: stop other "
            "work, and measure again."
        )
    return lines


def point_cells(point: Point, times: str = "×") -> list[str]:
    """One size of an attention series as a table's row; ``times`` stands between height and width."""
    sides = (point.linear, point.softmax)
    return [
        times.join(map(str, point.size)),
        *(latency(ms).replace(" ms", "") if ms else units.MISSING for ms in (point.linear_ms, point.softmax_ms)),
        ratio(point.speedup),
        WAYS[point.by],
        f"≈{point.published:.1f}" if point.published else "",
        *(units.count(side.macs) if side and side.macs else "" for side in sides),
        *(units.size_bytes(peak) if (peak := peak_memory_bytes(side)) else "" for side in sides),
    ]


def series_words(series: Series) -> list[str]:
    """The fitted exponents and where the two attentions cross, in sentences."""
    lines: list[str] = []
    for name, whole, upper in (
        ("Linear", series.linear_exponent, series.linear_exponent_upper),
        ("Softmax", series.softmax_exponent, series.softmax_exponent_upper),
    ):
        if whole is not None and series.kind != "equal arithmetic":
            more = f"; over the larger maps {ratio(upper)}." if upper else "."
            lines.append(f"{name} attention's time grows with pixels to the power {ratio(whole)}{more}")
    at, words = series.crossing.at, crossing_words(series.crossing)
    if at is not None:
        interval = "" if at.interval is None else f" [{at.interval[0] ** 0.5:.1f} … {at.interval[1] ** 0.5:.1f}]"
        words = "; ".join(filter(None, (words, "too few rounds for an interval" if at.interval is None else "")))
        return [*lines, f"They cross at a side of {at.value**0.5:.1f}{interval} pixels{words and f'; {words}'}."]
    return [*lines, f"{words[0].upper()}{words[1:]}."]


def crossing_words(crossing: Crossing) -> str:
    """What the rounds showed where they have no crossing, or not all of them; else nothing."""
    if crossing.at is not None:
        return f"{crossing.missed} of {crossing.rounds} rounds do not cross" if crossing.missed else ""
    if crossing.ends is None:
        return "no size was measured with both"
    (least, first), (most, last) = crossing.ends
    if least == most:
        return f"one size was measured with both, which shows no crossing: softmax ÷ linear time is {first:.2f}"
    where = (
        "softmax takes longer at the smallest and the largest size"
        if first > 1 and last > 1
        else "linear takes longer at the largest size"
        if last < 1
        else "the rounds do not agree on one"
    )
    return (
        f"no crossing was measured, {where}: softmax ÷ linear time is {first:.2f} at {least**0.5:g}² "
        f"and {last:.2f} at {most**0.5:g}²"
    )


def kernel_words(kernel: Kernel) -> str:
    """What ran, the costliest first."""
    graph = ", ".join(f"{count} {name}" for name, count in kernel.graph.items())
    ran = ", ".join(f"{name} {ms:.2f} ms" for name, ms in list(kernel.ran_ms.items())[:MOST_KERNELS])
    return f"{kernel.case}: the file has {graph or 'no graph'}; {'ran ' + ran if ran else kernel.said}"


def claim_notes(answers: tuple[ClaimOutcome, ...]) -> list[str]:
    """What is to be said of the claims: their own notes, and why one was not measured."""
    lines: list[str] = []
    for answer in answers:
        lines += [f"{answer.claim.words}: {answer.claim.note}"] if answer.claim.note else []
        lines += [f"{answer.claim.words}: not measured; {answer.why_not}"] if answer.why_not else []
    return lines


def row_notes(reproduction: Reproduction) -> list[str]:
    """What the table says of its rows."""
    return [f"{figure.row.name}: {figure.row.note}" for figure in reproduction.figures if figure.row.note]


def attention_json(study: Study) -> dict[str, Any]:
    """The attention study for programs."""
    return {
        "run": study.run.id,
        "groups": study.run.groups,
        "disturbed": disturbed_words(study.run),
        "device": study.run.device,
        "series": [
            {
                "name": series.name,
                "kind": series.kind,
                "linear_exponent": series.linear_exponent,
                "softmax_exponent": series.softmax_exponent,
                "linear_exponent_upper": series.linear_exponent_upper,
                "softmax_exponent_upper": series.softmax_exponent_upper,
                "crossing_pixels": series.crossing.at,
                "crossing_words": crossing_words(series.crossing),
                "points": [_point_json(point) for point in series.points],
            }
            for series in study.series
        ],
        "kernels": study.kernels,
    }


def _point_json(point: Point) -> dict[str, Any]:
    sides = (("linear", point.linear), ("softmax", point.softmax))
    return {
        "size": point.size,
        "linear_ms": point.linear_ms,
        "softmax_ms": point.softmax_ms,
        "softmax_over_linear": point.speedup,
        "by": point.by,
        "published": point.published,
        **{f"{name}_macs": side.macs if side else None for name, side in sides},
        **{f"{name}_peak_memory_bytes": peak_memory_bytes(side) for name, side in sides},
        "why_not": point.why_not,
    }
