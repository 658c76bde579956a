"""One model on one split: every figure, its interval, its thresholds, and what exactly was evaluated."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy.typing as npt

from dermdemo.errors import DataError
from dermdemo.evaluation.calibration import Prevalence, apply_temperature, assumed_prevalence
from dermdemo.evaluation.checks import check_classes, check_groups, check_labels, check_matrix
from dermdemo.evaluation.conformal import ConformalThresholds, Coverage, coverage
from dermdemo.evaluation.intervals import Interval, group_bootstrap
from dermdemo.evaluation.malignancy import (
    NetBenefit,
    OperatingPoint,
    Threshold,
    malignancy_metrics,
    malignant_indices,
    set_thresholds,
)
from dermdemo.evaluation.metrics import ClassificationMetrics, compute_metrics
from dermdemo.evaluation.records import decode, encode
from dermdemo.evaluation.report_text import render
from dermdemo.evaluation.scores import STANDARD_METRICS, class_metrics

SCHEMA_VERSION = 1
FEW_LESIONS = 20


@dataclass(frozen=True, kw_only=True)
class ReportIdentity:
    """What was evaluated on what.

    Attributes:
        name: checkpoint folder; `sha256` identifies its weights.
        source: data set, for example ``HAM10000``; `split` its part, `split_hash` the exact split.
    """

    name: str
    sha256: str
    source: str
    split: str
    split_hash: str


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """Metrics with intervals of one checkpoint on one split.

    Attributes:
        temperature: logits were divided by it before everything else.
        metrics: point figures; thresholds and net benefit are in `metrics.malignancy`.
        intervals: by metric name: ``balanced_accuracy``, ``sensitivity:mel``, ``malignant_auc``,
            ``malignant_sensitivity@0.95`` and so on.
        coverage: of the stored prediction sets, if any.
        prevalence: class shares that the probabilities assume, beside those found.
        notes: sentences to show beside the figures.
    """

    schema_version: int
    identity: ReportIdentity
    temperature: float
    metrics: ClassificationMetrics
    intervals: Mapping[str, Interval]
    coverage: Coverage | None
    prevalence: Prevalence
    n_resamples: int
    seed: int
    notes: tuple[str, ...]

    @property
    def n_images(self) -> int:
        return self.metrics.n_images

    @property
    def n_lesions(self) -> int:
        """Groups that the intervals are drawn over."""
        return self.metrics.n_lesions or 0

    @property
    def operating_points(self) -> tuple[OperatingPoint, ...]:
        return self.metrics.malignancy.operating_points if self.metrics.malignancy else ()

    @property
    def net_benefit(self) -> NetBenefit | None:
        return self.metrics.malignancy.net_benefit if self.metrics.malignancy else None

    def to_json(self) -> str:
        """JSON text without NaN; `from_json` gives back an equal report."""
        return json.dumps(encode(self), indent=2, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> EvaluationReport:
        """Read what `to_json` wrote. Raises DataError if it is not such a report."""
        try:
            data = json.loads(text)
        except ValueError as error:
            raise DataError("This evaluation report is not valid JSON; write it anew.") from error
        version = data.get("schema_version") if isinstance(data, dict) else None
        if version != SCHEMA_VERSION:
            raise DataError(
                f"This evaluation report has version {version}; this program reads {SCHEMA_VERSION}."
            )
        return decode(cls, data)

    def to_text(self) -> str:
        """Fixed-width table for a terminal, at most 110 columns."""
        return render(self)


def build_report(
    y: npt.ArrayLike,
    logits: npt.ArrayLike,
    classes: Sequence[str],
    groups: npt.ArrayLike,
    *,
    identity: ReportIdentity,
    temperature: float = 1.0,
    val: tuple[npt.ArrayLike, npt.ArrayLike] | None = None,
    thresholds: Sequence[Threshold] | None = None,
    conformal: ConformalThresholds | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> EvaluationReport:
    """Evaluate logits (N, K) against labels (N,), with intervals by bootstrap over groups (N,).

    Args:
        temperature: fitted on the calibration split.
        val: (labels, logits) of the validation split, to fix thresholds on.
        thresholds: thresholds fixed earlier (stored with the model); with neither of the two no
            operating point is reported.
        conformal: stored prediction-set thresholds, to report their coverage here.

    Raises:
        DataError: data that cannot be scored, or a validation split without a benign image.
        ConfigError: a temperature or number of resamples out of range.
    """
    names = check_classes(classes)
    labels = check_labels(y, len(names))
    lesions = check_groups(groups, len(labels))
    probs = apply_temperature(check_matrix(logits, len(labels), len(names), "Logits"), temperature)
    fixed = tuple(thresholds) if thresholds else _thresholds(val, names, temperature)
    metrics = compute_metrics(labels, probs, names, lesions, thresholds=fixed)
    fns = {**STANDARD_METRICS, **class_metrics(names), **malignancy_metrics(names, fixed)}
    intervals = group_bootstrap(fns, labels, probs, lesions, n_resamples=n_resamples, seed=seed)
    return EvaluationReport(
        schema_version=SCHEMA_VERSION,
        identity=identity,
        temperature=float(temperature),
        metrics=metrics,
        intervals=intervals,
        coverage=None if conformal is None else coverage(labels, probs, conformal),
        prevalence=assumed_prevalence(labels, probs, names),
        n_resamples=n_resamples,
        seed=seed,
        notes=(*metrics.notes, *_notes(metrics, intervals, n_resamples, seed), *_split_notes(fixed, identity)),
    )


def _thresholds(
    val: tuple[npt.ArrayLike, npt.ArrayLike] | None, names: tuple[str, ...], temperature: float
) -> tuple[Threshold, ...]:
    """Thresholds fixed on validation at the same temperature; none without validation or malignant view."""
    if val is None or not malignant_indices(names):
        return ()
    labels = check_labels(val[0], len(names))
    logits = check_matrix(val[1], len(labels), len(names), "Validation logits")
    return set_thresholds(labels, apply_temperature(logits, temperature), names)


def _notes(
    metrics: ClassificationMetrics, intervals: Mapping[str, Interval], n_resamples: int, seed: int
) -> list[str]:
    """How the intervals were made and which figures rest on little."""
    notes = [
        f"Intervals: 95 % percentile, {n_resamples} resamples of {metrics.n_lesions} lesions, seed {seed}; "
        "model, temperature and thresholds are held fixed.",
        "ECE is biased upward on small sets, and so is its interval.",
    ]
    few = [f"{c.name} ({c.n_lesions})" for c in metrics.per_class if 0 < (c.n_lesions or 0) < FEW_LESIONS]
    if few:
        notes.append(f"Fewer than {FEW_LESIONS} lesions, so read with care: {', '.join(few)}.")
    undefined = {
        name: i.n_undefined for name, i in intervals.items() if i.n_undefined and i.estimate is not None
    }
    if undefined:
        worst = max(undefined.values())
        notes.append(
            f"{len(undefined)} metrics were undefined in some resamples (up to {worst} of {n_resamples}), "
            "where a class was not drawn; their intervals rest on the others."
        )
    return notes


def _split_notes(fixed: Sequence[Threshold], identity: ReportIdentity) -> list[str]:
    """Whether thresholds are honest for this split."""
    if not fixed:
        return ["No thresholds were fixed on a validation split, so no operating point is reported."]
    if identity.split == "val":
        return ["The thresholds were fixed on this very split; their specificity here is not evidence."]
    return []
