"""The page: head with the research-use notice, and the tabs below it."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from dermdemo.config import environment
from dermdemo.types import Analysis
from dermdemo.ui import text
from dermdemo.ui.context import Context
from dermdemo.ui.figures import escape
from dermdemo.ui.known_map import KnownMap
from dermdemo.ui.live import Models
from dermdemo.ui.results import KEEP_SECONDS, Results
from dermdemo.ui.tabs import administration, analyse, attribution, evidence, latent, reconstruct, several
from dermdemo.ui.uploads import Uploads

MAX_FILE_SIZE = "200mb"  # of a zip of images; a single image may have 50 MB, which its decoder checks
CACHE_CHECK_SECONDS, CACHE_AGE_SECONDS = 600, 3600
QUEUE_LENGTH = 512


def head() -> str:
    """Name, what it is, and the notice that is on every page."""
    return (
        f'<header class="dd-head"><div><h1>{escape(text.TITLE)}</h1>'
        f'<p class="dd-tagline">{escape(text.TAGLINE)}</p></div>'
        f'<p class="dd-notice" role="note"><b>{escape(text.NOTICE)}</b> <span>{escape(text.NOTICE_MORE)}</span></p>'
        "</header>"
    )


def build(models: Models, known: KnownMap) -> gr.Blocks:
    """The whole app. Nothing in it belongs to one set of models: tabs are filled when a page is opened."""
    results: Results[Analysis] = Results()
    settings = environment()
    with gr.Blocks(title=f"{text.TITLE}: research use only", analytics_enabled=False,
                   delete_cache=(CACHE_CHECK_SECONDS, CACHE_AGE_SECONDS), fill_width=True) as page:  # fmt: skip
        gr.HTML(head(), elem_id="dd-head", padding=False)
        key = gr.State("", time_to_live=KEEP_SECONDS, delete_callback=results.drop)
        with gr.Tabs(elem_id="dd-tabs") as tabs:
            uploads = Uploads(Path(page.GRADIO_CACHE), grace=settings.upload_seconds)
            context = Context(models=models, uploads=uploads, results=results, key=key, tabs=tabs, known=known,
                              settings=settings)
            with gr.Tab(text.TAB_ANALYSE, id="analyse"):
                shown = analyse.build(context)
            with gr.Tab(text.TAB_RECONSTRUCTION, id="reconstruction"):
                reconstruct.build(context)
            with gr.Tab(text.TAB_ATTRIBUTION, id="attribution"):
                attribution.build(context)
            with gr.Tab(text.TAB_SEVERAL, id="several"):
                several.build(context, shown)
            with gr.Tab(text.TAB_LATENT, id="latent") as tab:
                latent.build(context, tab)
            with gr.Tab(text.TAB_MODELS, id="models") as tab:
                evidence.build(context, tab)
            with gr.Tab(text.TAB_ADMINISTRATION, id="administration"):
                administration.build(context)
    return page.queue(max_size=QUEUE_LENGTH, api_open=False)
