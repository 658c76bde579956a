"""Checks of labels, probabilities, logits and groups, with messages fit to be shown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from dermdemo.errors import DataError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
GroupArray = npt.NDArray[np.str_]

SUM_TOLERANCE = 1e-3  # rows stored in half precision may miss 1 by this much
MISSING = ("", "nan", "None", "<NA>", "NaT")  # how an absent name reads as text


def finite_or_none(value: float | np.floating[Any]) -> float | None:
    """A Python float, or None where the value is undefined (NaN or infinite)."""
    return float(value) if math.isfinite(value) else None


def check_classes(classes: Sequence[str]) -> tuple[str, ...]:
    """Class keys as a tuple. Raises DataError if there are fewer than two or one occurs twice."""
    names = tuple(classes)
    if len(names) < 2:
        raise DataError(f"An evaluation needs at least two classes; got {len(names)}.")
    if len(set(names)) != len(names):
        raise DataError("A class name occurs twice; give every class its own name.")
    return names


def check_labels(y: npt.ArrayLike, n_classes: int) -> IntArray:
    """Class indices (N,) in [0, n_classes). Raises DataError on anything else."""
    array = np.asarray(y)
    if array.ndim != 1:
        raise DataError(f"Labels must be one class index per image; got an array of shape {array.shape}.")
    if array.size == 0:
        raise DataError("There are no images to evaluate.")
    if array.dtype.kind not in "iu":
        raise DataError(f"Labels must be whole class indices; got values of type {array.dtype}.")
    if array.min() < 0 or array.max() >= n_classes:
        bad = int(array.min()) if array.min() < 0 else int(array.max())
        raise DataError(f"Label {bad} does not name one of the {n_classes} classes (0 to {n_classes - 1}).")
    return array.astype(np.int64)


def check_matrix(values: npt.ArrayLike, n_rows: int, n_classes: int, what: str) -> FloatArray:
    """Finite scores (N, K) as float64; `what` names them in messages. Raises DataError."""
    array = np.asarray(values)
    if array.ndim != 2 or array.shape != (n_rows, n_classes):
        raise DataError(
            f"{what} must have one row per image and one column per class, ({n_rows}, {n_classes}); "
            f"got {array.shape}."
        )
    if array.dtype.kind not in "fiu":
        raise DataError(f"{what} must be numbers; got values of type {array.dtype}.")
    array = array.astype(np.float64)
    bad = int((~np.isfinite(array)).any(axis=1).sum())
    if bad:
        raise DataError(
            f"{what} of {bad} of {n_rows} images are not finite numbers; the model may have diverged."
        )
    return array


def check_probabilities(probs: npt.ArrayLike, n_rows: int, n_classes: int) -> FloatArray:
    """Probabilities (N, K), not negative, each row summing to 1 within `SUM_TOLERANCE`.

    Raises:
        DataError: wrong shape, NaN, a negative value, or a row that does not sum to 1.
    """
    array = check_matrix(probs, n_rows, n_classes, "Probabilities")
    if (array < 0).any():
        raise DataError("Some probabilities are negative; pass probabilities (after softmax), not logits.")
    off = np.abs(array.sum(axis=1) - 1.0) > SUM_TOLERANCE
    if off.any():
        raise DataError(
            f"Probabilities of {int(off.sum())} of {n_rows} images do not sum to 1; "
            "pass probabilities (after softmax), not logits."
        )
    return array


def check_groups(groups: npt.ArrayLike, n_rows: int, what: str = "lesion") -> GroupArray:
    """Name of the lesion (or patient) of every image as text, (N,); `what` names it in messages.

    Raises:
        DataError: wrong length, or an image without a name.
    """
    array = np.asarray(groups)
    if array.shape != (n_rows,):
        raise DataError(f"There must be one {what} name per image, ({n_rows},); got {array.shape}.")
    names = array.astype(str)
    missing = int(np.isin(names, MISSING).sum())
    if missing:
        raise DataError(f"{missing} images have no {what} name; give each such image a name of its own.")
    return names
