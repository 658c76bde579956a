"""Test is read once for a finished model: predictions are kept, the reading is counted, and that is that."""

from __future__ import annotations

import os
from pathlib import Path

from dermdemo.config import DeviceName
from dermdemo.data.sources import LesionTable
from dermdemo.data.splits import Split
from dermdemo.errors import DataError
from dermdemo.evaluation.predict import Predictions, count_reading, predict, readings
from dermdemo.evaluation.seeds.folder import TEST_FILE, Reading, RunPlace, write_json
from dermdemo.models.checkpoint import load_classifier

PREDICTIONS = "test_predictions.npz"


def read_test(place: RunPlace, table: LesionTable, split: Split, *, device: DeviceName) -> None:
    """Predict test with the stored model of a finished run, unless that has been done.

    Predictions are kept before the reading is counted: a break in between loses neither.

    Raises:
        DataError: the checkpoint is another model than the run made, or test has been read for it elsewhere.
    """
    if place.reading is not None:
        return
    model, finished = load_classifier(place.checkpoint), place.model
    sha256 = model.meta.sha256
    if finished is None or finished.sha256 != sha256:
        raise DataError(f"'{place.checkpoint}' is not the model that run {place.name} made: test is not read for it.")
    if not (place.folder / PREDICTIONS).exists():
        refuse_second(place.name, sha256, split)
        save(predict(model, table, split.rows("test"), device=device), place.folder / PREDICTIONS)
    count(place.folder, sha256, split)


def refuse_second(name: str, sha256: str, split: Split) -> None:
    """Raise DataError if test was read for this model before and what came of it is not here."""
    before = readings(sha256)
    if before:
        raise DataError(f"Test has been read before for the model of {name} on this machine (readings: {before}), "
                        f"but its predictions are not in the run folder: it is not read again. Put the {PREDICTIONS} "
                        "of that evaluation there.")


def count(folder: Path, sha256: str, split: Split, *, again: bool = False) -> None:
    """Count the reading if it was not counted yet (`again`: in any case), and leave test.json."""
    counted = (0 if again else readings(sha256)) or count_reading(sha256, split.hash, "test")
    write_json(folder / TEST_FILE, Reading(sha256=sha256, split_hash=split.hash, readings=counted))


def save(predictions: Predictions, path: Path) -> None:
    """Predictions, written whole or not at all."""
    temporary = path.with_name(f".{os.getpid()}.{path.name}")
    predictions.save(temporary)
    os.replace(temporary, path)
