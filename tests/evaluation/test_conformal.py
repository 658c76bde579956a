"""Prediction sets: the 19-lesion rule, coverage on new data, no empty sets."""

from __future__ import annotations

import numpy as np
import pytest

from dermdemo.errors import ConfigError, DataError
from dermdemo.evaluation.conformal import (
    ConformalThresholds,
    coverage,
    fit_conformal,
    min_lesions,
    prediction_mask,
    prediction_set,
)
from dermdemo.evaluation.records import decode, encode

CLASSES = ("a", "b", "c")


def test_nineteen_lesions_are_needed_at_95_percent():
    assert min_lesions(0.95) == 19
    assert min_lesions(0.9) == 9


def by_hand(n_b: int) -> ConformalThresholds:
    """30 lesions of a with p = 0.70 to 0.99, n_b of b with p = 0.5 each."""
    y = np.array([0] * 30 + [1] * n_b)
    p_true = np.array([0.70 + 0.01 * i for i in range(30)] + [0.5] * n_b)
    probs = np.zeros((len(y), 3))
    probs[np.arange(len(y)), y] = p_true
    probs[:, 2] = 1 - p_true
    return fit_conformal(y, probs, CLASSES, np.arange(len(y)))


def test_thresholds_and_fallback_by_hand():
    t = by_hand(18)
    assert t.class_conditional == (True, False, False)
    assert t.n_lesions == (30, 18, 0)
    assert t.thresholds[0] == pytest.approx(0.30)  # ceil(31 * 0.95) = 30th smallest of 30
    assert t.thresholds[1] == t.thresholds[2] == t.marginal_threshold == pytest.approx(0.5)
    assert "b, c" in t.rule
    enough = by_hand(19)
    assert enough.class_conditional == (True, True, False)
    assert enough.thresholds[1] == pytest.approx(0.5)


def test_one_image_per_lesion_sets_the_threshold(make_scored):
    d = make_scored(400, 3)
    t = fit_conformal(d.y, d.probs, CLASSES, d.groups)
    assert sum(t.n_lesions) == len(set(d.groups))
    rows = np.repeat(np.arange(400), 3)
    again = fit_conformal(d.y[rows], d.probs[rows], CLASSES, np.repeat(np.arange(400), 3))
    single = fit_conformal(d.y, d.probs, CLASSES, np.arange(400))
    assert again.thresholds == single.thresholds


def test_coverage_holds_on_new_lesions(make_scored):
    t_sum, n = np.zeros(3), 20
    for seed in range(n):
        calib, new = make_scored(600, 3, seed=seed, per_lesion=1), make_scored(600, 3, seed=seed + 100)
        t = fit_conformal(calib.y, calib.probs, CLASSES, calib.groups)
        assert all(t.class_conditional)
        t_sum += np.array(coverage(new.y, new.probs, t).class_coverage)
    assert (t_sum / n > 0.94).all()


def test_sets_are_never_empty_and_ordered_by_probability():
    t = by_hand(19)
    assert prediction_set([0.40, 0.35, 0.25], t) == ("a",)  # none reaches its threshold: the top one stays
    assert prediction_set([0.01, 0.5, 0.49], t) == ("b",)
    assert prediction_set([0.72, 0.28, 0.0], t) == ("a",)
    wide = decode(ConformalThresholds, {**encode(t), "thresholds": [1.0, 1.0, 1.0]})
    assert prediction_set([0.2, 0.5, 0.3], wide) == ("b", "c", "a")
    assert prediction_mask(np.array([[0.2, 0.5, 0.3]]), wide).all()


def test_coverage_counts_hits_and_sizes():
    t = by_hand(19)
    c = coverage([0, 0, 1], [[0.9, 0.1, 0.0], [0.1, 0.9, 0.0], [0.0, 0.6, 0.4]], t)
    assert c.coverage == pytest.approx(2 / 3)
    assert (c.mean_size, c.share_single) == (1, 1)
    assert c.class_coverage == (0.5, 1.0, None)


def test_thresholds_survive_storage():
    t = by_hand(18)
    assert decode(ConformalThresholds, encode(t)) == t


def test_bad_input_is_refused(make_scored):
    d = make_scored(18, 3, per_lesion=1)
    with pytest.raises(DataError, match="at least 19"):
        fit_conformal(d.y, d.probs, CLASSES, np.arange(18))
    with pytest.raises(ConfigError, match="level"):
        fit_conformal(d.y, d.probs, CLASSES, np.arange(18), level=1.0)
    with pytest.raises(DataError, match="3 classes"):
        prediction_set([0.5, 0.5], by_hand(19))
