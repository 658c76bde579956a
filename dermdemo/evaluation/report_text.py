"""An evaluation report as fixed-width text: what is known with which interval, on how many images."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

from dermdemo.evaluation.intervals import Interval

if TYPE_CHECKING:
    from dermdemo.evaluation.metrics import ClassMetrics
    from dermdemo.evaluation.report import EvaluationReport

WIDTH = 110
DASH = "–"
OVERALL = {
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "macro_auc": "macro AUC (one-vs-rest)",
    "macro_f1": "macro F1",
    "mcc": "MCC",
    "brier": "Brier score (0 to 2)",
    "nll": "NLL (nats)",
    "ece": "ECE (15 bins, top label)",
    "classwise_ece": "classwise ECE",
}


def number(value: float | None, digits: int = 3) -> str:
    """A figure with `digits` decimals, or a dash where it is undefined."""
    return DASH if value is None else f"{value:.{digits}f}"


def with_interval(interval: Interval) -> str:
    """``0.742 (0.702 to 0.779)``; a lone figure where there is no interval."""
    if interval.low is None or interval.high is None:
        return number(interval.estimate)
    return f"{number(interval.estimate)} ({number(interval.low)} to {number(interval.high)})"


def wrap_notes(notes: Iterable[str]) -> list[str]:
    """Notes as a bulleted list no wider than `WIDTH`."""
    return [
        line
        for note in notes
        for line in textwrap.wrap(note, WIDTH, initial_indent="- ", subsequent_indent="  ")
    ]


def render(report: EvaluationReport) -> str:
    """The whole report, at most `WIDTH` columns as long as names are short."""
    i = report.identity
    head = [
        f"{i.name} on {i.source} / {i.split}",
        f"weights {i.sha256[:12]}  split {i.split_hash[:12]}  {report.n_images} images of "
        f"{report.n_lesions} lesions  temperature {report.temperature:.3f}",
    ]
    overall = [f"{label:<26}{with_interval(report.intervals[key])}" for key, label in OVERALL.items()]
    parts = [head, overall, _class_table(report), _malignancy(report), _coverage(report)]
    if report.notes:
        parts.append(["Notes", *wrap_notes(report.notes)])
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _class_table(report: EvaluationReport) -> list[str]:
    width = max(7, *(len(name) for name in report.metrics.classes))
    head = (
        f"{'class':<{width}}{'images':>7}{'lesions':>8}  {'sensitivity':<23}{'specificity':>11}  {'AUC':<23}"
        f"{'F1':>6}{'ECE':>7}{'share':>7}{'mean p':>7}"
    )
    return [head, "-" * len(head), *(_class_row(report, c, width) for c in report.metrics.per_class)]


def _class_row(report: EvaluationReport, c: ClassMetrics, width: int) -> str:
    sensitivity = with_interval(report.intervals[f"sensitivity:{c.name}"])
    auc = with_interval(report.intervals[f"auc:{c.name}"])
    rates = [number(v) for v in (c.f1, c.ece, c.prevalence, c.mean_probability)]
    return (
        f"{c.name:<{width}}{c.n_images:>7}{c.n_lesions or 0:>8}  {sensitivity:<23}"
        f"{number(c.specificity):>11}  {auc:<23}{rates[0]:>6}{rates[1]:>7}{rates[2]:>7}{rates[3]:>7}"
    )


def _malignancy(report: EvaluationReport) -> list[str]:
    view = report.metrics.malignancy
    if view is None:
        return []
    lines = [
        f"Malignant: {', '.join(view.malignant_classes)}; {view.n_malignant} images, {view.n_benign} benign",
        f"{'AUC':<26}{with_interval(report.intervals['malignant_auc'])}",
    ]
    if view.reason:
        lines.append(view.reason)
    for point in view.operating_points:
        t = point.threshold
        key = f"@{t.target_specificity:g}"
        lines.append(
            f"{f'{t.target_specificity:.0%} specificity on val':<26}"
            f"sensitivity {with_interval(report.intervals['malignant_sensitivity' + key])}, "
            f"specificity {with_interval(report.intervals['malignant_specificity' + key])}"
            f", cut {t.value:.4f}"
        )
    return [*lines, *_net_benefit(report)]


def _net_benefit(report: EvaluationReport) -> list[str]:
    """The decision curve at a few thresholds; the whole curve is in the JSON."""
    curve = report.net_benefit
    if curve is None:
        return []
    rows = [
        i
        for i, t in enumerate(curve.thresholds)
        if any(abs(t - x) < 1e-9 for x in (0.05, 0.1, 0.2, 0.3, 0.5))
    ]
    return [
        f"{'net benefit at threshold':<26}" + "".join(f"{curve.thresholds[i]:>9.2f}" for i in rows),
        f"{'  model':<26}" + "".join(f"{curve.model[i]:>9.4f}" for i in rows),
        f"{'  all called malignant':<26}" + "".join(f"{curve.treat_all[i]:>9.4f}" for i in rows),
        f"{'  none called malignant':<26}" + "".join(f"{curve.treat_none[i]:>9.4f}" for i in rows),
    ]


def _coverage(report: EvaluationReport) -> list[str]:
    c = report.coverage
    if c is None:
        return []
    by_class = ", ".join(f"{n} {number(v, 2)}" for n, v in zip(c.classes, c.class_coverage, strict=True))
    return [
        f"Prediction sets at {c.level:.0%}: coverage {c.coverage:.3f}, mean size {c.mean_size:.2f}, "
        f"one class only in {c.share_single:.0%}",
        f"  by class: {by_class}",
    ]
