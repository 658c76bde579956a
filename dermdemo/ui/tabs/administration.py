"""The Administration tab: how to open administration, or the way to its page."""

from __future__ import annotations

import gradio as gr

from dermdemo.jobs.credential import configured, problem
from dermdemo.ui.administration import render
from dermdemo.ui.context import Context


def build(context: Context) -> None:
    """Lay the tab out inside the current Tab; it has nothing to call."""
    gr.HTML(render(configured(context.settings), problem(context.settings)), elem_id="dd-admin", padding=False)
