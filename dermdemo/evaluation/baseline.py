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


def pixel_baseline(
    table: LesionTable, train: Sequence[int], test: Sequence[int], *, seed: int = 0
) -> Baseline:
    """PCA-64 of 32 px images, standardised, with class-balanced logistic regression.

    Fitted on `train` rows, scored on `test` rows; neither may hold unlabelled rows.
    """
    labels = np.array(table.labels())
    spec = InputSpec(size=SIDE)

    def pixels(rows: Sequence[int]) -> np.ndarray:
        batch = PixelStore(table, rows, spec).batch(torch.arange(len(rows)))
        return batch.numpy().reshape(len(rows), -1).astype(np.float32) / 255

    components = min(COMPONENTS, len(train) - 1)
    model = make_pipeline(
        PCA(components, random_state=seed),
        StandardScaler(),
        LogisticRegression(max_iter=2000, class_weight="balanced"),
    )
    model.fit(pixels(train), labels[list(train)])
    probs = np.zeros((len(test), len(table.classes)))
    probs[:, model[-1].classes_] = model.predict_proba(pixels(test))
    metrics = compute_metrics(labels[list(test)], probs, table.classes)
    figures = {
        k: getattr(metrics, k) for k in ("balanced_accuracy", "macro_auc", "accuracy", "macro_f1", "mcc")
    }
    description = f"PCA-{components} of {SIDE} px RGB pixels, class-balanced logistic regression, same split"
    return Baseline(description, {k: float(v) for k, v in figures.items() if v is not None})
