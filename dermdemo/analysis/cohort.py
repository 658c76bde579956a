"""Some of the known lesions: what they are, and how often each arm is right about them.

Figures count images. Intervals are Wilson's with the number of lesions as sample size, for images of one lesion
are right or wrong together. Training lesions flatter a classifier: figures without them stand beside the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Self

import numpy as np

from dermdemo.analysis.atlas_files import BASE_COLUMNS
from dermdemo.analysis.latent import Atlas
from dermdemo.diagnoses import HAM10000_CLASSES
from dermdemo.errors import ConfigError
from dermdemo.types import KnownPredictions

Z95 = 1.959963985
TRAIN = "train"


@dataclass(frozen=True)
class KnownLesions:
    """The atlas' rows and what each arm says of them; label "" where a lesion has none.

    Attributes:
        image_ids, groups, labels, splits: (N,) text, in the order of the atlas.
        arms: arm -> predictions of the N rows.
    """

    image_ids: np.ndarray
    groups: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    arms: Mapping[str, KnownPredictions]

    @classmethod
    def of(cls, atlas: Atlas, arms: Mapping[str, KnownPredictions]) -> Self:
        """The rows of an atlas."""
        ids, groups, labels, splits = (np.array(list(map(str, atlas.columns[name]))) for name in BASE_COLUMNS)
        return cls(ids, groups, labels, splits, arms)

    def __len__(self) -> int:
        return len(self.labels)

    def right(self, arm: str) -> np.ndarray:
        """(N,) bool: the arm names the lesion's label; False where there is none."""
        return (np.array(self.arms[arm].labels) == self.labels) & (self.labels != "")


@dataclass(frozen=True, kw_only=True)
class ArmFigures:
    """One arm on some labelled images.

    Attributes:
        n_images, n_lesions, right: counts; only labelled images.
        accuracy, low, high: share of images and its 95 % Wilson interval over lesions; None without images.
        balanced_accuracy: mean sensitivity over the `n_classes` classes present.
    """

    n_images: int
    n_lesions: int
    right: int
    accuracy: float | None
    low: float | None
    high: float | None
    balanced_accuracy: float | None
    n_classes: int


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """A selection of known lesions.

    Attributes:
        rows: rows of the atlas, ascending, each once.
        classes, splits: image counts, the most frequent class first; splits from train to test.
        arms: each arm on all of them.
        held_out: each arm on those outside the training split; None where none is in it.
    """

    rows: tuple[int, ...]
    n_lesions: int
    classes: Mapping[str, int]
    splits: Mapping[str, int]
    arms: Mapping[str, ArmFigures]
    held_out: Mapping[str, ArmFigures] | None

    @property
    def n_images(self) -> int:
        return len(self.rows)


def checked_rows(rows: object, count: int) -> tuple[int, ...]:
    """Rows from a stranger's message, ascending and each once.

    Raises:
        ConfigError: not a list of whole numbers from 0 to `count` - 1, or more of them than there are rows.
    """
    if not isinstance(rows, list) or len(rows) > count:
        raise ConfigError("A selection is a list of at most as many rows as there are known lesions.")
    if any(type(row) is not int or not 0 <= row < count for row in rows):
        raise ConfigError(f"A selection holds rows 0 to {count - 1} of the known lesions.")
    return tuple(sorted(set(rows)))


def cohort(known: KnownLesions, rows: Sequence[int]) -> Cohort:
    """Count and score a selection.

    Args:
        rows: rows of the atlas, as from `checked_rows`; may be empty.
    """
    chosen = np.array(rows, dtype=int)
    outside = chosen[known.splits[chosen] != TRAIN]
    classes = Counter(known.labels[chosen].tolist())
    splits = Counter(known.splits[chosen].tolist())
    order = {name: k for k, name in enumerate(HAM10000_CLASSES)}
    return Cohort(
        rows=tuple(map(int, rows)), n_lesions=len(set(known.groups[chosen])),
        classes=dict(sorted(classes.items(), key=lambda item: (-item[1], order.get(item[0], 99), item[0]))),
        splits={name: splits[name] for name in sort_splits(splits)},
        arms={arm: figures(known, arm, chosen) for arm in known.arms},
        held_out=None if len(outside) == len(chosen) else {arm: figures(known, arm, outside) for arm in known.arms})


def sort_splits(names: Mapping[str, int]) -> list[str]:
    """Names of splits from train to test, unknown ones last."""
    usual = ("train", "val", "calib", "test")
    return sorted(names, key=lambda name: (usual.index(name) if name in usual else len(usual), name))


def figures(known: KnownLesions, arm: str, rows: np.ndarray) -> ArmFigures:
    """One arm on the labelled ones among `rows`."""
    rows = rows[known.labels[rows] != ""]
    right, labels = known.right(arm)[rows], known.labels[rows]
    present = sorted(set(labels.tolist()))
    lesions = len(set(known.groups[rows]))
    share = float(right.mean()) if len(rows) else None
    low, high = wilson(share, lesions) if share is not None else (None, None)
    return ArmFigures(
        n_images=len(rows), n_lesions=lesions, right=int(right.sum()), accuracy=share, low=low, high=high,
        balanced_accuracy=float(np.mean([right[labels == c].mean() for c in present])) if present else None,
        n_classes=len(present))


def wilson(share: float, n: int, z: float = Z95) -> tuple[float, float]:
    """Wilson's interval of a share of n independent cases, n at least 1. Source: Wilson 1927."""
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, centre - half), min(1.0, centre + half)
