"""Scores per image and epoch: read as written; damage is named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dermdemo.errors import DataError
from dermdemo.evaluation.image_scores import ImageLosses, read_scores, write_epoch, write_images


def written(folder: Path) -> dict[str, ImageLosses]:
    measured = {"train": ImageLosses(np.array([0.5, 1.5, 0.25]), np.array([True, False, True])),
                "val": ImageLosses(np.array([2.0, 0.125]), np.array([False, True]))}
    write_images(folder, {"train": (np.array([0, 1, 2]), np.array(["a", "a", "b"])),
                          "val": (np.array([1, 1]), np.array(["c", "d"]))})
    for epoch in (0, 1):
        write_epoch(folder, epoch, measured)
    return measured


def test_scores_are_read_as_written(tmp_path: Path) -> None:
    measured = written(tmp_path / "scores")
    scores = read_scores(tmp_path / "scores")
    assert scores.epochs == (0, 1) and scores.val.groups.tolist() == ["c", "d"]
    np.testing.assert_array_equal(scores.train.loss, np.stack([measured["train"].loss] * 2))
    np.testing.assert_array_equal(scores.val.right, [[0, 1]] * 2)


def test_missing_and_damaged_scores_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no scores"):
        read_scores(tmp_path)
    written(tmp_path)
    write_epoch(tmp_path, 2, {"train": ImageLosses(np.zeros(3), np.zeros(3)),
                              "val": ImageLosses(np.zeros(9), np.zeros(9))})
    with pytest.raises(DataError, match="do not fit"):
        read_scores(tmp_path)
    (tmp_path / "epoch-0002.npz").write_bytes(b"PK broken")
    with pytest.raises(DataError, match="damaged"):
        read_scores(tmp_path)
