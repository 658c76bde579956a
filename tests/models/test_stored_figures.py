"""Test figures in meta.json: old checkpoints lack some, malformed ones are refused in a sentence."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dermdemo.errors import CheckpointError
from dermdemo.models.card import render_card, verdict
from dermdemo.models.checkpoint import CheckpointMeta
from dermdemo.models.stored_figures import (
    ClassFigures,
    Figure,
    OperatingFigures,
    ReliabilityPoint,
    StoredFigures,
    read_baseline,
    read_test,
)
from tests.models.tiny import CLASSES, meta

OLD = {"n_images": 30, "n_lesions": 20, "readings": 1,
       "figures": {"balanced_accuracy": {"estimate": 0.5, "low": 0.4, "high": 0.6}}}  # fmt: skip
SPENT = {"epochs": 1, "schedule": "32x1", "hours": 0.1, "hardware": "CPU"}
DATA = {"name": "test", "images": 30, "groups": 20, "hash": "0" * 64}


def full() -> StoredFigures:
    half = Figure(estimate=0.5, low=0.4, high=0.6)
    return StoredFigures(
        n_images=30, n_lesions=20, readings=2, figures={"balanced_accuracy": half, "mcc": Figure(estimate=0.1)},
        per_class=tuple(ClassFigures(name=c, n_images=10, n_lesions=None, sensitivity=half,
                                     specificity=Figure(estimate=None), ece=0.1) for c in CLASSES),
        confusion=((8, 1, 1), (2, 7, 1), (0, 0, 10)),
        operating_points=(OperatingFigures(target_specificity=0.95, threshold=0.3, sensitivity=half,
                                           specificity=half),),
        reliability=(ReliabilityPoint(confidence=0.6, accuracy=0.5, n_images=30),), n_malignant=20, n_benign=10,
    )  # fmt: skip


def with_test(test: Any, **metrics: Any) -> CheckpointMeta:
    return meta("classifier", name="arm", classes=CLASSES, spent=SPENT, data=DATA,
                metrics={"test": test, **metrics})  # fmt: skip


def test_figures_survive_json() -> None:
    assert read_test(with_test(json.loads(json.dumps(full().to_dict())))) == full()


def test_a_checkpoint_without_test_figures_has_none() -> None:
    assert read_test(meta("classifier", name="arm")) is None
    assert read_baseline(meta("classifier", name="arm")) is None


def test_figures_saved_before_are_still_read_and_shown() -> None:
    found = read_test(with_test(OLD))
    assert found is not None
    assert (found.per_class, found.confusion, found.operating_points, found.n_benign) == ((), (), (), None)
    card = render_card(with_test(OLD))
    assert "0.500 (0.400 to 0.600)" in card
    assert "By class" not in card and "specificity asked for" not in card


def test_the_card_has_a_table_by_class_and_the_verdict() -> None:
    card = render_card(with_test(full().to_dict(), baseline={"description": "PCA", "balanced_accuracy": 0.6}))
    assert "| Melanoma | 10 |  | 0.500 (0.400 to 0.600) | – |" in card
    assert "| 0.95 | 0.300 | 0.500 (0.400 to 0.600) | 0.500 (0.400 to 0.600) |" in card
    assert "does not beat the pixel baseline in balanced accuracy" in card
    assert "read 2 times" in card


@pytest.mark.parametrize(("floor", "said"), [
    (0.6, "does not beat the pixel baseline in balanced accuracy"), (0.5, "does not beat the pixel baseline"),
    (0.45, "is above the pixel baseline in balanced accuracy, but not clearly"),
    (0.39, "beats the pixel baseline in balanced accuracy."),
])
def test_the_verdict_says_what_the_interval_leaves_open(floor: float, said: str) -> None:
    """Balanced accuracy is 0.5, from 0.4 to 0.6."""
    found = verdict(with_test(full().to_dict(), baseline={"description": "PCA", "balanced_accuracy": floor}))
    assert said in found


@pytest.mark.parametrize("change", [
    {"n_images": "many"}, {"readings": -1}, {"figures": {"mcc": {"estimate": "high"}}}, {"figures": None},
    {"per_class": [{"name": "wart"}]}, {"confusion": [[1, 2]]}, {"confusion": [[True] * 3] * 3},
    {"reliability": [{"confidence": float("nan"), "accuracy": 1.0, "n_images": 1}]},
    {"per_class": [{"name": "wart", "n_images": 1, "sensitivity": {}, "specificity": {}}]},
])  # fmt: skip
def test_malformed_figures_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(CheckpointError, match="evaluate it again with --save"):
        read_test(with_test({**OLD, **change}))


def test_a_malformed_baseline_is_refused() -> None:
    for baseline in ([], {"description": "PCA", "mcc": None}, {"mcc": 0.1}):
        with pytest.raises(CheckpointError, match="pixel baseline"):
            read_baseline(with_test(OLD, baseline=baseline))
