"""What the page does, as plain functions over the analyser: bytes or paths in, HTML or JSON out.

No gradio here. Whatever happens inside, the page gets a sentence and the log gets the traceback.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from dermdemo.analysis.export import analysis_to_dict
from dermdemo.data.images import decode_image
from dermdemo.errors import DermdemoError, ImageError
from dermdemo.types import Analysis, DecodedImage
from dermdemo.ui import result, text
from dermdemo.ui.examples import Example
from dermdemo.ui.uploads import Uploads

log = logging.getLogger(__name__)


class AnalyserLike(Protocol):
    """What the page needs of `analysis.Analyser`."""

    def analyse(self, image: DecodedImage, *, name: str = "image") -> Analysis: ...


def uploaded_path(payload: object) -> str | None:
    """The path in gradio's description of an uploaded file; None if no file came."""
    path = payload.get("path") if isinstance(payload, Mapping) else None
    return path if isinstance(path, str) and path else None


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
    """HTML for an uploaded file."""
    if path is None:
        return result.failure(text.NO_FILE)
    try:
        data = uploads.read(path)
    except ImageError as error:
        return result.failure(str(error))
    return show(analyser, data, text.UPLOAD_NAME)


def show_example(analyser: AnalyserLike | None, examples: Sequence[Example], index: object) -> str:
    """HTML for the example with that number; the number comes from the browser and may be anything."""
    if not isinstance(index, int) or not 0 <= index < len(examples):
        return result.failure(text.EXAMPLE_UNKNOWN)
    example = examples[index]
    try:
        data = example.path.read_bytes()
    except OSError:
        log.exception("an example cannot be read")
        return result.failure(text.EXAMPLE_UNKNOWN)
    return show(analyser, data, example.name)


def answer_api(analyser: AnalyserLike | None, uploads: Uploads, path: str | None) -> dict[str, Any]:
    """The endpoint `analyse`: the JSON of docs/analysis-schema.md, or ``{"error": {...}}``."""
    try:
        if analyser is None:
            return _refusal(text.NO_MODELS_TEXT, "no-models")
        if path is None:
            return _refusal(text.NO_FILE, "missing")
        return analysis_to_dict(analyse_bytes(analyser, uploads.read(path), text.UPLOAD_NAME))
    except DermdemoError as error:
        return _refusal(str(error), getattr(error, "reason", "failed"))
    except Exception:  # as in `show`
        log.exception("analysis failed")
        return _refusal(text.FAILED_INTERNAL, "internal")


def _refusal(message: str, reason: str) -> dict[str, Any]:
    return {"error": {"message": message, "reason": reason}}
