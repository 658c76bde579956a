"""The study over seeds on the Models tab: every arm and control, and what that says about the claim."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dermdemo.evaluation.seeds.facts import StudyFacts
from dermdemo.evaluation.seeds.summary import COLUMNS, Line, summarise
from dermdemo.evaluation.seeds.table import Row
from dermdemo.evaluation.seeds.variants import CLAIMED
from dermdemo.ui.evidence.gather import Evidence
from dermdemo.ui.evidence.parts import figure_table, note, region, section
from dermdemo.ui.evidence.study import DASH, number, signed
from dermdemo.ui.figures import escape, with_code
from dermdemo.ui.wording import models as words


def seeds(evidence: Evidence) -> str:
    """Table and sentences; nothing where no study over seeds is stored."""
    if evidence.seeds is None:
        return ""
    table, facts = evidence.seeds
    found = summarise(table, facts)
    n = len(facts.finished_seeds)
    said = "".join(_said(title, sentences) for title, sentences in found.said.items())
    rows = [(_label(line, facts), [_cell(row, signed if with_sign else number) for row, with_sign in line.cells])
            for line in found.lines]  # fmt: skip
    shown = figure_table((words.SEEDS_ARM, *(f"{name[0].upper()}{name[1:]}" for name in COLUMNS)), rows,
                         css="dd-seeds")  # fmt: skip
    body = f'{note(_intro(evidence, facts))}{region(words.SEEDS_REGION, shown)}{said}'
    title = words.SEEDS_TITLE.format(n=n) if n > 1 else words.SEEDS_TITLE_ONE
    return section(title, body, anchor="seeds")


def _said(title: str, sentences: Sequence[str]) -> str:
    items = "".join(f"<li>{with_code(sentence)}</li>" for sentence in sentences)
    return f'<h3>{escape(title)}</h3><ul class="dd-said">{items}</ul>'


def _intro(evidence: Evidence, facts: StudyFacts) -> str:
    intro = words.SEEDS_INTRO.format(models=len(facts.models), schedule=facts.config["schedule"],
                                     lr=facts.config["stage_lr"], drawn=facts.drawn,
                                     read=facts.test_read)  # fmt: skip
    said = [intro, words.SEEDS_OTHERS]
    if CLAIMED in facts.starts:
        said.append(words.SEEDS_VAE[facts.starts[CLAIMED] == evidence.vae.sha256])
    return " ".join(said)


def _label(line: Line, facts: StudyFacts) -> str:
    if line.reference is not None:
        return escape(words.SEEDS_MINUS.format(arm=line.arm, reference=line.reference))
    return f"<code>{escape(line.arm)}</code><small>{escape(facts.arms[line.arm])}</small>"


def _cell(row: Row | None, shown: Callable[[float | None], str]) -> str:
    """The figure and, below it, its interval."""
    if row is None:
        return DASH
    interval = "" if row.low is None or row.high is None else (
        f" <span>{shown(row.low)} {escape(words.TO)} {shown(row.high)}</span>")
    return f"<b>{shown(row.value)}</b>{interval}"
