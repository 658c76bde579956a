"""The Models tab as HTML: what is loaded, how good it is, where it goes wrong, and the study.

A pure function of `Evidence`; the sections are in `evidence/`.
"""

from __future__ import annotations

from collections.abc import Sequence

from dermdemo.ui.evidence.accuracy import classes, metrics
from dermdemo.ui.evidence.errors import calibration, confusions, malignancy
from dermdemo.ui.evidence.gather import Evidence
from dermdemo.ui.evidence.loaded import loaded
from dermdemo.ui.evidence.parts import PREFIX, section
from dermdemo.ui.evidence.study import study
from dermdemo.ui.figures import escape
from dermdemo.ui.wording import models as words


def render(evidence: Evidence) -> str:
    """Everything but the cards."""
    parts = (loaded(evidence), metrics(evidence), classes(evidence), confusions(evidence), malignancy(evidence),
             calibration(evidence), study(evidence))  # fmt: skip
    body = "".join(parts)
    return f'<div class="dd-result dd-models">{problems(evidence.problems)}{navigation(body)}{body}</div>'


def navigation(body: str) -> str:
    """Links to the sections that are there."""
    links = "".join(f'<a href="#{PREFIX}{key}">{escape(label)}</a>' for key, label in words.SECTIONS.items()
                    if f'id="{PREFIX}{key}"' in body)  # fmt: skip
    return f'<nav class="dd-nav" aria-label="{escape(words.NAVIGATION)}">{links}</nav>'


def nothing(sentence: str) -> str:
    """The tab without models: why."""
    said = section(words.NOTHING_TITLE, f"<p>{escape(sentence)}</p>", css="dd-failure")
    return f'<div class="dd-result">{said}</div>'


def problems(sentences: Sequence[str]) -> str:
    """What could not be read; nothing where there is nothing."""
    if not sentences:
        return ""
    said = "".join(f"<p>{escape(sentence)}</p>" for sentence in sentences)
    return section(words.PROBLEMS_TITLE, said, css="dd-failure")
