"""The HTML pages beside this module, with the parts they share put in."""

from __future__ import annotations

import html
from pathlib import Path

from dermdemo import RESEARCH_NOTICE
from dermdemo.ui.known_map import ASSETS

PAGES = Path(__file__).with_name("pages")
HEAD = f"""<meta charset="utf-8">
  <meta name="viewport" content="width=device-width, initial-scale=1">
  <meta name="color-scheme" content="light dark">
  <link rel="icon" href="data:,">
  <link rel="stylesheet" href="{ASSETS}/admin/admin.css">"""
NOTICE = (f'<p class="notice" role="note"><b>{html.escape(RESEARCH_NOTICE)}</b> '
          "<span>Do not decide anything about a patient with it.</span></p>")


def read_page(name: str) -> str:
    """A page by its name, with head and notice in their places."""
    text = (PAGES / f"{name}.html").read_text(encoding="utf-8")
    return text.replace("<!-- head -->", HEAD).replace("<!-- notice -->", NOTICE)
