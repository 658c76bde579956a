"""A study table as fixed-width text: our two arms, and the paper's two in columns of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from dermdemo.evaluation.curves import Change, GapPoint
from dermdemo.evaluation.intervals import PairedDifference
from dermdemo.evaluation.paper import PaperChange
from dermdemo.evaluation.report_text import DASH, number, with_interval, wrap_notes
from dermdemo.evaluation.scores import LOWER_IS_BETTER

if TYPE_CHECKING:
    from dermdemo.evaluation.study import PairedComparison, StudyTable

LABEL, COLUMN = 38, 18


def render(table: StudyTable) -> str:
    """The whole comparison."""
    head = _row("", [_short(a.name) for a in table.arms] + [p.name for p in table.paper])
    parts = [[head, "-" * len(head)], _changes(table), _gaps(table), _signatures(table)]
    if table.paired is not None:
        parts.append(_paired(table.paired, [_short(a.name) for a in table.arms]))
    if table.differing_settings:
        parts.append(["Settings that differ (A | B)", *wrap_notes(table.differing_settings)])
    parts.append(["Notes", *wrap_notes(table.notes)])
    return "\n\n".join("\n".join(p) for p in parts) + "\n"


def signed(value: float | None, digits: int = 3, unit: str = "") -> str:
    """A figure with its sign, or a dash."""
    return DASH if value is None else f"{value:+.{digits}f}{unit}"


def _short(name: str) -> str:
    return name if len(name) < COLUMN else name[: COLUMN - 2] + "…"


def _row(label: str, cells: Sequence[str]) -> str:
    return f"{label:<{LABEL}}" + "".join(f"{cell:>{COLUMN}}" for cell in cells)


def _changes(table: StudyTable) -> list[str]:
    lines: list[str] = []
    for label, attribute in (
        ("validation loss", "val_loss"),
        ("validation accuracy", "val_accuracy"),
        ("train accuracy", "train_accuracy"),
    ):
        ours: list[Change] = [getattr(a, attribute) for a in table.arms]
        theirs: list[PaperChange | None] = [getattr(p, attribute) for p in table.paper]
        dashes = [DASH] * len(theirs)
        lines += [
            _row(
                f"{label}, initial",
                [number(c.initial) for c in ours]
                + [DASH if t is None else number(t.initial) for t in theirs],
            ),
            _row("  after epoch 1", [number(c.after_first_epoch) for c in ours] + dashes),
            _row(
                "  final",
                [number(c.final) for c in ours] + [DASH if t is None else number(t.final) for t in theirs],
            ),
            _row(
                "  change, initial to final",
                [signed(c.change_pct, 2, " %") for c in ours]
                + [DASH if t is None else signed(t.change_pct, 2, " %") for t in theirs],
            ),
            _row(
                "  change since epoch 1",
                [signed(c.change_since_first_epoch_pct, 2, " %") for c in ours] + dashes,
            ),
        ]
    balanced = [a.val_balanced_accuracy for a in table.arms]
    finals = [DASH if c is None else number(c.final) for c in balanced]
    return [*lines, _row("validation balanced accuracy, final", finals + [DASH] * len(table.paper))]


def _gaps(table: StudyTable) -> list[str]:
    target = table.matched[0].target
    lines = [
        *_gap_rows("last epoch", [a.last for a in table.arms], len(table.paper)),
        *_gap_rows("lowest validation loss", [a.best for a in table.arms], len(table.paper)),
        *_gap_rows(f"train accuracy {target:.3f}", [m.point for m in table.matched], len(table.paper)),
    ]
    return [
        *lines,
        _row("gap as the paper states it", [DASH] * len(table.arms) + [p.gap for p in table.paper]),
    ]


def _gap_rows(where: str, points: Sequence[GapPoint | None], n_paper: int) -> list[str]:
    def row(label: str, attribute: str, sign: bool = False) -> str:
        values = [None if p is None else float(getattr(p, attribute)) for p in points]
        cells = [signed(v) if sign else number(v) for v in values]
        return _row(label, cells + [DASH] * n_paper)

    epochs = [DASH if p is None else f"{p.epoch:.1f}" for p in points]
    return [
        _row(f"at {where}: epoch", epochs + [DASH] * n_paper),
        row("  train accuracy", "train_accuracy"),
        row("  validation accuracy", "val_accuracy"),
        row("  accuracy gap (train - val)", "accuracy_gap", sign=True),
        row("  loss gap (val - train)", "loss_gap", sign=True),
    ]


def _signatures(table: StudyTable) -> list[str]:
    return [
        "What the curves show",
        *wrap_notes(f"{a.name}: {s.text}" for a in table.arms for s in a.signatures),
    ]


def _paired(paired: PairedComparison, names: Sequence[str]) -> list[str]:
    m = paired.mcnemar
    lines = [
        f"Paired on {paired.split}: {paired.n_images} images of {paired.n_lesions} lesions; "
        "95 % intervals by bootstrap over lesions; temperature 1",
        f"{'(↓ lower is better)':<22}{names[0]:<24}{names[1]:<24}{'A - B':<28}{'share > 0':>9}",
    ]
    for key, difference in paired.differences.items():
        label = f"{key} ↓" if key in LOWER_IS_BETTER else key
        a, b = (with_interval(i[key]) for i in paired.intervals)
        share = number(difference.share_above_zero, 2)
        lines.append(f"{label:<22}{a:<24}{b:<24}{_difference(difference):<28}{share:>9}")
    lines.append(
        f"McNemar, exact, one image of each of {m.n_lesions} lesions: only A right {m.only_a}, "
        f"only B right {m.only_b}, p = {m.p_value:.3g}"
    )
    return lines


def _difference(d: PairedDifference) -> str:
    if d.low is None or d.high is None:
        return signed(d.estimate)
    return f"{signed(d.estimate)} ({signed(d.low)} to {signed(d.high)})"
