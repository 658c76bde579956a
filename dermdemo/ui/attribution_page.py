"""The Attribution tab as HTML: both arms' maps over what they saw, their faithfulness, their dependence on weights.

Pure functions. Grey picture and heat are two pictures on top of each other, so that the opacity of the map
is a matter of the page alone; the cells of the grid are drawn over both, because the smooth picture hides them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from dermdemo.diagnoses import full_name
from dermdemo.types import Analysis, Attribution
from dermdemo.ui import text
from dermdemo.ui.figures import ATTENTION_MAP, colourise, data_uri, escape, grey, scale, table
from dermdemo.ui.small_charts import Curves, bars_around_zero, curve_chart, signed, top_of
from dermdemo.ui.wording import attribution as words

if TYPE_CHECKING:
    from dermdemo.analysis.faithfulness import Faithfulness, SanityStep

OPACITY = 60  # per cent, at first
LEAST = 0.02  # a difference of areas below it is none: the control is a few random maps
COARSE = 4  # cells up to which a map is said to tell quarters only

CONTROLS_JS = """
const place = () => element.closest('.dd-columns');
element.addEventListener('input', (event) => {
  if (event.target.type === 'range') {
    place().style.setProperty('--dd-opacity', event.target.value / 100);
    element.querySelector('output').textContent = event.target.value + ' %';
  } else {
    place().classList.toggle('is-without-cells', !event.target.checked);
  }
});
"""


def controls() -> str:
    """Opacity and cells; both act in the page at once and are never redrawn, so they keep their state."""
    return (
        f'<div class="dd-controls"><label for="dd-opacity"><span>{escape(words.OPACITY)}</span>'
        f"<output>{OPACITY} %</output></label>"
        f'<input id="dd-opacity" type="range" min="0" max="100" step="5" value="{OPACITY}">'
        f'<label class="dd-check"><input id="dd-cells" type="checkbox" checked> <span>{escape(words.CELLS)}</span>'
        "</label></div>"
    )


def maps(analysis: Analysis) -> str:
    """Both arms in one row with one scale, and how coarse their grids are."""
    shown = "".join(_map(analysis, arm, cam) for arm, cam in analysis.attributions.items())
    legend = scale(ATTENTION_MAP, words.SCALE, "0", "1")
    notes = "".join(f'<p class="dd-note">{escape(line)}</p>' for line in (*_grids(analysis), words.PEAKS))
    return (f'<section class="dd-card"><h2>{escape(words.MAPS_TITLE)}</h2><p>{escape(words.MAPS_TEXT)}</p>'
            f'<div class="dd-cams">{shown}</div>{legend}<div class="dd-notes">{notes}</div></section>')


def _map(analysis: Analysis, arm: str, cam: Attribution) -> str:
    name, target = text.arm_name(arm), full_name(cam.target)
    rows, columns = cam.grid
    alt = words.HEAT_ALT.format(arm=name, target=target)
    share = text.percent(analysis.arms[arm].probabilities[cam.target])
    if cam.heat.any():
        peak = words.PEAK.format(peak=f"{cam.peak:.3g}")
        heat = f'<img class="dd-heat" src="{data_uri(colourise(cam.heat, ATTENTION_MAP))}" alt="">'
    else:
        peak, heat = words.FLAT, f'<span class="dd-tag">{escape(words.FLAT_TAG)}</span>'
    said = "".join(f"<span>{escape(line)}</span>" for line in (words.PROBABILITY.format(share=share), peak))
    return (
        f'<figure class="dd-cam" data-arm="{escape(arm)}"><div class="dd-stage" '
        f'style="--dd-rows: {rows}; --dd-columns: {columns}">'
        f'<img src="{data_uri(_grey(analysis.inputs[arm]))}" alt="{escape(alt)}">'
        f'{heat}<i class="dd-cells"></i>'
        f"</div><figcaption><b>{escape(words.CAPTION.format(arm=name, target=target))}</b>{said}</figcaption>"
        "</figure>"
    )


def _grey(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 -> the same without colour, so that every colour seen belongs to the map."""
    return np.repeat(grey(pixels).round().astype(np.uint8), 3, axis=2)


def _grids(analysis: Analysis) -> list[str]:
    """How coarse the maps are: one sentence if the arms share a grid, which they do at one input size."""
    said = []
    for cam in analysis.attributions.values():
        (rows, columns), size = cam.grid, cam.heat.shape[0]
        line = words.GRID.format(layer=layer_name(cam.layer), rows=rows, columns=columns, cells=rows * columns,
                                 width=size // columns, height=size // rows, size=size)
        if rows * columns <= COARSE:
            line += " " + words.COARSE.format(cells=rows * columns)
        said.append(line)
    return list(dict.fromkeys(said))


def layer_name(layer: str) -> str:
    """A layer in words, with its name in the code."""
    return f"{words.LAYERS.get(layer, 'Layer')} ({layer})"


def faithfulness(analysis: Analysis, measured: Mapping[str, Faithfulness | str]) -> str:
    """Areas, curves and a plain sentence for every arm; a string is why an arm could not be measured."""
    found = [f for f in measured.values() if not isinstance(f, str)]
    top = top_of([v for f in found for curve in (f.deletion_curve, f.insertion_curve, f.random_deletion_curve,
                                                 f.random_insertion_curve) for v in curve])
    shown = "".join(_not_measured(analysis.attributions[arm], f) if isinstance(f, str) else _measured(arm, f, top)
                    for arm, f in measured.items())
    note = words.CONTROL_NOTE.format(controls=found[0].controls, least=LEAST) if found else ""
    return f'<div class="dd-measures">{shown}</div><p class="dd-note">{escape(note)}</p>'


def _measured(arm: str, found: Faithfulness, top: float) -> str:
    target = full_name(found.target)
    rows: list[tuple[object, ...]] = [
        (words.DELETION, f"{found.deletion:.3f}", f"{found.random_deletion:.3f}", words.SMALLER),
        (words.INSERTION, f"{found.insertion:.3f}", f"{found.random_insertion:.3f}", words.LARGER),
    ]
    charts = "".join(
        curve_chart(Curves(x=found.fractions, y=own, control=control, title=name, x_label=words.CHART_X[kind],
                           alt=words.CHART_ALT.format(name=name, target=target, area=f"{area:.3f}",
                                                      control=f"{random:.3f}")), top=top)
        for kind, name, own, control, area, random in (
            ("deletion", words.DELETION_CHART, found.deletion_curve, found.random_deletion_curve, found.deletion,
             found.random_deletion),
            ("insertion", words.INSERTION_CHART, found.insertion_curve, found.random_insertion_curve,
             found.insertion, found.random_insertion)))
    key = (f'<p class="dd-mini-key"><span class="is-line">{escape(words.CHART_MAP)}</span>'
           f'<span class="is-control">{escape(words.CHART_RANDOM)}</span></p>')
    return (f"{_head(arm, found.target, found.layer)}<p>{escape(verdict(found))}</p>"
            f'<div class="dd-minis">{charts}</div>{key}{table(words.FAITH_HEAD, rows)}</article>')


def verdict(found: Faithfulness) -> str:
    """Whether a map does better than random maps of the same grid, in words; less than `LEAST` is no difference."""
    gains = {words.GOOD_DELETION: found.random_deletion - found.deletion,
             words.GOOD_INSERTION: found.insertion - found.random_insertion}
    good = [name for name, gain in gains.items() if gain >= LEAST]
    if len(good) == len(gains):
        return words.BETTER
    return words.MIXED.format(good=good[0]) if good else words.WORSE


def sanity(analysis: Analysis, measured: Mapping[str, Sequence[SanityStep] | str]) -> str:
    """Correlation with the original map after each part, for every arm, and what it means on this grid."""
    shown = "".join(_not_measured(analysis.attributions[arm], steps) if isinstance(steps, str)
                    else _randomised(analysis.attributions[arm], steps) for arm, steps in measured.items())
    return f'<div class="dd-measures">{shown}</div>'


def chance(grid: tuple[int, int]) -> float:
    """Rank correlation that 95 % of unrelated maps on a grid stay within.

    With n independent values the deviation of Spearman's correlation is 1 / sqrt(n - 1); interpolating both
    maps to pixels does not change that (tried on random maps of 2 x 2 to 14 x 14).
    """
    return min(1.96 / sqrt(max(grid[0] * grid[1] - 1, 1)), 1.0)


def _randomised(cam: Attribution, steps: Sequence[SanityStep]) -> str:
    band, cells, last = chance(cam.grid), cam.grid[0] * cam.grid[1], steps[-1].correlation
    if band >= 1:
        said = words.SANITY_COARSE.format(cells=cells)
    else:
        sentence = words.SANITY_GONE if abs(last) <= band else words.SANITY_LEFT
        said = sentence.format(value=signed(last), band=f"{band:.2f}")
    rows = [(words.PARTS.get(step.part, step.part), step.correlation) for step in steps]
    note = f"{words.SANITY_CAPTION}. {words.SANITY_BAND.format(band=f'{band:.2f}')}"
    return (f"{_head(cam.arm, cam.target, cam.layer)}<p>{escape(said)}</p>{bars_around_zero(rows, band=band)}"
            f'<p class="dd-note">{escape(note)}</p></article>')


def _head(arm: str, target: str, layer: str) -> str:
    title = words.CAPTION.format(arm=text.arm_name(arm), target=full_name(target))
    return (f'<article class="dd-measure"><h3>{escape(title)}</h3>'
            f'<p class="dd-note">{escape(layer_name(layer))}</p>')


def _not_measured(cam: Attribution, why: str) -> str:
    return f"{_head(cam.arm, cam.target, cam.layer)}<p>{escape(why)}</p></article>"
