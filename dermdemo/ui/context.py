"""What every tab gets: the analyser, the visitor's uploads and results, and the key of the open result."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import gradio as gr

from dermdemo.config import Environment, environment
from dermdemo.types import Analysis
from dermdemo.ui.known_map import KnownMap
from dermdemo.ui.live import Models
from dermdemo.ui.results import Results
from dermdemo.ui.uploads import Uploads

if TYPE_CHECKING:
    from dermdemo.analysis.analyser import Analyser

MODEL_QUEUE = "models"  # every call that runs a model waits in this one queue
MODEL_WORKERS = 2
PAGE_QUEUE = "pages"  # what only draws
PAGE_WORKERS = 8


@dataclass(frozen=True, kw_only=True)
class Context:
    """Handed to the `build` of every tab.

    Attributes:
        models: what is served; it may be another set at the next look, so a handler looks once.
        key: state that holds the key of the open result ("" if none): a tab redraws on `key.change`.
        tabs: the tab row, to move a visitor to another tab.
        known: the known lesions of the atlas being served, and their pictures.
        settings: what the process environment decides.
    """

    models: Models
    uploads: Uploads
    results: Results[Analysis]
    key: gr.State
    tabs: gr.Tabs
    known: KnownMap = field(default_factory=lambda: KnownMap(None))
    settings: Environment = field(default_factory=environment)

    @property
    def analyser(self) -> Analyser | None:
        """The analyser being served now; None where no models could be loaded: `problem` says why."""
        return self.models.now().analyser

    @property
    def problem(self) -> str | None:
        """What is wrong with the models, in a sentence."""
        return self.models.now().status.problem

    def opened(self, key: str | None) -> Analysis | None:
        """The open result, or None."""
        return self.results.get(key)


def model_call() -> dict[str, object]:
    """Listener options of a call that runs a model."""
    return {"api_visibility": "private", "concurrency_id": MODEL_QUEUE, "concurrency_limit": MODEL_WORKERS,
            "show_progress": "minimal"}  # fmt: skip


def page_call() -> dict[str, object]:
    """Listener options of a call that only draws."""
    return {"api_visibility": "private", "concurrency_id": PAGE_QUEUE, "concurrency_limit": PAGE_WORKERS,
            "show_progress": "hidden"}  # fmt: skip
