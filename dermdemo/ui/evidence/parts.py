"""Pieces that the sections of the Models tab share: cards, wide tables, hashes, figures with intervals."""

from __future__ import annotations

from collections.abc import Sequence

from dermdemo.models.stored_figures import Figure
from dermdemo.ui import text
from dermdemo.ui.figures import escape
from dermdemo.ui.wording import models as words

SHORT_HASH = 12
PREFIX = "dd-models-"  # of the ids of sections


def section(title: str, body: str, *, css: str = "", anchor: str = "") -> str:
    """A card with a heading, and an id for links to it."""
    mark = f' id="{PREFIX}{escape(anchor)}"' if anchor else ""
    return f'<section class="{escape(f"dd-card {css}".strip())}"{mark}><h2>{escape(title)}</h2>{body}</section>'


def note(sentence: str) -> str:
    return f'<p class="dd-note">{escape(sentence)}</p>'


def region(title: str, table: str) -> str:
    """A wide table in a container of its own, so that the page never scrolls sideways."""
    label = escape(words.TABLE_REGION.format(title=title))
    return f'<div class="dd-scroll" role="region" tabindex="0" aria-label="{label}">{table}</div>'


def hashed(sha256: str) -> str:
    """The first figures of a hash, the whole of it on hovering."""
    return f'<code class="dd-hash" title="{escape(sha256)}">{escape(sha256[:SHORT_HASH])}</code>'


def ranged(figure: Figure | None) -> str:
    """A figure with its interval below it."""
    if figure is None or figure.estimate is None:
        return "–"
    if figure.low is None or figure.high is None:
        return f"<b>{figure.estimate:.3f}</b>"
    return f"<b>{figure.estimate:.3f}</b> <span>{figure.low:.3f} {escape(words.TO)} {figure.high:.3f}</span>"


def number(value: object) -> str:
    """A count with thousands apart."""
    return f"{value:,}" if isinstance(value, int) else "?"


def interval_bar(figure: Figure) -> str:
    """A bar up to the figure in [0, 1], and a pale band over its interval."""
    if figure.estimate is None:
        return '<span class="dd-interval"></span>'
    band = ""
    if figure.low is not None and figure.high is not None:
        low, width = _share(figure.low), _share(figure.high) - _share(figure.low)
        band = f'<em style="left: {low:.2f}%; width: {width:.2f}%"></em>'
    return f'<span class="dd-interval"><i style="width: {_share(figure.estimate):.2f}%"></i>{band}</span>'


def short_name(arm: str) -> str:
    """Name of an arm beside a curve."""
    return text.arm_name(arm).removesuffix(" arm")


def in_sentence(name: str) -> str:
    """A name inside a sentence: a small letter first, unless the word is an abbreviation."""
    return name if name.split()[0].isupper() else name[0].lower() + name[1:]


def _share(value: float) -> float:
    return 100 * min(max(value, 0.0), 1.0)


def figure_table(head: Sequence[str], rows: Sequence[tuple[str, Sequence[str]]], *, css: str = "") -> str:
    """A table of figures; heads are escaped here, row labels and cells come as HTML."""
    top = "".join(f'<th scope="col">{escape(h)}</th>' for h in head)
    body = "".join(
        f'<tr><th scope="row">{label}</th>{"".join(f"<td>{cell}</td>" for cell in cells)}</tr>'
        for label, cells in rows
    )
    return f'<table class="dd-figures {escape(css)}"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'
