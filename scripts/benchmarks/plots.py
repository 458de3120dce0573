"""Draw charts as SVG. They need four shapes, so no charting package is used."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

_WIDTH, _HEIGHT = 720, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 80, 20, 48, 60
_COLOURS = ("#0a7", "#c52", "#36c", "#a3a", "#888")

Points = Sequence[tuple[float, float]]


def line_chart(
    path: Path,
    series: Mapping[str, Points],
    *,
    title: str,
    x: str,
    y: str,
    is_log_x: bool = False,
    is_log_y: bool = False,
) -> None:
    """Draw ``series`` (name to points, in order of x) into ``path``."""
    points = [point for line in series.values() for point in line]
    if not points:
        return
    across = _Axis([one for one, _ in points], _LEFT, _WIDTH - _RIGHT, is_log=is_log_x)
    up = _Axis(
        [*(one for _, one in points), *([] if is_log_y else [0.0])], _HEIGHT - _BOTTOM, _TOP, is_log=is_log_y
    )
    shapes = [_text(_LEFT, 26, title, size=17), _text(_WIDTH / 2, _HEIGHT - 14, x, anchor="middle")]
    shapes.append(_text(12, _TOP - 12, y))
    shapes += [_grid_line(_LEFT, up.place(at), _WIDTH - _RIGHT, up.place(at)) for at in up.ticks]
    shapes += [_text(_LEFT - 8, up.place(at) + 4, _short(at), anchor="end") for at in up.ticks]
    shapes += [
        _text(across.place(at), _HEIGHT - _BOTTOM + 18, _short(at), anchor="middle") for at in across.ticks
    ]
    for number, (name, line) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        places = [(across.place(one), up.place(other)) for one, other in line]
        shapes.append(_polyline(places, colour))
        shapes.append(_text(_WIDTH - _RIGHT, _TOP + 16 * number, name, anchor="end", fill=colour))
    _write(path, shapes)


def bar_chart(path: Path, bars: Mapping[str, float], *, title: str, unit: str) -> None:
    """Draw one bar for each of ``bars``."""
    longest = max(bars.values(), default=1.0)
    step = (_HEIGHT - _TOP - 20) / max(len(bars), 1)
    shapes = [_text(20, 26, title, size=17)]
    for number, (name, value) in enumerate(bars.items()):
        top = _TOP + number * step
        width = (_WIDTH - 380) * value / longest
        shapes.append(
            f'<rect x="260" y="{top:.1f}" width="{width:.1f}" height="{step * 0.6:.1f}" fill="#0a7"/>'
        )
        shapes.append(_text(252, top + step * 0.4, name, anchor="end"))
        shapes.append(_text(266 + width, top + step * 0.4, f"{_short(value)} {unit}"))
    _write(path, shapes)


class _Axis:
    def __init__(self, values: Sequence[float], start: float, end: float, *, is_log: bool) -> None:
        self._is_log = is_log
        low, high = min(values), max(values)
        if is_log:
            low, high = 10 ** math.floor(math.log10(low)), 10 ** math.ceil(math.log10(high))
            self.ticks = [10.0**power for power in range(round(math.log10(low)), round(math.log10(high)) + 1)]
        else:
            step = _round_step((high - low) / 5 or 1.0)
            low = math.floor(low / step) * step
            self.ticks = [low + number * step for number in range(math.ceil((high - low) / step) + 1)]
        self._low, self._high = self._scale(self.ticks[0]), self._scale(self.ticks[-1])
        self._start, self._end = start, end

    def place(self, value: float) -> float:
        share = (self._scale(value) - self._low) / ((self._high - self._low) or 1.0)
        return self._start + share * (self._end - self._start)

    def _scale(self, value: float) -> float:
        return math.log10(value) if self._is_log else value


def _round_step(step: float) -> float:
    size = 10.0 ** math.floor(math.log10(step))
    return next(size * factor for factor in (1, 2, 5, 10) if size * factor >= step)


def _short(value: float) -> str:
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:g}{letter}" if value % size == 0 else f"{value / size:.1f}{letter}"
    return f"{value:.3g}"


def _text(x: float, y: float, text: str, *, size: int = 12, anchor: str = "start", fill: str = "#333") -> str:
    look = f'font-size="{size}" text-anchor="{anchor}" fill="{fill}"'
    return f'<text x="{x:.1f}" y="{y:.1f}" {look}>{escape(text)}</text>'


def _grid_line(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'


def _polyline(places: Sequence[tuple[float, float]], colour: str) -> str:
    corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    return f'<polyline points="{corners}" fill="none" stroke="{colour}" stroke-width="2"/>'


def _write(path: Path, shapes: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    body = "\n".join(shapes)
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif">\n'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>\n{body}\n</svg>\n'
    )
