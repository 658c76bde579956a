"""The malignant-against-benign view: AUC, fixed thresholds, net benefit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from dermdemo.diagnoses import HAM10000_CLASSES, malignant_classes
from dermdemo.errors import ConfigError, DataError
from dermdemo.evaluation.malignancy import malignant_indices, net_benefit, set_thresholds
from dermdemo.evaluation.metrics import compute_metrics

BAD = [HAM10000_CLASSES.index(c) for c in malignant_classes(HAM10000_CLASSES)]


def two_class(score: list[float]) -> np.ndarray:
    p = np.asarray(score)
    return np.stack([p, 1 - p], axis=1)  # columns mel, nv


def test_auc_is_that_of_the_summed_probability(make_scored):
    d = make_scored(300, 7)
    view = compute_metrics(d.y, d.probs, HAM10000_CLASSES).malignancy
    assert view.auc == pytest.approx(roc_auc_score(np.isin(d.y, BAD), d.probs[:, BAD].sum(axis=1)))
    assert view.malignant_classes == ("akiec", "bcc", "mel")
    assert view.n_malignant + view.n_benign == 300


def test_no_view_without_both_kinds_of_class(make_scored):
    d = make_scored(50, 2)
    for classes in (("nv", "bkl"), ("mel", "bcc"), ("a", "b")):
        assert malignant_indices(classes) == ()
        assert compute_metrics(d.y, d.probs, classes).malignancy is None
        with pytest.raises(DataError, match="all benign or all malignant"):
            set_thresholds(d.y, d.probs, classes)


def test_one_kind_of_image_leaves_the_auc_open_with_a_reason():
    view = compute_metrics([1, 1, 1], two_class([0.1, 0.2, 0.3]), ("mel", "nv")).malignancy
    assert view.auc is None
    assert "Every image here is benign" in view.reason


def test_threshold_by_hand():
    """Benign 0.1 to 1.0 in tenths: 0.80 needs 8 below, so the cut is between 0.8 and the next score 0.85."""
    score = [i / 10 for i in range(1, 11)] + [0.85, 0.05]
    point = set_thresholds([1] * 10 + [0, 0], two_class(score), ("mel", "nv"), specificities=[0.8])[0]
    assert point.value == pytest.approx(0.825)
    assert point.specificity == pytest.approx(0.8)
    assert point.sensitivity == pytest.approx(0.5)
    assert (point.n_benign, point.n_malignant) == (10, 2)


def test_threshold_when_every_benign_score_ties_at_the_top():
    point = set_thresholds([1, 1, 1, 0], two_class([1.0, 1.0, 1.0, 1.0]), ("mel", "nv"))[0]
    assert point.value > 1
    assert (point.specificity, point.sensitivity) == (1, 0)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000), target=st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99]), digits=st.integers(1, 6)
)
def test_thresholds_reach_their_target_and_no_lower_score_does(make_scored, seed, target, digits):
    d = make_scored(80, 2, seed=seed)
    score = d.probs[:, 0].round(digits)
    point = set_thresholds(d.y, two_class(score), ("mel", "nv"), specificities=[target])[0]
    benign = score[d.y == 1]
    assert (benign < point.value).mean() == pytest.approx(point.specificity)
    assert point.specificity >= target
    lower = score[score < point.value]
    if len(lower):
        assert (benign < lower.max()).mean() < target


def test_thresholds_fixed_on_val_are_applied_as_they_are(make_scored):
    val, test = make_scored(300, 7, seed=1), make_scored(300, 7, seed=2)
    points = set_thresholds(val.y, val.probs, HAM10000_CLASSES)
    assert [p.target_specificity for p in points] == [0.80, 0.95]
    view = compute_metrics(test.y, test.probs, HAM10000_CLASSES, thresholds=points).malignancy
    score, positive = test.probs[:, BAD].sum(axis=1), np.isin(test.y, BAD)
    for point in view.operating_points:
        called = score >= point.threshold.value
        assert point.sensitivity == pytest.approx(called[positive].mean())
        assert point.specificity == pytest.approx((~called)[~positive].mean())


def test_bad_targets_and_sets_are_refused(make_scored):
    d = make_scored(40, 2)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        set_thresholds(d.y, d.probs, ("mel", "nv"), specificities=[1.0])
    with pytest.raises(DataError, match="no benign image"):
        set_thresholds([0, 0], two_class([0.2, 0.3]), ("mel", "nv"))
    with pytest.raises(ConfigError, match="net benefit"):
        net_benefit(np.array([True]), np.array([0.5]), [0.0])


def test_net_benefit_of_a_perfect_score_is_the_prevalence():
    positive = np.array([True] * 3 + [False] * 7)
    curve = net_benefit(positive, positive.astype(float))
    assert len(curve.thresholds) == 99
    assert curve.model == pytest.approx([0.3] * 99)
    assert curve.treat_none == (0.0,) * 99
    assert curve.treat_all[29] == pytest.approx(0, abs=1e-12)  # treat-all crosses zero at the prevalence
    assert curve.treat_all[49] == pytest.approx(0.3 - 0.7)


def test_net_benefit_of_a_constant_score_follows_treat_all_then_none():
    positive = np.array([True] * 3 + [False] * 7)
    curve = net_benefit(positive, np.full(10, 0.3))
    assert curve.model[:30] == pytest.approx(curve.treat_all[:30])
    assert curve.model[30:] == (0.0,) * 69


def test_net_benefit_by_hand():
    """At 0.25: 2 true and 1 false positives of 4 images: 2/4 - 1/4 * (0.25 / 0.75)."""
    curve = net_benefit(np.array([True, True, False, False]), np.array([0.9, 0.3, 0.4, 0.1]), [0.25])
    assert curve.model[0] == pytest.approx(2 / 4 - 1 / 4 / 3)
