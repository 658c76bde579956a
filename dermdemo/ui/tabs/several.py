"""The tab for several images: files or a zip in, a sortable list out, each row opens in every tab."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import gradio as gr
from gradio.data_classes import FileData

from dermdemo.analysis.export import analysis_to_dict, to_csv_rows
from dermdemo.errors import DermdemoError
from dermdemo.ui import result, text
from dermdemo.ui.batch import LIMIT, Row, analyse_all, answers, progress, summary, table
from dermdemo.ui.context import Context, model_call, page_call
from dermdemo.ui.downloads import csv_file, json_file, sink
from dermdemo.ui.figures import escape
from dermdemo.ui.results import KEEP_SECONDS, Results
from dermdemo.ui.wording import several as words

log = logging.getLogger(__name__)
_REDRAW_EVERY = 4
_NOTHING_YET = f'<p class="dd-note">{escape(words.EMPTY)}</p>'

# Sorting happens in the page; opening a row asks the server.
_LIST_JS = """
element.addEventListener('click', (event) => {
  const open = event.target.closest('[data-open]');
  if (open) { trigger('select', {row: Number(open.dataset.open)}); return; }
  const by = event.target.closest('[data-sort]');
  if (!by) return;
  const head = by.closest('th'), body = by.closest('table').tBodies[0], k = Number(by.dataset.sort);
  const down = head.getAttribute('aria-sort') === 'ascending';
  for (const other of head.parentNode.cells) other.setAttribute('aria-sort', 'none');
  head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
  const rows = [...body.rows], value = (row) => row.cells[k].dataset.value, number = (v) => v !== '' && !isNaN(v);
  rows.sort((a, b) => {
    const x = value(a), y = value(b);
    return number(x) && number(y) ? x - y : x.localeCompare(y);
  });
  if (down) rows.reverse();
  body.append(...rows);
});
"""


class Lists(Results[tuple[Row, ...]]):
    """The lists of visitors, by key; dropping one drops the results of its rows."""

    def __init__(self, context: Context) -> None:
        super().__init__(limit=50)
        self._context = context

    def drop(self, keys: Any) -> None:
        """Forget a list and everything in it."""
        rows = self.get(keys) if isinstance(keys, str) else None
        self._context.results.drop([row.key for row in rows or ()])
        super().drop(keys)


def unopened(payload: Any) -> list[str]:
    """Paths of uploads as they are."""
    files = getattr(payload, "root", payload) or []
    return [f.path for f in (files if isinstance(files, list) else [files]) if isinstance(f, FileData)]


def analyse_files(context: Context, lists: Lists, paths: list[str]) -> Iterator[tuple[Any, Any, Any]]:
    """Key of the list, its progress and the table, again and again until all are read."""
    analyser = context.analyser
    if analyser is None:
        yield "", result.failure(text.NO_MODELS_TEXT, title=text.NO_MODELS_TITLE), ""
        return
    step = None
    try:
        for step in analyse_all(analyser, context.uploads, context.results, paths):
            if step.done % _REDRAW_EVERY == 0:
                yield gr.skip(), progress(step), gr.skip()
    except DermdemoError as error:
        yield "", result.failure(str(error)), ""
    except Exception:  # the page must stand whatever a model does; the log has the traceback
        log.exception("analysis of several images failed")
        yield "", result.failure(text.FAILED_INTERNAL), ""
    else:
        if step is not None:
            yield lists.put(step.rows), summary(step), table(step.rows, context.results)


def open_row(context: Context, lists: Lists, key: str, row: object) -> tuple[Any, Any, Any]:
    """Key, page of the Analyse tab and the tab to show, for one row of a list."""
    rows = lists.get(key) or ()
    chosen = rows[row] if isinstance(row, int) and 0 <= row < len(rows) else None
    analysis = context.results.get(chosen.key) if chosen else None
    if chosen is None or analysis is None:
        return gr.skip(), result.failure(words.GONE), gr.Tabs(selected="analyse")
    return chosen.key, result.render(analysis), gr.Tabs(selected="analyse")


def forget(lists: Lists, key: str) -> tuple[str, str, str]:
    """Drop a list; what the page shows then."""
    lists.drop(key)
    return "", _NOTHING_YET, ""


def save_csv(context: Context, lists: Lists, key: str) -> str:
    """The list as CSV. Raises gr.Error, shown as a sentence, if there is none."""
    return csv_file(words.CSV_NAME, to_csv_rows(_answers(context, lists, key)))


def save_json(context: Context, lists: Lists, key: str) -> str:
    """The list as JSON, one object per image. Raises gr.Error as `save_csv`."""
    return json_file(words.JSON_NAME, [analysis_to_dict(a) for a in _answers(context, lists, key)])


def _answers(context: Context, lists: Lists, key: str) -> list[Any]:
    found = answers(lists.get(key) or (), context.results)
    if not found:
        raise gr.Error(words.NOTHING, print_exception=False)
    return found


def build(context: Context, shown: gr.HTML) -> None:
    """Lay the tab out and wire it; `shown` is the Analyse tab's place of the result."""
    lists = Lists(context)
    key = gr.State("", time_to_live=KEEP_SECONDS, delete_callback=lists.drop)
    with gr.Row(elem_classes="dd-columns"):
        with gr.Column(elem_classes="dd-side"):
            files = gr.File(file_count="multiple", label=words.UPLOAD_LABEL, height=220, elem_id="dd-several-upload")
            files.preprocess = unopened
            gr.HTML(f'<p class="dd-note">{escape(words.HINT.format(limit=LIMIT))}</p>', padding=False)
            with gr.Row(elem_classes="dd-buttons"):
                csv = gr.Button(words.CSV, size="sm")
                json = gr.Button(words.JSON, size="sm")
        with gr.Column(elem_classes="dd-body"):
            state = gr.HTML(_NOTHING_YET, elem_id="dd-several-state", padding=False)
            listed = gr.HTML("", elem_id="dd-several-list", padding=False, js_on_load=_LIST_JS)
    saved = sink()
    files.upload(lambda paths: (yield from analyse_files(context, lists, paths)), files, [key, state, listed],
                 **model_call())
    files.clear(lambda k: forget(lists, k), key, [key, state, listed], **page_call())

    def opened(k: str, event: gr.EventData) -> tuple[Any, Any, Any]:
        return open_row(context, lists, k, event._data.get("row"))

    listed.select(opened, key, [context.key, shown, context.tabs], **page_call())
    csv.click(lambda k: save_csv(context, lists, k), key, saved, **page_call())
    json.click(lambda k: save_json(context, lists, k), key, saved, **page_call())
