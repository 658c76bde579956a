"""The Analyse tab: layout and wiring only; what happens is in `handlers`."""

from __future__ import annotations

from typing import Any

import gradio as gr

from dermdemo.ui import handlers, result, text
from dermdemo.ui.examples import Example, list_examples, thumbnails
from dermdemo.ui.handlers import AnalyserLike
from dermdemo.ui.uploads import Uploads

# Every listener that runs a model shares one place in the queue.
MODEL = {"concurrency_id": "models", "concurrency_limit": 1}
PRIVATE = {"api_visibility": "private", "show_progress": "full"}
ON_PICK = """element.addEventListener('click', event => {
  const button = event.target.closest('button[data-index]');
  if (button) trigger('pick', {index: Number(button.dataset.index)});
});"""
# Where the page is one column, a result starts below the fold.
SCROLL = """() => { if (window.innerWidth <= 900)
  document.querySelector('#dd-result')?.scrollIntoView({behavior: 'smooth', block: 'start'}); }"""


def build(analyser: AnalyserLike | None, uploads: Uploads, *, problem: str | None = None) -> None:
    """Lay the tab out inside the current Blocks and wire it."""
    examples = list_examples()
    with gr.Row(elem_id="dd-main", equal_height=False):
        with gr.Column(elem_id="dd-rail"):
            upload = gr.Image(type="filepath", sources=["upload", "clipboard", "webcam"], label=text.UPLOAD_LABEL,
                              placeholder=text.UPLOAD_HINT, height=236, buttons=[], elem_id="dd-upload",
                              alt_text=text.UPLOAD_ALT, webcam_options=gr.WebcamOptions(mirror=False))  # fmt: skip
            _html(f'<div class="dd-rail-note"><p>{text.FORMATS}</p><p>{text.PRIVACY}</p></div>')
            gallery = _html(thumbnails(examples), elem_id="dd-examples", js_on_load=ON_PICK)
        shown = _html(_start(problem), elem_id="dd-result")
    _wire(analyser, uploads, examples, upload, gallery, shown)
    _endpoint(analyser, uploads)


def _start(problem: str | None) -> str:
    """What stands in the place of the first result."""
    if problem is None:
        return result.empty()
    return result.failure(f"{problem} {text.NO_MODELS_TEXT}", title=text.NO_MODELS_TITLE)


def _html(value: str, *, js_on_load: str | None = None, **options: Any) -> gr.HTML:
    return gr.HTML(value, js_on_load=js_on_load, apply_default_css=False, padding=False, **options)


def _wire(analyser: AnalyserLike | None, uploads: Uploads, examples: tuple[Example, ...], upload: gr.Image,
          gallery: gr.HTML, shown: gr.HTML) -> None:  # fmt: skip
    """Page listeners. The box is emptied after each upload: the file goes away, and the next can be dropped."""

    def on_upload(payload: dict[str, Any] | None) -> tuple[Any, Any]:
        if payload is None:  # the visitor emptied the box: the result stays
            return gr.skip(), gr.skip()
        return handlers.show_upload(analyser, uploads, handlers.uploaded_path(payload)), None

    def on_pick(event: gr.EventData) -> str:
        return handlers.show_example(analyser, examples, event._data.get("index"))

    local_only(upload)
    # preprocess=False: gradio would open the file with Pillow; strangers' bytes are for `data.images` alone.
    done = upload.input(on_upload, upload, [shown, upload], preprocess=False, show_progress_on=shown, **MODEL, **PRIVATE)
    picked = gallery.pick(on_pick, None, shown, **MODEL, **PRIVATE)
    for event in (done, picked):
        event.then(None, None, None, js=SCROLL, api_visibility="private")


def _endpoint(analyser: AnalyserLike | None, uploads: Uploads) -> None:
    """The one named endpoint, `analyse`: a file in, JSON out."""

    def analyse(payload: dict[str, Any] | None) -> dict[str, Any]:
        return handlers.answer_api(analyser, uploads, handlers.uploaded_path(payload))

    given, answer = gr.File(visible=False, label=text.UPLOAD_LABEL), gr.JSON(visible=False, label=text.API_ANSWER)
    local_only(given)
    given.upload(analyse, given, answer, preprocess=False, api_name="analyse", api_description=text.API_ABOUT, **MODEL)


def local_only(component: gr.Image | gr.File) -> None:
    """Refuse links in the place of files: gradio would fetch them, and this server fetches nothing."""
    keep = component.async_move_resource_to_block_cache

    async def refuse_links(path: str | None) -> str | None:
        if path is not None and "://" in path:
            raise gr.Error(text.NO_LINKS, print_exception=False)
        return await keep(path)

    component.async_move_resource_to_block_cache = refuse_links
