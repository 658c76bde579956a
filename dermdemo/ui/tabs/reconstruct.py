"""The Reconstruction tab: what the VAE keeps of the open image, draws around it, and a walk along one dimension.

The comparison is drawn from the result as it is. Draws and walk run the decoder, and only once they are on
the screen; a new image takes back what is still running for the previous one.
"""

from __future__ import annotations

from typing import Any

import gradio as gr
import numpy as np

from dermdemo.errors import ConfigError
from dermdemo.types import LatentDimension
from dermdemo.ui import reconstruction_page as page
from dermdemo.ui import result
from dermdemo.ui.context import Context, model_call, page_call
from dermdemo.ui.figures import escape
from dermdemo.ui.on_demand import WHEN_SEEN, drawn, no_models, waiting
from dermdemo.ui.wording import reconstruct as words

SAMPLES = 6


def show(context: Context, key: str) -> str:
    """Strip, comparison and error map; runs no model."""
    analysis = context.opened(key)
    if analysis is None:
        return no_models() if context.analyser is None else result.subject(None, key)
    return result.subject(analysis, key) + drawn(lambda: page.render(analysis), words.FAILED)


def show_samples(context: Context, key: str, seed: int) -> str:
    """Draws from the posterior of the open image."""
    analysis, analyser = context.opened(key), context.analyser
    if analysis is None or analyser is None:
        return result.subject(None, key)

    def make() -> str:
        found = analyser.posterior_samples(analysis, count=SAMPLES, seed=seed)
        return page.samples(analysis, found, seed)

    return drawn(make, words.FAILED)


def show_walk(context: Context, key: str, index: int | None) -> str:
    """The open image along one dimension; without an index along the most active one."""
    analysis, analyser = context.opened(key), context.analyser
    if analysis is None or analyser is None:
        return result.subject(None, key)

    def make() -> str:
        analyser.require(analysis)
        dimension = _dimension(analyser.dimensions(), index)
        pictures: np.ndarray = analyser.traverse(analysis, dimension.index, page.values_of(dimension))
        return page.walk(dimension, float(analysis.mu[dimension.index]), pictures)

    return drawn(make, words.FAILED)


def _dimension(known: tuple[LatentDimension, ...], index: int | None) -> LatentDimension:
    if index is None:
        return known[0]
    for dimension in known:
        if dimension.index == index:
            return dimension
    raise ConfigError(f"The latent has no dimension {index}: choose another.")


def begin(context: Context, key: str, index: int | None) -> tuple[Any, ...]:
    """All of the tab for another image: page, what is visible, the seed, and the places that wait to be seen."""
    there = context.opened(key) is not None and context.analyser is not None
    wait = waiting(words.WAITING) if there else ""
    seen = gr.Column(visible=there)
    return show(context, key), seen, seen, 0, wait, _offer(context, index), waiting(words.WAITING) if there else ""


def _offer(context: Context, index: int | None) -> Any:
    """The list of dimensions of the models served now; the choice stays if it is still there."""
    analyser = context.analyser
    if analyser is None:
        return gr.skip()
    offered = page.choices(analyser.dimensions())
    kept = index if index in [value for _, value in offered] else offered[0][1]
    return gr.Dropdown(choices=offered, value=kept)


def build(context: Context) -> None:
    """Lay the tab out inside the current Tab and wire it."""
    analyser = context.analyser
    offered = page.choices(analyser.dimensions()) if analyser else []
    shown = gr.HTML(show(context, ""), elem_id="dd-reconstruction", padding=False, js_on_load=page.COMPARE_JS)
    seed = gr.State(0)
    with gr.Column(visible=False, elem_classes="dd-card dd-panel") as draws:
        with gr.Row(elem_classes="dd-panel-head"):
            gr.HTML(_head(words.SAMPLES_TITLE, words.SAMPLES_TEXT), padding=False)
            again = gr.Button(words.SAMPLES_AGAIN, size="sm", elem_id="dd-draw-again")
        samples = gr.HTML("", elem_id="dd-samples", padding=False, js_on_load=WHEN_SEEN)
    with gr.Column(visible=False, elem_classes="dd-card dd-panel") as walks:
        with gr.Row(elem_classes="dd-panel-head"):
            gr.HTML(_head(words.WALK_TITLE, words.WALK_TEXT), padding=False)
            dimension = gr.Dropdown(choices=offered, value=offered[0][1] if offered else None, label=words.WALK_LABEL,
                                    elem_id="dd-dimension", interactive=True)
        walk = gr.HTML("", elem_id="dd-walk", padding=False, js_on_load=WHEN_SEEN)

    def draw(key: str, number: int) -> str:
        return show_samples(context, key, number)

    def step(key: str, index: int | None) -> str:
        return show_walk(context, key, index)

    running = [
        samples.select(draw, [context.key, seed], samples, trigger_mode="always_last", **model_call()),
        again.click(lambda key, n: (n + 1, draw(key, n + 1)), [context.key, seed], [seed, samples], **model_call()),
        walk.select(step, [context.key, dimension], walk, trigger_mode="always_last", **model_call()),
        dimension.input(step, [context.key, dimension], walk, trigger_mode="always_last", **model_call()),
    ]
    if analyser is None:  # models may have come since
        gr.on(None, lambda: show(context, ""), None, shown, **page_call())
    context.key.change(lambda key, index: begin(context, key, index), [context.key, dimension],
                       [shown, draws, walks, seed, samples, dimension, walk], cancels=running, **page_call())


def _head(title: str, about: str) -> str:
    return f'<h2>{escape(title)}</h2><p>{escape(about)}</p>'
