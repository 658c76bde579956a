"""Drawing lesions and seeds with replacement, and evaluating metrics on many draws at once.

The draws depend on `seed`, on the group names and on their number, not on the order of the images.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from dermdemo.errors import ConfigError, DataError
from dermdemo.evaluation.checks import (
    FloatArray,
    IntArray,
    check_groups,
    check_labels,
    check_probabilities,
)
from dermdemo.evaluation.scores import Metric, WeightedScores

CHUNK_ELEMENTS = 1_000_000  # weights held at once: 8 MB per array
Values = dict[str, FloatArray]  # metric -> (models, resamples), NaN where undefined


@dataclass(frozen=True, eq=False)
class BootstrapData:
    """Checked input of a bootstrap.

    Attributes:
        y: (N,) class indices. models: one (S, N, K) stack of probabilities per model, S seeds each.
        group: (N,) lesion index of each image, in [0, n_groups).
    """

    y: IntArray
    models: tuple[FloatArray, ...]
    group: IntArray
    n_groups: int

    @classmethod
    def of(cls, y: npt.ArrayLike, models: list[npt.ArrayLike], groups: npt.ArrayLike) -> BootstrapData:
        """Check (N,), a list of (N, K) or (S, N, K), and (N,). Raises DataError if they do not fit."""
        stacks = [np.asarray(m) for m in models]
        stacks = [m[None] if m.ndim == 2 else m for m in stacks]
        if any(m.ndim != 3 or m.shape != stacks[0].shape or m.size == 0 for m in stacks):
            raise DataError(
                "Probabilities must be (images, classes) or (seeds, images, classes), alike in all models."
            )
        labels = check_labels(y, stacks[0].shape[2])
        checked = [np.stack([check_probabilities(p, len(labels), m.shape[2]) for p in m]) for m in stacks]
        names, index = np.unique(check_groups(groups, len(labels)), return_inverse=True)
        return cls(labels, tuple(checked), index.astype(np.int64), len(names))


def draw(
    metric_fns: Mapping[str, Metric], data: BootstrapData, n_resamples: int, seed: int, level: float
) -> tuple[Values, Values]:
    """Point values (models, 1) and resampled values (models, n_resamples) of every metric.

    Raises:
        ConfigError: `n_resamples` below 1 or `level` outside (0, 1).
    """
    if n_resamples < 1:
        raise ConfigError(f"A bootstrap needs at least one resample; got {n_resamples}.")
    if not 0 < level < 1:
        raise ConfigError(f"The level of an interval must lie between 0 and 1; got {level}.")
    n_seeds = len(data.models[0])
    point = _values(metric_fns, data, np.ones((1, len(data.y))), np.ones((1, n_seeds)))
    parts = [_values(metric_fns, data, w, c) for w, c in _resamples(data, n_seeds, n_resamples, seed)]
    return point, {name: np.concatenate([p[name] for p in parts], axis=1) for name in metric_fns}


def _resamples(
    data: BootstrapData, n_seeds: int, n_resamples: int, seed: int
) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Chunks of image weights (b, N) and seed counts (b, S); they depend on group names, not row order."""
    lesion_rng, seed_rng = np.random.default_rng([seed, 0]), np.random.default_rng([seed, 1])
    step = max(1, CHUNK_ELEMENTS // len(data.y))
    for start in range(0, n_resamples, step):
        b = min(step, n_resamples - start)
        yield draw_counts(lesion_rng, b, data.n_groups)[:, data.group], draw_counts(seed_rng, b, n_seeds)


def draw_counts(rng: np.random.Generator, b: int, n: int) -> FloatArray:
    """How often each of n units is drawn in n draws with replacement: (b, n)."""
    drawn = rng.integers(0, n, size=(b, n)) + n * np.arange(b)[:, None]
    return np.bincount(drawn.ravel(), minlength=b * n).reshape(b, n).astype(np.float64)


def _values(
    metric_fns: Mapping[str, Metric], data: BootstrapData, weights: FloatArray, seeds: FloatArray
) -> Values:
    """Each metric for each model, mean over the drawn seeds: (models, b); NaN where undefined."""
    out: dict[str, list[FloatArray]] = {name: [] for name in metric_fns}
    for stack in data.models:
        per_seed = [WeightedScores(data.y, probs, weights) for probs in stack]
        for name, metric in metric_fns.items():
            values = np.stack([metric(s) for s in per_seed], axis=1)  # (b, S)
            out[name].append(np.where(seeds > 0, seeds * values, 0.0).sum(axis=1) / len(stack))
    return {name: np.stack(rows) for name, rows in out.items()}


def plain_metric(fn: Callable[[IntArray, FloatArray], float]) -> Metric:
    """Wrap ``fn(y (N,), probs (N, K)) -> float`` as a bootstrap metric: slow, images repeated as drawn.

    `fn` returns NaN where it is undefined.
    """

    def metric(s: WeightedScores) -> FloatArray:
        rows = (np.repeat(np.arange(len(s.y)), w.astype(np.int64)) for w in s.weights)
        return np.array([fn(s.y[r], s.probs[r]) for r in rows], dtype=np.float64)

    return metric
