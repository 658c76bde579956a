"""Logits of a stored classifier for rows of a lesion table, always from what is on disk."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dermdemo.config import DeviceName, environment
from dermdemo.data.loader import PixelStore, to_float
from dermdemo.data.sources import LesionTable
from dermdemo.errors import DataError
from dermdemo.models.checkpoint import CheckpointMeta, Loaded
from dermdemo.models.stored_figures import read_test
from dermdemo.runtime import resolve_device

BATCH = 128
READINGS_FILE = "test_readings.jsonl"


@dataclass(frozen=True)
class Predictions:
    """Logits (N, K) float32 of one model, with labels (N,), groups (N,) and image ids (N,)."""

    y: np.ndarray
    logits: np.ndarray
    groups: np.ndarray
    image_id: np.ndarray

    def save(self, path: Path) -> None:
        """Write as npz without pickles."""
        np.savez_compressed(
            path,
            y=self.y,
            logits=self.logits,
            groups=self.groups.astype(str),
            image_id=self.image_id.astype(str),
        )


def predict(
    model: Loaded, table: LesionTable, rows: Sequence[int], *, device: DeviceName = "auto"
) -> Predictions:
    """Un-augmented logits of a classifier.

    Raises:
        DataError: no labelled rows, or labels the model does not know.
    """
    order = {c: i for i, c in enumerate(model.meta.classes)}
    labels = table.frame["label"].iloc[list(rows)]
    unknown = sorted(set(labels) - set(order) - {""})
    if unknown:
        raise DataError(
            f"The model knows {', '.join(order)}; the data also hold {', '.join(unknown[:5])}. Map those "
            "labels to the model's classes, or leave them out."
        )
    kept = [r for r, label in zip(rows, labels, strict=True) if label]
    if not kept:
        raise DataError(f"'{table.name}' has no labelled image in this split.")
    where = resolve_device(device)
    module = model.module.to(where, memory_format=torch.channels_last).eval()
    store = PixelStore(table, kept, model.meta.input)
    logits = []
    with torch.inference_mode():
        for batch in torch.arange(len(kept)).split(BATCH):
            x = to_float(store.batch(batch).to(where)).contiguous(memory_format=torch.channels_last)
            logits.append(module(x).cpu().numpy())
    frame = table.frame.iloc[kept]
    return Predictions(
        np.array([order[label] for label in frame["label"]]),
        np.concatenate(logits),
        frame["group"].to_numpy(str),
        frame["image_id"].to_numpy(str),
    )


def count_reading(sha256: str, split_hash: str, split: str) -> int:
    """Note that a split was read for a model, and say how often it has been. Only test is counted by callers."""
    home = environment().home
    home.mkdir(parents=True, exist_ok=True)
    path = home / READINGS_FILE
    line = {"model": sha256, "split_hash": split_hash, "split": split}
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps({**line, "time": time.time()}) + "\n")
    return _counted(path, line)


def readings(sha256: str) -> int:
    """How often test has been read for a model on this machine, on whatever data."""
    path = environment().home / READINGS_FILE
    return _counted(path, {"model": sha256, "split": "test"}) if path.exists() else 0


def readings_anywhere(meta: CheckpointMeta) -> int:
    """The same, or what was stored with the model when it was evaluated elsewhere, whichever is more.

    Raises:
        CheckpointError: its stored figures cannot be read.
    """
    stored = read_test(meta)
    return max(readings(meta.sha256), stored.readings if stored else 0)


def _counted(path: Path, wanted: dict[str, str]) -> int:
    seen = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines() if text.strip()]
    return sum(all(entry.get(k) == v for k, v in wanted.items()) for entry in seen)
