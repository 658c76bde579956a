"""The Models tab: what is served, how good it is, the study, and the cards. Nothing here runs a model.

It is read once for each set of models, and filled in when a page is opened and when its tab is: a page that was
open while the models were replaced shows the new ones.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
from typing import Any, NamedTuple

import gradio as gr

from dermdemo.ui import text
from dermdemo.ui.context import Context, page_call
from dermdemo.ui.evidence.gather import gather
from dermdemo.ui.figures import escape
from dermdemo.ui.live import Models, Now
from dermdemo.ui.models_page import nothing, render
from dermdemo.ui.wording import models as words

SLOTS = 8  # cards that a page has room for: VAE, two arms, and what lends them parts

log = logging.getLogger(__name__)


class Page(NamedTuple):
    """The tab for one set of models: its key, its HTML, and the cards by name as Markdown."""

    key: str
    shown: str
    cards: dict[str, str]


class Pages:
    """The page of what is being served, made when first asked for. Thread-safe."""

    def __init__(self, models: Models) -> None:
        self._models = models
        self._made: Page | None = None
        self._lock = threading.Lock()

    def current(self) -> Page:
        """The page of what is being served now."""
        now = self._models.now()
        with self._lock:
            if self._made is None or self._made.key != key_of(now):
                self._made = make(now)
            return self._made


def key_of(now: Now) -> str:
    """Differs where the page does."""
    models = [now.analyser.vae, *now.analyser.arms.values()] if now.analyser else []
    return repr((now.status, [meta.sha256 for meta in models]))


def make(now: Now) -> Page:
    """Read what is known of the models; where that fails the page says so and the log has the traceback."""
    analyser, status = now.analyser, now.status
    if analyser is None:
        return Page(key_of(now), nothing(status.problem or text.NO_MODELS_TEXT), {})
    try:
        evidence = gather(analyser.root, analyser.vae, analyser.arms)
        evidence = dataclasses.replace(evidence, retrained=status.number > 0)
        return Page(key_of(now), render(evidence, status), dict(evidence.cards))
    except Exception:
        log.exception("the Models tab could not be drawn")
        return Page(key_of(now), nothing(text.FAILED_INTERNAL), {})


def fill(page: Page, known: str = "") -> list[Any]:
    """Key, HTML, title and slots of the tab; nothing where `known` is the key of what it shows already."""
    if page.key == known:
        return [gr.skip()] * (3 + 2 * SLOTS)
    cards = [*page.cards.items()][:SLOTS]
    found: list[Any] = [page.key, page.shown, gr.HTML(visible=bool(cards))]
    for name, card in cards:
        found += [gr.Accordion(label=name, visible=True, open=False), card or words.NO_CARD]
    return found + [gr.Accordion(visible=False), ""] * (SLOTS - len(cards))


def build(context: Context, tab: gr.Tab) -> None:
    """Lay the tab out inside the current Tab and wire it."""
    pages, known = Pages(context.models), gr.State("")
    shown = gr.HTML("", elem_id="dd-models", padding=False)
    title = gr.HTML(f'<h2 class="dd-cards-title">{escape(words.CARDS_TITLE)}</h2>', padding=False, visible=False)
    outputs: list[Any] = [known, shown, title]
    for _ in range(SLOTS):
        with gr.Accordion(visible=False, open=False, elem_classes="dd-model-card") as card:
            outputs += [card, gr.Markdown()]
    gr.on(None, lambda: fill(pages.current()), None, outputs, **page_call())
    tab.select(lambda key: fill(pages.current(), key), known, outputs, **page_call())
