"""The page of `vitdeploy attention`: both attentions over resolutions, exponents, crossings, and what ran."""

from vitdeploy.reports import shown_text, study_words
from vitdeploy.reports.charts import study_charts as charts
from vitdeploy.reports.pages import study_page
from vitdeploy.reports.pages.study_page import PageTable, Panel
from vitdeploy.studies import attention_study
from vitdeploy.studies.attention_study import Series, Study

HEADS = (
    *("size", "linear, ms", "softmax, ms", "softmax ÷ linear", "by", "figure 4", "linear MACs", "softmax MACs"),
    *("linear peak", "softmax peak"),
)

SCALES = (
    "Both axes are logarithmic: a straight line is a power law, and its slope is the exponent. Solid lines are linear "
    "attention, dashed ones softmax. The softmax module is the same at equal width and at equal arithmetic, and drawn "
    "once. The legend has the fitted exponents with their 95 % intervals. Bars are 95 % intervals over rounds, where "
    "they are longer than the mark."
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
    study = shown_text.cleaned(study)
    invalid = [point for series in study.series for point in series.points if point.why_not]
    return study_page.render(
        title="ReLU linear attention against softmax attention",
        lead=_lead(study),
        panels=[
            Panel(id="time", title="Time over pixels", words=(SCALES,), chart=charts.scaling(study)),
            Panel(
                id="ratio",
                title="How many times faster linear attention is",
                words=(RATIOS, *study_words.way_words(study.run)),
                chart=charts.speedups(study),
            ),
            *(_panel(series) for series in study.series),
            Panel(id="kernels", title="What ran", words=tuple(map(study_words.kernel_words, study.kernels))),
        ],
        run=study.run,
        notes=[
            *([f"{len(invalid)} sizes lack a side; each table says why."] if invalid else []),
            *study_words.disturbed_words(study.run),
        ],
    )


def _lead(study: Study) -> list[str]:
    """The answers, before anything else."""
    lines: list[str] = []
    for series in study.series:
        last = next((point for point in reversed(series.points) if point.speedup), None)
        if last is not None and last.speedup is not None:
            side = "×".join(map(str, last.size))
            lines.append(f"{series.name}: {study_words.ratio(last.speedup)} times as fast at {side}")
    return lines


def _panel(series: Series) -> Panel:
    return Panel(
        id=series.kind.replace(" ", "-") + "-" + "".join(c for c in series.name if c.isalnum())[:24],
        title=series.name if series.kind == "network" else series.name.capitalize(),
        words=(EQUAL_ARITHMETIC,) * (series.kind == "equal arithmetic") + tuple(study_words.series_words(series)),
        table=PageTable(heads=HEADS, rows=tuple(map(study_words.point_cells, series.points)), texts=(0, 4), chief=3),
        after=tuple(f"{'×'.join(map(str, p.size))}: {p.why_not}" for p in series.points if p.why_not),
    )
