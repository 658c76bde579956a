"""Resamples that every figure of a study shares: whole lesions, and seeds, drawn with replacement.

With one seed only lesions are drawn. The draws depend on the names of the lesions and on the number of seeds, so
two arms with the same seeds are resampled alike, and their difference is paired in both.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from dermdemo.evaluation.checks import FloatArray, GroupArray, finite_or_none
from dermdemo.evaluation.intervals import percentiles
from dermdemo.evaluation.resampling import draw_counts

MIN_LESIONS = 10  # a class of fewer gets no interval, as in `versus`
MAX_UNDEFINED = 0.2  # share of resamples; an interval over fewer would rest on the lucky ones
STREAMS = {"test": 0, "seeds": 1, "train": 2, "val": 3}


@dataclass(frozen=True, kw_only=True)
class Resampling:
    """How intervals are made."""

    n_resamples: int = 1000
    seed: int = 0
    level: float = 0.95

    def seed_weights(self, n_seeds: int) -> FloatArray:
        """Share of each seed in each resample, (B, S); ones for a single seed."""
        rng = np.random.default_rng([self.seed, STREAMS["seeds"]])
        return draw_counts(rng, self.n_resamples, n_seeds) / n_seeds


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A figure and its percentile interval; None where there is none."""

    value: float | None
    low: float | None
    high: float | None


def estimate(point: float, sampled: FloatArray, level: float, *, n_lesions: int) -> Estimate:
    """Point value and the percentiles of its resamples (B,).

    No interval from few lesions, or where too many resamples lost a class.
    """
    value = finite_or_none(point)
    low, high, undefined = percentiles(sampled, level, skip=value is None or n_lesions < MIN_LESIONS)
    if undefined > MAX_UNDEFINED * len(sampled):
        low, high = None, None
    return Estimate(value=value, low=low, high=high)


class LesionWeights:
    """How often each lesion of a split is drawn in each resample, for runs that need not share all lesions."""

    def __init__(self, split: str, groups: Iterable[GroupArray], how: Resampling) -> None:
        self.names = np.unique(np.concatenate(list(groups)))
        rng = np.random.default_rng([how.seed, STREAMS[split]])
        self.counts = draw_counts(rng, how.n_resamples, len(self.names))
        self._latest: tuple[bytes, FloatArray] | None = None

    def of(self, groups: GroupArray) -> FloatArray:
        """Weight of each image in each resample: (N,) lesions -> (B, N)."""
        key = groups.tobytes()
        if self._latest is None or self._latest[0] != key:
            self._latest = key, self.counts[:, np.searchsorted(self.names, groups)]
        return self._latest[1]

    def means(self, groups: GroupArray, values: FloatArray) -> FloatArray:
        """Weighted mean of each column in each resample: (N,), (N, Q) -> (B, Q); NaN if no image was drawn."""
        weights = self.of(groups)
        total = weights.sum(axis=1, keepdims=True)
        out = np.full((len(weights), values.shape[1]), np.nan)
        np.divide(weights @ values, total, out=out, where=total > 0)
        return out
