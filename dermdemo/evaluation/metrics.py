"""Point metrics of one classifier on one set of images, as a typed result that JSON can hold.

The arithmetic is in `scores` (shared with the bootstrap), the two-class view in `malignancy`. Figures
count images, not lesions; `intervals` accounts for images of one lesion going together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from dermdemo.evaluation import scores
from dermdemo.evaluation.checks import (
    GroupArray,
    check_classes,
    check_groups,
    check_labels,
    check_probabilities,
    finite_or_none,
)
from dermdemo.evaluation.malignancy import MalignancyView, Threshold, malignancy_view
from dermdemo.evaluation.records import encode
from dermdemo.evaluation.scores import WeightedScores


@dataclass(frozen=True, kw_only=True)
class ClassMetrics:
    """One class against the rest.

    Attributes:
        n_images, n_lesions: of this class; n_lesions is None when groups are unknown.
        sensitivity, f1: None where the class does not occur.
        specificity, auc: None where nothing else (or, for the AUC, not the class) occurs.
        ece: calibration error of this class's own probability.
        prevalence: share of the images that have this class.
        mean_probability: the share that the probabilities assume.
    """

    name: str
    n_images: int
    n_lesions: int | None
    sensitivity: float | None
    specificity: float | None
    auc: float | None
    f1: float | None
    ece: float
    prevalence: float
    mean_probability: float


@dataclass(frozen=True, kw_only=True)
class ReliabilityBin:
    """Images whose top probability falls into one bin of the ECE; `confidence` is its mean, `accuracy` the
    share of them whose named class is the true one.
    """

    n_images: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True)
class ClassificationMetrics:
    """Every point metric of one evaluation.

    Attributes:
        absent_classes: classes of the model without an image here. Macro figures (balanced accuracy, AUC,
            F1, classwise ECE) average over the classes present; probabilities are not renormalised, so
            naming an absent class is an error.
        macro_auc, mcc: None where only one class occurs; `notes` says so.
        ece: 15 equal-width bins on the top label; biased upward on small sets.
        brier: summed over classes, in [0, 2]. nll: in nats.
        confusion: images by true class (rows) and predicted class (columns).
        malignancy: None where the classes are all benign or all malignant.
        notes: sentences to show beside the figures.
        reliability: the bins of the ECE that hold images, by rising confidence.
    """

    n_images: int
    n_lesions: int | None
    classes: tuple[str, ...]
    absent_classes: tuple[str, ...]
    balanced_accuracy: float
    accuracy: float
    macro_auc: float | None
    macro_f1: float
    mcc: float | None
    brier: float
    nll: float
    ece: float
    classwise_ece: float
    per_class: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]
    malignancy: MalignancyView | None
    notes: tuple[str, ...]
    reliability: tuple[ReliabilityBin, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold: no NaN, no infinity, no numpy."""
        return dict(encode(self))


def compute_metrics(
    y: npt.ArrayLike,
    probs: npt.ArrayLike,
    classes: Sequence[str],
    groups: npt.ArrayLike | None = None,
    *,
    thresholds: Sequence[Threshold] = (),
) -> ClassificationMetrics:
    """Score probabilities (N, K) against labels (N,).

    Args:
        y: class indices into `classes`.
        probs: rows sum to 1; they are used as they are, also where `y` lacks some classes.
        groups: lesion of every image, only counted here.
        thresholds: fixed on validation by `malignancy.set_thresholds`, applied here as they are.

    Raises:
        DataError: shapes, labels or probabilities that cannot be scored.
    """
    names = check_classes(classes)
    labels = check_labels(y, len(names))
    p = check_probabilities(probs, len(labels), len(names))
    lesions = None if groups is None else check_groups(groups, len(labels))
    s = WeightedScores(labels, p, np.ones((1, len(labels))))
    return ClassificationMetrics(
        n_images=len(labels),
        n_lesions=None if lesions is None else len(np.unique(lesions)),
        classes=names,
        absent_classes=tuple(n for n, there in zip(names, s.present, strict=True) if not there),
        balanced_accuracy=float(scores.balanced_accuracy(s)[0]),
        accuracy=float(scores.accuracy(s)[0]),
        macro_auc=finite_or_none(scores.macro_auc(s)[0]),
        macro_f1=float(scores.macro_f1(s)[0]),
        mcc=finite_or_none(scores.mcc(s)[0]),
        brier=float(scores.brier(s)[0]),
        nll=float(scores.nll(s)[0]),
        ece=float(scores.ece(s)[0]),
        classwise_ece=float(scores.classwise_ece(s)[0]),
        per_class=_per_class(s, names, lesions),
        confusion=tuple(tuple(int(c) for c in row) for row in s.confusion[0]),
        malignancy=malignancy_view(s, names, thresholds),
        notes=_notes(s, names),
        reliability=reliability(s),
    )


def reliability(s: WeightedScores) -> tuple[ReliabilityBin, ...]:
    """Confidence against accuracy of the top label in the bins of `scores.ece`, every image counted once.

    Source: Guo et al. 2017 (1706.04599), section 2.
    """
    confidence, right = s.probs.max(axis=1), s.predicted == s.y
    bins = scores.bin_of(confidence)
    return tuple(
        ReliabilityBin(
            n_images=int((bins == b).sum()),
            confidence=float(confidence[bins == b].mean()),
            accuracy=float(right[bins == b].mean()),
        )
        for b in np.unique(bins)
    )


def _per_class(
    s: WeightedScores, names: tuple[str, ...], lesions: GroupArray | None
) -> tuple[ClassMetrics, ...]:
    counts = np.bincount(s.y, minlength=len(names))
    return tuple(
        ClassMetrics(
            name=name,
            n_images=int(counts[k]),
            n_lesions=None if lesions is None else len(np.unique(lesions[s.y == k])),
            sensitivity=finite_or_none(s.recall[0, k]),
            specificity=finite_or_none(s.specificity[0, k]),
            auc=finite_or_none(s.auc[0, k]),
            f1=finite_or_none(s.f1[0, k]),
            ece=float(s.class_ece[0, k]),
            prevalence=float(counts[k] / len(s.y)),
            mean_probability=float(s.probs[:, k].mean()),
        )
        for k, name in enumerate(names)
    )


def _notes(s: WeightedScores, names: tuple[str, ...]) -> tuple[str, ...]:
    """Sentences on absent classes and undefined figures."""
    notes = []
    present = [n for n, there in zip(names, s.present, strict=True) if there]
    absent = [n for n in names if n not in present]
    if absent:
        notes.append(
            f"No image here is {', '.join(absent)}: macro figures average over the {len(present)} of "
            f"{len(names)} classes present. Probabilities are not renormalised, so naming an absent class "
            "counts as an error."
        )
    if len(present) == 1:
        notes.append(f"Only {present[0]} occurs here, so AUC and MCC are undefined.")
    return tuple(notes)
