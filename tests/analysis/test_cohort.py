"""A selection of known lesions: counts, both arms' figures, and what a stranger may send as one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from dermdemo.analysis.analyser import Analyser
from dermdemo.analysis.cohort import KnownLesions, checked_rows, cohort, wilson
from dermdemo.errors import ConfigError
from dermdemo.types import KnownPredictions


def lesions(labels: list[str], said: list[str], splits: list[str], groups: list[str] | None = None) -> KnownLesions:
    n = len(labels)
    return KnownLesions(np.array([f"I{k}" for k in range(n)]), np.array(groups or [f"L{k}" for k in range(n)]),
                        np.array(labels), np.array(splits), {"vae": KnownPredictions(tuple(said), np.full(n, 0.5))})


def test_counts_and_accuracy_of_a_selection() -> None:
    known = lesions(["nv", "nv", "mel", "nv"], ["nv", "mel", "mel", "nv"], ["val"] * 4)
    found = cohort(known, [0, 1, 2])
    arm = found.arms["vae"]
    assert (found.n_images, found.n_lesions, found.classes) == (3, 3, {"nv": 2, "mel": 1})
    assert (arm.right, arm.n_images, arm.n_classes) == (2, 3, 2)
    assert arm.accuracy == pytest.approx(2 / 3) and arm.balanced_accuracy == pytest.approx(0.75)
    assert found.held_out is None


def test_training_lesions_are_told_apart() -> None:
    known = lesions(["nv", "nv", "mel"], ["nv", "nv", "nv"], ["train", "train", "test"])
    found = cohort(known, [0, 1, 2])
    assert found.splits == {"train": 2, "test": 1} and list(found.splits) == ["train", "test"]
    assert found.held_out is not None and found.held_out["vae"].accuracy == 0.0
    only = cohort(known, [0, 1])
    assert only.held_out is not None and only.held_out["vae"].accuracy is None


def test_the_interval_counts_lesions_not_images() -> None:
    one = cohort(lesions(["nv"] * 6, ["nv"] * 6, ["val"] * 6, ["L"] * 6), range(6)).arms["vae"]
    six = cohort(lesions(["nv"] * 6, ["nv"] * 6, ["val"] * 6), range(6)).arms["vae"]
    assert one.low is not None and six.low is not None and one.low < six.low and one.n_lesions == 1


def test_lesions_without_a_label_are_counted_but_not_scored() -> None:
    found = cohort(lesions(["", "nv"], ["nv", "nv"], ["val", "val"]), [0, 1])
    assert found.classes == {"nv": 1, "": 1} and found.arms["vae"].n_images == 1


def test_nothing_selected() -> None:
    found = cohort(lesions(["nv"], ["nv"], ["val"]), [])
    assert found.n_images == 0 and found.arms["vae"].accuracy is None and found.classes == {}


@pytest.mark.parametrize(("right", "n"), [(0, 5), (5, 5), (37, 120), (1, 1)])
def test_wilson_agrees_with_scipy(right: int, n: int) -> None:
    expected = binomtest(right, n).proportion_ci(method="wilson")
    assert wilson(right / n, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_rows_come_back_sorted_and_once() -> None:
    assert checked_rows([3, 1, 3], 5) == (1, 3)
    assert checked_rows([], 5) == ()


@pytest.mark.parametrize("rows", [None, "1", {"0": 1}, [5], [-1], [True], [1.0], ["1"], [None], [0] * 6, 3])
def test_what_is_no_selection_is_refused(rows: Any) -> None:
    with pytest.raises(ConfigError):
        checked_rows(rows, 5)


def test_the_atlas_gives_the_rows(analyser: Analyser) -> None:
    atlas = analyser.atlas
    assert atlas is not None
    known = KnownLesions.of(atlas, {arm: analyser.known_predictions(arm) for arm in analyser.arms})
    found = cohort(known, range(len(known)))
    assert sum(found.classes.values()) == sum(found.splits.values()) == len(atlas)
    assert found.splits == {s: atlas.meta.images[s] for s in ("train", "val", "calib", "test")}
    assert list(found.classes.values()) == sorted(found.classes.values(), reverse=True)
    for arm, figures in found.arms.items():
        expected = np.mean(np.array(known.arms[arm].labels) == known.labels)
        assert figures.accuracy == pytest.approx(expected) and figures.low <= expected <= figures.high
