"""Weights are resampling: every vectorised metric equals the plain one on repeated images."""

from __future__ import annotations

import numpy as np
import pytest

from dermdemo.evaluation.malignancy import malignancy_metrics, set_thresholds
from dermdemo.evaluation.metrics import compute_metrics
from dermdemo.evaluation.scores import (
    STANDARD_METRICS,
    WeightedScores,
    bin_of,
    class_metrics,
    rank_auc,
    sum_by,
)

CLASSES = ("mel", "nv", "bkl", "df")


def test_weights_equal_repeated_images(make_scored):
    d = make_scored(60)
    weights = np.random.default_rng(1).integers(0, 4, size=(5, 60)).astype(float)
    thresholds = set_thresholds(d.y, d.probs, CLASSES)
    fns = {**STANDARD_METRICS, **class_metrics(CLASSES), **malignancy_metrics(CLASSES, thresholds)}
    fast = {name: fn(WeightedScores(d.y, d.probs, weights)) for name, fn in fns.items()}
    for b, w in enumerate(weights):
        rows = np.repeat(np.arange(60), w.astype(int))
        m = compute_metrics(d.y[rows], d.probs[rows], CLASSES, thresholds=thresholds)
        for name in STANDARD_METRICS:
            assert fast[name][b] == pytest.approx(getattr(m, name)), name
        for c in m.per_class:
            for kind in ("sensitivity", "specificity", "auc"):
                assert fast[f"{kind}:{c.name}"][b] == pytest.approx(getattr(c, kind))
        assert fast["malignant_auc"][b] == pytest.approx(m.malignancy.auc)
        for point in m.malignancy.operating_points:
            key = f"{point.threshold.target_specificity:g}"
            assert fast[f"malignant_sensitivity@{key}"][b] == pytest.approx(point.sensitivity)
            assert fast[f"malignant_specificity@{key}"][b] == pytest.approx(point.specificity)


def test_a_resample_without_a_present_class_leaves_macro_figures_undefined(make_scored):
    d = make_scored(60)
    weights = np.stack([np.ones(60), (d.y != 0).astype(float), (d.y == 1).astype(float)])
    s = WeightedScores(d.y, d.probs, weights)
    for name in ("balanced_accuracy", "macro_auc", "macro_f1"):
        values = STANDARD_METRICS[name](s)
        assert np.isfinite(values[0]), name
        assert np.isnan(values[1:]).all(), name
    assert np.isfinite(STANDARD_METRICS["accuracy"](s)).all()
    assert np.isfinite(STANDARD_METRICS["mcc"](s)[:2]).all()
    assert np.isnan(STANDARD_METRICS["mcc"](s)[2])


def test_rank_auc_at_its_ends():
    positive = np.array([True, True, False, False])
    ones = np.ones((1, 4))
    assert rank_auc(np.array([4.0, 3, 2, 1]), positive, ones)[0] == 1
    assert rank_auc(np.array([1.0, 2, 3, 4]), positive, ones)[0] == 0
    assert rank_auc(np.zeros(4), positive, ones)[0] == 0.5
    assert np.isnan(rank_auc(np.zeros(4), np.ones(4, dtype=bool), ones)[0])


def test_bins_are_closed_above():
    assert bin_of(np.array([0.0, 1 / 15, 1 / 15 + 1e-9, 0.5, 1.0])).tolist() == [0, 0, 1, 7, 14]


def test_sum_by_leaves_unused_categories_at_zero():
    out = sum_by(np.array([[1.0, 2, 3]]), np.array([4, 0, 4]), 6, np.array([1.0, 10, 100]))
    assert out.tolist() == [[20, 0, 0, 0, 301, 0]]
