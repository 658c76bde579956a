"""How unusual an image is for the data the VAE was fitted to, on both sides.

Two measures against the calibration lesions, which the VAE has not seen: the mean latent distance to the
nearest training images (far is unusual) and the reconstruction error (high AND low are unusual: a blank or
smooth picture is reconstructed too well). The stranger of the two counts, and is itself ranked among the
reference, so that the score is a share of lesions whatever the two measures have to do with each other.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dermdemo.errors import DataError
from dermdemo.types import Novelty, NoveltyLevel

UNUSUAL, FAR = 0.95, 0.99
SMALL_REFERENCE = 100


@dataclass(frozen=True)
class Reference:
    """Sorted values of the reference lesions, (n,) each, and what they are in words."""

    distance: np.ndarray
    error: np.ndarray
    strangeness: np.ndarray
    name: str

    def __len__(self) -> int:
        return len(self.distance)


def make_reference(distance: np.ndarray, error: np.ndarray, name: str) -> Reference:
    """Reference from the two measures of n lesions, (n,) each and in the same order.

    Raises:
        DataError: empty, of unequal length, or not finite.
    """
    if len(distance) == 0 or len(distance) != len(error):
        raise DataError("A novelty reference needs both measures of at least one lesion.")
    if not (np.isfinite(distance).all() and np.isfinite(error).all()):
        raise DataError("A novelty reference holds a value that is not finite.")
    by_distance, by_error = np.sort(distance), np.sort(error)
    strange = [_strangeness(_quantile(by_distance, d), _quantile(by_error, e))
               for d, e in zip(distance, error, strict=True)]
    return Reference(by_distance, by_error, np.sort(strange), name)


def assess(reference: Reference, distance: float, error: float) -> Novelty:
    """Novelty of one image from its mean latent distance and its reconstruction MSE."""
    q_distance, q_error = _quantile(reference.distance, distance), _quantile(reference.error, error)
    below = np.searchsorted(reference.strangeness, _strangeness(q_distance, q_error), "left")
    score = float(below) / len(reference)
    return Novelty(score=score, level=level_of(score), distance=distance, distance_quantile=q_distance,
                   error_quantile=q_error, reference=reference.name)


def level_of(score: float) -> NoveltyLevel:
    """``typical`` below 0.95, ``unusual`` below 0.99, else ``far``."""
    if score < UNUSUAL:
        return "typical"
    return "unusual" if score < FAR else "far"


def _quantile(ordered: np.ndarray, value: float) -> float:
    """Share of `ordered` below `value`; ties count half."""
    left, right = np.searchsorted(ordered, value, "left"), np.searchsorted(ordered, value, "right")
    return float(left + right) / (2 * len(ordered))


def _strangeness(q_distance: float, q_error: float) -> float:
    """The stranger of the upper tail of the distance and either tail of the error, in [0, 1]."""
    return max(q_distance, abs(2 * q_error - 1))
