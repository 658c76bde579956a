"""The control without a network: PCA of pixels and logistic regression on the same split, read once like the rest."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from dermdemo.data.sources import LesionTable
from dermdemo.data.splits import Split
from dermdemo.evaluation.baseline import COMPONENTS, SIDE, PixelModel
from dermdemo.evaluation.predict import Predictions
from dermdemo.evaluation.seeds.folder import PIXELS_FOLDER, TEST_FILE
from dermdemo.evaluation.seeds.reading import PREDICTIONS, count, save
from dermdemo.evaluation.seeds.variants import PIXELS

SMALLEST = 1e-12  # probability that stands for 0 where its logarithm is taken


def run_pixels(root: Path, table: LesionTable, split: Split) -> None:
    """Fit on train, keep predictions of train, val and test; does nothing if that has been done.

    Every study on the same data fits the same control, so its readings add up.
    """
    folder = root / PIXELS_FOLDER
    if (folder / TEST_FILE).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    identity = hashlib.sha256(f"{PIXELS}/{COMPONENTS}/{SIDE}/{table.data_hash()}/{split.hash}".encode()).hexdigest()
    if not (folder / PREDICTIONS).exists():
        labels = table.labels()
        rows = {s: [r for r in split.rows(s) if labels[r] >= 0] for s in ("train", "val", "test")}
        model = PixelModel(table, rows["train"])
        for name in ("train", "val", "test"):  # test last: with it the control is complete
            save(_predictions(model, table, rows[name]), folder / f"{name}_predictions.npz")
    count(folder, identity, split, again=True)


def _predictions(model: PixelModel, table: LesionTable, rows: list[int]) -> Predictions:
    logits = np.log(np.maximum(model.probabilities(rows), SMALLEST)).astype(np.float32)
    frame = table.frame.iloc[rows]
    return Predictions(np.array(table.labels())[rows], logits, frame["group"].to_numpy(str),
                       frame["image_id"].to_numpy(str))
