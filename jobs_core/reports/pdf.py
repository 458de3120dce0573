"""A report as PDF, on A4 pages.

The fonts are those of every PDF reader, which have the letters of Western Europe; any other letter becomes a
question mark. Use HTML for other scripts.
"""

import io
from collections.abc import Sequence
from typing import Any, Literal
from xml.sax.saxutils import escape

from reportlab.graphics.charts.barcharts import VerticalBarChart
from reportlab.graphics.shapes import Drawing, Rect, String
from reportlab.lib.colors import Color, HexColor, white
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import Flowable, KeepTogether, Paragraph, SimpleDocTemplate, Spacer
from reportlab.platypus import Table as Grid
from reportlab.platypus.tables import TableStyle

from jobs_core.reports.charts import TONES, ceiling, moment, short, ticks
from jobs_core.reports.model import Chart, Figure, Report, Series, Table, shown

_MARGIN = 18 * mm
_PADDING = 6  # of the frame that the pages' content flows into
_WIDTH = A4[0] - 2 * _MARGIN - 2 * _PADDING
_TEXT, _MUTED, _LINE = HexColor("#111827"), HexColor("#5b6472"), HexColor("#e5e7eb")
_FIGURES_IN_A_ROW = 3
_BAR, _BAR_GAP = 14, 7
_TIME_LABELS = 8

_BODY = ParagraphStyle("body", fontName="Helvetica", fontSize=9.5, leading=13, textColor=_TEXT)
_QUIET = ParagraphStyle("quiet", parent=_BODY, textColor=_MUTED)
_RIGHT = ParagraphStyle("right", parent=_BODY, alignment=2)
_QUIET_RIGHT = ParagraphStyle("quiet right", parent=_QUIET, alignment=2)
_TITLE = ParagraphStyle("title", parent=_BODY, fontName="Helvetica-Bold", fontSize=22, leading=27)
_HEADING = ParagraphStyle(
    "heading", parent=_BODY, fontName="Helvetica-Bold", fontSize=12, leading=16, spaceAfter=6
)
_FIGURE = ParagraphStyle("figure", parent=_BODY, fontName="Helvetica-Bold", fontSize=16, leading=20)


def render_pdf(report: Report) -> bytes:
    """Return the report as the bytes of a PDF file."""
    buffer = io.BytesIO()
    document = SimpleDocTemplate(
        buffer,
        pagesize=A4,
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        topMargin=_MARGIN,
        bottomMargin=_MARGIN,
        title=f"{report.title}: {report.period}",
        author=report.brand,
        invariant=True,  # the same report is the same file
    )
    parts: list[Flowable] = [*_head(report), _figures(report.figures), Spacer(1, 8 * mm)]
    for chart in report.charts:
        parts += [KeepTogether([Paragraph(_text(chart.title), _HEADING), _chart(chart)]), Spacer(1, 7 * mm)]
    for table in report.tables:
        parts += [*_table(table), Spacer(1, 7 * mm)]
    document.build(parts, onFirstPage=_number_page, onLaterPages=_number_page)
    return buffer.getvalue()


def _head(report: Report) -> list[Flowable]:
    made = f"{report.period}. Made {report.generated_at:%Y-%m-%d %H:%M} UTC."
    brand = [Paragraph(_text(report.brand), _QUIET)] if report.brand else []
    return [*brand, Paragraph(_text(report.title), _TITLE), Paragraph(_text(made), _QUIET), Spacer(1, 6 * mm)]


def _figures(figures: Sequence[Figure]) -> Flowable:
    cells: list[Any] = [
        [Paragraph(_text(figure.label), _QUIET), Paragraph(_text(figure.shown), _FIGURE)]
        for figure in figures
    ]
    cells += [""] * (-len(cells) % _FIGURES_IN_A_ROW)
    rows = [cells[at : at + _FIGURES_IN_A_ROW] for at in range(0, len(cells), _FIGURES_IN_A_ROW)]
    style = TableStyle(
        [
            ("BOX", (0, 0), (-1, -1), 0.75, _LINE),
            ("INNERGRID", (0, 0), (-1, -1), 0.75, _LINE),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LEFTPADDING", (0, 0), (-1, -1), 9),
            ("TOPPADDING", (0, 0), (-1, -1), 6),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 8),
        ]
    )
    return Grid(rows, colWidths=[_WIDTH / _FIGURES_IN_A_ROW] * _FIGURES_IN_A_ROW, style=style)


def _chart(chart: Chart) -> Flowable:
    if chart.is_empty:
        return Paragraph("Nothing in this period.", _QUIET)
    return _columns(chart) if chart.kind == "stacked" else _bars(chart)


def _columns(chart: Chart) -> Drawing:
    drawing = Drawing(_WIDTH, 165)
    plot = VerticalBarChart()
    plot.x, plot.y, plot.width, plot.height = 38, 40, int(_WIDTH) - 44, 115
    plot.data = [list(series.values) for series in chart.series]
    plot.categoryAxis.style = "stacked"
    plot.barWidth, plot.groupSpacing = 8, 3
    plot.bars.strokeColor = None
    for at, series in enumerate(chart.series):
        plot.bars[at].fillColor = HexColor(TONES[series.tone])
        plot.bars[at].strokeColor = None
    top = ceiling(chart.largest)
    axis = plot.valueAxis
    axis.valueMin, axis.valueMax = 0, top
    axis.valueStep = top / 2 if top % 2 == 0 else top
    axis.labelTextFormat = lambda value: shown(int(value))
    axis.visibleGrid, axis.gridStrokeColor, axis.strokeColor, axis.visibleTicks = 1, _LINE, None, 0
    named = ticks(len(chart.labels), _TIME_LABELS)
    plot.categoryAxis.categoryNames = [
        moment(label) if at in named else "" for at, label in enumerate(chart.labels)
    ]
    plot.categoryAxis.strokeColor, plot.categoryAxis.visibleTicks = _LINE, 0
    for labels in (axis.labels, plot.categoryAxis.labels):
        labels.fontName, labels.fontSize, labels.fillColor = "Helvetica", 7.5, _MUTED
    drawing.add(plot)
    _legend(drawing, chart.series)
    return drawing


def _legend(drawing: Drawing, series: Sequence[Series]) -> None:
    if len(series) < 2:
        return
    x = 38.0
    for each in series:
        drawing.add(_block(x, 8, 8, 8, each.tone))
        drawing.add(String(x + 12, 9, _latin(each.name), fontName="Helvetica", fontSize=8, fillColor=_MUTED))
        x += 26 + 5 * len(each.name)


def _bars(chart: Chart) -> Drawing:
    values = chart.series[0].values
    height = len(values) * (_BAR + _BAR_GAP)
    drawing = Drawing(_WIDTH, height)
    left, right = 140, 50
    top = max([1.0, *values])
    for at, (label, value) in enumerate(zip(chart.labels, values, strict=True)):
        y = height - (at + 1) * (_BAR + _BAR_GAP) + _BAR_GAP / 2
        wide = max(1.0, (_WIDTH - left - right) * value / top)
        drawing.add(_string(left - 8, y + 4, short(label), _MUTED, "end"))
        drawing.add(_block(left, y, wide, _BAR, chart.series[0].tone))
        drawing.add(_string(left + wide + 6, y + 4, shown(value), _TEXT, "start"))
    return drawing


def _block(x: float, y: float, width: float, height: float, tone: str) -> Rect:
    block = Rect(x, y, width, height)
    block.fillColor, block.strokeColor = HexColor(TONES[tone]), None
    return block


def _string(x: float, y: float, text: str, colour: Color, anchor: Literal["start", "end"]) -> String:
    return String(x, y, _latin(text), fontName="Helvetica", fontSize=8.5, fillColor=colour, textAnchor=anchor)


def _table(table: Table) -> list[Flowable]:
    heading = Paragraph(_text(table.title), _HEADING)
    if not table.rows:
        return [KeepTogether([heading, Paragraph("Nothing in this period.", _QUIET)])]
    rows = [
        [Paragraph(_text(name), _QUIET_RIGHT if at else _QUIET) for at, name in enumerate(table.headings)]
    ]
    rows += [
        [Paragraph(_text(shown(value)), _RIGHT if at else _BODY) for at, value in enumerate(row)]
        for row in table.rows
    ]
    others = len(table.headings) - 1
    first = _WIDTH * (0.3 if others > 2 else 0.4)
    style = TableStyle(
        [
            ("LINEBELOW", (0, 0), (-1, -1), 0.5, _LINE),
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LEFTPADDING", (0, 0), (0, -1), 0),
            ("RIGHTPADDING", (-1, 0), (-1, -1), 0),
            ("TOPPADDING", (0, 0), (-1, -1), 4),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 4),
            ("BACKGROUND", (0, 0), (-1, 0), white),
        ]
    )
    grid = Grid(rows, colWidths=[first, *[(_WIDTH - first) / others] * others], style=style, repeatRows=1)
    return [heading, grid]


def _number_page(canvas: Canvas, document: SimpleDocTemplate) -> None:
    canvas.setFont("Helvetica", 8)
    canvas.setFillColor(_MUTED)
    canvas.drawRightString(A4[0] - _MARGIN, 10 * mm, f"Page {document.page}")


def _text(value: str) -> str:
    """Return text for a Paragraph, which reads markup."""
    return escape(_latin(value))


def _latin(value: str) -> str:
    return value.encode("cp1252", errors="replace").decode("cp1252")
