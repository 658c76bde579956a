"""The floor every arm is held against: PCA of raw pixels and logistic regression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from dermdemo.data.loader import PixelStore
from dermdemo.data.sources import LesionTable
from dermdemo.evaluation.metrics import compute_metrics
from dermdemo.types import InputSpec

COMPONENTS = 64
SIDE = 32


@dataclass(frozen=True)
class Baseline:
    """Test figures of the pixel baseline, and what it was."""

    description: str
    figures: dict[str, float]


class PixelModel:
    """PCA-64 of 32 px images, standardised, with class-balanced logistic regression; fitted on `train` rows."""

    def __init__(self, table: LesionTable, train: Sequence[int], *, seed: int = 0) -> None:
        self.table = table
        components = min(COMPONENTS, len(train) - 1)
        self.description = (
            f"PCA-{components} of {SIDE} px RGB pixels, class-balanced logistic regression, same split"
        )
        self.model = make_pipeline(
            PCA(components, random_state=seed),
            StandardScaler(),
            LogisticRegression(max_iter=2000, class_weight="balanced"),
        )
        self.model.fit(self._pixels(train), np.array(table.labels())[list(train)])

    def probabilities(self, rows: Sequence[int]) -> np.ndarray:
        """(N, K); 0 for a class without a training image."""
        probs = np.zeros((len(rows), len(self.table.classes)))
        probs[:, self.model[-1].classes_] = self.model.predict_proba(self._pixels(rows))
        return probs

    def _pixels(self, rows: Sequence[int]) -> np.ndarray:
        batch = PixelStore(self.table, rows, InputSpec(size=SIDE)).batch(torch.arange(len(rows)))
        return batch.numpy().reshape(len(rows), -1).astype(np.float32) / 255


def pixel_baseline(
    table: LesionTable, train: Sequence[int], test: Sequence[int], *, seed: int = 0
) -> Baseline:
    """A `PixelModel` fitted on `train` rows, scored on `test` rows; neither may hold unlabelled rows."""
    model = PixelModel(table, train, seed=seed)
    labels = np.array(table.labels())
    metrics = compute_metrics(labels[list(test)], model.probabilities(test), table.classes)
    figures = {
        k: getattr(metrics, k) for k in ("balanced_accuracy", "macro_auc", "accuracy", "macro_f1", "mcc")
    }
    return Baseline(model.description, {k: float(v) for k, v in figures.items() if v is not None})
