"""Temperature and assumed prevalence."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dermdemo.errors import ConfigError, DataError
from dermdemo.evaluation.calibration import apply_temperature, assumed_prevalence, fit_temperature, softmax
from dermdemo.evaluation.metrics import compute_metrics


def draw_labels(probs: np.ndarray, seed: int = 0) -> np.ndarray:
    """Labels drawn from the probabilities themselves: perfectly calibrated by construction."""
    u = np.random.default_rng(seed).random((len(probs), 1))
    return np.minimum((probs.cumsum(axis=1) < u).sum(axis=1), probs.shape[1] - 1)


@pytest.mark.parametrize("true_temperature", [0.5, 1.0, 2.5])
def test_a_known_temperature_is_found(true_temperature):
    logits = np.random.default_rng(0).normal(size=(6000, 4)) * 2
    y = draw_labels(softmax(logits / true_temperature))
    fitted = fit_temperature(y, logits)
    assert fitted.value == pytest.approx(true_temperature, rel=0.1)
    assert fitted.nll_after <= fitted.nll_before + 1e-9
    assert not fitted.at_bound


def test_no_temperature_near_the_fitted_one_is_better(make_scored):
    d = make_scored(200)
    fitted = fit_temperature(d.y, d.logits)

    def nll(t: float) -> float:
        return compute_metrics(d.y, apply_temperature(d.logits, t), ("a", "b", "c", "d")).nll

    assert nll(fitted.value) == pytest.approx(fitted.nll_after)
    assert nll(1.0) == pytest.approx(fitted.nll_before)
    assert fitted.nll_after <= min(nll(fitted.value * 1.05), nll(fitted.value / 1.05))


def test_overconfidence_is_cured_out_of_sample():
    logits = np.random.default_rng(1).normal(size=(4000, 5))
    y = draw_labels(softmax(logits), seed=2)
    loud = 4 * logits
    t = fit_temperature(y[:2000], loud[:2000]).value
    classes = tuple("abcde")
    before = compute_metrics(y[2000:], softmax(loud[2000:]), classes)
    after = compute_metrics(y[2000:], apply_temperature(loud[2000:], t), classes)
    assert after.ece < before.ece / 3
    assert after.accuracy == before.accuracy


def test_separable_logits_end_at_the_bound_and_say_so():
    y = np.arange(30) % 3
    assert fit_temperature(y, 5.0 * np.eye(3)[y]).at_bound
    assert fit_temperature(y, np.random.default_rng(0).normal(size=(30, 3)) - 9 * np.eye(3)[y]).at_bound


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), t=st.floats(0.05, 20))
def test_temperature_keeps_the_argmax(seed, t):
    logits = np.random.default_rng(seed).normal(size=(20, 7)).round(3) * 5
    probs = apply_temperature(logits, t)
    top = logits.argmax(axis=1)
    assert (probs[np.arange(20), top] == probs.max(axis=1)).all()
    assert probs.sum(axis=1) == pytest.approx(np.ones(20))


def test_softmax_of_huge_logits_is_finite():
    assert softmax([[1e4, 0.0], [-1e4, 0.0]]) == pytest.approx(np.array([[1.0, 0.0], [0.0, 1.0]]))


def test_bad_input_is_refused(make_scored):
    d = make_scored(40)
    with pytest.raises(DataError, match="at least 20"):
        fit_temperature(d.y[:10], d.logits[:10])
    with pytest.raises(DataError, match="one class"):
        fit_temperature(np.zeros(40, dtype=int), d.logits)
    with pytest.raises(DataError, match="not finite"):
        fit_temperature(d.y, np.where(d.logits > 1, np.nan, d.logits))
    with pytest.raises(DataError, match="Logits must have"):
        fit_temperature(d.y, d.logits[:30])
    for t in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="positive"):
            apply_temperature(d.logits, t)


def test_assumed_prevalence_is_the_mean_probability(make_scored):
    d = make_scored(60)
    p = assumed_prevalence(d.y, d.probs, ("a", "b", "c", "d"))
    assert p.assumed == pytest.approx(d.probs.mean(axis=0))
    assert p.observed == pytest.approx(np.bincount(d.y) / 60)
