"""Conformal prediction sets: classes that cannot be ruled out at a stated coverage.

Thresholds are fitted on the calibration split only, on calibrated probabilities, and stored with the
checkpoint (`records.encode` and `records.decode`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import numpy.typing as npt

from dermdemo.errors import ConfigError, DataError
from dermdemo.evaluation.checks import (
    BoolArray,
    FloatArray,
    check_classes,
    check_groups,
    check_labels,
    check_probabilities,
)
from dermdemo.evaluation.intervals import one_per_group


@dataclass(frozen=True, kw_only=True)
class ConformalThresholds:
    """LAC thresholds: class k is in the set when 1 - p_k <= thresholds[k].

    Attributes:
        class_conditional: per class, True if its own lesions set its threshold, False if it fell back
            to the marginal one, which promises nothing for this class by itself.
        n_lesions: calibration lesions of each class.
        rule: the rule in words, to be shown beside the sets.
    """

    level: float
    classes: tuple[str, ...]
    thresholds: tuple[float, ...]
    class_conditional: tuple[bool, ...]
    n_lesions: tuple[int, ...]
    marginal_threshold: float
    rule: str


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How often prediction sets hold the true class, per image, and how large they are."""

    level: float
    coverage: float
    mean_size: float
    share_single: float
    classes: tuple[str, ...]
    class_coverage: tuple[float | None, ...]


def min_lesions(level: float) -> int:
    """Fewest lesions whose scores can reach `level` coverage: level / (1 - level), 19 at 95 %."""
    return ceil(level / (1 - level) - 1e-9)


def fit_conformal(
    y: npt.ArrayLike,
    probs: npt.ArrayLike,
    classes: Sequence[str],
    groups: npt.ArrayLike,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> ConformalThresholds:
    """LAC thresholds, class-conditional where a class has lesions enough, else marginal.

    The score of a lesion is 1 minus the probability of its true class, on one image drawn with `seed`
    (images of one lesion are not exchangeable with other lesions). The threshold is the
    ceil((n + 1) * level)-th smallest of n scores, which exists from n = level / (1 - level) on: a class
    with at least 19 calibration lesions (at 95 %) gets its own, any other the threshold of all lesions.

    Raises:
        ConfigError: `level` outside (0, 1).
        DataError: bad input, or fewer lesions in all than that.
    Source: Sadinle, Lei and Wasserman 2019 (LAC); Vovk 2012 (class-conditional); Dunn et al. 2022.
    """
    if not 0 < level < 1:
        raise ConfigError(f"The level of a prediction set must lie between 0 and 1; got {level}.")
    names = check_classes(classes)
    labels = check_labels(y, len(names))
    p = check_probabilities(probs, len(labels), len(names))
    rows = one_per_group(check_groups(groups, len(labels)), seed=seed)
    labels, score, need = labels[rows], 1.0 - p[rows, labels[rows]], min_lesions(level)
    if len(rows) < need:
        raise DataError(f"Prediction sets need at least {need} calibration lesions; there are {len(rows)}.")
    counts = np.bincount(labels, minlength=len(names))
    marginal = _quantile(score, level)
    return ConformalThresholds(
        level=level,
        classes=names,
        thresholds=tuple(
            _quantile(score[labels == k], level) if counts[k] >= need else marginal for k in range(len(names))
        ),
        class_conditional=tuple(bool(c >= need) for c in counts),
        n_lesions=tuple(int(c) for c in counts),
        marginal_threshold=marginal,
        rule=_rule(level, need, [n for n, c in zip(names, counts, strict=True) if c < need]),
    )


def _quantile(score: FloatArray, level: float) -> float:
    """The ceil((n + 1) * level)-th smallest of n scores."""
    return float(np.sort(score)[ceil((len(score) + 1) * level - 1e-9) - 1])


def _rule(level: float, need: int, fallen_back: Sequence[str]) -> str:
    rule = f"Classes with at least {need} calibration lesions have {level:.0%} coverage of their own"
    if not fallen_back:
        return rule + "; every class has."
    return (
        f"{rule}; {', '.join(fallen_back)}: fewer, so the threshold of all lesions, with no promise by class."
    )


def prediction_mask(probs: FloatArray, thresholds: ConformalThresholds) -> BoolArray:
    """Membership (N, K) of each class in each image's set; the most probable class is always in.

    Adding the most probable class to an otherwise empty set can only raise coverage.

    Raises:
        DataError: the number of columns is not the number of classes.
    """
    p = np.asarray(probs, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] != len(thresholds.classes):
        raise DataError(f"The thresholds are for {len(thresholds.classes)} classes; got shape {p.shape}.")
    mask: BoolArray = 1.0 - p <= np.array(thresholds.thresholds)
    mask[np.arange(len(p)), p.argmax(axis=1)] = True
    return mask


def prediction_set(probs: npt.ArrayLike, thresholds: ConformalThresholds) -> tuple[str, ...]:
    """Classes in the set of one image, probabilities (K,), most probable first; never empty."""
    p = np.asarray(probs, dtype=np.float64)
    mask = prediction_mask(p.reshape(1, -1), thresholds)[0]
    return tuple(thresholds.classes[k] for k in np.argsort(-p, kind="stable") if mask[k])


def coverage(y: npt.ArrayLike, probs: npt.ArrayLike, thresholds: ConformalThresholds) -> Coverage:
    """Coverage and size of the sets on images other than those the thresholds come from.

    Raises:
        DataError: bad input.
    """
    labels = check_labels(y, len(thresholds.classes))
    mask = prediction_mask(check_probabilities(probs, len(labels), len(thresholds.classes)), thresholds)
    hit, size = mask[np.arange(len(labels)), labels], mask.sum(axis=1)
    by_class = [hit[labels == k] for k in range(len(thresholds.classes))]
    return Coverage(
        level=thresholds.level,
        coverage=float(hit.mean()),
        mean_size=float(size.mean()),
        share_single=float((size == 1).mean()),
        classes=thresholds.classes,
        class_coverage=tuple(float(h.mean()) if len(h) else None for h in by_class),
    )
