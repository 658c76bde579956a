"""The Models tab: what is loaded, how good it is, the study, and the cards. Nothing here runs a model."""

from __future__ import annotations

import gradio as gr

from dermdemo.ui import text
from dermdemo.ui.context import Context
from dermdemo.ui.evidence.gather import gather
from dermdemo.ui.figures import escape
from dermdemo.ui.models_page import nothing, render
from dermdemo.ui.wording import models as words


def build(context: Context) -> None:
    """Lay the tab out inside the current Tab: read once, when the pages are built."""
    analyser = context.analyser
    if analyser is None:
        gr.HTML(nothing(context.problem or text.NO_MODELS_TEXT), padding=False)
        return
    evidence = gather(analyser.root, analyser.vae, analyser.arms)
    gr.HTML(render(evidence), elem_id="dd-models", padding=False)
    gr.HTML(f'<h2 class="dd-cards-title">{escape(words.CARDS_TITLE)}</h2>', padding=False)
    for name, card in evidence.cards.items():
        with gr.Accordion(name, open=False, elem_classes="dd-model-card"):
            gr.Markdown(card or words.NO_CARD)
