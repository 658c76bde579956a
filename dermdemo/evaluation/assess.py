"""`evaluate`: one stored classifier on one split of a source, with the split the model was trained by."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from dermdemo.config import DeviceName
from dermdemo.data.sources import LesionTable, load_source
from dermdemo.data.splits import Split, fingerprint, make_split
from dermdemo.errors import DataError
from dermdemo.evaluation.baseline import pixel_baseline
from dermdemo.evaluation.conformal import ConformalThresholds
from dermdemo.evaluation.intervals import Interval
from dermdemo.evaluation.malignancy import Threshold
from dermdemo.evaluation.predict import Predictions, count_reading, predict
from dermdemo.evaluation.records import decode
from dermdemo.evaluation.report import EvaluationReport, ReportIdentity, build_report
from dermdemo.models.card import write_card
from dermdemo.models.checkpoint import Loaded, load_classifier, rewrite_meta
from dermdemo.models.stored_figures import (
    ClassFigures,
    Figure,
    OperatingFigures,
    ReliabilityPoint,
    StoredFigures,
)

CARD_METRICS = (
    "balanced_accuracy",
    "macro_auc",
    "accuracy",
    "macro_f1",
    "mcc",
    "brier",
    "nll",
    "ece",
    "classwise_ece",
    "malignant_auc",
)


@dataclass(frozen=True)
class Assessment:
    """A report, the predictions behind it, and how often test was read for this model (0: another split)."""

    report: EvaluationReport
    predictions: Predictions
    readings: int


def split_for(model: Loaded, table: LesionTable, *, external: bool) -> Split:
    """The split the model was trained by, rebuilt and checked by hash.

    Raises:
        DataError: the source splits differently, so that test may hold training lesions.
    """
    seed = int(model.meta.data.get("split_seed", 0))
    split = make_split(table, seed=seed, prints=fingerprint(table))
    if not external and split.hash != model.meta.split_hash:
        raise DataError(
            f"'{table.name}' does not split as the data '{model.meta.name}' was trained on: its test split "
            "may hold training lesions. Use the same source, or --external for data the model never saw."
        )
    return split


def assess(
    checkpoint: Path,
    source: str,
    *,
    split_name: str = "test",
    device: DeviceName = "auto",
    external: bool = False,
    n_resamples: int = 1000,
) -> Assessment:
    """Evaluate a stored classifier.

    Args:
        external: the source is none of the model's own data; with no split column all of it is scored.

    Thresholds are those that were fixed on the model's own validation split.

    Raises:
        DataError: nothing to score, or a split that is not the model's.
    """
    model = load_classifier(checkpoint)
    table = load_source(source, classes=model.meta.classes)
    split = split_for(model, table, external=external)
    everything = external and "split" not in table.frame
    rows = list(range(len(table))) if everything else split.rows(split_name)
    predictions = predict(model, table, rows, device=device)
    shown = "all" if everything else split_name
    readings = count_reading(model.meta.sha256, split.hash, shown) if shown == "test" else 0
    identity = ReportIdentity(
        name=checkpoint.name, sha256=model.meta.sha256, source=table.name, split=shown, split_hash=split.hash
    )
    thresholds = [decode(Threshold, dict(t)) for t in model.meta.thresholds.values()]
    conformal = decode(ConformalThresholds, dict(model.meta.conformal)) if model.meta.conformal else None
    report = build_report(
        predictions.y,
        predictions.logits,
        model.meta.classes,
        predictions.groups,
        identity=identity,
        temperature=model.meta.temperature or 1.0,
        thresholds=thresholds,
        conformal=conformal,
        n_resamples=n_resamples,
    )
    return Assessment(report, predictions, readings)


def stored_figures(report: EvaluationReport, readings: int) -> StoredFigures:
    """What meta.json keeps of a report on test."""
    metrics, view = report.metrics, report.metrics.malignancy
    return StoredFigures(
        n_images=report.n_images,
        n_lesions=report.n_lesions,
        readings=readings,
        figures={
            k: _figure(i)
            for k, i in report.intervals.items()
            if k in CARD_METRICS and i.estimate is not None
        },
        per_class=tuple(
            ClassFigures(
                name=c.name,
                n_images=c.n_images,
                n_lesions=c.n_lesions,
                sensitivity=_figure(report.intervals[f"sensitivity:{c.name}"]),
                specificity=_figure(report.intervals[f"specificity:{c.name}"]),
                ece=c.ece,
            )
            for c in metrics.per_class
        ),
        confusion=metrics.confusion,
        operating_points=_operating_points(report),
        reliability=tuple(
            ReliabilityPoint(confidence=b.confidence, accuracy=b.accuracy, n_images=b.n_images)
            for b in metrics.reliability
        ),
        n_malignant=view.n_malignant if view else None,
        n_benign=view.n_benign if view else None,
    )


def _figure(interval: Interval) -> Figure:
    return Figure(estimate=interval.estimate, low=interval.low, high=interval.high)


def _operating_points(report: EvaluationReport) -> tuple[OperatingFigures, ...]:
    """Sensitivity and specificity at the thresholds that were fixed on validation."""
    fixed = [point.threshold for point in report.operating_points]
    return tuple(
        OperatingFigures(
            target_specificity=t.target_specificity,
            threshold=t.value,
            sensitivity=_figure(report.intervals[f"malignant_sensitivity@{t.target_specificity:g}"]),
            specificity=_figure(report.intervals[f"malignant_specificity@{t.target_specificity:g}"]),
        )
        for t in fixed
    )


def store_test(checkpoint: Path, source: str, assessment: Assessment) -> None:
    """Put test figures and the pixel baseline into meta.json and rewrite the card."""
    model = load_classifier(checkpoint)
    table = load_source(source, classes=model.meta.classes)
    split = split_for(model, table, external=False)
    labels = table.labels()
    baseline = pixel_baseline(
        table,
        [r for r in split.rows("train") if labels[r] >= 0],
        [r for r in split.rows("test") if labels[r] >= 0],
    )
    metrics = {
        **model.meta.metrics,
        "test": stored_figures(assessment.report, assessment.readings).to_dict(),
        "baseline": {**baseline.figures, "description": baseline.description},
    }
    meta = dataclasses.replace(model.meta, metrics=metrics)
    rewrite_meta(checkpoint, meta)
    write_card(checkpoint, meta)
