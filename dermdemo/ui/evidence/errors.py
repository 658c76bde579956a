"""Where the arms go wrong on test: confusions, missed malignant lesions, and how far probabilities are off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dermdemo.diagnoses import full_name
from dermdemo.models.checkpoint import CheckpointMeta
from dermdemo.models.stored_figures import Figure, OperatingFigures
from dermdemo.ui import text
from dermdemo.ui.charts import Frame, Line, line_chart
from dermdemo.ui.evidence.gather import Evidence, tones
from dermdemo.ui.evidence.parts import figure_table, note, number, ranged, region, section, short_name
from dermdemo.ui.figures import escape
from dermdemo.ui.wording import models as words


def confusions(evidence: Evidence) -> str:
    """Confusion matrices side by side; nothing where they were not stored."""
    tone = tones(tuple(evidence.arms))
    shown = "".join(
        f'<figure class="is-{tone[arm]}"><figcaption>{escape(text.arm_name(arm))}</figcaption>'
        f"{_confusion(arm, evidence.arms[arm].classes, test.confusion)}</figure>"
        for arm, test in evidence.tests.items()
        if test.confusion
    )
    if not shown:
        return ""
    return section(words.CONFUSION_TITLE, f'{note(words.CONFUSION_NOTE)}<div class="dd-confusions">{shown}</div>',
                   anchor="confusions")


def _confusion(arm: str, names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    head = "".join(f'<th scope="col"><abbr title="{escape(full_name(n))}">{escape(n)}</abbr></th>' for n in names)
    body = ""
    for true, row in zip(names, counts, strict=True):
        total = sum(row)
        cells = ""
        for guess, n in zip(names, row, strict=True):
            said = words.CONFUSION_CELL.format(n=n, total=total, true=full_name(true), guess=full_name(guess))
            css = ' class="is-right"' if true == guess else ""
            cells += f'<td{css} style="--dd-share: {n / max(total, 1):.3f}" title="{escape(said)}">{n or "·"}</td>'
        body += f'<tr><th scope="row"><abbr title="{escape(full_name(true))}">{escape(true)}</abbr></th>{cells}</tr>'
    label = escape(words.CONFUSION_REGION.format(arm=text.arm_name(arm)))
    return (
        f'<div class="dd-scroll" role="region" tabindex="0" aria-label="{label}"><table class="dd-confusion"><thead>'
        f"<tr><td>{escape(words.CONFUSION_CORNER)}</td>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def malignancy(evidence: Evidence) -> str:
    """Malignant or pre-malignant against benign, at thresholds fixed on validation."""
    tests = {arm: t for arm, t in evidence.tests.items() if t.operating_points}
    if not tests:
        return ""
    rows = [(escape(words.MALIGNANCY_AUC), [ranged(t.figures.get("malignant_auc")) for t in tests.values()])]
    first = next(iter(tests.values()))
    for point in first.operating_points:
        target = point.target_specificity
        found = [next((p for p in t.operating_points if p.target_specificity == target), None)
                 for t in tests.values()]  # fmt: skip
        rows.append((escape(words.MALIGNANCY_SENSITIVITY.format(target=f"{target:.2f}")),
                     [_sensitivity(p, t.n_malignant) for p, t in zip(found, tests.values(), strict=True)]))
        rows.append((f"<small>{escape(words.MALIGNANCY_SPECIFICITY)}</small>",
                     [ranged(p.specificity if p else None) for p in found]))
    table = figure_table([words.MALIGNANCY_HEAD, *map(text.arm_name, tests)], rows)
    counts = words.MALIGNANCY_NOTE.format(malignant=number(first.n_malignant), benign=number(first.n_benign))
    body = f"{region(words.MALIGNANCY_TITLE, table)}{note(counts)}"
    return section(words.MALIGNANCY_TITLE, body, anchor="malignancy")


def _sensitivity(point: OperatingFigures | None, n: int | None) -> str:
    """Sensitivity with its interval, and how many malignant images that misses."""
    if point is None or point.sensitivity.estimate is None or n is None:
        return ranged(point.sensitivity if point else None)
    missed = words.MALIGNANCY_MISSED.format(missed=number(n - round(n * point.sensitivity.estimate)), n=number(n))
    return f"{ranged(point.sensitivity)}<small>{escape(missed)}</small>"


def calibration(evidence: Evidence) -> str:
    """Temperature, calibration errors and reliability curves of the arms."""
    tone = tones(tuple(evidence.arms))
    cards = "".join(_calibration(arm, meta, evidence, tone[arm]) for arm, meta in evidence.arms.items())
    return section(words.CALIBRATION_TITLE, f'<div class="dd-charts">{cards}</div>{note(words.CALIBRATION_NOTE)}',
                   anchor="calibration")


def _calibration(arm: str, meta: CheckpointMeta, evidence: Evidence, tone: str) -> str:
    test = evidence.tests.get(arm)
    facts = {words.TEMPERATURE: words.UNCALIBRATED if meta.temperature is None else f"{meta.temperature:.2f}"}
    figures: Mapping[str, Figure] = test.figures if test else {}
    facts |= {label: str(figures[key]) for key, label in (("ece", words.ECE), ("classwise_ece", words.CLASSWISE_ECE))
              if key in figures}  # fmt: skip
    listed = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts.items())
    chart = ""
    if test and test.reliability:
        name = text.arm_name(arm)
        points = Line(x=[p.confidence for p in test.reliability], y=[p.accuracy for p in test.reliability], tone=tone,
                      label=short_name(arm), said=name, dots=True)  # fmt: skip
        ideal = Line(x=(0.0, 1.0), y=(0.0, 1.0), tone="plain", label="", said=words.RELIABILITY_IDEAL, dashed=True)
        frame = Frame(slug=f"reliability-{arm}", title=words.RELIABILITY.format(arm=name), digits=2,
                      x_label=words.RELIABILITY_X, y_label=words.RELIABILITY_Y, x_range=(0, 1),
                      y_range=(0, 1))  # fmt: skip
        chart = line_chart((ideal, points), frame)
    return (
        f'<figure class="is-{tone}"><figcaption>{escape(text.arm_name(arm))}</figcaption>'
        f'<dl class="dd-facts is-flat">{listed}</dl>{chart}</figure>'
    )
