"""Curves: what is written is shown, what is no figure is left out, what is trained again replaces."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermdemo.evaluation.records import encode
from dermdemo.jobs.curves import PRETRAIN, TRAIN, Curves
from tests.jobs.runs import epoch, started

LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5))
VALUES = st.recursive(LEAVES, lambda v: st.lists(v, max_size=3) | st.dictionaries(
    st.sampled_from(["loss", "kl_per_dim", "accuracy", "schedule", "train_images"]), v, max_size=3), max_leaves=8)
KEYS = ("stage", "done", "total", "epoch", "epochs", "size", "seconds", "train", "val", "time", "name", "message",
        "reason", "config", "data", "resumed_from", "lr", "beta")


def _folded(*events: dict[str, Any]) -> Curves:
    curves = Curves()
    for event in events:
        curves.add(event)
    return curves


def test_stage_one_has_its_series() -> None:
    figures = {"loss": -5.0, "rec": -6.0, "kl": 1.0, "psnr": 20.0, "ssim": 0.7, "active_units": 4,
               "kl_per_dim": [0.1, 0.2]}
    found = _folded(started(), epoch(0, train={}, val=figures), epoch(1, train=figures, val=figures))
    assert set(found.series()) == set(PRETRAIN)
    assert found.series()["train.loss"] == [(1, -5.0)] and found.series()["val.rec"] == [(0, -6.0), (1, -6.0)]
    assert found.series()["lr"] == [(1, 0.001)], "epoch 0 has no learning rate"
    assert found.kl == {0: (0.1, 0.2), 1: (0.1, 0.2)}
    assert (found.epoch, found.epochs, found.size, found.images) == (1, 8, 32, 100)


def test_stage_two_has_both_gaps() -> None:
    train, val = {"loss": 0.4, "accuracy": 0.9}, {"loss": 0.7, "accuracy": 0.8, "balanced_accuracy": 0.6}
    found = _folded(started("train"), epoch(1, train=train, val=val))
    assert set(found.series()) == set(TRAIN)
    assert found.series()["accuracy_gap"] == [(1, pytest.approx(0.1))]
    assert found.series()["loss_gap"] == [(1, pytest.approx(0.3))]
    assert found.kl == {}


def test_views_are_told_until_the_next_epoch() -> None:
    view = {"kind": "prepared", "time": 1.0, "done": 3, "total": 16, "size": 64}
    assert _folded(started("train"), view).prepared == (3, 16)
    assert _folded(started("train"), view, epoch(0)).prepared == (0, 0)
    assert _folded(started("train"), view, started("train")).prepared == (0, 0), "the run was begun again"


def test_what_is_not_finite_is_left_out() -> None:
    val = {"loss": None, "rec": math.nan, "kl": math.inf, "psnr": "20", "ssim": 0.5}
    found = _folded(started(), epoch(1, val=val))
    assert {n for n in found.series() if n.startswith("val.")} == {"val.ssim"}


def test_what_is_trained_again_after_a_crash_counts_as_it_was_then() -> None:
    warning = {"kind": "warning", "name": "overfitting", "message": "m", "epoch": 3, "time": 1.0}
    found = _folded(started(), *(epoch(k) for k in range(4)), warning,
                    {"kind": "failed", "reason": "interrupted", "message": "m", "epoch": 3, "time": 1.0},
                    started(resumed_from=2), epoch(3, val={"loss": 9.0}))
    assert found.series()["val.loss"][-1] == (3, 9.0) and len(found.series()["val.loss"]) == 4
    assert found.resumed == 2 and found.failed is None and found.warnings == [] and found.epoch == 3
    assert set(found.took) == {1, 2, 3}


def test_going_on_forgets_what_was_trained_beyond() -> None:
    found = _folded(started(), *(epoch(k) for k in range(6)), started(resumed_from=2))
    assert found.epoch == 2 and found.series()["val.loss"][-1][0] == 2


@given(st.integers(1, 400))
def test_a_dozen_epochs_of_kl_are_kept_evenly(count: int) -> None:
    found = _folded(started(), *(epoch(k, val={"kl_per_dim": [float(k)]}) for k in range(count)))
    kept = sorted(found.kl)
    assert kept[0] == 0 and kept[-1] == count - 1 and len(kept) <= 12
    assert all(found.kl[e] == (pytest.approx(e, rel=1e-3),) for e in kept)
    assert len({b - a for a, b in zip(kept[:-1], kept[1:-1], strict=False)}) <= 1, kept


def test_a_snapshot_stays_as_it_is() -> None:
    found = _folded(started(), epoch(1))
    before = found.snapshot()
    for k in range(2, 6):
        found.add(epoch(k))
    assert before.series()["val.loss"] == [(1, 1.0)] and set(before.took) == {1} and before.epoch == 1


KINDS = st.sampled_from(["started", "prepared", "epoch", "warning", "finished", "failed"])


@given(st.lists(st.fixed_dictionaries({"kind": KINDS}, optional=dict.fromkeys(KEYS, VALUES)), max_size=8))
def test_events_of_any_shape_are_taken(events: list[dict[str, Any]]) -> None:
    found = _folded(*events)
    encode(found.series())
    encode(sorted(found.kl.items()))
    encode(found.prepared)
    assert all(t.seconds >= 0 for t in found.took.values())
