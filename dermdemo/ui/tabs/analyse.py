"""The Analyse tab: layout and wiring; what happens is in plain functions over the analyser."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Protocol

import gradio as gr
from gradio.data_classes import ImageData

from dermdemo.analysis.export import analysis_to_dict
from dermdemo.data.images import decode_image
from dermdemo.errors import DermdemoError, ImageError
from dermdemo.types import Analysis, DecodedImage
from dermdemo.ui import result, text
from dermdemo.ui.examples import Example, list_examples
from dermdemo.ui.uploads import Uploads

MODEL_QUEUE = "models"
UPLOAD_NAME = "uploaded image"

log = logging.getLogger(__name__)


def unopened(payload: ImageData | None) -> str | None:
    """The path of an upload as it is: bytes of strangers are decoded by `data.images` alone, not by gr.Image."""
    return payload.path if payload else None


class AnalyserLike(Protocol):
    """What the page needs of `analysis.Analyser`."""

    def analyse(self, image: DecodedImage, *, name: str = "image") -> Analysis: ...


def analyse_bytes(analyser: AnalyserLike, data: bytes, name: str) -> Analysis:
    """Decode and analyse. Raises DermdemoError; `name` never is the visitor's file name."""
    return analyser.analyse(decode_image(data, name=name), name=name)


def show(analyser: AnalyserLike | None, data: bytes, name: str) -> str:
    """HTML of one result, or the sentence of what went wrong."""
    if analyser is None:
        return result.failure(text.NO_MODELS_TEXT, title=text.NO_MODELS_TITLE)
    try:
        return result.render(analyse_bytes(analyser, data, name))
    except DermdemoError as error:
        return result.failure(str(error))
    except Exception:  # the page must stand whatever a model does; the log has the traceback
        log.exception("analysis failed")
        return result.failure(text.FAILED_INTERNAL)


def show_upload(analyser: AnalyserLike | None, uploads: Uploads, path: str | None) -> str:
    """HTML for an uploaded file; no file gives the empty state."""
    if not path:
        return result.empty()
    try:
        data = uploads.read(path)
    except ImageError as error:
        return result.failure(str(error))
    return show(analyser, data, UPLOAD_NAME)


def show_example(analyser: AnalyserLike | None, example: Example) -> str:
    """HTML for an example of the app."""
    return show(analyser, example.path.read_bytes(), example.name)


def answer_api(analyser: AnalyserLike | None, uploads: Uploads, path: str | None) -> dict[str, Any]:
    """The endpoint `analyse`: the JSON of docs/analysis-schema.md, or ``{"error": {...}}``."""
    try:
        if analyser is None:
            return {"error": {"message": text.NO_MODELS_TEXT, "reason": "no-models"}}
        if not path:
            return {"error": {"message": text.NO_FILE, "reason": "missing"}}
        return analysis_to_dict(analyse_bytes(analyser, uploads.read(path), UPLOAD_NAME))
    except DermdemoError as error:
        return {"error": {"message": str(error), "reason": getattr(error, "reason", "failed")}}
    except Exception:  # as in `show`
        log.exception("analysis failed")
        return {"error": {"message": text.FAILED_INTERNAL, "reason": "internal"}}


def build(analyser: AnalyserLike | None, uploads: Uploads, *, problem: str | None = None) -> None:
    """Lay the tab out inside the current Blocks and wire it."""
    start = result.empty()
    if problem:
        start = result.failure(f"{problem} {text.NO_MODELS_TEXT}", title=text.NO_MODELS_TITLE)
    with gr.Row(elem_id="dd-main"):
        with gr.Column(elem_id="dd-rail"):
            upload = gr.Image(type="filepath", sources=["upload", "clipboard", "webcam"],
                              label=text.UPLOAD_LABEL, placeholder=text.UPLOAD_HINT, height=280, buttons=[],
                              elem_id="dd-upload", webcam_options=gr.WebcamOptions(mirror=False))  # fmt: skip
            upload.preprocess = unopened
            gr.HTML(f'<p class="dd-note">{text.FORMATS}</p><p class="dd-note">{text.PRIVACY}</p>', padding=False)
            chosen = _examples(list_examples())
        shown = gr.HTML(start, elem_id="dd-result", padding=False)
    upload.change(lambda path: show_upload(analyser, uploads, path), upload, shown, api_visibility="private",
                  concurrency_id=MODEL_QUEUE, concurrency_limit=1, show_progress="minimal")  # fmt: skip
    for button, example in chosen:
        button.click(lambda _=None, e=example: show_example(analyser, e), None, shown, api_visibility="private",
                     concurrency_id=MODEL_QUEUE, show_progress="minimal")  # fmt: skip
    given, answer = gr.File(visible=False), gr.JSON(visible=False)
    given.upload(lambda path: answer_api(analyser, uploads, path), given, answer, api_name="analyse",
                 concurrency_id=MODEL_QUEUE)  # fmt: skip


def _examples(examples: tuple[Example, ...]) -> list[tuple[gr.Button, Example]]:
    """A button per example, with its picture."""
    if not examples:
        gr.HTML(f'<p class="dd-note">{text.EXAMPLES_NONE}</p>', padding=False)
        return []
    gr.HTML(f'<h2 class="dd-rail-title">{text.EXAMPLES_TITLE}</h2><p class="dd-note">{text.EXAMPLES_NOTE}</p>',
            padding=False)  # fmt: skip
    with gr.Row(elem_id="dd-examples"):
        return [(gr.Button(e.short, icon=str(Path(e.path)), size="sm", min_width=88, elem_classes="dd-example"), e)
                for e in examples]  # fmt: skip
