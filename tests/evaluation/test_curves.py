"""Changes, gaps, matched training accuracy and failure signatures on curves of known shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermdemo.evaluation.constant import ConstantAnswer, constant_answer
from dermdemo.evaluation.curves import at_train_accuracy, failure_signatures, gap_at, summarise, trend
from dermdemo.evaluation.history import ArmHistory, Curve

E = np.arange(31)


def arm(
    train_loss: Sequence[float] | np.ndarray,
    val_loss: Sequence[float] | np.ndarray,
    train_accuracy: Sequence[float] | np.ndarray | None = None,
    val_accuracy: Sequence[float] | np.ndarray | None = None,
    *,
    first: int = 0,
    balanced: tuple[float, ...] | None = None,
) -> ArmHistory:
    n = len(train_loss)
    flat = [0.5] * n
    return ArmHistory(
        name="arm",
        epochs=tuple(range(first, first + n)),
        train=Curve(
            loss=tuple(train_loss), accuracy=tuple(flat if train_accuracy is None else train_accuracy)
        ),
        val=Curve(
            loss=tuple(val_loss),
            accuracy=tuple(flat if val_accuracy is None else val_accuracy),
            balanced_accuracy=balanced,
        ),
    )


def kinds(history: ArmHistory, share: float | None = None) -> list[str]:
    return [s.kind for s in failure_signatures(history, constant=None if share is None else of_seven(share))]


def of_seven(share: float) -> ConstantAnswer:
    return ConstantAnswer(accuracy=share, balanced_accuracy=1 / 7)


def test_the_papers_own_figures_come_out():
    s = summarise(arm([0.3, 0.2], [0.165, 0.110], [0.58, 0.87], [0.45, 0.65]))
    assert s.val_loss.change_pct == pytest.approx(-33.33, abs=0.005)
    assert s.val_accuracy.change_pct == pytest.approx(44.44, abs=0.005)
    assert s.train_accuracy.change_pct == pytest.approx(50.0)
    assert s.last.accuracy_gap == pytest.approx(0.22)
    assert s.last.loss_gap == pytest.approx(-0.09)


def test_change_is_also_counted_from_the_first_epoch():
    s = summarise(arm([4.0, 2.0, 1.0], [4.0, 2.0, 1.0]))
    assert (s.val_loss.initial, s.val_loss.after_first_epoch, s.val_loss.final) == (4, 2, 1)
    assert (s.val_loss.change_pct, s.val_loss.change_since_first_epoch_pct) == (-75, -50)
    late = summarise(arm([4.0, 2.0], [4.0, 2.0], first=1))
    assert late.val_loss.after_first_epoch is None
    assert late.val_loss.change_since_first_epoch_pct is None


def test_a_change_from_zero_has_no_percentage():
    assert summarise(arm([1, 1], [1, 1], [0.0, 0.5], [0.0, 0.5])).val_accuracy.change_pct is None


def test_the_best_epoch_has_the_lowest_validation_loss():
    s = summarise(arm([3, 2, 1, 0.5], [3, 1.5, 1.2, 2], [0.2, 0.5, 0.7, 0.9], [0.2, 0.5, 0.6, 0.55]))
    assert (s.best.epoch, s.last.epoch) == (2, 3)
    assert s.best.accuracy_gap == pytest.approx(0.1)
    assert s.last.accuracy_gap == pytest.approx(0.35)
    assert s.last.loss_gap == pytest.approx(1.5)


def test_matched_accuracy_is_interpolated_at_its_first_crossing():
    h = arm([4, 2, 1, 1.5, 0.5], [4, 3, 2, 2, 2], [0.2, 0.4, 0.8, 0.5, 0.9], [0.2, 0.3, 0.5, 0.5, 0.5])
    point = at_train_accuracy(h, 0.5).point
    assert point.epoch == pytest.approx(1.25)
    assert point.train_accuracy == pytest.approx(0.5)
    assert point.val_accuracy == pytest.approx(0.35)
    assert point.loss_gap == pytest.approx(2.75 - 1.75)


def test_matched_accuracy_says_why_there_is_none():
    h = arm([2, 1], [2, 1], [0.3, 0.6])
    assert "never reaches" in at_train_accuracy(h, 0.7).reason
    assert "from its first record" in at_train_accuracy(h, 0.2).reason
    assert at_train_accuracy(h, 0.3).point == gap_at(h, 0)
    assert at_train_accuracy(h, 0.6).point == gap_at(h, 1)


def test_healthy_curves_show_nothing():
    falling = 2 * np.exp(-E / 15) + 0.2
    assert kinds(arm(falling, falling + 0.05)) == ["none"]


def test_rising_validation_loss_is_overfitting():
    train = 2 * np.exp(-E / 8) + 0.05
    found = failure_signatures(arm(train, train + 0.03 * E))
    assert [s.kind for s in found] == ["overfitting"]
    assert "rose" in found[0].text


def test_stalling_validation_loss_is_overfitting():
    train = 2 * np.exp(-E / 12)
    found = failure_signatures(arm(train, np.maximum(train, 0.9)))
    assert [s.kind for s in found] == ["overfitting"]
    assert "stalls" in found[0].text


def test_flat_losses_are_underfitting_even_after_a_first_drop():
    wobble = 0.002 * np.sin(E)
    assert kinds(arm(1 + wobble, 1.01 + wobble)) == ["underfitting"]
    flat = np.where(E == 0, 2.0, 1.0) + wobble
    assert kinds(arm(flat, flat)) == ["underfitting"]


def test_a_constant_predictor_is_recognised_by_its_figures():
    flat, accuracy = np.ones(31), np.full(31, 0.672)
    h = arm(flat, flat, accuracy, accuracy, balanced=(1 / 7,) * 31)
    assert kinds(h, 0.669) == ["constant", "underfitting"]
    assert "0.143" in failure_signatures(h, constant=of_seven(0.669))[0].text
    assert kinds(h, 0.65) == ["underfitting"]
    other = arm(flat, flat, accuracy, accuracy, balanced=(0.44,) * 31)
    assert kinds(other, 0.669) == ["underfitting"]
    assert kinds(arm(flat, flat, accuracy, accuracy), 0.669) == ["constant", "underfitting"]
    assert kinds(h) == ["underfitting"]


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60))
def test_the_constant_answer_is_what_naming_one_class_scores(labels: list[int]):
    y = np.array(labels)
    found = constant_answer(y)
    named = np.bincount(y).argmax()
    assert found.accuracy == pytest.approx((y == named).mean())
    assert found.balanced_accuracy == pytest.approx(np.mean([c == named for c in np.unique(y)]))
    assert found.matches(found.accuracy, found.balanced_accuracy) and found.matches(found.accuracy, None)


def test_short_runs_are_not_judged():
    assert kinds(arm([2, 1, 0.5], [2, 3, 4])) == ["too-short"]
    assert kinds(arm([2], [2])) == ["too-short"]


def test_trend_is_the_relative_change_along_a_line():
    assert trend(np.array([4.0, 3.0, 2.0])) == pytest.approx(-0.5)
    assert trend(np.array([2.0, 2.0, 2.0])) == pytest.approx(0)
