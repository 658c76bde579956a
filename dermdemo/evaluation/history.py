"""Training runs as they were written down: the curves of an arm and its stored predictions.

A run directory holds `config.json`, `events.jsonl` and, where made, `test_predictions.npz` and
`val_predictions.npz` with arrays y (N,), logits (N, K), groups (N,) and image_id (N,).

The two curves can be subtracted from each other because both are measured the same way: `train` figures
come from evaluation mode on un-augmented training images, not from the running loss of the epoch.
Epoch 0 is the state before the first update, epoch e the state after e epochs.
"""

from __future__ import annotations

import json
import math
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from dermdemo.errors import DataError
from dermdemo.evaluation.checks import (
    FloatArray,
    GroupArray,
    IntArray,
    check_groups,
    check_labels,
    check_matrix,
)


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One split along the epochs: mean loss per image, accuracy, and balanced accuracy if recorded."""

    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    balanced_accuracy: tuple[float, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class ArmHistory:
    """One training run.

    Attributes:
        name: shown in tables. `config`: the run's settings as stored.
        epochs: strictly increasing; starts at 0 (before the first update) unless that was not recorded.
        train, val: same length as `epochs`, both measured in evaluation mode.
    """

    name: str
    epochs: tuple[int, ...]
    train: Curve
    val: Curve
    config: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.epochs or any(b <= a for a, b in zip(self.epochs, self.epochs[1:], strict=False)):
            raise DataError(f"Run {self.name} has no epochs, or they are out of order.")
        for curve in (self.train, self.val):
            columns = [c for c in (curve.loss, curve.accuracy, curve.balanced_accuracy) if c is not None]
            if any(len(c) != len(self.epochs) for c in columns):
                raise DataError(
                    f"Run {self.name} has curves that do not match its {len(self.epochs)} epochs."
                )
            if not np.isfinite(np.concatenate(columns)).all():
                raise DataError(
                    f"Run {self.name} has a loss or accuracy that is not a number: it diverged. "
                    "Compare runs that finished."
                )


@dataclass(frozen=True, eq=False, kw_only=True)
class StoredPredictions:
    """Logits (N, K) of one run on one split; `y`, `groups` and `image_id` are (N,)."""

    split: str
    y: IntArray
    logits: FloatArray
    groups: GroupArray
    image_id: GroupArray


def load_history(run: Path | str, *, name: str | None = None) -> ArmHistory:
    """Read `config.json` and `events.jsonl` of a run directory; `name` defaults to the directory's.

    An epoch written twice (a resumed run) counts as it was written last. An unfinished last line, as a
    killed run leaves behind, is ignored.

    Raises:
        DataError: files are missing or damaged, no epoch was recorded, or a figure is not a number.
    """
    folder = Path(run)
    label = name or folder.resolve().name
    epochs: dict[int, Mapping[str, Any]] = {}
    for event in _events(folder / "events.jsonl"):
        if event.get("kind") == "epoch":
            epochs[_epoch_number(event, label)] = event
    if not epochs:
        raise DataError(f"Run {label} has not finished an epoch yet; there is nothing to compare.")
    ordered = [epochs[e] for e in sorted(epochs)]
    return ArmHistory(
        name=label,
        epochs=tuple(sorted(epochs)),
        train=_curve(ordered, "train", label),
        val=_curve(ordered, "val", label),
        config=_config(folder / "config.json"),
    )


def finished_on(run: Path | str) -> str | None:
    """Day (ISO 8601, UTC) of the last event of a run that tells its time; None if none does.

    Raises:
        DataError: the events cannot be read.
    """
    times = [event.get("time") for event in _events(Path(run) / "events.jsonl")]
    seconds = [t for t in times if isinstance(t, int | float) and math.isfinite(t)]
    return datetime.fromtimestamp(seconds[-1], UTC).date().isoformat() if seconds else None


def load_predictions(run: Path | str, split: str) -> StoredPredictions | None:
    """Read ``<split>_predictions.npz`` of a run; None if it was not written.

    Raises:
        DataError: the file is damaged, lacks an array, or names an image twice.
    """
    path = Path(run) / f"{split}_predictions.npz"
    if not path.is_file():
        return None
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            y, logits, groups, image_id = (stored[key] for key in ("y", "logits", "groups", "image_id"))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path} cannot be read or lacks an array; evaluate the run again.") from error
    n_classes = logits.shape[1] if logits.ndim == 2 else 1
    labels = check_labels(y, n_classes)
    ids = check_groups(image_id, len(labels), "image")
    if len(np.unique(ids)) != len(ids):
        raise DataError(f"{path} names an image twice; evaluate the run again.")
    return StoredPredictions(
        split=split,
        y=labels,
        logits=check_matrix(logits, len(labels), n_classes, "Logits"),
        groups=check_groups(groups, len(labels)),
        image_id=ids,
    )


def _events(path: Path) -> list[Mapping[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read; is this a run directory?") from error
    events: list[Mapping[str, Any]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except ValueError as error:
            if number == len(lines):  # no newline after it: the writer was interrupted
                break
            raise DataError(f"Line {number} of {path} is damaged.") from error
        if not isinstance(event, dict):
            raise DataError(f"Line {number} of {path} is not an event.")
        events.append(event)
    return events


def _config(path: Path) -> Mapping[str, Any]:
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is missing or damaged; is this a run directory?") from error
    if not isinstance(config, dict):
        raise DataError(f"{path} does not hold settings.")
    return config


def _epoch_number(event: Mapping[str, Any], label: str) -> int:
    epoch = event.get("epoch")
    if not isinstance(epoch, int) or isinstance(epoch, bool) or epoch < 0:
        raise DataError(f"Run {label} has an epoch event without a valid epoch number.")
    return epoch


def _curve(events: list[Mapping[str, Any]], split: str, label: str) -> Curve:
    def column(key: str) -> tuple[float, ...]:
        try:
            return tuple(float(event[split][key]) for event in events)
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"Run {label} has an epoch without a {split} {key.replace('_', ' ')}.") from error

    recorded = all(
        isinstance(e.get(split), dict) and e[split].get("balanced_accuracy") is not None for e in events
    )
    return Curve(
        loss=column("loss"),
        accuracy=column("accuracy"),
        balanced_accuracy=column("balanced_accuracy") if recorded else None,
    )
