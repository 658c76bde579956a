"""How unusual an image is for the data the VAE was fitted to, on both sides.

Four measures against the calibration lesions, which no model was trained on: the mean latent distance to the
nearest training images and the Mahalanobis distance of a classifier's features from theirs (far is unusual),
the reconstruction error and the detail of the input (high AND low are unusual). A VAE places pictures that it
has never seen the like of among what it knows (Nalisnick et al. 2019, 1810.09136): it is the features of an
encoder trained on everyday pictures that tell those from lesions. A blank or smooth picture is given away by
its want of detail. The strangest measure counts, and is itself ranked among the reference, so that the score is
a share of lesions whatever the measures have to do with each other.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from dermdemo.errors import DataError
from dermdemo.types import Novelty, NoveltyLevel

UNUSUAL, FAR = 0.95, 0.99
SMALL_REFERENCE = 100
COMPONENTS, IMAGES_PER_COMPONENT = 64, 10
LUMA = np.array([0.299, 0.587, 0.114], np.float32) / 255  # BT.601, from uint8


@dataclass(frozen=True)
class Reference:
    """Sorted values of the reference lesions, (n,) each, and what they are in words; None: not known."""

    distance: np.ndarray
    error: np.ndarray
    detail: np.ndarray | None
    features: np.ndarray | None
    strangeness: np.ndarray
    name: str

    def __len__(self) -> int:
        return len(self.distance)


def input_detail(pixels: np.ndarray) -> np.ndarray:
    """Fine structure of images (N, S, S, 3) uint8 -> (N,) float32, in units of the range of luma.

    Root mean square of each pixel's luma minus the mean of its four neighbours': 0 for a blank picture and,
    but for rounding, for an even gradient.
    """
    y = pixels @ LUMA  # (N, S, S)
    around = (y[:, :-2, 1:-1] + y[:, 2:, 1:-1] + y[:, 1:-1, :-2] + y[:, 1:-1, 2:]) / 4
    found: np.ndarray = np.sqrt(np.square(y[:, 1:-1, 1:-1] - around).mean((1, 2)))
    return found


@dataclass(frozen=True)
class FeatureGaussian:
    """A Gaussian fitted to the training images' pooled features, along its largest principal axes.

    Source: Lee et al. 2018 (1807.03888), with one mean for all classes, as no label may enter, and without the
    smallest axes, which few images cannot estimate.

    Attributes:
        mean: (C,) float32.
        projection: (C, k) float32, principal axes divided by the standard deviation along them.
    """

    mean: np.ndarray
    projection: np.ndarray

    def distance(self, features: np.ndarray) -> np.ndarray:
        """Mahalanobis distance along the kept axes: (N, C) -> (N,) float32."""
        found: np.ndarray = np.linalg.norm((features.astype(np.float32) - self.mean) @ self.projection, axis=1)
        return found


def fit_gaussian(features: np.ndarray) -> FeatureGaussian | None:
    """Gaussian of the features (N, C) of training images; at most `COMPONENTS` axes, one for ten images.

    None where the features do not vary at all.
    """
    mean = features.mean(0, dtype=np.float64)
    _, scale, axes = np.linalg.svd(features - mean, full_matrices=False)
    deviation = scale / np.sqrt(len(features))
    kept = min(COMPONENTS, max(1, len(features) // IMAGES_PER_COMPONENT), int((deviation > 1e-6).sum()))
    if not kept:
        return None
    projection = axes[:kept].T / deviation[:kept]
    return FeatureGaussian(mean.astype(np.float32), projection.astype(np.float32))


def make_reference(distance: np.ndarray, error: np.ndarray, name: str, *, detail: np.ndarray | None = None,
                   features: np.ndarray | None = None) -> Reference:
    """Reference from the measures of n lesions, (n,) each and in the same order.

    Args:
        detail: of their inputs; None if it was not stored: novelty then does without it.
        features: distances of their features from the training images', likewise.

    Raises:
        DataError: empty, of unequal length, or not finite.
    """
    measures = [m for m in (distance, features, error, detail) if m is not None]
    if len(distance) == 0 or len({len(m) for m in measures}) != 1:
        raise DataError("A novelty reference needs every measure of at least one lesion.")
    if not all(np.isfinite(m).all() for m in measures):
        raise DataError("A novelty reference holds a value that is not finite.")
    unranked = Reference(np.sort(distance), np.sort(error), None if detail is None else np.sort(detail),
                         None if features is None else np.sort(features), np.empty(0), name)
    strange = [_strangeness(*_quantiles(unranked, distance[k], error[k], None if detail is None else detail[k],
                                        None if features is None else features[k])) for k in range(len(distance))]
    return replace(unranked, strangeness=np.sort(strange))


def assess(reference: Reference, distance: float, error: float, detail: float, features: float | None = None
           ) -> Novelty:
    """Novelty of one image.

    Args:
        distance: mean latent distance to the nearest training images.
        error: reconstruction MSE.
        detail: of the input.
        features: distance of its features from the training images'; None: not measured.
    """
    if features is None and reference.features is not None:
        raise ValueError("the reference has feature distances, the image none")
    q_distance, q_features, q_error, q_detail = known = _quantiles(reference, distance, error, detail, features)
    below = np.searchsorted(reference.strangeness, _strangeness(*known), "left")
    score = float(below) / len(reference)
    return Novelty(score=score, level=level_of(score), distance=distance, distance_quantile=q_distance,
                   error_quantile=q_error, detail_quantile=q_detail, feature_quantile=q_features,
                   reference=reference.name)


def level_of(score: float) -> NoveltyLevel:
    """``typical`` below 0.95, ``unusual`` below 0.99, else ``far``."""
    if score < UNUSUAL:
        return "typical"
    return "unusual" if score < FAR else "far"


def _quantile(ordered: np.ndarray, value: float) -> float:
    """Share of `ordered` below `value`; ties count half."""
    left, right = np.searchsorted(ordered, value, "left"), np.searchsorted(ordered, value, "right")
    return float(left + right) / (2 * len(ordered))


def _quantiles(reference: Reference, distance: float, error: float, detail: float | None, features: float | None
               ) -> tuple[float, float | None, float, float | None]:
    """Of distance, features, error and detail; None where the reference lacks them."""
    return (_quantile(reference.distance, distance),
            None if reference.features is None or features is None else _quantile(reference.features, features),
            _quantile(reference.error, error),
            None if reference.detail is None or detail is None else _quantile(reference.detail, detail))


def _strangeness(distance: float, features: float | None, error: float, detail: float | None) -> float:
    """The strangest of the upper tail of the distances and either tail of the others, in [0, 1]."""
    two_sided = [abs(2 * q - 1) for q in (error, detail) if q is not None]
    return max(distance, features or 0.0, *two_sided)
