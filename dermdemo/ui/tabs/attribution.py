"""The Attribution tab: Grad-CAM of both arms for any class and layer, and on demand whether to believe it.

A result carries the maps of each arm's own prediction; any other is computed when it is asked for. What is
measured is always measured on the maps that are shown.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from dermdemo.diagnoses import HAM10000_CLASSES, full_name
from dermdemo.errors import DermdemoError
from dermdemo.types import Analysis
from dermdemo.ui import attribution_page as page
from dermdemo.ui import result, text
from dermdemo.ui.context import Context, model_call, page_call
from dermdemo.ui.figures import escape
from dermdemo.ui.on_demand import WHEN_SEEN, drawn, no_models, waiting
from dermdemo.ui.wording import attribution as words

if TYPE_CHECKING:
    from dermdemo.analysis.analyser import Analyser
    from dermdemo.analysis.faithfulness import Faithfulness, SanityStep

OWN = ""  # each arm's own prediction
LAYER = next(iter(words.LAYER_CHOICES))

log = logging.getLogger(__name__)


def with_maps(analyser: Analyser, analysis: Analysis, target: str, layer: str) -> Analysis:
    """The analysis with the maps of a class (`OWN`: each arm's own) and layer; a model runs if they are others.

    Raises:
        ConfigError: unknown class or layer.
        CheckpointError: the models have been replaced since the analysis.
    """
    if _has(analysis, target, layer):
        return analysis
    return replace(analysis, attributions=analyser.attribute(analysis, target=target or None, layer=layer))


def _has(analysis: Analysis, target: str, layer: str) -> bool:
    return all(cam.layer == layer and cam.target == (target or analysis.arms[arm].top)
               for arm, cam in analysis.attributions.items())


def show(context: Context, key: str, target: str, layer: str) -> str:
    """Strip and maps of the open result; a model runs if the maps are not those of the result."""
    analysis, analyser = context.opened(key), context.analyser
    if analyser is None:
        return no_models()
    if analysis is None:
        return result.subject(None, key)
    return result.subject(analysis, key) + drawn(lambda: page.maps(with_maps(analyser, analysis, target, layer)),
                                                 words.FAILED)


def begin(context: Context, key: str, target: str, layer: str) -> tuple[Any, ...]:
    """All of the tab for another image: maps, the list of classes, what is visible, nothing measured yet.

    Class and layer stay as they were chosen; where their maps need a model, they wait to be seen.
    """
    analysis = context.opened(key)
    offered = choices(context)
    target = target if target in [value for _, value in offered] else OWN
    there = analysis is not None and context.analyser is not None
    if there and analysis is not None and not _has(analysis, target, layer):
        shown = result.subject(analysis, key) + waiting(words.WAITING)
    else:
        shown = show(context, key, target, layer)
    return (shown, gr.Dropdown(choices=offered, value=target), gr.Column(visible=there), gr.Column(visible=there),
            *_cleared())


def choices(context: Context) -> list[tuple[str, str]]:
    """Classes by full name, each arm's own prediction first."""
    analyser = context.analyser
    known = analyser.classes if analyser else HAM10000_CLASSES
    return [(words.CLASS_OWN, OWN), *((full_name(key), key) for key in known)]


def measure(context: Context, key: str, target: str, layer: str) -> Iterator[str]:
    """Progress, then deletion and insertion of both arms' maps."""
    def one(analyser: Analyser, analysis: Analysis, arm: str) -> Faithfulness:
        return analyser.faithfulness(analysis, arm)

    yield from _by_arm(context, (key, target, layer), one, words.FAITH_WORKING, page.faithfulness)


def randomise(context: Context, key: str, target: str, layer: str) -> Iterator[str]:
    """Progress, then cascading randomisation of both arms."""
    def one(analyser: Analyser, analysis: Analysis, arm: str) -> tuple[SanityStep, ...]:
        return analyser.sanity(analysis, arm)

    yield from _by_arm(context, (key, target, layer), one, words.SANITY_WORKING, page.sanity)


def _by_arm(context: Context, asked: tuple[str, str, str], one: Callable[[Analyser, Analysis, str], Any],
            working: str, draw: Callable[[Analysis, dict[str, Any]], str]) -> Iterator[str]:
    """Measure arm by arm with a bar; an arm that cannot be measured (a flat map) says why, the others go on."""
    key, target, layer = asked
    analysis, analyser = context.opened(key), context.analyser
    if analysis is None or analyser is None:
        yield result.subject(None, key)
        return
    try:
        analysis, found = with_maps(analyser, analysis, target, layer), {}
        for done, arm in enumerate(analysis.arms):
            yield progress(done, len(analysis.arms), working)
            found[arm] = _or_why(one, analyser, analysis, arm)
        yield draw(analysis, found)
    except DermdemoError as error:
        yield result.failure(str(error), title=words.FAILED_MEASURE)
    except Exception:  # the page must stand whatever a model does; the log has the traceback
        log.exception("measuring maps failed")
        yield result.failure(text.FAILED_INTERNAL, title=words.FAILED_MEASURE)


def _or_why(one: Callable[[Analyser, Analysis, str], Any], analyser: Analyser, analysis: Analysis, arm: str) -> Any:
    if not analysis.attributions[arm].heat.any():
        return words.FLAT  # has no order of pixels, and its correlation with anything is 0, which reads as a pass
    try:
        return one(analyser, analysis, arm)
    except DermdemoError as error:
        return str(error)


def progress(done: int, total: int, working: str) -> str:
    """A bar with its count."""
    said = escape(working.format(done=done, total=total))
    return (f'<div class="dd-progress" role="status"><span>{said}</span><progress max="1" value="{done / total:.4f}" '
            f'aria-label="{said}"></progress></div>')


def _cleared() -> tuple[str, str]:
    """Nothing measured."""
    return "", ""


def build(context: Context) -> None:
    """Lay the tab out inside the current Tab and wire it."""
    with gr.Row(elem_id="dd-attribution", elem_classes="dd-columns"):
        with gr.Column(elem_classes="dd-side"):
            target = gr.Dropdown(choices=choices(context), value=OWN, label=words.CLASS_LABEL, elem_id="dd-class")
            layer = gr.Radio(choices=[(said, name) for name, said in words.LAYER_CHOICES.items()], value=LAYER,
                             label=words.LAYER_LABEL, elem_id="dd-layer")
            gr.HTML(page.controls(), padding=False, js_on_load=page.CONTROLS_JS)
        with gr.Column(elem_classes="dd-body"):
            shown = gr.HTML(show(context, "", OWN, LAYER), elem_id="dd-maps", padding=False, js_on_load=WHEN_SEEN)
            faith, run_faith, measured = _panel(words.FAITH_TITLE, words.FAITH_TEXT, words.FAITH_RUN, "dd-faith")
            sane, run_sane, randomised = _panel(words.SANITY_TITLE, words.SANITY_TEXT, words.SANITY_RUN, "dd-sanity")
    asked = [context.key, target, layer]

    def draw(key: str, chosen: str, name: str) -> str:
        return show(context, key, chosen, name)

    def redraw(key: str, chosen: str, name: str) -> tuple[str, ...]:
        return (draw(key, chosen, name), *_cleared())

    measuring = [
        run_faith.click(lambda *a: (yield from measure(context, *a)), asked, measured, **model_call()),
        run_sane.click(lambda *a: (yield from randomise(context, *a)), asked, randomised, **model_call()),
    ]
    seen = shown.select(draw, asked, shown, trigger_mode="always_last", **model_call())
    chosen = gr.on([target.input, layer.input], redraw, asked, [shown, measured, randomised], cancels=measuring,
                   trigger_mode="always_last", **model_call())
    gr.on(None, lambda: gr.Dropdown(choices=choices(context)), None, target, **page_call())
    if context.analyser is None:  # models may have come since
        gr.on(None, lambda: draw("", OWN, LAYER), None, shown, **page_call())
    context.key.change(lambda *a: begin(context, *a), asked, [shown, target, faith, sane, measured, randomised],
                       cancels=[*measuring, seen, chosen], **page_call())


def _panel(title: str, about: str, run: str, name: str) -> tuple[gr.Column, gr.Button, gr.HTML]:
    """A card with a button and the place of its answer; hidden until there is an image."""
    with gr.Column(visible=False, elem_classes="dd-card dd-panel") as card:
        with gr.Row(elem_classes="dd-panel-head"):
            gr.HTML(f"<h2>{escape(title)}</h2><p>{escape(about)}</p>", padding=False)
            button = gr.Button(run, size="sm", elem_id=f"{name}-run")
        answer = gr.HTML("", elem_id=name, padding=False)
    return card, button, answer
