"""Point metrics against scikit-learn, known values, invariances, absent classes and bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from dermdemo.diagnoses import HAM10000_CLASSES
from dermdemo.errors import DataError
from dermdemo.evaluation.metrics import compute_metrics

ABCD = ("a", "b", "c", "d")
SEEDS = st.integers(0, 10_000)
FEW = settings(max_examples=25, deadline=None)


def test_overall_figures_agree_with_scikit_learn(make_scored):
    d = make_scored(300)
    m = compute_metrics(d.y, d.probs, ABCD, d.groups)
    guess = d.probs.argmax(axis=1)
    assert m.accuracy == pytest.approx(sk.accuracy_score(d.y, guess))
    assert m.balanced_accuracy == pytest.approx(sk.balanced_accuracy_score(d.y, guess))
    assert m.macro_f1 == pytest.approx(sk.f1_score(d.y, guess, average="macro"))
    assert m.mcc == pytest.approx(sk.matthews_corrcoef(d.y, guess))
    assert m.macro_auc == pytest.approx(sk.roc_auc_score(d.y, d.probs, multi_class="ovr"))
    assert m.nll == pytest.approx(sk.log_loss(d.y, d.probs))
    assert m.brier == pytest.approx(sk.brier_score_loss(d.y, d.probs, scale_by_half=False))
    assert m.confusion == tuple(map(tuple, sk.confusion_matrix(d.y, guess).tolist()))


def test_class_figures_agree_with_scikit_learn(make_scored):
    d = make_scored(300)
    m = compute_metrics(d.y, d.probs, ABCD, d.groups)
    guess = d.probs.argmax(axis=1)
    for k, c in enumerate(m.per_class):
        assert c.sensitivity == pytest.approx(sk.recall_score(d.y == k, guess == k))
        assert c.specificity == pytest.approx(sk.recall_score(d.y != k, guess != k))
        assert c.auc == pytest.approx(sk.roc_auc_score(d.y == k, d.probs[:, k]))
        assert c.f1 == pytest.approx(sk.f1_score(d.y == k, guess == k))
        assert c.n_images == (d.y == k).sum()
        assert c.n_lesions == len(set(d.groups[d.y == k]))
        assert c.mean_probability == pytest.approx(d.probs[:, k].mean())
    assert sum(c.prevalence for c in m.per_class) == pytest.approx(1)


def test_auc_counts_ties_as_one_half():
    y = np.array([0, 0, 1, 1, 1, 0])
    p = np.array([0.2, 0.5, 0.5, 0.5, 0.8, 0.8])
    m = compute_metrics(y, np.stack([1 - p, p], axis=1), ("a", "b"))
    assert m.macro_auc == pytest.approx(sk.roc_auc_score(y, p))


def test_calibration_errors_by_hand():
    """Two bins: 4 images at 0.9 (3 right), 2 at 0.6 (1 right)."""
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 0.6, 0.6])
    y = np.array([0, 0, 0, 1, 0, 1])
    m = compute_metrics(y, np.stack([confidence, 1 - confidence], axis=1), ("a", "b"))
    assert m.ece == pytest.approx((4 * 0.15 + 2 * 0.1) / 6)
    assert m.classwise_ece == pytest.approx(m.ece)  # two classes mirror each other


def test_a_perfect_predictor():
    y = np.arange(12) % 3
    m = compute_metrics(y, np.eye(3)[y], ("a", "b", "c"))
    assert (m.accuracy, m.balanced_accuracy, m.macro_auc, m.macro_f1, m.mcc) == (1, 1, 1, 1, 1)
    assert (m.brier, m.nll, m.ece, m.classwise_ece) == (0, 0, 0, 0)
    assert m.notes == ()


def test_a_constant_predictor_of_the_majority():
    y = np.array([0] * 67 + [1] * 20 + [2] * 13)
    m = compute_metrics(y, np.tile([0.67, 0.20, 0.13], (100, 1)), ("nv", "mel", "bkl"))
    assert m.accuracy == pytest.approx(0.67)
    assert m.balanced_accuracy == pytest.approx(1 / 3)
    assert m.macro_auc == pytest.approx(0.5)
    assert m.mcc == 0
    assert m.ece == pytest.approx(0, abs=1e-12)


def test_a_zero_probability_of_the_truth_stays_finite():
    m = compute_metrics([0, 1], [[0.0, 1.0], [0.0, 1.0]], ("a", "b"))
    assert m.nll == pytest.approx(-np.log(1e-12) / 2)


def test_absent_classes_are_left_out_of_averages_and_named(make_scored):
    d = make_scored(200)
    keep = np.isin(d.y, [1, 3])
    y, probs = d.y[keep], d.probs[keep]
    m = compute_metrics(y, probs, ABCD)
    guess = probs.argmax(axis=1)
    assert m.absent_classes == ("a", "c")
    assert m.balanced_accuracy == pytest.approx(np.mean([(guess[y == k] == k).mean() for k in (1, 3)]))
    assert m.macro_f1 == pytest.approx(sk.f1_score(y, guess, labels=[1, 3], average="macro"))
    assert m.macro_auc == pytest.approx(np.mean([sk.roc_auc_score(y == k, probs[:, k]) for k in (1, 3)]))
    assert "No image here is a, c" in m.notes[0]
    absent = m.per_class[0]
    assert (absent.sensitivity, absent.auc, absent.f1, absent.n_images) == (None, None, None, 0)
    assert absent.specificity is not None


def test_a_single_class_has_no_auc_and_says_why(make_scored):
    d = make_scored(100)
    only = d.y == 2
    m = compute_metrics(d.y[only], d.probs[only], ABCD)
    assert m.macro_auc is None
    assert m.mcc is None
    assert m.per_class[2].specificity is None
    assert any("Only c occurs" in note for note in m.notes)


def test_lesions_are_counted_only_if_known(make_scored):
    d = make_scored(60)
    assert compute_metrics(d.y, d.probs, ABCD).n_lesions is None
    assert compute_metrics(d.y, d.probs, ABCD, d.groups).n_lesions == len(set(d.groups))


@pytest.mark.parametrize("classes", [ABCD, HAM10000_CLASSES])
def test_to_dict_is_plain_json(make_scored, classes):
    d = make_scored(50, len(classes))
    only = d.y == 0
    for rows in (slice(None), only):
        text = json.dumps(compute_metrics(d.y[rows], d.probs[rows], classes).to_dict(), allow_nan=False)
        assert "NaN" not in text


@FEW
@given(seed=SEEDS)
def test_the_order_of_images_does_not_matter(make_scored, seed):
    d = make_scored(60, seed=seed)
    order = np.random.default_rng(seed).permutation(60)
    a = compute_metrics(d.y, d.probs, ABCD, d.groups)
    b = compute_metrics(d.y[order], d.probs[order], ABCD, d.groups[order])
    assert a.confusion == b.confusion
    for name in ("balanced_accuracy", "macro_auc", "macro_f1", "mcc", "brier", "nll", "ece", "classwise_ece"):
        assert getattr(a, name) == pytest.approx(getattr(b, name))


@FEW
@given(seed=SEEDS)
def test_the_order_of_classes_does_not_matter(make_scored, seed):
    d = make_scored(60, seed=seed)
    order = np.random.default_rng(seed).permutation(4)
    a = compute_metrics(d.y, d.probs, ABCD)
    b = compute_metrics(np.argsort(order)[d.y], d.probs[:, order], tuple(ABCD[i] for i in order))
    for name in ("balanced_accuracy", "macro_auc", "macro_f1", "mcc", "brier", "nll", "ece", "classwise_ece"):
        assert getattr(a, name) == pytest.approx(getattr(b, name))
    by_name = {c.name: c for c in b.per_class}
    for c in a.per_class:
        assert c.sensitivity == pytest.approx(by_name[c.name].sensitivity)


@FEW
@given(seed=SEEDS, k=st.integers(2, 8), signal=st.floats(-3, 8))
def test_figures_stay_in_range(make_scored, seed, k, signal):
    d = make_scored(40, k, seed=seed, signal=signal)
    m = compute_metrics(d.y, d.probs, tuple(f"c{i}" for i in range(k)))
    for value in (m.accuracy, m.balanced_accuracy, m.macro_auc, m.macro_f1, m.ece, m.classwise_ece):
        assert -1e-12 <= value <= 1 + 1e-12
    assert -1 <= m.mcc <= 1
    assert 0 <= m.brier <= 2
    assert m.nll >= 0


@pytest.mark.parametrize(
    ("y", "probs", "message"),
    [
        ([0, 1], [[0.5, 0.5]], "one row per image"),
        ([0, 1], [[0.5, 0.3, 0.2]] * 2, "one column per class"),
        ([0, 2], [[0.5, 0.5]] * 2, "Label 2"),
        ([0, -1], [[0.5, 0.5]] * 2, "Label -1"),
        ([0.0, 1.0], [[0.5, 0.5]] * 2, "whole class indices"),
        ([], np.zeros((0, 2)), "no images"),
        ([[0, 1]], [[0.5, 0.5]] * 2, "one class index per image"),
        ([0, 1], [[0.5, 0.4], [0.5, 0.5]], "1 of 2 images do not sum to 1"),
        ([0, 1], [[1.5, -0.5], [0.5, 0.5]], "negative"),
        ([0, 1], [[np.nan, 1.0], [0.5, 0.5]], "not finite"),
        ([0, 1], [["0.5", "0.5"]] * 2, "must be numbers"),
    ],
)
def test_bad_input_is_refused_in_words(y, probs, message):
    with pytest.raises(DataError, match=message):
        compute_metrics(y, probs, ("a", "b"))


def test_bad_groups_and_classes_are_refused():
    y, probs = [0, 1], [[0.5, 0.5]] * 2
    with pytest.raises(DataError, match="one lesion name per image"):
        compute_metrics(y, probs, ("a", "b"), ["L1"])
    for missing in (None, "", float("nan")):
        with pytest.raises(DataError, match="1 images have no lesion name"):
            compute_metrics(y, probs, ("a", "b"), np.array(["L1", missing], dtype=object))
    with pytest.raises(DataError, match="twice"):
        compute_metrics(y, probs, ("a", "a"))
    with pytest.raises(DataError, match="at least two"):
        compute_metrics(y, probs, ("a",))


def test_reliability_holds_every_image_once_and_gives_the_ece(make_scored):
    d = make_scored(300, 5)
    m = compute_metrics(d.y, d.probs, tuple("abcde"))
    assert sum(b.n_images for b in m.reliability) == 300
    assert [b.confidence for b in m.reliability] == sorted(b.confidence for b in m.reliability)
    error = sum(b.n_images * abs(b.accuracy - b.confidence) for b in m.reliability) / 300
    assert error == pytest.approx(m.ece)
