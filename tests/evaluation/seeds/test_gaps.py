"""Gaps: agreement with the curves, matched training accuracy, and reasons where there is none."""

from __future__ import annotations

import numpy as np
import pytest

from dermdemo.evaluation.curves import at_train_accuracy, summarise
from dermdemo.evaluation.seeds.gaps import BEST, LAST, gap_rows, matched_to
from dermdemo.evaluation.seeds.sampling import Resampling
from dermdemo.evaluation.seeds.table import Table
from tests.evaluation.seeds.studies import Made, make_study

HOW = Resampling(n_resamples=200)
CALM, WILD = Made(train_accuracy=0.7, loss_gap=0.05), Made(train_accuracy=0.9, loss_gap=0.4, accuracy_gap=0.2)


@pytest.fixture(scope="module")
def found() -> tuple[Table, list[str]]:
    rows, notes = gap_rows(make_study({"vae": CALM, "imagenet": WILD}), HOW)
    return Table(tuple(rows)), notes


def test_figures_are_those_of_the_curves(found: tuple[Table, list[str]]) -> None:
    study = make_study({"vae": CALM, "imagenet": WILD})
    for arm in ("vae", "imagenet"):
        summaries = [summarise(r.history) for r in study.runs[arm].values() if r.history]
        for scope, points in ((LAST, [s.last for s in summaries]), (BEST, [s.best for s in summaries])):
            for metric in ("loss_gap", "accuracy_gap"):
                row = found[0].find(arm, "train-val", metric, scope)
                assert row is not None and row.value == pytest.approx(np.mean([getattr(p, metric) for p in points]))
                assert row.low is not None and row.high is not None and row.low <= row.value <= row.high


def test_the_wilder_arm_has_the_larger_gap(found: tuple[Table, list[str]]) -> None:
    row = found[0].find("vae - imagenet", "train-val", "loss_gap", LAST)
    assert row is not None and row.value == pytest.approx(0.05 - 0.4) and row.high is not None and row.high < 0


def test_matched_gaps_stand_at_the_same_training_accuracy(found: tuple[Table, list[str]]) -> None:
    table, notes = found
    assert notes == []
    sides = [table.find("vae", "train", "accuracy", matched_to("imagenet")),
             table.find("imagenet", "train", "accuracy", matched_to("vae"))]
    assert [s.value for s in sides if s] == [pytest.approx(0.7)] * 2
    study = make_study({"vae": CALM, "imagenet": WILD})
    points = [at_train_accuracy(r.history, 0.7).point for r in study.runs["imagenet"].values() if r.history]
    row = table.find("imagenet", "train-val", "loss_gap", matched_to("vae"))
    assert row is not None and row.value == pytest.approx(np.mean([p.loss_gap for p in points if p]))
    assert row.epoch == pytest.approx(np.mean([p.epoch for p in points if p]))
    assert table.find("vae - imagenet", "train-val", "loss_gap", "matched") is not None


def test_an_accuracy_that_is_passed_from_the_start_cannot_be_matched() -> None:
    rows, notes = gap_rows(make_study({"vae": Made(train_accuracy=0.2), "imagenet": Made()}, seeds=(0,)), HOW)
    assert Table(tuple(rows)).find("vae - imagenet", "train-val", "loss_gap", "matched") is None
    assert "vae against imagenet" in notes[0] and "from its first record on" in notes[0]


def test_changes_are_relative_to_the_start(found: tuple[Table, list[str]]) -> None:
    row = found[0].find("vae", "train", "loss_change_pct", LAST)
    assert row is not None and row.value == pytest.approx(100 * (0.4 - 1.5) / 1.5)
