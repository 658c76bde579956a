"""Malignant against benign: one score per image, thresholds fixed on validation, net benefit.

The score is the sum of the probabilities of the malignant classes; an image is called malignant when
its score reaches the threshold (score >= threshold).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dermdemo.diagnoses import malignant_classes
from dermdemo.errors import ConfigError, DataError
from dermdemo.evaluation.checks import (
    BoolArray,
    FloatArray,
    check_classes,
    check_labels,
    check_probabilities,
    finite_or_none,
)
from dermdemo.evaluation.scores import Metric, WeightedScores, rank_auc, ratio

TARGET_SPECIFICITIES = (0.80, 0.95)
NET_BENEFIT_THRESHOLDS: tuple[float, ...] = tuple(i / 100 for i in range(1, 100))


@dataclass(frozen=True, kw_only=True)
class Threshold:
    """A threshold on the malignant score and what it reached on the set it was fixed on.

    Attributes:
        target_specificity: the specificity that was asked for.
        value: the threshold; malignant when score >= value.
        specificity, sensitivity: reached on the fixing set; sensitivity is None without malignant images.
    """

    target_specificity: float
    value: float
    specificity: float
    sensitivity: float | None
    n_benign: int
    n_malignant: int


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """What a fixed threshold reaches on the set at hand; None where there is nothing to count."""

    threshold: Threshold
    sensitivity: float | None
    specificity: float | None


@dataclass(frozen=True, kw_only=True)
class NetBenefit:
    """Decision curve: net benefit per image at each threshold probability.

    `model` follows the score, `treat_all` calls every image malignant, `treat_none` none (always 0). It
    holds for the share of malignant images in this set and for calibrated scores only.
    Source: Vickers and Elkin 2006.
    """

    thresholds: tuple[float, ...]
    model: tuple[float, ...]
    treat_all: tuple[float, ...]
    treat_none: tuple[float, ...]
    prevalence: float


@dataclass(frozen=True, kw_only=True)
class MalignancyView:
    """The two-class view of one evaluation; `reason` says in words why `auc` is None."""

    malignant_classes: tuple[str, ...]
    n_malignant: int
    n_benign: int
    auc: float | None
    operating_points: tuple[OperatingPoint, ...]
    net_benefit: NetBenefit
    reason: str | None


def malignant_indices(classes: Sequence[str]) -> tuple[int, ...]:
    """Columns of the malignant classes; empty if all or none of `classes` are malignant (no such view)."""
    bad = malignant_classes(classes)
    return tuple(list(classes).index(c) for c in bad) if len(bad) < len(classes) else ()


def malignant_score(probs: FloatArray, indices: Sequence[int]) -> FloatArray:
    """Summed probability of the malignant classes, (N, K) -> (N,) in [0, 1]."""
    score: FloatArray = np.clip(probs[:, list(indices)].sum(axis=1), 0.0, 1.0)
    return score


def set_thresholds(
    y: npt.ArrayLike,
    probs: npt.ArrayLike,
    classes: Sequence[str],
    *,
    specificities: Sequence[float] = TARGET_SPECIFICITIES,
) -> tuple[Threshold, ...]:
    """Fix thresholds on validation: for each target the lowest cut whose specificity reaches it.

    The cut lies half-way between the last benign score it must exceed and the next higher score seen.

    Raises:
        ConfigError: a target is not between 0 and 1.
        DataError: bad input, no malignant-against-benign view of these classes, or no benign image.
    """
    names = check_classes(classes)
    labels = check_labels(y, len(names))
    p = check_probabilities(probs, len(labels), len(names))
    indices = malignant_indices(names)
    if not indices:
        raise DataError("These classes are all benign or all malignant, so no threshold between them exists.")
    positive, score = np.isin(labels, indices), malignant_score(p, indices)
    if positive.all():
        raise DataError("There is no benign image to fix a specificity on.")
    return tuple(_threshold(positive, score, target) for target in specificities)


def _threshold(positive: BoolArray, score: FloatArray, target: float) -> Threshold:
    if not 0 < target < 1:
        raise ConfigError(f"A specificity must lie between 0 and 1; got {target}.")
    benign = np.sort(score[~positive])
    must_exceed = benign[int(np.ceil(target * len(benign) - 1e-9)) - 1]
    higher = score[score > must_exceed]
    middle = (must_exceed + higher.min()) / 2 if len(higher) else must_exceed
    value = max(middle, np.nextafter(must_exceed, 2.0))
    hit = score[positive] >= value
    return Threshold(
        target_specificity=float(target),
        value=float(value),
        specificity=float((benign < value).mean()),
        sensitivity=float(hit.mean()) if len(hit) else None,
        n_benign=len(benign),
        n_malignant=len(hit),
    )


def net_benefit(
    positive: BoolArray, score: FloatArray, thresholds: Sequence[float] = NET_BENEFIT_THRESHOLDS
) -> NetBenefit:
    """Net benefit TP/N - FP/N * t/(1 - t) at each threshold t in (0, 1), against treat-all and treat-none.

    Raises:
        ConfigError: a threshold is not between 0 and 1.
    """
    t = np.asarray(thresholds, dtype=np.float64)
    if t.ndim != 1 or not ((t > 0) & (t < 1)).all():
        raise ConfigError("Thresholds of a net benefit curve must lie between 0 and 1.")
    n, odds = len(positive), t / (1 - t)
    called = score >= t[:, None]  # (T, N)
    true_positives = (called & positive).sum(axis=1) / n
    false_positives = (called & ~positive).sum(axis=1) / n
    prevalence = float(positive.mean())
    return NetBenefit(
        thresholds=tuple(t.tolist()),
        model=tuple((true_positives - false_positives * odds).tolist()),
        treat_all=tuple((prevalence - (1 - prevalence) * odds).tolist()),
        treat_none=(0.0,) * len(t),
        prevalence=prevalence,
    )


def malignancy_view(
    s: WeightedScores, classes: tuple[str, ...], thresholds: Sequence[Threshold] = ()
) -> MalignancyView | None:
    """The two-class view of `s` (weights of one row of ones), or None if `classes` allow none."""
    indices = malignant_indices(classes)
    if not indices:
        return None
    positive = np.isin(s.y, indices)
    n_malignant = int(positive.sum())
    n_benign = len(positive) - n_malignant
    kind = "malignant" if n_benign == 0 else "benign"
    points = (
        OperatingPoint(
            threshold=t,
            sensitivity=finite_or_none(malignant_sensitivity(indices, t.value)(s)[0]),
            specificity=finite_or_none(malignant_specificity(indices, t.value)(s)[0]),
        )
        for t in thresholds
    )
    return MalignancyView(
        malignant_classes=tuple(classes[i] for i in indices),
        n_malignant=n_malignant,
        n_benign=n_benign,
        auc=finite_or_none(malignant_auc(indices)(s)[0]),
        operating_points=tuple(points),
        net_benefit=net_benefit(positive, malignant_score(s.probs, indices)),
        reason=None if n_malignant and n_benign else f"Every image here is {kind}, so there is no AUC.",
    )


def malignant_auc(indices: Sequence[int]) -> Metric:
    """AUC of the malignant score as a bootstrap metric."""
    return lambda s: rank_auc(malignant_score(s.probs, indices), np.isin(s.y, indices), s.weights)


def malignant_sensitivity(indices: Sequence[int], threshold: float) -> Metric:
    """Share of malignant images with score >= threshold, as a bootstrap metric."""
    return lambda s: _rate(s, np.isin(s.y, indices), malignant_score(s.probs, indices) >= threshold)


def malignant_specificity(indices: Sequence[int], threshold: float) -> Metric:
    """Share of benign images with score < threshold, as a bootstrap metric."""
    return lambda s: _rate(s, ~np.isin(s.y, indices), malignant_score(s.probs, indices) < threshold)


def _rate(s: WeightedScores, among: BoolArray, hit: BoolArray) -> FloatArray:
    """Weighted share of `hit` among `among`: (N,), (N,) -> (B,)."""
    return ratio(s.weights @ (among & hit), s.weights @ among)


def malignancy_metrics(classes: Sequence[str], thresholds: Sequence[Threshold] = ()) -> dict[str, Metric]:
    """Bootstrap metrics of the two-class view; empty if `classes` allow none."""
    indices = malignant_indices(classes)
    if not indices:
        return {}
    metrics = {"malignant_auc": malignant_auc(indices)}
    for t in thresholds:
        metrics[f"malignant_sensitivity@{t.target_specificity:g}"] = malignant_sensitivity(indices, t.value)
        metrics[f"malignant_specificity@{t.target_specificity:g}"] = malignant_specificity(indices, t.value)
    return metrics
