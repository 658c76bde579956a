"""Temperature scaling and the class prevalence that probabilities assume.

A temperature is fitted on the calibration split only, and applied elsewhere as it is. Prediction sets
are in `conformal`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax
from scipy.special import softmax as scipy_softmax

from dermdemo.errors import ConfigError, DataError
from dermdemo.evaluation.checks import (
    FloatArray,
    check_classes,
    check_labels,
    check_matrix,
    check_probabilities,
)

TEMPERATURE_BOUNDS = (0.05, 20.0)
MIN_IMAGES = 20


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """A fitted temperature and what it did on the images it was fitted to.

    Attributes:
        value: T; logits are divided by it, so T > 1 softens.
        nll_before, nll_after: nats per image.
        at_bound: an end of the search range does as well, as with logits that separate the classes
            without error or that say nothing; do not trust the value.
    """

    value: float
    nll_before: float
    nll_after: float
    n_images: int
    at_bound: bool


@dataclass(frozen=True, kw_only=True)
class Prevalence:
    """The class shares that probabilities assume (their mean) beside those of the images.

    Where they differ, the probabilities were trained for other shares, for example by class-weighted
    focal loss, and no single temperature can undo that.
    """

    classes: tuple[str, ...]
    assumed: tuple[float, ...]
    observed: tuple[float, ...]


def softmax(logits: npt.ArrayLike) -> FloatArray:
    """Probabilities of logits over the last axis, any shape, in float64."""
    probs: FloatArray = scipy_softmax(np.asarray(logits, dtype=np.float64), axis=-1)
    return probs


def apply_temperature(logits: npt.ArrayLike, temperature: float) -> FloatArray:
    """softmax(logits / T) over the last axis. Raises ConfigError unless T is positive and finite."""
    if not (np.isfinite(temperature) and temperature > 0):
        raise ConfigError(f"A temperature must be a positive number; got {temperature}.")
    return softmax(np.asarray(logits, dtype=np.float64) / temperature)


def fit_temperature(y: npt.ArrayLike, logits: npt.ArrayLike, *, min_images: int = MIN_IMAGES) -> Temperature:
    """The temperature in [0.05, 20] with the lowest mean NLL of labels (N,) under logits (N, K).

    Bounded search on log T; the NLL is convex in 1/T, so the minimum is the only one.

    Raises:
        DataError: bad input, fewer than `min_images` images, or a single class.
    Source: Guo et al. 2017 (1706.04599), section 4.2.
    """
    from scipy.optimize import minimize_scalar  # slow to import, and not needed to serve

    z = np.asarray(logits)
    n_classes = z.shape[1] if z.ndim == 2 else 0
    labels = check_labels(y, max(n_classes, 1))
    z = check_matrix(z, len(labels), n_classes, "Logits")
    if len(labels) < min_images:
        raise DataError(f"A temperature needs at least {min_images} calibration images; got {len(labels)}.")
    if len(np.unique(labels)) < 2:
        raise DataError("All calibration images have one class; a temperature needs at least two.")

    def loss(log_t: float) -> float:
        return float(np.abs(log_softmax(z / exp(log_t), axis=1)[np.arange(len(labels)), labels]).mean())

    low, high = log(TEMPERATURE_BOUNDS[0]), log(TEMPERATURE_BOUNDS[1])
    found = minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-6})
    log_t = float(found.x)
    return Temperature(
        value=exp(log_t),
        nll_before=loss(0.0),
        nll_after=loss(log_t),
        n_images=len(labels),
        at_bound=min(loss(low), loss(high)) <= loss(log_t) + 1e-6,
    )


def assumed_prevalence(y: npt.ArrayLike, probs: npt.ArrayLike, classes: Sequence[str]) -> Prevalence:
    """Mean probability of each class beside its share of the labels.

    Raises:
        DataError: bad input.
    """
    names = check_classes(classes)
    labels = check_labels(y, len(names))
    p = check_probabilities(probs, len(labels), len(names))
    observed = np.bincount(labels, minlength=len(names)) / len(labels)
    return Prevalence(
        classes=names, assumed=tuple(p.mean(axis=0).tolist()), observed=tuple(observed.tolist())
    )
