"""Is a model a constant predictor: does it always name the most frequent class?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dermdemo.evaluation.checks import IntArray

ACCURACY_MARGIN = 0.01
BALANCED_MARGIN = 0.05


@dataclass(frozen=True, kw_only=True)
class ConstantAnswer:
    """What always naming the most frequent class of some images would reach.

    Attributes:
        accuracy: share of that class.
        balanced_accuracy: 1 / number of classes that occur.
    """

    accuracy: float
    balanced_accuracy: float

    def matches(self, accuracy: float, balanced_accuracy: float | None) -> bool:
        """Whether figures are those of a constant predictor, as far as figures tell.

        A model may reach the accuracy by chance while it names every class; one that is better than that in balanced
        accuracy by more than 5 points is none. None: not recorded, the accuracy alone decides.
        """
        if abs(accuracy - self.accuracy) > ACCURACY_MARGIN + 1e-12:
            return False
        return balanced_accuracy is None or balanced_accuracy <= self.balanced_accuracy + BALANCED_MARGIN


def constant_answer(y: IntArray) -> ConstantAnswer:
    """The figures of the best constant answer on labels (N,); N is at least 1."""
    counts = np.bincount(y)
    return ConstantAnswer(accuracy=float(counts.max() / counts.sum()),
                          balanced_accuracy=1 / int(np.count_nonzero(counts)))
