"""Charts as SVG: round ticks, names that do not overlap, words for those who cannot see them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermdemo.ui.charts import HEIGHT, LABEL_STEP, WIDTH, Frame, Line, line_chart, spread, ticks
from tests.ui.evidence_samples import Checked

FRAME = Frame(slug="loss", title="Loss <of> both", x_label="epoch", y_label="focal loss")


def line(y: list[float], **changes: object) -> Line:
    values: dict[str, object] = {"x": list(range(len(y))), "y": y, "tone": "a", "label": "VAE", "said": "VAE arm"}
    return Line(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(("low", "high", "expected"), [
    (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (0.31, 1.72, [0, 0.5, 1, 1.5, 2]),
    (-0.02, 0.05, [-0.02, 0, 0.02, 0.04, 0.06]), (0, 30, [0, 10, 20, 30]), (2, 2, [1.4, 1.6, 1.8, 2, 2.2, 2.4, 2.6]),
])  # fmt: skip
def test_ticks_are_round_and_hold_the_data(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == pytest.approx(expected)


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_always_hold_the_data(low: float, width: float) -> None:
    found = ticks(low, low + width)
    assert found == sorted(found) and 2 <= len(found) <= 9
    assert found[0] <= low + 1e-6 * width + 1e-9 and found[-1] >= low + width - 1e-6 * width - 1e-9


@given(st.lists(st.floats(0, 200), max_size=6))
def test_names_keep_their_distance_inside_the_chart(wanted: list[float]) -> None:
    placed = spread(wanted, LABEL_STEP, 0, 200)
    ordered = sorted(placed)
    assert all(b - a >= LABEL_STEP - 1e-6 for a, b in zip(ordered, ordered[1:], strict=False))
    assert all(-1e-6 <= p <= 200 + 1e-6 for p in placed)


def test_a_chart_says_in_words_what_it_shows() -> None:
    chart = line_chart([line([1.5, 0.9, 1.0], marked=1), line([1.2, 0.4, 0.2], dashed=True, label="")], FRAME)
    page = Checked(chart)
    assert 'role="img" aria-labelledby="dd-chart-loss-t dd-chart-loss-d"' in chart
    assert page.ids == ["dd-chart-loss-t", "dd-chart-loss-d"]
    assert "Loss <of> both" in page.text and "<of>" not in chart
    assert "VAE arm: 1.500 at 0, 1.000 at 2, 0.900 at the marked 1." in page.text
    assert "epoch" in page.text and "focal loss" in page.text
    assert page.tags.count("polyline") == 2 and page.tags.count("circle") == 1
    assert f'viewBox="0 0 {WIDTH} {HEIGHT}"' in chart


def test_colours_and_strokes_are_left_to_the_style_sheet() -> None:
    chart = line_chart([line([1.0, 2.0])], FRAME)
    assert not re.search(r"(fill|stroke|style)=|#[0-9a-f]{3,6}\b", chart)


def test_points_lie_inside_the_drawing() -> None:
    chart = line_chart([line([-0.3, 5.0, 2.0]), line([0.1], x=[1], tone="b")], Frame(
        slug="gap", title="Gap", x_label="epoch", y_label="gap", zero=True))
    points = [tuple(map(float, p.split(","))) for p in re.findall(r"[\d.-]+,[\d.-]+", chart)]
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    assert "dd-chart-zero" in chart and "dd-chart-dot is-b" in chart and "−" in chart


def test_no_point_no_chart() -> None:
    assert line_chart([], FRAME) == ""
    assert line_chart([line([])], FRAME) == ""
