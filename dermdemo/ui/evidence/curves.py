"""The curves of both arms: losses, accuracies and both gaps along the epochs, as charts and as figures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dermdemo.evaluation.history import ArmHistory
from dermdemo.evaluation.study_record import StudyRecord
from dermdemo.ui import text
from dermdemo.ui.charts import Frame, Line, line_chart
from dermdemo.ui.evidence.gather import tones
from dermdemo.ui.evidence.parts import figure_table, note, region, section, short_name
from dermdemo.ui.figures import escape
from dermdemo.ui.wording import models as words


def curves(record: StudyRecord) -> str:
    """All charts of the study, every gap beside what it is a gap of, and the figures behind them."""
    arms = [m.arm for m in record.models]
    tone = tones(tuple(arms))
    both = list(zip(arms, record.histories, strict=True))
    charts = [
        _pair(both, tone, "loss", words.CURVE_LOSS, words.UNIT_LOSS),
        _gap(both, tone, "loss", words.CURVE_LOSS_GAP, words.UNIT_LOSS_GAP),
        _pair(both, tone, "accuracy", words.CURVE_ACCURACY, words.UNIT_ACCURACY),
        _gap(both, tone, "accuracy", words.CURVE_ACCURACY_GAP, words.UNIT_ACCURACY_GAP),
    ]
    if all(h.val.balanced_accuracy and h.train.balanced_accuracy for h in record.histories):
        charts += [_pair(both, tone, "balanced_accuracy", words.CURVE_BALANCED, words.UNIT_BALANCED),
                   _gap(both, tone, "balanced_accuracy", words.CURVE_BALANCED_GAP, words.UNIT_BALANCED_GAP)]
    shown = "".join(f"<figure><figcaption>{escape(title)}</figcaption>{svg}</figure>" for title, svg in charts)
    body = f'{_legend(arms, tone)}<div class="dd-charts">{shown}</div>{note(words.CURVES_NOTE)}{_figures(both)}'
    return section(words.CURVES_TITLE, body, anchor="curves")


def _pair(both: Sequence[tuple[str, ArmHistory]], tone: dict[str, str], key: str, title: str, unit: str
          ) -> tuple[str, str]:
    """Training dashed, validation solid, of every arm."""
    lines = []
    for arm, history in both:
        best = int(np.argmin(history.val.loss))
        for split, dashed in (("train", True), ("val", False)):
            said = (words.SAID_TRAIN if dashed else words.SAID_VAL).format(arm=text.arm_name(arm))
            lines.append(Line(x=history.epochs, y=getattr(getattr(history, split), key), tone=tone[arm], said=said,
                              label="" if dashed else short_name(arm), dashed=dashed,
                              marked=None if dashed else best))
    return title, line_chart(lines, _frame(key, title, unit))


def _gap(both: Sequence[tuple[str, ArmHistory]], tone: dict[str, str], key: str, title: str, unit: str
         ) -> tuple[str, str]:
    """One line per arm; positive where the model overfits."""
    sign = 1.0 if key == "loss" else -1.0
    lines = []
    for arm, history in both:
        gap = sign * np.subtract(getattr(history.val, key), getattr(history.train, key))
        lines.append(Line(x=history.epochs, y=gap.tolist(), tone=tone[arm], label=short_name(arm),
                          said=words.SAID_GAP.format(arm=text.arm_name(arm)),
                          marked=int(np.argmin(history.val.loss))))
    return title, line_chart(lines, _frame(f"{key}-gap", title, unit, zero=True))


def _frame(key: str, title: str, unit: str, *, zero: bool = False) -> Frame:
    slug = key.replace("_", "-")
    return Frame(slug=slug, title=f"{title} ({unit})", x_label=words.CURVES_X, y_label=unit, zero=zero)


def _legend(arms: Sequence[str], tone: dict[str, str]) -> str:
    """The two colours and the two strokes in words."""
    colours = "".join(f'<li class="is-{tone[arm]}"><i></i>{escape(text.arm_name(arm))}</li>' for arm in arms)
    strokes = f"<li><i></i>{escape(words.LEGEND_VAL)}</li>"
    strokes += f'<li class="is-dashed"><i></i>{escape(words.LEGEND_TRAIN)}</li>'
    return f'<ul class="dd-legend">{colours}{strokes}</ul>'


def _figures(both: Sequence[tuple[str, ArmHistory]]) -> str:
    """Every epoch of every arm as a table, for those who want numbers or cannot see the charts."""
    tables = ""
    for arm, h in both:
        columns = [h.train.loss, h.val.loss, h.train.accuracy, h.val.accuracy, h.val.balanced_accuracy]
        rows = [(f"{epoch}", ["–" if c is None else f"{c[k]:.3f}" for c in columns])
                for k, epoch in enumerate(h.epochs)]  # fmt: skip
        name = text.arm_name(arm)
        tables += f"<div><h3>{escape(name)}</h3>{region(name, figure_table(words.CURVE_HEAD, rows))}</div>"
    summary = f"<summary>{escape(words.CURVE_FIGURES)}</summary>"
    return f'<details class="dd-more">{summary}<div class="dd-pair">{tables}</div></details>'
