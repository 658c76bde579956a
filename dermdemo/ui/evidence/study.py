"""The study on the Models tab: our table beside the paper's, with what keeps a reader from misreading it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from dermdemo.evaluation.curves import ArmSummary, Change, GapPoint
from dermdemo.evaluation.paper import CITATION, PaperChange
from dermdemo.evaluation.study import StudyTable
from dermdemo.evaluation.study_record import StudyRecord
from dermdemo.ui import text
from dermdemo.ui.evidence.curves import curves
from dermdemo.ui.evidence.gather import Evidence
from dermdemo.ui.evidence.paired import paired
from dermdemo.ui.evidence.parts import in_sentence, note, region, section
from dermdemo.ui.figures import escape, with_code
from dermdemo.ui.wording import models as words

DASH = "–"


class Cell(NamedTuple):
    """A figure and, smaller, what it is made of."""

    main: str
    of: str = ""


class Row(NamedTuple):
    """One line of the table: label, what it means, a cell per column."""

    label: str
    about: str
    cells: list[Cell]


NONE = Cell(DASH)


def study(evidence: Evidence) -> str:
    """Table, curves and paired differences; a sentence where no comparison is stored."""
    record = evidence.study
    if record is None:
        other = f"<p>{escape(words.STUDY_OTHER)}</p>" if evidence.retrained else ""
        return section(words.STUDY_TITLE, f"<p>{with_code(words.STUDY_NONE)}</p>{other}", anchor="study")
    stale = "" if evidence.study_matches else f'<p class="dd-warning" role="note">{escape(words.STUDY_STALE)}</p>'
    warnings = "".join(f"<li>{escape(w)}</li>" for w in words.STUDY_WARNINGS)
    body = (
        f"{stale}{note(words.STUDY_INTRO.format(citation=CITATION))}"
        f'<p class="dd-outcome">{escape(outcome(record))}</p><ul class="dd-warning">{warnings}</ul>'
        f"{region(words.STUDY_REGION, table(record))}{_notes(record)}"
    )
    return section(words.STUDY_TITLE, body, anchor="study") + curves(record) + paired(record)


def outcome(record: StudyRecord) -> str:
    """Which arm has the smaller accuracy gap at the end, never without the score that goes with it."""
    small, large = sorted(record.table.arms, key=lambda a: a.last.accuracy_gap)
    names = {a.name: text.arm_name(m.arm) for a, m in zip(record.table.arms, record.models, strict=True)}
    scores = [_score(a) for a in (small, large)]
    balanced = all(a.val_balanced_accuracy is not None for a in (small, large))
    order = words.OUTCOME_SAME if scores[0] == scores[1] else (
        words.OUTCOME_LOWER if scores[0] < scores[1] else words.OUTCOME_HIGHER)  # fmt: skip
    return words.OUTCOME.format(
        small=in_sentence(names[small.name]), large=in_sentence(names[large.name]), score=order,
        small_gap=signed(small.last.accuracy_gap), large_gap=signed(large.last.accuracy_gap),
        metric=words.OUTCOME_BALANCED if balanced else words.OUTCOME_ACCURACY,
        small_score=f"{scores[0]:.3f}", large_score=f"{scores[1]:.3f}")  # fmt: skip


def _score(arm: ArmSummary) -> float:
    return arm.last.val_accuracy if arm.val_balanced_accuracy is None else arm.val_balanced_accuracy.final


def table(record: StudyRecord) -> str:
    """Our two arms and the paper's two."""
    ours = [text.arm_name(m.arm) for m in record.models]
    theirs = [p.name.removeprefix("paper: ") for p in record.table.paper]
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in (*ours, *theirs))
    body = "".join(f"<tbody>{''.join(_row(row, len(ours)) for row in rows)}</tbody>" for rows in groups(record.table))
    return (
        f'<table class="dd-figures dd-study"><thead><tr><th rowspan="2" scope="col">{escape(words.STUDY_ROW)}</th>'
        f'<th colspan="{len(ours)}" scope="colgroup">{escape(words.STUDY_OURS)}</th>'
        f'<th colspan="{len(theirs)}" scope="colgroup">{escape(words.STUDY_PAPER)}</th></tr><tr>{head}</tr></thead>'
        f"{body}</table>"
    )


def _row(row: Row, n_ours: int) -> str:
    cells = "".join(
        f'<td class="{"is-paper" if k >= n_ours else "is-ours"}"><b>{escape(cell.main)}</b>'
        f"<small>{escape(cell.of)}</small></td>"
        for k, cell in enumerate(row.cells)
    )
    return f'<tr><th scope="row">{escape(row.label)}<small>{escape(row.about)}</small></th>{cells}</tr>'


def groups(table: StudyTable) -> list[list[Row]]:
    """The rows of the table: changes first, then the gaps, each with the scores it is the difference of."""
    changes: list[Row] = []
    for key, title in words.GROUP_ROWS.items():
        ours = [getattr(a, key) for a in table.arms]
        if all(c is not None for c in ours):
            changes += _changes(title, ours, [getattr(p, key, None) for p in table.paper])
    none, target = [NONE] * len(table.paper), table.matched[0].target
    stated = Row(words.ROW_PAPER_GAP, words.ABOUT_PAPER_GAP,
                 [NONE] * len(table.arms) + [Cell(p.gap) for p in table.paper])  # fmt: skip
    return [
        changes,
        _gaps(words.AT_LAST, [a.last for a in table.arms], none),
        _gaps(words.AT_BEST, [a.best for a in table.arms], none),
        _gaps(words.AT_MATCHED.format(target=f"{target:.3f}"), [m.point for m in table.matched], none),
        [stated],
    ]


def _changes(title: str, ours: Sequence[Change], theirs: Sequence[PaperChange | None]) -> list[Row]:
    """Relative change over the whole run, and since epoch 1 where that was recorded."""
    whole = [Cell(per_cent(c.change_pct), f"{number(c.initial)} → {number(c.final)}") for c in ours]
    whole += [NONE if p is None else Cell(per_cent(p.change_pct), f"{number(p.initial)} → {number(p.final)}")
              for p in theirs]  # fmt: skip
    rows = [Row(title, words.ABOUT_CHANGE, whole)]
    if any(c.after_first_epoch is not None for c in ours):
        since = [Cell(per_cent(c.change_since_first_epoch_pct), f"{number(c.after_first_epoch)} → {number(c.final)}")
                 for c in ours]  # fmt: skip
        rows.append(Row(words.ROW_SINCE_FIRST, "", since + [NONE] * len(theirs)))
    return rows


def _gaps(where: str, points: Sequence[GapPoint | None], none: list[Cell]) -> list[Row]:
    """Both gaps at one place of the curves, and what they are differences of."""
    epochs = [NONE if p is None else Cell(f"{p.epoch:.3g}") for p in points]
    accuracy = [NONE if p is None else Cell(signed(p.accuracy_gap), f"{p.train_accuracy:.3f} − {p.val_accuracy:.3f}")
                for p in points]  # fmt: skip
    loss = [NONE if p is None else Cell(signed(p.loss_gap), f"{p.val_loss:.3f} − {p.train_loss:.3f}")
            for p in points]  # fmt: skip
    return [Row(where, words.ABOUT_EPOCH, epochs + none),
            Row(words.ROW_ACCURACY_GAP, words.ABOUT_ACCURACY_GAP, accuracy + none),
            Row(words.ROW_LOSS_GAP, words.ABOUT_LOSS_GAP, loss + none)]


def number(value: float | None) -> str:
    """Three decimals, or a dash."""
    return DASH if value is None else f"{value:.3f}"


def signed(value: float | None) -> str:
    """Three decimals with a sign, or a dash."""
    return DASH if value is None else f"{value:+.3f}".replace("-", "−")


def per_cent(value: float | None) -> str:
    """A change in %, with its sign, or a dash."""
    return DASH if value is None else f"{value:+.2f} %".replace("-", "−")


def _notes(record: StudyRecord) -> str:
    """Signatures in the open; notes and differing settings behind a summary."""
    said = [words.SIGNATURE.format(arm=text.arm_name(m.arm), text=s.text)
            for m, a in zip(record.models, record.table.arms, strict=True) for s in a.signatures]  # fmt: skip
    a, b = (text.arm_name(m.arm) for m in record.models)
    settings = record.table.differing_settings
    return (
        f'<h3>{escape(words.SIGNATURES_TITLE)}</h3><ul class="dd-said">{_items(said)}</ul>'
        f'<details class="dd-more"><summary>{escape(words.NOTES_TITLE)}</summary>'
        f"<ul>{_items(record.table.notes)}</ul>"
        f"<p>{escape(words.SETTINGS_TITLE.format(a=a, b=b) if settings else words.SETTINGS_NONE)}</p>"
        f"<ul>{_items(settings)}</ul></details>"
    )


def _items(sentences: Sequence[str]) -> str:
    return "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
