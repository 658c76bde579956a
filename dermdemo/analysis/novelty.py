"""How unusual an image is for the data the VAE was fitted to, on both sides.

Three measures against the calibration lesions, which the VAE has not seen: the mean latent distance to the
nearest training images (far is unusual), the reconstruction error and the detail of the input (high AND low
are unusual). A blank or smooth picture may lie among the lesions in the latent space and be reconstructed no
better and no worse than they are: only its want of detail gives it away. The strangest measure counts, and is
itself ranked among the reference, so that the score is a share of lesions whatever the measures have to do
with each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dermdemo.errors import DataError
from dermdemo.types import Novelty, NoveltyLevel

UNUSUAL, FAR = 0.95, 0.99
SMALL_REFERENCE = 100
LUMA = np.array([0.299, 0.587, 0.114], np.float32) / 255  # BT.601, from uint8


@dataclass(frozen=True)
class Reference:
    """Sorted values of the reference lesions, (n,) each, and what they are in words; `detail` None: not known."""

    distance: np.ndarray
    error: np.ndarray
    detail: np.ndarray | None
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


def make_reference(distance: np.ndarray, error: np.ndarray, name: str, *, detail: np.ndarray | None = None
                   ) -> Reference:
    """Reference from the measures of n lesions, (n,) each and in the same order.

    Args:
        detail: of their inputs; None if it was not stored: novelty then rests on two measures.

    Raises:
        DataError: empty, of unequal length, or not finite.
    """
    measures = [distance, error] if detail is None else [distance, error, detail]
    if len(distance) == 0 or len({len(m) for m in measures}) != 1:
        raise DataError("A novelty reference needs every measure of at least one lesion.")
    if not all(np.isfinite(m).all() for m in measures):
        raise DataError("A novelty reference holds a value that is not finite.")
    ordered = [np.sort(m) for m in measures]
    strange = [_strangeness([_quantile(o, v) for o, v in zip(ordered, values, strict=True)])
               for values in zip(*measures, strict=True)]
    return Reference(ordered[0], ordered[1], None if detail is None else ordered[2], np.sort(strange), name)


def assess(reference: Reference, distance: float, error: float, detail: float) -> Novelty:
    """Novelty of one image from its mean latent distance, its reconstruction MSE and its input's detail."""
    q_distance, q_error = _quantile(reference.distance, distance), _quantile(reference.error, error)
    q_detail = None if reference.detail is None else _quantile(reference.detail, detail)
    known = [q_distance, q_error] if q_detail is None else [q_distance, q_error, q_detail]
    below = np.searchsorted(reference.strangeness, _strangeness(known), "left")
    score = float(below) / len(reference)
    return Novelty(score=score, level=level_of(score), distance=distance, distance_quantile=q_distance,
                   error_quantile=q_error, detail_quantile=q_detail, reference=reference.name)


def level_of(score: float) -> NoveltyLevel:
    """``typical`` below 0.95, ``unusual`` below 0.99, else ``far``."""
    if score < UNUSUAL:
        return "typical"
    return "unusual" if score < FAR else "far"


def _quantile(ordered: np.ndarray, value: float) -> float:
    """Share of `ordered` below `value`; ties count half."""
    left, right = np.searchsorted(ordered, value, "left"), np.searchsorted(ordered, value, "right")
    return float(left + right) / (2 * len(ordered))


def _strangeness(quantiles: Sequence[float]) -> float:
    """The strangest of the upper tail of the distance and either tail of the others, in [0, 1]."""
    distance, *two_sided = quantiles
    return max(distance, *(abs(2 * q - 1) for q in two_sided))
