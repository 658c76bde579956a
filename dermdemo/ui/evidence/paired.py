"""Paired differences of the two arms: figure, interval, a bar around zero, and what it comes to in words."""

from __future__ import annotations

from collections.abc import Mapping

from dermdemo.diagnoses import full_name
from dermdemo.evaluation.intervals import PairedDifference
from dermdemo.evaluation.scores import LOWER_IS_BETTER
from dermdemo.evaluation.study_record import StudyRecord
from dermdemo.ui import text
from dermdemo.ui.evidence.parts import in_sentence, note, number, region, section
from dermdemo.ui.figures import escape
from dermdemo.ui.wording import models as words


def paired(record: StudyRecord) -> str:
    """The differences as a table; a sentence where there are none."""
    found = record.table.paired
    if found is None:
        return section(words.PAIRED_TITLE, f"<p>{escape(words.PAIRED_NONE)}</p>", anchor="differences")
    names = [text.arm_name(m.arm) for m in record.models]
    a, b = map(in_sentence, names)
    intro = words.PAIRED_INTRO.format(images=number(found.n_images), lesions=number(found.n_lesions), a=a, b=b,
                                      split=found.split)  # fmt: skip
    m = found.mcnemar
    test = words.PAIRED_MCNEMAR.format(n=number(m.n_lesions), a=a, b=b, only_a=m.only_a, only_b=m.only_b,
                                       p=f"p = {m.p_value:.2g}" if m.p_value >= 1e-4 else "p < 0.0001")  # fmt: skip
    table = region(words.PAIRED_TITLE, _table(found.differences, *names))
    body = f"{note(intro)}{table}<p>{escape(test)}</p>"
    return section(words.PAIRED_TITLE, body, anchor="differences")


def _table(differences: Mapping[str, PairedDifference], a: str, b: str) -> str:
    ends = [v for d in differences.values() for v in (d.low, d.high, d.estimate) if v is not None]
    top = max(map(abs, ends), default=1.0)
    head = "".join(f'<th scope="col">{escape(h)}</th>' for h in words.PAIRED_HEAD)
    rows = "".join(
        f'<tr><th scope="row">{escape(_name(key))}</th><td>{_figure(d)}</td>'
        f"<td>{escape(verdict(key, d, a, b))}</td><td>{_bar(d, top or 1.0)}</td></tr>"
        for key, d in differences.items()
        if d.estimate is not None
    )
    return f'<table class="dd-figures dd-paired"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def verdict(key: str, d: PairedDifference, a: str, b: str) -> str:
    """Which arm is better, if the interval leaves zero out."""
    if d.low is None or d.high is None or d.low <= 0 <= d.high:
        return words.PAIRED_OPEN
    first = (d.low > 0) != (key in LOWER_IS_BETTER)
    return words.PAIRED_BETTER.format(arm=a if first else b)


def _name(key: str) -> str:
    kind, _, name = key.partition(":")
    return words.PAIRED_SENSITIVITY.format(name=full_name(name)) if name else words.METRICS.get(kind, (kind, ""))[0]


def _figure(d: PairedDifference) -> str:
    said = f"<b>{d.estimate:+.3f}</b>"
    if d.low is not None and d.high is not None:
        said += f" <span>{d.low:+.3f} {escape(words.TO)} {d.high:+.3f}</span>"
    return said.replace("-", "−")


def _bar(d: PairedDifference, top: float) -> str:
    """The interval around zero, which is the middle; all rows share one scale."""
    def place(value: float) -> float:
        return 50 + 50 * value / top

    if d.estimate is None:
        return ""
    band = ""
    if d.low is not None and d.high is not None:
        band = f'<em style="left: {place(d.low):.2f}%; width: {place(d.high) - place(d.low):.2f}%"></em>'
    return f'<span class="dd-zero" aria-hidden="true">{band}<i style="left: {place(d.estimate):.2f}%"></i></span>'
