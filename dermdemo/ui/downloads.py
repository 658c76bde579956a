"""Files for the visitor to save, made in memory: no export is ever written to the server's disk."""

from __future__ import annotations

import csv
import io
import json
import secrets
from collections.abc import Iterable, Sequence

import gradio as gr

_SAVE = """
watch('value', () => {
  if (!props.value) return;
  const file = JSON.parse(props.value);
  const link = document.createElement('a');
  link.href = URL.createObjectURL(new Blob([file.text], {type: file.type}));
  link.download = file.name;
  document.body.appendChild(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
});
"""


def sink() -> gr.HTML:
    """An invisible component: the output of a handler that returns `csv_file` or `json_file`."""
    return gr.HTML("", html_template="", js_on_load=_SAVE, visible="hidden", elem_classes="dd-sink")


def csv_file(name: str, rows: Iterable[Sequence[str]]) -> str:
    """Rows, already guarded against formulas, as a file to save (UTF-8 with a mark, for spreadsheets)."""
    buffer = io.StringIO()
    csv.writer(buffer).writerows(rows)
    return _file(name, "text/csv;charset=utf-8", "\ufeff" + buffer.getvalue())


def json_file(name: str, values: object) -> str:
    """JSON values as a file to save. Raises ValueError on NaN."""
    return _file(name, "application/json", json.dumps(values, indent=1, allow_nan=False, ensure_ascii=False))


def _file(name: str, kind: str, text: str) -> str:
    """The nonce makes a second click on the same file a change too."""
    return json.dumps({"name": name, "type": kind, "text": text, "nonce": secrets.token_hex(4)})
