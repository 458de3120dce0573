"""Charts as SVG, for HTML. Widths are those of the view box; the picture takes what room there is."""

from collections.abc import Iterator

from markupsafe import Markup, escape

from jobs_core.reports.model import Chart, shown

TONES = {"good": "#0d9488", "bad": "#dc2626", "neutral": "#9ca3af", "waiting": "#d97706", "plain": "#2563eb"}

_WIDTH = 640
_COLUMNS_HEIGHT = 220
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 8, 10, 26
_BAR, _BAR_GAP = 24, 10
_LABEL_CHARACTERS = 24
_TIME_LABELS = 6


def svg(chart: Chart) -> Markup:
    """The chart; every value is told by a title as well, for pointers and screen readers."""
    return _columns(chart) if chart.kind == "stacked" else _bars(chart)


def ceiling(largest: float) -> float:
    """A round number not below ``largest``: 1, 2 or 5 and zeros.

    >>> [ceiling(value) for value in (1, 3, 7, 11, 480)]
    [1, 5, 10, 20, 500]
    """
    power = 1
    while True:
        for factor in (1, 2, 5):
            if factor * power >= largest:
                return factor * power
        power *= 10


def short(label: str) -> str:
    """A label that fits beside a bar."""
    return label if len(label) <= _LABEL_CHARACTERS else f"{label[: _LABEL_CHARACTERS - 1]}…"


def _columns(chart: Chart) -> Markup:
    top = ceiling(chart.largest)
    count = max(1, len(chart.labels))
    slot = (_WIDTH - _LEFT - _RIGHT) / count
    height = _COLUMNS_HEIGHT - _TOP - _BOTTOM

    def pieces() -> Iterator[str]:
        for share in (0, 0.5, 1):
            y = _TOP + height * (1 - share)
            yield f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
            if share == 0.5 and top * share != int(top * share):
                continue
            yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{shown(int(top * share))}</text>'
        for at, label in enumerate(chart.labels):
            y = _TOP + height
            for series in chart.series:
                value = series.values[at]
                if not value:
                    continue
                tall = height * value / top
                y -= tall
                yield (
                    f'<rect x="{_LEFT + slot * at + slot * 0.12:.1f}" y="{y:.1f}" width="{slot * 0.76:.1f}" '
                    f'height="{tall:.1f}" fill="{TONES[series.tone]}">'
                    f"<title>{escape(label)}: {escape(series.name)} {shown(value)}</title></rect>"
                )
        every = -(-count // _TIME_LABELS)
        for at in range(0, count, every):
            if count > 1 and at + every > count and at != count - 1 and (count - 1 - at) < every / 2:
                continue
            x = _LEFT + slot * (at + 0.5)
            anchor = "start" if at == 0 and count > 1 and slot < 60 else "middle"
            label = escape(chart.labels[at])
            yield f'<text x="{x:.1f}" y="{_COLUMNS_HEIGHT - 8}" text-anchor="{anchor}">{label}</text>'

    return _picture(chart, _COLUMNS_HEIGHT, pieces())


def _bars(chart: Chart) -> Markup:
    values = chart.series[0].values
    colour = TONES[chart.series[0].tone]
    left, right = 190, 70
    room = _WIDTH - left - right
    top = max([1.0, *values])

    def pieces() -> Iterator[str]:
        for at, (label, value) in enumerate(zip(chart.labels, values, strict=True)):
            y = at * (_BAR + _BAR_GAP) + _BAR_GAP / 2
            middle = y + _BAR / 2 + 4.5
            wide = max(2.0, room * value / top)
            yield f'<text x="{left - 10}" y="{middle:.1f}" text-anchor="end">{escape(short(label))}</text>'
            yield (
                f'<rect x="{left}" y="{y:.1f}" width="{wide:.1f}" height="{_BAR}" rx="3" fill="{colour}">'
                f"<title>{escape(label)}: {shown(value)}</title></rect>"
            )
            yield f'<text x="{left + wide + 8:.1f}" y="{middle:.1f}" class="value">{shown(value)}</text>'

    return _picture(chart, max(1, len(chart.labels)) * (_BAR + _BAR_GAP), pieces())


def _picture(chart: Chart, height: float, pieces: Iterator[str]) -> Markup:
    inside = "".join(pieces)
    return Markup(  # noqa: S704 -- made of numbers and of what was escaped
        f'<svg viewBox="0 0 {_WIDTH} {height:g}" role="img" aria-label="{escape(chart.title)}">{inside}</svg>'
    )
