"""Group bootstrap, paired differences and McNemar: definitions, invariances, undefined resamples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dermdemo.errors import ConfigError, DataError
from dermdemo.evaluation.intervals import (
    group_bootstrap,
    mcnemar_exact,
    one_per_group,
    paired_difference,
)
from dermdemo.evaluation.resampling import plain_metric
from dermdemo.evaluation.scores import STANDARD_METRICS, accuracy, balanced_accuracy, macro_auc

ACCURACY = {"accuracy": accuracy}
BIASED = {"ece", "classwise_ece"}


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_intervals_contain_the_estimate(make_scored, seed):
    d = make_scored(150, seed=seed)
    out = group_bootstrap(STANDARD_METRICS, d.y, d.probs, d.groups, n_resamples=200, seed=seed)
    for name, i in out.items():
        assert i.low <= i.high
        assert name in BIASED or i.low <= i.estimate <= i.high
        assert i.n_undefined <= 20  # a resample may lack a rare class


def test_the_same_seed_gives_the_same_interval_in_any_row_order(make_scored):
    d = make_scored(120)
    order = np.random.default_rng(3).permutation(120)
    a = group_bootstrap(STANDARD_METRICS, d.y, d.probs, d.groups, n_resamples=100, seed=5)
    b = group_bootstrap(
        STANDARD_METRICS, d.y[order], d.probs[order], d.groups[order], n_resamples=100, seed=5
    )
    c = group_bootstrap(STANDARD_METRICS, d.y, d.probs, d.groups, n_resamples=100, seed=6)
    for name in STANDARD_METRICS:
        assert (a[name].low, a[name].high) == pytest.approx((b[name].low, b[name].high))
    assert a["nll"].low != c["nll"].low


def test_chunks_do_not_change_the_draws(make_scored, monkeypatch):
    d = make_scored(90)
    whole = group_bootstrap(ACCURACY, d.y, d.probs, d.groups, n_resamples=70)
    monkeypatch.setattr("dermdemo.evaluation.resampling.CHUNK_ELEMENTS", 90 * 7)
    assert group_bootstrap(ACCURACY, d.y, d.probs, d.groups, n_resamples=70) == whole


def test_whole_lesions_are_drawn():
    """Images of one lesion copied ten times must not make the interval any narrower."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 80)
    probs = np.eye(2)[np.where(rng.random(80) < 0.7, y, 1 - y)]
    lesions = np.array([f"L{i:02d}" for i in range(80)])
    once = group_bootstrap(ACCURACY, y, probs, lesions, n_resamples=300)["accuracy"]
    rows = np.repeat(np.arange(80), 10)
    copied = group_bootstrap(ACCURACY, y[rows], probs[rows], lesions[rows], n_resamples=300)["accuracy"]
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))


def test_width_agrees_with_the_binomial_standard_error(make_scored):
    d = make_scored(400, per_lesion=1)
    groups = np.array([f"I{i}" for i in range(400)])
    i = group_bootstrap(ACCURACY, d.y, d.probs, groups, n_resamples=1000)["accuracy"]
    expected = 2 * 1.96 * np.sqrt(i.estimate * (1 - i.estimate) / 400)
    assert i.high - i.low == pytest.approx(expected, rel=0.15)


def test_undefined_resamples_are_counted():
    """The only lesion of class b is missed by about (1 - 1/10)^10 = 35 % of the resamples."""
    y = np.array([0] * 9 + [1])
    probs = np.tile([0.6, 0.4], (10, 1))
    lesions = np.array([f"L{i}" for i in range(10)])
    out = group_bootstrap({"b": balanced_accuracy, **ACCURACY}, y, probs, lesions, n_resamples=1000)
    assert 250 < out["b"].n_undefined < 450
    assert out["b"].n_resamples == 1000
    assert out["b"].low is not None
    assert out["accuracy"].n_undefined == 0


def test_no_interval_is_explained(make_scored):
    d = make_scored(30)
    one_lesion = group_bootstrap(ACCURACY, d.y, d.probs, ["L"] * 30, n_resamples=10)["accuracy"]
    assert (one_lesion.low, one_lesion.high) == (None, None)
    assert "one lesion" in one_lesion.note
    only = d.y == 0
    no_auc = group_bootstrap({"auc": macro_auc}, d.y[only], d.probs[only], d.groups[only], n_resamples=10)[
        "auc"
    ]
    assert (no_auc.estimate, no_auc.low, no_auc.n_undefined) == (None, None, 10)
    assert "Undefined" in no_auc.note


def test_a_plain_function_gives_the_same_as_the_vectorised_metric(make_scored):
    d = make_scored(50)
    plain = plain_metric(lambda y, p: float((p.argmax(axis=1) == y).mean()))
    out = group_bootstrap({"plain": plain, **ACCURACY}, d.y, d.probs, d.groups, n_resamples=60)
    assert out["plain"].low == pytest.approx(out["accuracy"].low)
    assert out["plain"].high == pytest.approx(out["accuracy"].high)


def test_paired_difference_of_a_model_with_itself_is_zero(make_scored):
    d = make_scored(60)
    out = paired_difference(STANDARD_METRICS, d.y, d.probs, d.probs, d.groups, n_resamples=50)
    for difference in out.values():
        assert (difference.estimate, difference.low, difference.high) == (0, 0, 0)
        assert (difference.share_above_zero, difference.share_zero) == (0, 1)


def test_paired_difference_has_the_sign_of_a_minus_b(make_scored):
    good, weak = make_scored(200, signal=3), make_scored(200, signal=0.5)
    assert np.array_equal(good.y, weak.y)
    one_way = paired_difference(ACCURACY, good.y, good.probs, weak.probs, good.groups, n_resamples=200)[
        "accuracy"
    ]
    other = paired_difference(ACCURACY, good.y, weak.probs, good.probs, good.groups, n_resamples=200)[
        "accuracy"
    ]
    assert one_way.low > 0
    assert one_way.share_above_zero == 1
    assert (other.low, other.high) == pytest.approx((-one_way.high, -one_way.low))


def test_pairing_is_narrower_than_independent_intervals(make_scored):
    d = make_scored(200)
    other = d.probs**1.3
    other /= other.sum(axis=1, keepdims=True)
    nll = {"nll": STANDARD_METRICS["nll"]}
    paired = paired_difference(nll, d.y, d.probs, other, d.groups, n_resamples=200)["nll"]
    single = group_bootstrap(nll, d.y, d.probs, d.groups, n_resamples=200)["nll"]
    assert paired.high - paired.low < 0.7 * (single.high - single.low)


def test_seeds_are_averaged_and_resampled(make_scored):
    runs = [
        make_scored(120, seed=0)._replace(probs=make_scored(120, seed=0, signal=s).probs) for s in (0.5, 1, 3)
    ]
    y, groups = runs[0].y, runs[0].groups
    stack = np.stack([r.probs for r in runs])
    i = group_bootstrap(ACCURACY, y, stack, groups, n_resamples=300)["accuracy"]
    singles = [group_bootstrap(ACCURACY, y, p, groups, n_resamples=300)["accuracy"] for p in stack]
    assert i.estimate == pytest.approx(np.mean([s.estimate for s in singles]))
    assert i.high - i.low > max(s.high - s.low for s in singles)
    alike = group_bootstrap(ACCURACY, y, np.stack([stack[0]] * 3), groups, n_resamples=300)["accuracy"]
    assert (alike.low, alike.high) == pytest.approx((singles[0].low, singles[0].high))


def test_bad_settings_and_shapes_are_refused(make_scored):
    d = make_scored(20)
    with pytest.raises(ConfigError, match="at least one resample"):
        group_bootstrap(ACCURACY, d.y, d.probs, d.groups, n_resamples=0)
    with pytest.raises(ConfigError, match="level"):
        group_bootstrap(ACCURACY, d.y, d.probs, d.groups, level=95)
    with pytest.raises(DataError, match="alike in all models"):
        paired_difference(ACCURACY, d.y, d.probs, d.probs[:, :3], d.groups)
    with pytest.raises(DataError, match="alike in all models"):
        group_bootstrap(ACCURACY, d.y, d.probs[:, 0], d.groups)


def test_mcnemar_by_hand():
    """Discordant 1 against 5: two-sided binomial p = 2 * (1 + 6) / 64."""
    y = np.zeros(10, dtype=int)
    a = np.array([0, 1, 1, 1, 1, 1, 0, 0, 0, 0])
    b = np.array([1, 0, 0, 0, 0, 0, 0, 0, 0, 0])
    m = mcnemar_exact(y, a, b, np.arange(10))
    assert (m.only_a, m.only_b, m.n_lesions) == (1, 5, 10)
    assert m.p_value == pytest.approx(14 / 64)
    assert mcnemar_exact(y, a, a, np.arange(10)).p_value == 1


def test_mcnemar_counts_each_lesion_once():
    y, a, b = np.zeros(40, dtype=int), np.zeros(40, dtype=int), np.ones(40, dtype=int)
    m = mcnemar_exact(y, a, b, np.repeat(["L1", "L2", "L3", "L4"], 10))
    assert (m.n_lesions, m.only_a, m.only_b) == (4, 4, 0)
    with pytest.raises(DataError, match="one prediction of each model"):
        mcnemar_exact(y, a, b[:5], np.arange(40))


def test_one_per_group_takes_one_row_of_each(make_scored):
    groups = make_scored(80).groups
    rows = one_per_group(groups, seed=1)
    assert sorted(groups[rows]) == sorted(set(groups))
    assert np.array_equal(rows, one_per_group(groups, seed=1))
    assert not np.array_equal(rows, one_per_group(groups, seed=2))
