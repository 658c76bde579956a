"""Line charts as inline SVG: numbers in, markup out, no plotting library and no script at page time.

Unusual here: an SVG carries classes, not colours, so that light and dark come from the style sheet; its text
grows on small screens the same way. Lines are named where they end, and every chart says in words
(<title>, <desc>) what it shows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dermdemo.ui.figures import escape

WIDTH, HEIGHT = 500, 290
LEFT, RIGHT, TOP, BOTTOM = 52, 122, 34, 46
LABEL_STEP = 18  # least distance between two names at the right edge
TICKS = 5


@dataclass(frozen=True, kw_only=True)
class Line:
    """One curve.

    Attributes:
        tone: class suffix of its colour: ``a``, ``b`` or ``plain``.
        label: written where the curve ends; empty for none.
        said: name in the description, for those who hear the chart.
        marked: index of a point to circle, or None.
    """

    x: Sequence[float]
    y: Sequence[float]
    tone: str
    label: str
    said: str
    dashed: bool = False
    dots: bool = False
    marked: int | None = None


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What stands around the curves.

    Attributes:
        slug: unique on the page; ids are made of it.
        y_range: ends of the y axis; by default those of the data, widened to whole ticks.
        zero: draw a line at 0. `digits`: decimals in the description.
    """

    slug: str
    title: str
    x_label: str
    y_label: str
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    zero: bool = False
    digits: int = 3


@dataclass(frozen=True)
class Scale:
    """Data to drawing units along one axis."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def line_chart(lines: Sequence[Line], frame: Frame) -> str:
    """The chart as one <svg>; an empty string without a point."""
    xs = [v for line in lines for v in line.x]
    ys = [v for line in lines for v in line.y] + ([0.0] if frame.zero else [])
    if not xs:
        return ""
    y_ticks = ticks(*(frame.y_range or (min(ys), max(ys))))
    x_low, x_high = frame.x_range or (min(xs), max(xs))
    x_high = x_high if x_high > x_low else x_low + 1
    x = Scale(x_low, x_high, LEFT, WIDTH - RIGHT)
    y = Scale(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP)
    x_ticks = [t for t in ticks(x_low, x_high) if x_low - 1e-9 <= t <= x_high + 1e-9]
    parts = [_head(lines, frame), _grid(x, y, x_ticks, y_ticks, frame)]
    parts += [_curve(line, x, y) for line in lines]
    parts.append(_labels(lines, y))
    return "".join(parts) + "</svg>"


def ticks(low: float, high: float) -> list[float]:
    """About five round numbers from at or below `low` to at or above `high`."""
    if high <= low:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 10) for k in range(first, max(last, first + 1) + 1)]


def spread(wanted: Sequence[float], least: float, low: float, high: float) -> list[float]:
    """Positions near the wanted ones, at least `least` apart and inside [low, high] where they fit."""
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [0.0] * len(wanted)
    previous = low - least
    for i in order:
        previous = placed[i] = max(wanted[i], previous + least)
    limit = high
    for i in reversed(order):
        placed[i] = min(placed[i], limit)
        limit = placed[i] - least
    return placed


def _head(lines: Sequence[Line], frame: Frame) -> str:
    told = " ".join(_told(line, frame) for line in lines if line.y)
    ids = f"dd-chart-{frame.slug}"
    return (
        f'<svg class="dd-chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{escape(ids)}-t '
        f'{escape(ids)}-d"><title id="{escape(ids)}-t">{escape(frame.title)}</title>'
        f'<desc id="{escape(ids)}-d">{escape(told)}</desc>'
    )


def _told(line: Line, frame: Frame) -> str:
    """One curve in a sentence: its ends, and the marked point."""
    d = frame.digits
    text = f"{line.said}: {line.y[0]:.{d}f} at {line.x[0]:g}, {line.y[-1]:.{d}f} at {line.x[-1]:g}"
    if line.marked is not None:
        text += f", {line.y[line.marked]:.{d}f} at the marked {line.x[line.marked]:g}"
    return text + "."


def _grid(x: Scale, y: Scale, x_ticks: Sequence[float], y_ticks: Sequence[float], frame: Frame) -> str:
    right, foot = WIDTH - RIGHT, HEIGHT - BOTTOM
    digits = max(0, -math.floor(math.log10(y_ticks[1] - y_ticks[0]) + 1e-9)) if len(y_ticks) > 1 else 0
    digits += any(abs(round(t, digits) - t) > 1e-9 for t in y_ticks)
    parts = [f'<text class="dd-chart-name" x="0" y="15">{escape(frame.y_label)}</text>']
    for t in y_ticks:
        css = "dd-chart-zero" if frame.zero and t == 0 else "dd-chart-grid"
        parts.append(f'<path class="{css}" d="M{LEFT} {y(t):.1f}H{right}"/><text x="{LEFT - 8}" y="{y(t) + 4:.1f}" '
                     f'text-anchor="end">{_minus(f"{t:.{digits}f}")}</text>')
    for t in x_ticks:
        parts.append(f'<text x="{x(t):.1f}" y="{foot + 18}" text-anchor="middle">{_minus(f"{t:g}")}</text>')
    parts.append(f'<text class="dd-chart-name" x="{right}" y="{HEIGHT - 6}" text-anchor="end">{escape(frame.x_label)}'
                 "</text>")
    return "".join(parts)


def _minus(figure: str) -> str:
    """A minus sign instead of a hyphen."""
    return figure.replace("-", "−")


def _curve(line: Line, x: Scale, y: Scale) -> str:
    points = [(x(a), y(b)) for a, b in zip(line.x, line.y, strict=True)]
    path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
    css = f"dd-chart-line is-{line.tone}" + (" is-dashed" if line.dashed else "")
    parts = [f'<polyline class="{escape(css)}" points="{path}"/>']
    shown = points if line.dots or len(points) == 1 else []
    parts += [f'<circle class="dd-chart-dot is-{escape(line.tone)}" cx="{a:.1f}" cy="{b:.1f}" r="3.5"/>'
              for a, b in shown]
    if line.marked is not None:
        a, b = points[line.marked]
        parts.append(f'<circle class="dd-chart-mark is-{escape(line.tone)}" cx="{a:.1f}" cy="{b:.1f}" r="5"/>')
    return "".join(parts)


def _labels(lines: Sequence[Line], y: Scale) -> str:
    """Names at the right edge, as near to where their curves end as they fit."""
    named = [line for line in lines if line.label and line.y]
    places = spread([y(line.y[-1]) for line in named], LABEL_STEP, TOP, HEIGHT - BOTTOM)
    return "".join(
        f'<text class="dd-chart-label is-{escape(line.tone)}" x="{WIDTH - RIGHT + 9}" y="{place + 4:.1f}">'
        f"{escape(line.label)}</text>"
        for line, place in zip(named, places, strict=True)
    )
