"""The Analyse tab: one image in, one result that every other tab draws from; and the endpoint `analyse`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import gradio as gr
from gradio.data_classes import ImageData

from dermdemo.analysis.export import analysis_to_dict
from dermdemo.data.images import decode_image
from dermdemo.errors import DermdemoError
from dermdemo.types import Analysis
from dermdemo.ui import result, text
from dermdemo.ui.context import MODEL_QUEUE, MODEL_WORKERS, Context, model_call, page_call
from dermdemo.ui.examples import FOLDER, Example, list_examples

if TYPE_CHECKING:
    from dermdemo.analysis.analyser import Analyser

UPLOAD_NAME = "uploaded image"
# On a narrow screen the result lies below the fold: go there.
_TO_RESULT = """() => {
  const place = document.querySelector('#dd-result');
  if (innerWidth <= 900 && place.querySelector('.dd-verdict, .dd-failure')) place.scrollIntoView({block: 'start'});
}"""

log = logging.getLogger(__name__)


class Shown(NamedTuple):
    """What a handler answers: the key of the open result ("" if there is none) and the page."""

    key: str
    page: str


def unopened(payload: ImageData | None) -> str | None:
    """The path of an upload as it is: bytes of strangers are decoded by `data.images` alone, not by gr.Image."""
    return payload.path if payload else None


def analyse_bytes(analyser: Analyser, data: bytes, name: str) -> Analysis:
    """Decode and analyse. Raises DermdemoError; `name` never is the visitor's file name."""
    return analyser.analyse(decode_image(data, name=name), name=name)


def show(context: Context, data: bytes, name: str) -> Shown:
    """Analyse and keep; or the sentence of what went wrong."""
    analyser = context.analyser
    if analyser is None:
        return Shown("", result.failure(text.NO_MODELS_TEXT, title=text.NO_MODELS_TITLE))
    try:
        analysis = analyse_bytes(analyser, data, name)
    except DermdemoError as error:
        return Shown("", result.failure(str(error)))
    except Exception:  # the page must stand whatever a model does; the log has the traceback
        log.exception("analysis failed")
        return Shown("", result.failure(text.FAILED_INTERNAL))
    return Shown(context.results.put(analysis), result.render(analysis))


def show_upload(context: Context, path: str | None) -> Shown:
    """The result of an uploaded file; no file gives the empty state."""
    if not path:
        return Shown("", result.empty())
    try:
        data = context.uploads.read(path)
    except DermdemoError as error:
        return Shown("", result.failure(str(error)))
    return show(context, data, UPLOAD_NAME)


def show_example(context: Context, example: Example) -> Shown:
    """The result of an example of the app."""
    return show(context, example.path.read_bytes(), example.name)


def answer_api(context: Context, path: str | None) -> dict[str, Any]:
    """The endpoint `analyse`: the JSON of docs/analysis-schema.md, or ``{"error": {...}}``."""
    try:
        analyser = context.analyser
        if analyser is None:
            return {"error": {"message": text.NO_MODELS_TEXT, "reason": "no-models"}}
        if not path:
            return {"error": {"message": text.NO_FILE, "reason": "missing"}}
        return analysis_to_dict(analyse_bytes(analyser, context.uploads.read(path), UPLOAD_NAME))
    except DermdemoError as error:
        return {"error": {"message": str(error), "reason": getattr(error, "reason", "failed")}}
    except Exception:  # as in `show`
        log.exception("analysis failed")
        return {"error": {"message": text.FAILED_INTERNAL, "reason": "internal"}}


def start(context: Context) -> str:
    """What stands in the place of the result before the first image."""
    if context.analyser is not None:
        return result.empty()
    return result.failure(f"{context.problem or ''} {text.NO_MODELS_TEXT}".strip(), title=text.NO_MODELS_TITLE)


def build(context: Context) -> gr.HTML:
    """Lay the tab out inside the current Tab and wire it; returns the place of the result."""
    with gr.Row(elem_id="dd-main"):
        with gr.Column(elem_id="dd-rail"):
            upload = gr.Image(type="filepath", sources=["upload", "clipboard", "webcam"],
                              label=text.UPLOAD_LABEL, placeholder=text.UPLOAD_HINT, height=260, buttons=[],
                              elem_id="dd-upload", webcam_options=gr.WebcamOptions(mirror=False))  # fmt: skip
            upload.preprocess = unopened
            gr.HTML(f'<p class="dd-note">{text.FORMATS}</p><p class="dd-note">{text.PRIVACY}</p>', padding=False)
            chosen = _examples(list_examples())
        shown = gr.HTML(start(context), elem_id="dd-result", padding=False)
    outputs = [context.key, shown]
    if context.analyser is None:  # models may have come since
        gr.on(None, lambda: start(context), None, shown, **page_call())
    # `change` also fires when an example empties the box; an empty box is the business of `clear` alone.
    upload.change(lambda path: tuple(show_upload(context, path)) if path else (gr.skip(), gr.skip()), upload, outputs,
                  **model_call()).then(None, js=_TO_RESULT)
    upload.clear(lambda: tuple(show_upload(context, None)), None, outputs, **page_call())
    for button, example in chosen:
        button.click(lambda e=example: (*show_example(context, e), None), None, [*outputs, upload], **model_call()
                     ).then(None, js=_TO_RESULT)  # fmt: skip
    given, answer = gr.File(visible=False), gr.JSON(visible=False)
    given.preprocess = unopened
    given.upload(lambda path: answer_api(context, path), given, answer, api_name="analyse",
                 concurrency_id=MODEL_QUEUE, concurrency_limit=MODEL_WORKERS)  # fmt: skip
    return shown


def _examples(examples: tuple[Example, ...]) -> list[tuple[gr.Button, Example]]:
    """A button per example, with its picture.

    The picture is served from where it lies: in Gradio's cache, where files are named after their content, it would
    be deleted with the upload of a visitor who sends the same one.
    """
    if not examples:
        gr.HTML(f'<p class="dd-note">{text.EXAMPLES_NONE}</p>', padding=False)
        return []
    gr.HTML(f'<h2 class="dd-rail-title">{text.EXAMPLES_TITLE}</h2><p class="dd-note">{text.EXAMPLES_NOTE}</p>',
            padding=False)  # fmt: skip
    gr.set_static_paths([FOLDER])
    with gr.Row(elem_id="dd-examples"):
        return [(gr.Button(e.short, icon=str(Path(e.path)), size="sm", min_width=88, elem_classes="dd-example"), e)
                for e in examples]  # fmt: skip
