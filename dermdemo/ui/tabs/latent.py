"""The Latent space tab: the map of known lesions, a selection on it, and the lesions nearest to the open image."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any, NamedTuple

import gradio as gr

from dermdemo import RESEARCH_NOTICE
from dermdemo.analysis.cohort import checked_rows, cohort
from dermdemo.analysis.export import guard
from dermdemo.errors import ConfigError
from dermdemo.ui import latent_page, result
from dermdemo.ui.context import Context, page_call
from dermdemo.ui.downloads import csv_file, sink
from dermdemo.ui.known_map import ASSETS, KnownMap, Snapshot
from dermdemo.ui.wording import latent as words

log = logging.getLogger(__name__)

_MAP_JS = f"""
import('{ASSETS}/latent_map.js')
  .then((script) => script.start({{element, props, watch, trigger}}))
  .catch((error) => console.warn('The map could not be loaded', error));
"""
_OPEN_JS = """
element.addEventListener('click', (event) => {
  const known = event.target.closest('[data-known]');
  if (known) trigger('select', {key: known.dataset.key, row: Number(known.dataset.known)});
  else if (event.target.closest('[data-back]')) trigger('select', {back: true});
});
"""


class Picked(NamedTuple):
    """The selection of a page: rows of the atlas whose page key it is."""

    key: str = ""
    rows: tuple[int, ...] = ()


class Answer(NamedTuple):
    """What a choice on the page gives: the panel and the selection from now on."""

    panel: str
    picked: Picked


def choose(known: KnownMap, picked: Picked, data: Mapping[str, Any]) -> Answer:
    """Answer a lasso (``ids``), a point or a card (``row``), or the way back from it; all of it is checked."""
    now = known.current()
    if now is None:
        return Answer(latent_page.note(words.MAP_NONE), Picked())
    if data.get("back"):
        return Answer(_panel(now, picked), picked)
    if data.get("key") != now.key:
        return Answer(latent_page.note(words.STALE), Picked())
    try:
        if "row" in data:
            (row,) = checked_rows([data["row"]], len(now.known))
            back = picked.key == now.key and len(picked.rows) > 0
            return Answer(latent_page.detail(now, row, known.source, back=back), picked)
        picked = Picked(now.key, checked_rows(data.get("ids"), len(now.known)))
    except ConfigError as error:
        log.warning("A selection was refused: %s", error)
        return Answer(latent_page.note(words.INVALID), Picked())
    return Answer(_panel(now, picked), picked)


def _panel(now: Snapshot, picked: Picked) -> str:
    if picked.key != now.key or not picked.rows:
        return latent_page.note(words.PANEL_EMPTY)
    return latent_page.selection(now, cohort(now.known, picked.rows))


def save_csv(known: KnownMap, picked: Picked) -> str:
    """The selection as CSV. Raises gr.Error, shown as a sentence, if there is none."""
    now = known.current()
    if now is None or picked.key != now.key or not picked.rows:
        raise gr.Error(words.NOTHING, print_exception=False)
    return csv_file(words.CSV_NAME, csv_rows(now, picked.rows))


def csv_rows(now: Snapshot, rows: tuple[int, ...]) -> list[list[str]]:
    """Header and one row per lesion image: everything the atlas tells, and each arm's prediction."""
    arms = now.known.arms
    named = [name for name in now.atlas.columns if name != "image_id"]
    head = ["image_id", *named, "map_x", "map_y"]
    for arm in arms:
        head += [f"{arm}_top", f"{arm}_probability", f"{arm}_right"]
    table = [[guard(cell) for cell in [*head, "notice"]]]
    right = {arm: now.known.right(arm) for arm in arms}
    for row in rows:
        cells = [guard(_cell(now.atlas.columns[name][row])) for name in ("image_id", *named)]
        cells += [f"{value:.4f}" for value in now.atlas.coordinates[row]]
        for arm, (labels, confidence) in arms.items():
            known = str(now.known.labels[row]) != ""
            cells += [guard(labels[row]), f"{confidence[row]:.6g}", str(int(right[arm][row])) if known else ""]
        table.append([*cells, RESEARCH_NOTICE])
    return table


def _cell(value: Any) -> str:
    return "" if value is None or value != value else f"{value:g}" if isinstance(value, float) else str(value)


def map_value(context: Context, key: str | None) -> str:
    """What the script is told: which points to fetch, and where the open image and its neighbours are."""
    now, analysis = context.known.current(), context.opened(key)
    value: dict[str, Any] = {"key": now.key if now else "", "n": len(now.known) if now else 0}
    placed = analysis.position if analysis and now and analysis.models.get("atlas") == now.atlas.meta.sha256 else None
    if analysis and placed:
        value |= {"x": placed.x, "y": placed.y, "name": analysis.name, "near": [n.index for n in analysis.neighbours]}
    return json.dumps(value)


def follow(context: Context, key: str | None) -> tuple[str, str, str, str]:
    """Subject, map, nearest known lesions and quality for the open image."""
    now, analysis = context.known.current(), context.opened(key)
    worth = latent_page.quality(now.atlas.meta) if now else ""
    return result.subject(analysis, key), map_value(context, key), latent_page.near(now, analysis), worth


def again(context: Context, key: str | None, told: str | None) -> tuple[Any, ...]:
    """The same where the map that the page was told of is no longer that of the models served; else nothing."""
    now = context.known.current()
    if told and json.loads(told).get("key") == (now.key if now else ""):
        return (gr.skip(),) * 4
    return follow(context, key)


def build(context: Context, tab: gr.Tab) -> None:
    """Lay the tab out and wire it; a map of models that have been replaced is drawn anew when the tab is opened."""
    known, picked = context.known, gr.State(Picked())
    subject = gr.HTML(result.subject(None), padding=False)
    with gr.Row(elem_id="dd-latent"):
        drawn = gr.HTML("{}", html_template=latent_page.frame(), js_on_load=_MAP_JS, elem_id="dd-latent-map",
                        padding=False)
        with gr.Column(elem_id="dd-latent-side"):
            panel = gr.HTML(latent_page.note(words.PANEL_EMPTY), js_on_load=_OPEN_JS, elem_id="dd-latent-panel",
                            padding=False)
            save = gr.Button(words.SAVE, size="sm", elem_id="dd-latent-save")
            worth = gr.HTML("", elem_id="dd-latent-worth", padding=False)
        near = gr.HTML("", js_on_load=_OPEN_JS, elem_id="dd-latent-near", padding=False)
    saved = sink()

    def chosen(kept: Picked, event: gr.EventData) -> tuple[str, Picked]:
        data = event._data if isinstance(event._data, dict) else {}
        return choose(known, Picked(*kept), data)

    gr.on(None, lambda key: follow(context, key), context.key, [subject, drawn, near, worth], **page_call())
    tab.select(lambda key, told: again(context, key, told), [context.key, drawn], [subject, drawn, near, worth],
               **page_call())
    for source in (drawn, panel, near):
        source.select(chosen, picked, [panel, picked], trigger_mode="always_last", **page_call())
    save.click(lambda kept: save_csv(known, Picked(*kept)), picked, saved, **page_call())
