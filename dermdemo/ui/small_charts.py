"""Small charts as inline SVG: a measured curve beside its control, and bars around zero. Numbers in, HTML out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dermdemo.ui.figures import escape

WIDTH, HEIGHT = 220, 128
LEFT, RIGHT, TOP, BOTTOM = 34, 8, 10, 30
TOPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)  # where the vertical axis may end


@dataclass(frozen=True, kw_only=True)
class Curves:
    """A curve and its control over shares in [0, 1]; `alt` says all of it in words."""

    x: Sequence[float]
    y: Sequence[float]
    control: Sequence[float]
    title: str
    x_label: str
    alt: str


def top_of(values: Sequence[float]) -> float:
    """The first of `TOPS` that holds every value: charts that are compared share it."""
    largest = max(values, default=1.0)
    return next((top for top in TOPS if top >= largest), TOPS[-1])


def curve_chart(curves: Curves, *, top: float) -> str:
    """Both curves on one pair of axes; the vertical one ends at `top`."""
    right, base = WIDTH - RIGHT, HEIGHT - BOTTOM
    own, control = _points(curves.x, curves.y, top), _points(curves.x, curves.control, top)
    area = f"{LEFT},{base} {own} {right},{base}"
    return (
        f'<figure class="dd-mini"><figcaption>{escape(curves.title)}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(curves.alt)}">'
        f'<path class="dd-mini-axis" d="M{LEFT} {TOP}V{base}H{right}"/>'
        f'<polygon class="dd-mini-area" points="{area}"/>'
        f'<polyline class="dd-mini-control" points="{control}"/><polyline class="dd-mini-line" points="{own}"/>'
        f'<text x="{LEFT - 5}" y="{TOP + 4}" text-anchor="end">{top:.0%}</text>'
        f'<text x="{LEFT - 5}" y="{base + 1}" text-anchor="end">0</text>'
        f'<text x="{LEFT}" y="{base + 14}">0</text><text x="{right}" y="{base + 14}" text-anchor="end">100%</text>'
        f'<text x="{(LEFT + right) / 2}" y="{base + 24}" text-anchor="middle">{escape(curves.x_label)}</text>'
        "</svg></figure>"
    )


def _points(x: Sequence[float], y: Sequence[float], top: float) -> str:
    wide, high, base = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM, HEIGHT - BOTTOM
    return " ".join(f"{LEFT + wide * a:.1f},{base - high * min(max(b / top, 0.0), 1.0):.1f}"
                    for a, b in zip(x, y, strict=True))


def bars_around_zero(rows: Sequence[tuple[str, float]], *, band: float) -> str:
    """Values in [-1, 1] as bars to the left and right of zero; `band` around zero is shaded as chance."""
    lines = "".join(
        f'<li><span>{escape(name)}</span><span class="dd-deviation" style="--dd-band: {100 * min(band, 1.0):.1f}%">'
        f'<i style="left: {50 + 50 * min(value, 0.0):.1f}%; width: {50 * abs(value):.1f}%"></i></span>'
        f"<b>{signed(value)}</b></li>" for name, value in rows)
    return f'<ol class="dd-deviations">{lines}</ol>'


def signed(value: float) -> str:
    """A correlation with its sign, two decimals; never a negative zero."""
    return f"{value:+.2f}".replace("-", "−") if abs(value) >= 0.005 else "0.00"
