"""The Models tab as HTML: what is loaded, how good it is, where it goes wrong, and the study.

A pure function of `Evidence`; the sections are in `evidence/`.
"""

from __future__ import annotations

from collections.abc import Sequence

from dermdemo.ui.evidence.accuracy import classes, metrics
from dermdemo.ui.evidence.errors import calibration, confusions, malignancy
from dermdemo.ui.evidence.gather import Evidence
from dermdemo.ui.evidence.kept import kept
from dermdemo.ui.evidence.loaded import loaded
from dermdemo.ui.evidence.parts import PREFIX, hashed, section
from dermdemo.ui.evidence.seeds import seeds
from dermdemo.ui.evidence.study import study
from dermdemo.ui.figures import escape
from dermdemo.ui.live import NOTHING, LiveStatus
from dermdemo.ui.wording import models as words


def render(evidence: Evidence, status: LiveStatus | None = None) -> str:
    """Everything but the cards.

    Args:
        status: which version is served, where versions are known of.
    """
    parts = (loaded(evidence), metrics(evidence), classes(evidence), confusions(evidence), malignancy(evidence),
             calibration(evidence), kept(evidence), seeds(evidence), study(evidence))  # fmt: skip
    body = "".join(parts)
    said = problems([*([words.SERVED_NOT] if status and status.problem else []), *evidence.problems])
    return f'<div class="dd-result dd-models">{said}{served(status)}{navigation(body)}{body}</div>'


def served(status: LiveStatus | None) -> str:
    """The version being served and its hash; nothing where no versions are known of."""
    if status is None or status.number == NOTHING:
        return ""
    title = words.SERVED_TITLE.format(number=status.number) if status.number else words.SERVED_SHIPPED
    hash_ = f" · {escape(words.SERVED_HASH)} {hashed(status.sha256)}" if status.sha256 else ""
    return f'<p class="dd-note" id="{PREFIX}version"><b>{escape(title)}</b>{hash_}</p>'


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
