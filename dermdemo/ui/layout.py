"""The page: head with the research-use notice, and the tabs below it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from dermdemo.ui import text
from dermdemo.ui.figures import escape
from dermdemo.ui.tabs import analyse
from dermdemo.ui.tabs.analyse import AnalyserLike
from dermdemo.ui.theme import STYLE, build_theme
from dermdemo.ui.uploads import Uploads

MAX_FILE_SIZE = "50mb"
CACHE_CHECK_SECONDS, CACHE_AGE_SECONDS = 600, 3600
QUEUE_LENGTH = 64


def head() -> str:
    """Name, what it is, and the notice that is on every page."""
    return (
        f'<header class="dd-head"><div><h1>{escape(text.TITLE)}</h1><p>{escape(text.TAGLINE)}</p></div>'
        f'<p class="dd-notice" role="note"><b>{escape(text.NOTICE)}</b> {escape(text.NOTICE_MORE)}</p></header>'
    )


def build(analyser: AnalyserLike | None, *, problem: str | None = None) -> gr.Blocks:
    """The whole app. Without an analyser the page says why in the words of `problem`."""
    with gr.Blocks(title=f"{text.TITLE}: research use only", analytics_enabled=False,
                   delete_cache=(CACHE_CHECK_SECONDS, CACHE_AGE_SECONDS), fill_width=True) as page:  # fmt: skip
        gr.HTML(head(), elem_id="dd-head", padding=False)
        uploads = Uploads(Path(page.GRADIO_CACHE))
        analyse.build(analyser, uploads, problem=problem)
    return page.queue(max_size=QUEUE_LENGTH, api_open=False)


def launch_options() -> dict[str, Any]:
    """What `launch` gets on every start: own look, nothing shared, nothing recorded, no machine-readable schema."""
    return {
        "theme": build_theme(), "css_paths": STYLE, "share": False, "run_history": False, "enable_monitoring": False,
        "max_file_size": MAX_FILE_SIZE, "allowed_paths": [], "show_error": False, "footer_links": [], "pwa": False,
        "mcp_server": False, "ssr_mode": False, "quiet": True,
        "app_kwargs": {"openapi_url": None, "docs_url": None, "redoc_url": None},
    }  # fmt: skip
