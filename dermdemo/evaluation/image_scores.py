"""Loss and hit of every measured image after every epoch: what a gap needs for an interval over lesions.

A folder holds ``images.npz`` (labels and lesions, once) and ``epoch-0012.npz`` (losses and hits of train and val).
`train` are the un-augmented training images that the curves are measured on, in evaluation mode.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dermdemo.errors import DataError
from dermdemo.evaluation.checks import FloatArray, GroupArray, IntArray

SPLITS = ("train", "val")
IMAGES_FILE = "images.npz"


class ImageLosses(NamedTuple):
    """Loss (N,) of every image, and whether its most probable class is the true one (N,)."""

    loss: np.ndarray
    right: np.ndarray


@dataclass(frozen=True, eq=False, kw_only=True)
class SplitScores:
    """One split along the epochs: loss and right (E, N) float64, y (N,), groups (N,)."""

    loss: FloatArray
    right: FloatArray
    y: IntArray
    groups: GroupArray


@dataclass(frozen=True, eq=False, kw_only=True)
class RunScores:
    """Both splits of one run at `epochs`, increasing."""

    epochs: tuple[int, ...]
    train: SplitScores
    val: SplitScores


def write_images(folder: Path, images: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Labels (N,) and lesions (N,) of each split."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {f"{split}_{what}": value for split, pair in images.items()
              for what, value in zip(("y", "groups"), pair, strict=True)}
    _write(folder / IMAGES_FILE, arrays)


def write_epoch(folder: Path, epoch: int, measured: Mapping[str, ImageLosses]) -> None:
    """Losses and hits of each split after `epoch`; written whole or not at all."""
    arrays = {f"{split}_loss": m.loss.astype(np.float32) for split, m in measured.items()}
    arrays |= {f"{split}_right": m.right.astype(bool) for split, m in measured.items()}
    _write(folder / f"epoch-{epoch:04d}.npz", arrays)


def _write(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"'{path}' cannot be read: the scores of this run are damaged.") from error


def read_scores(folder: Path) -> RunScores:
    """All epochs of a run.

    Raises:
        DataError: nothing there, damaged, or epochs that do not fit the images.
    """
    files = sorted(folder.glob("epoch-*.npz"))
    if not files:
        raise DataError(f"'{folder}' holds no scores: the run has not measured an epoch.")
    images, epochs = _read(folder / IMAGES_FILE), [_read(f) for f in files]
    try:
        splits = {s: _split(images, epochs, s) for s in SPLITS}
    except (KeyError, ValueError) as error:
        raise DataError(f"The scores in '{folder}' lack a part or do not fit each other.") from error
    return RunScores(epochs=tuple(int(f.stem.removeprefix("epoch-")) for f in files), **splits)


def _split(images: Mapping[str, np.ndarray], epochs: list[dict[str, np.ndarray]], split: str) -> SplitScores:
    y = images[f"{split}_y"].astype(np.int64)
    loss, right = (np.stack([e[f"{split}_{what}"] for e in epochs]).astype(np.float64) for what in ("loss", "right"))
    if loss.shape != (len(epochs), len(y)) or right.shape != loss.shape:
        raise ValueError(split)
    return SplitScores(loss=loss, right=right, y=y, groups=images[f"{split}_groups"].astype(str))
