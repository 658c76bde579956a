"""How sure a figure is: bootstrap over lesions (and seeds), paired differences, exact McNemar.

Images of one lesion resemble each other, so whole lesions are drawn with replacement. Each resample is a
row of image weights, and all metrics are evaluated on many rows at once (`resampling`, `scores`).

Probabilities may be (N, K), one model, or (S, N, K), the same arm trained with S seeds and evaluated on
the same images: the figure is then the mean over seeds, and seeds are drawn with replacement as well
(with few seeds their spread is still underestimated). Arms with different test sets per seed cannot be
compared here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dermdemo.errors import DataError
from dermdemo.evaluation.checks import FloatArray, IntArray, check_groups, finite_or_none
from dermdemo.evaluation.resampling import BootstrapData, draw
from dermdemo.evaluation.scores import Metric

ONE_LESION = "All images show one lesion, so there is no interval."


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure and its percentile interval.

    Attributes:
        estimate: on the data as they are; None where the metric is undefined.
        low, high: None where no interval exists; `note` says why.
        n_resamples: resamples drawn; in `n_undefined` of them the metric was undefined (a class was not
            drawn), and the interval rests on the others.
        level: nominal coverage.
    """

    estimate: float | None
    low: float | None
    high: float | None
    n_resamples: int
    n_undefined: int = 0
    level: float = 0.95
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """First model minus second on the same images, from the same resampled lesions.

    Attributes:
        share_above_zero: share of defined resamples with a difference > 0; ties are `share_zero`.
    """

    estimate: float | None
    low: float | None
    high: float | None
    share_above_zero: float | None
    share_zero: float | None
    n_resamples: int
    n_undefined: int = 0
    level: float = 0.95
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class McNemar:
    """Exact McNemar test on one image per lesion.

    Attributes:
        only_a, only_b: lesions that only the first or only the second model gets right.
        p_value: two-sided, binomial; 1 when the models never differ.
    """

    n_lesions: int
    only_a: int
    only_b: int
    p_value: float


def group_bootstrap(
    metric_fns: Mapping[str, Metric],
    y: npt.ArrayLike,
    probs: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, Interval]:
    """Percentile intervals of each metric, drawing whole groups with replacement.

    Args:
        metric_fns: for example `scores.STANDARD_METRICS`; wrap a plain function with
            `resampling.plain_metric`.
        y, probs, groups: (N,), (N, K) or (S, N, K), (N,).

    Raises:
        DataError: data that cannot be scored.
        ConfigError: `n_resamples` below 1 or `level` outside (0, 1).
    """
    data = BootstrapData.of(y, [probs], groups)
    point, draws = draw(metric_fns, data, n_resamples, seed, level)
    note = ONE_LESION if data.n_groups < 2 else None
    out = {}
    for name in metric_fns:
        estimate = finite_or_none(point[name][0, 0])
        low, high, undefined = percentiles(draws[name][0], level, skip=estimate is None or note is not None)
        out[name] = Interval(
            estimate=estimate,
            low=low,
            high=high,
            n_resamples=n_resamples,
            n_undefined=undefined,
            level=level,
            note=note or _why(low, estimate),
        )
    return out


def paired_difference(
    metric_fns: Mapping[str, Metric],
    y: npt.ArrayLike,
    probs_a: npt.ArrayLike,
    probs_b: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    n_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> dict[str, PairedDifference]:
    """Interval of metric(A) - metric(B), both evaluated on the same resampled groups (and seeds).

    Arguments and errors as in `group_bootstrap`; with (S, N, K), seed i of A is paired with seed i of B.
    """
    data = BootstrapData.of(y, [probs_a, probs_b], groups)
    point, draws = draw(metric_fns, data, n_resamples, seed, level)
    note = ONE_LESION if data.n_groups < 2 else None
    out = {}
    for name in metric_fns:
        estimate = finite_or_none(point[name][0, 0] - point[name][1, 0])
        difference = draws[name][0] - draws[name][1]
        skip = estimate is None or note is not None
        low, high, undefined = percentiles(difference, level, skip=skip)
        known = difference[np.isfinite(difference)]
        out[name] = PairedDifference(
            estimate=estimate,
            low=low,
            high=high,
            share_above_zero=None if low is None else float((known > 0).mean()),
            share_zero=None if low is None else float((known == 0).mean()),
            n_resamples=n_resamples,
            n_undefined=undefined,
            level=level,
            note=note or _why(low, estimate),
        )
    return out


def one_per_group(groups: npt.ArrayLike, *, seed: int = 0) -> IntArray:
    """Row of one image per group, drawn at random with `seed`, in the order of the group names."""
    array = np.asarray(groups)
    shuffled = np.random.default_rng(seed).permutation(len(array))
    _, first = np.unique(array[shuffled], return_index=True)
    return shuffled[first].astype(np.int64)


def mcnemar_exact(
    y: npt.ArrayLike,
    predicted_a: npt.ArrayLike,
    predicted_b: npt.ArrayLike,
    groups: npt.ArrayLike,
    *,
    seed: int = 0,
) -> McNemar:
    """Exact two-sided McNemar test of predicted classes (N,), on one image per lesion drawn with `seed`.

    The test needs independent pairs, and images of one lesion are not; hence one image each.

    Raises:
        DataError: arrays of different lengths.
    """
    from scipy.stats import binomtest  # a second to import, and not needed to serve

    truth, a, b = np.asarray(y), np.asarray(predicted_a), np.asarray(predicted_b)
    if truth.ndim != 1 or len(truth) == 0 or a.shape != truth.shape or b.shape != truth.shape:
        raise DataError("McNemar's test needs one label and one prediction of each model per image.")
    rows = one_per_group(check_groups(groups, len(truth)), seed=seed)
    right_a, right_b = a[rows] == truth[rows], b[rows] == truth[rows]
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    discordant = only_a + only_b
    p = float(binomtest(only_a, discordant, 0.5).pvalue) if discordant else 1.0
    return McNemar(n_lesions=len(rows), only_a=only_a, only_b=only_b, p_value=p)


def percentiles(values: FloatArray, level: float, *, skip: bool) -> tuple[float | None, float | None, int]:
    """Low, high and the number of undefined values."""
    known = values[np.isfinite(values)]
    undefined = len(values) - len(known)
    if skip or len(known) == 0:
        return None, None, undefined
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high), undefined


def _why(low: float | None, estimate: float | None) -> str | None:
    if low is not None:
        return None
    return "Undefined on these images." if estimate is None else "Undefined in every resample."
