"""The page of `vitdeploy attention`: both attentions over resolutions, exponents, crossings, and what ran."""

from collections.abc import Sequence

from vitdeploy import units
from vitdeploy.catalog import registry
from vitdeploy.reports.charts import study_charts as charts
from vitdeploy.reports.pages.study_page import PageFigure, PageTable, Panel, page
from vitdeploy.studies import attention_study, reproduction
from vitdeploy.studies.attention_study import Point, Series, Study

HEADS = (
    *("size", "linear, ms", "softmax, ms", "softmax ÷ linear", "figure 4", "linear MACs", "softmax MACs"),
    *("linear peak", "softmax peak"),
)

SCALES = (
    "Both axes are logarithmic: a straight line is a power law, and its slope is the exponent. Solid lines are linear "
    "attention, dashed ones softmax; the legend has the fitted exponents with their 95 % intervals. Bars are 95 % "
    "intervals over rounds, where they are longer than the mark."
)

RATIOS = (
    "Softmax's time over linear's, at each size; above 1 linear attention is faster. Diamonds are the published "
    "figure 4, read from its chart: a Snapdragon 855's CPU, TFLite fp32. Its channels and heads are not stated, so the "
    "shape of the curve is what can be held against it."
)


EQUAL_ARITHMETIC = (
    f"Softmax attention on {attention_study.WIDTH} channels against linear attention on as many more as give it "
    "the same multiply-accumulates at that size: what is left is what each kernel makes of its arithmetic."
)


def render(study: Study) -> bytes:
    """The study as HTML; every text in it is escaped, and nothing is fetched."""
    invalid = [point for one in study.series for point in one.points if point.why_not]
    return page(
        title="ReLU linear attention against softmax attention",
        lead=_lead(study),
        panels=[
            Panel(id="time", title="Time over pixels", words=(SCALES,), figure=_figure("scaling", study)),
            Panel(
                id="ratio",
                title="How many times faster linear attention is",
                words=(RATIOS,),
                figure=_figure("ratios", study),
            ),
            *(_panel(one) for one in study.series),
            Panel(
                id="kernels",
                title="What ran",
                words=tuple(w for k in study.kernels for w in attention_study.kernel_words(k)),
            ),
        ],
        run=study.run,
        notes=[
            *([f"{len(invalid)} sizes lack a side; each table says why."] if invalid else []),
            *registry.notes(result.case.model for result in study.run.results),
        ],
    )


def _lead(study: Study) -> list[str]:
    """The answers, before anything else."""
    lines: list[str] = []
    for one in study.series:
        last = next((point for point in reversed(one.points) if point.speedup), None)
        if last is not None and last.speedup is not None:
            side = "×".join(map(str, last.size))
            lines.append(f"{one.name}: {reproduction.shown_ratio(last.speedup)} times faster at {side}")
    return lines


def _figure(name: str, study: Study) -> PageFigure | None:
    chart = charts.scaling(study) if name == "scaling" else charts.speedups(study)
    return None if chart is None else PageFigure(id=name, specification=chart)


def _panel(one: Series) -> Panel:
    return Panel(
        id=one.kind.replace(" ", "-") + "-" + "".join(c for c in one.name if c.isalnum())[:24],
        title=one.name if one.kind == "network" else one.name.capitalize(),
        words=((EQUAL_ARITHMETIC,) if one.kind == "equal arithmetic" else ()) + tuple(attention_study.words(one)),
        table=PageTable(heads=HEADS, rows=tuple(tuple(point_cells(point)) for point in one.points), texts=(0,)),
        after=tuple(f"{'×'.join(map(str, p.size))}: {p.why_not}" for p in one.points if p.why_not),
    )


def point_cells(point: Point) -> Sequence[str]:
    """One size as a row of `HEADS`."""
    sides = (point.linear, point.softmax)
    return (
        "×".join(map(str, point.size)),
        *(
            reproduction.shown_latency(found).replace(" ms", "") if found else units.MISSING
            for found in (point.linear_ms, point.softmax_ms)
        ),
        reproduction.shown_ratio(point.speedup) if point.speedup else units.MISSING,
        f"≈{point.published:.1f}" if point.published else "",
        *(units.count(side.macs) if side and side.macs else "" for side in sides),
        *(units.size_bytes(peak) if (peak := attention_study.peak_memory_bytes(side)) else "" for side in sides),
    )
