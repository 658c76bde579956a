"""The arithmetic of every metric, vectorised over bootstrap resamples.

A resample is a row of weights: how often each image was drawn. `WeightedScores` holds labels,
probabilities and B such rows, and every metric is a function of it that returns B values at once. The
point estimate is the same function with one row of ones, so the two can never drift apart.

An undefined value is NaN here and only here; results built on this module say None and give a reason.

Classes that do not occur in `y` at all ("absent") are left out of every macro average, and the
probabilities are not renormalised over the others: the model in use would not know that a source lacks
a class, so naming an absent class is an error like any other. A resample that happens to lose a class
that `y` does have leaves macro figures undefined, since their average would be over other classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

import numpy as np

from dermdemo.evaluation.checks import BoolArray, FloatArray, IntArray

N_BINS = 15
MIN_PROBABILITY = 1e-12  # NLL of a zero probability is capped at 27.6 nats


@dataclass(frozen=True, eq=False)
class WeightedScores:
    """Labels, probabilities and B resamples of them; shared intermediate results are computed once.

    Attributes:
        y: (N,) class indices.
        probs: (N, K), rows sum to 1.
        weights: (B, N) number of times each image counts; ones for the point estimate.
    """

    y: IntArray
    probs: FloatArray
    weights: FloatArray

    @cached_property
    def present(self) -> BoolArray:
        """(K,) classes that occur in `y`, before any resampling."""
        return np.bincount(self.y, minlength=self.probs.shape[1]) > 0

    @cached_property
    def total(self) -> FloatArray:
        """(B,) sum of the weights."""
        total: FloatArray = self.weights.sum(axis=1)
        return total

    @cached_property
    def predicted(self) -> IntArray:
        """(N,) most probable class; the lower index wins a tie."""
        predicted: IntArray = self.probs.argmax(axis=1)
        return predicted

    @cached_property
    def confusion(self) -> FloatArray:
        """(B, K, K) weighted counts: rows are true classes, columns predicted ones."""
        k = self.probs.shape[1]
        counts = sum_by(self.weights, self.y * k + self.predicted, k * k)
        return counts.reshape(-1, k, k)

    @cached_property
    def auc(self) -> FloatArray:
        """(B, K) one-vs-rest AUC of each class; NaN where a class or its rest is missing."""
        columns = [rank_auc(p, self.y == k, self.weights) for k, p in enumerate(self.probs.T)]
        return np.stack(columns, axis=1)

    @cached_property
    def recall(self) -> FloatArray:
        """(B, K) sensitivity of each class; NaN where it does not occur."""
        return ratio(self.confusion.diagonal(axis1=1, axis2=2), self.confusion.sum(axis=2))

    @cached_property
    def specificity(self) -> FloatArray:
        """(B, K) share of the other classes' images not given this class; NaN without any."""
        negatives = self.total[:, None] - self.confusion.sum(axis=2)
        false_positives = self.confusion.sum(axis=1) - self.confusion.diagonal(axis1=1, axis2=2)
        return ratio(negatives - false_positives, negatives)

    @cached_property
    def f1(self) -> FloatArray:
        """(B, K) F1 of each class; NaN where it does not occur."""
        support = self.confusion.sum(axis=2)
        f1 = ratio(2 * self.confusion.diagonal(axis1=1, axis2=2), support + self.confusion.sum(axis=1))
        return np.where(support > 0, f1, np.nan)

    @cached_property
    def class_ece(self) -> FloatArray:
        """(B, K) calibration error of each class's own probability, equal-width bins."""
        error = np.eye(self.probs.shape[1])[self.y] - self.probs  # (N, K)
        columns = [_absolute_sum(self.weights, p, e) for p, e in zip(self.probs.T, error.T, strict=True)]
        return ratio(np.stack(columns, axis=1), self.total[:, None])


Metric = Callable[[WeightedScores], FloatArray]


def ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Elementwise division; NaN, without a warning, where the denominator is 0."""
    out = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    np.divide(numerator, denominator, out=out, where=denominator != 0)
    return out


def sum_by(weights: FloatArray, index: IntArray, size: int, values: FloatArray | None = None) -> FloatArray:
    """Weighted sums per category: (B, N) weights, (N,) index in [0, size), (N,) values -> (B, size)."""
    used, column = np.unique(index, return_inverse=True)
    selector = np.zeros((len(index), len(used)))
    selector[np.arange(len(index)), column] = 1.0 if values is None else values
    out = np.zeros((len(weights), size))
    out[:, used] = weights @ selector
    return out


def bin_of(p: FloatArray) -> IntArray:
    """Index of the equal-width bin of each probability; bins are (low, high], the first holds 0 too."""
    return np.clip(np.ceil(p * N_BINS).astype(np.int64) - 1, 0, N_BINS - 1)


def _absolute_sum(weights: FloatArray, p: FloatArray, error: FloatArray) -> FloatArray:
    """Sum over the bins of p of |weighted sum of error|: (B, N), (N,), (N,) -> (B,)."""
    total: FloatArray = np.abs(sum_by(weights, bin_of(p), N_BINS, error)).sum(axis=1)
    return total


def _mean_over(values: FloatArray, present: BoolArray) -> FloatArray:
    """Mean of the columns of the present classes, (B, K), (K,) -> (B,); NaN if one of them is undefined."""
    mean: FloatArray = values[:, present].mean(axis=1)
    return mean


def rank_auc(score: FloatArray, positive: BoolArray, weights: FloatArray) -> FloatArray:
    """Weighted area under the ROC curve, ties counting one half: (N,), (N,), (B, N) -> (B,).

    NaN where a resample has no positive or no negative. Source: Mann and Whitney 1947 (the U statistic).
    """
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.diff(score[order], prepend=-np.inf) > 0)  # first of each run of equal scores
    drawn = weights[:, order]
    up = np.add.reduceat(drawn * positive[order], starts, axis=1)  # (B, T) over distinct scores
    down = np.add.reduceat(drawn, starts, axis=1) - up
    below = np.cumsum(down, axis=1) - down
    wins = np.einsum("bt,bt->b", up, below + 0.5 * down)
    return ratio(wins, up.sum(axis=1) * down.sum(axis=1))


def accuracy(s: WeightedScores) -> FloatArray:
    """(B,) share of images whose most probable class is the true one."""
    return ratio(s.confusion.trace(axis1=1, axis2=2), s.total)


def balanced_accuracy(s: WeightedScores) -> FloatArray:
    """(B,) mean sensitivity over the classes present in `y`."""
    return _mean_over(s.recall, s.present)


def macro_auc(s: WeightedScores) -> FloatArray:
    """(B,) mean one-vs-rest AUC over the classes present in `y`."""
    return _mean_over(s.auc, s.present)


def macro_f1(s: WeightedScores) -> FloatArray:
    """(B,) mean F1 over the classes present in `y`."""
    return _mean_over(s.f1, s.present)


def mcc(s: WeightedScores) -> FloatArray:
    """(B,) multi-class Matthews correlation; 0 for a constant predictor, NaN if only one class occurs.

    Source: Gorodkin 2004; the value 0 for a constant predictor follows Jurman et al. 2012.
    """
    true, guess = s.confusion.sum(axis=2), s.confusion.sum(axis=1)  # (B, K)
    squared = s.total**2
    spread_true, spread_guess = squared - (true**2).sum(axis=1), squared - (guess**2).sum(axis=1)
    covariance = s.confusion.trace(axis1=1, axis2=2) * s.total - (true * guess).sum(axis=1)
    value = ratio(covariance, np.sqrt(spread_true * spread_guess))
    return np.where((spread_guess == 0) & (spread_true > 0), 0.0, value)


def brier(s: WeightedScores) -> FloatArray:
    """(B,) squared distance to the one-hot label, summed over classes, mean over images; in [0, 2].

    Source: Brier 1950.
    """
    target = np.eye(s.probs.shape[1])[s.y]
    distance: FloatArray = ((s.probs - target) ** 2).sum(axis=1)
    return s.weights @ distance / s.total


def nll(s: WeightedScores) -> FloatArray:
    """(B,) negative log likelihood of the true class in nats, mean over images (see MIN_PROBABILITY)."""
    p = s.probs[np.arange(len(s.y)), s.y]
    return s.weights @ -np.log(np.maximum(p, MIN_PROBABILITY)) / s.total


def ece(s: WeightedScores) -> FloatArray:
    """(B,) expected calibration error of the top label, 15 equal-width bins; in [0, 1].

    Biased upward on small sets: chance differences inside a bin count as miscalibration, so the value
    is above 0 for a perfectly calibrated model, and its bootstrap interval is shifted upward as well.
    Source: Guo et al. 2017 (1706.04599), eq. 3.
    """
    confidence = s.probs.max(axis=1)
    error = (s.predicted == s.y) - confidence
    return _absolute_sum(s.weights, confidence, error) / s.total


def classwise_ece(s: WeightedScores) -> FloatArray:
    """(B,) mean over the classes present in `y` of each class's own calibration error; in [0, 1].

    Biased upward on small sets, like `ece`. Source: Kull et al. 2019 (1910.12656), eq. 3.
    """
    return _mean_over(s.class_ece, s.present)


STANDARD_METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        "balanced_accuracy": balanced_accuracy,
        "accuracy": accuracy,
        "macro_auc": macro_auc,
        "macro_f1": macro_f1,
        "mcc": mcc,
        "brier": brier,
        "nll": nll,
        "ece": ece,
        "classwise_ece": classwise_ece,
    }
)
LOWER_IS_BETTER: frozenset[str] = frozenset({"brier", "nll", "ece", "classwise_ece"})


def class_metrics(classes: tuple[str, ...]) -> dict[str, Metric]:
    """Sensitivity, specificity and AUC of each class, named ``sensitivity:mel`` and so on."""

    def column(attribute: str, k: int) -> Metric:
        return lambda s: getattr(s, attribute)[:, k]

    kinds = {"sensitivity": "recall", "specificity": "specificity", "auc": "auc"}
    return {
        f"{label}:{name}": column(attribute, k)
        for label, attribute in kinds.items()
        for k, name in enumerate(classes)
    }
