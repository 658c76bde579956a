"""The words follow the signs of the intervals, in both directions, and never the point figures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermdemo.evaluation.seeds import claim
from dermdemo.evaluation.seeds.table import MEAN, Row, Table
from dermdemo.evaluation.seeds.unseen import SHARE

LOWER, HIGHER, OPEN = (-0.2, -0.1), (0.1, 0.2), (-0.1, 0.1)


def row(split: str, metric: str, scope: str, interval: tuple[float, float] | None, arm: str = "vae - imagenet"
        ) -> Row:
    low, high = interval or (None, None)
    return Row(arm=arm, seed=MEAN, split=split, metric=metric, scope=scope, value=0.0, low=low, high=high)


def table(gap: tuple[float, float], score: tuple[float, float], matched: tuple[float, float] = OPEN,
          fit: tuple[float, float] = OPEN) -> Table:
    rows = [row("train-val", m, s, i) for m in ("loss_gap", "accuracy_gap")
            for s, i in (("last", gap), ("best", gap), ("matched", matched))]
    rows += [row(split, m, "all", score) for split, m in claim.ABSOLUTE]
    return Table((*rows, row("train", "accuracy", "last", fit)))


@pytest.mark.parametrize(("gap", "score", "expected", "forbidden"), [
    (LOWER, LOWER, ["smaller gap", "is worse", "not what one would want"], ["contradict"]),
    (LOWER, HIGHER, ["smaller gap", "is better", "also the better"], ["contradict", "is worse"]),
    (HIGHER, LOWER, ["larger gap", "contradict the claim, and"], ["smaller gap", "support"]),
    (HIGHER, HIGHER, ["larger gap", "yet the VAE arm is the better one"], ["is worse"]),
    (OPEN, LOWER, ["neither supports nor", "is worse"], ["Taken together"]),
    (LOWER, OPEN, ["smaller gap", "cannot be told apart"], ["Taken together"]),
])  # fmt: skip
def test_the_conclusion_turns_with_the_intervals(gap: tuple[float, float], score: tuple[float, float],
                                                 expected: list[str], forbidden: list[str]) -> None:
    text = " ".join(claim.conclusion(table(gap, score)))
    assert all(e in text for e in expected), text
    assert not any(f in text for f in forbidden), text


def test_a_small_gap_with_less_fit_is_named_underfitting() -> None:
    assert "what underfitting looks like" in " ".join(claim.conclusion(table(LOWER, OPEN, fit=LOWER)))
    assert "underfitting does not explain" in " ".join(claim.conclusion(table(LOWER, OPEN, fit=HIGHER)))
    assert "underfitting" not in " ".join(claim.conclusion(table(LOWER, OPEN)))


def test_answers_are_yes_no_or_not_distinguishable() -> None:
    found = {a.question: a.answer for a in claim.answers(table(LOWER, HIGHER, matched=HIGHER, fit=OPEN))}
    assert found["Smaller loss gap at the last epoch?"] == "yes"
    assert found["Smaller loss gap at matched training accuracy?"] == "no, it is larger"
    assert found["Worse balanced accuracy on test?"] == "no, better"
    assert found["Worse loss on val at the last epoch?"] == "not known"
    assert found["Lower training accuracy at the last epoch?"] == "not distinguishable"
    worse = {a.question: a.answer for a in claim.answers(table(LOWER, LOWER))}
    assert worse["Worse balanced accuracy on test?"] == "yes, worse"


def test_a_loss_is_better_when_lower() -> None:
    assert claim.is_better("loss", "lower") == claim.is_better("accuracy", "higher") == "better"
    assert claim.is_better("nll", "higher") == "worse" and claim.is_better("nll", "not known") == "not known"


def test_gaps_that_disagree_are_not_summed_up() -> None:
    rows = (row("train-val", "loss_gap", "last", LOWER), row("train-val", "accuracy_gap", "last", HIGHER))
    text = claim.conclusion(Table(rows))[0]
    assert "contradict each other" in text and "(lower: loss gap; higher: accuracy gap)" in text


@pytest.mark.parametrize("control", ["random", "random-ls1"])
def test_pretraining_gets_credit_only_against_a_random_encoder(control: str) -> None:
    def said(interval: tuple[float, float], control: str = control) -> str:
        rows = tuple(row(s, m, "all", interval, f"vae - {control}") for s, m in claim.ABSOLUTE)
        return " ".join(claim.controls(Table(rows), ("vae", control)))

    assert f"(`{control}`): its pretraining has helped" in said(HIGHER)
    assert "nothing beyond that start can be credited" in said(OPEN)
    assert "has not helped" in said(LOWER)
    assert "pretraining" not in said(HIGHER, "pixels")


@pytest.mark.parametrize(("interval", "expected"), [
    (HIGHER, "is larger than that of a random encoder trained alike (`random`): without any pretraining it is"),
    (LOWER, "is smaller than that of a random encoder trained alike (`random`) ("),
    (OPEN, "is not distinguishable from that of a random encoder trained alike (`random`): such a gap is no sign"),
])  # fmt: skip
def test_the_gap_is_held_against_that_of_a_random_encoder(interval: tuple[float, float], expected: str) -> None:
    rows = Table(tuple(row("train-val", m, "last", interval, "vae - random") for m in ("loss_gap", "accuracy_gap")))
    found = claim.controls(rows, ("vae", "imagenet", "random"))
    assert len(found) == 1 and expected in found[0] and found[0].endswith("loss gap, accuracy gap).")
    assert claim.controls(Table(()), ("vae", "random")) == ()


@pytest.mark.parametrize(("interval", "gap", "score"), [
    (HIGHER, "larger than", "better than"), (LOWER, "smaller than", "worse than"),
    (OPEN, "not distinguishable from", "not distinguishable from"),
])  # fmt: skip
@pytest.mark.parametrize("reference", ["vae", "imagenet"])
def test_another_task_without_labels_is_set_against_both_arms(interval: tuple[float, float], gap: str, score: str,
                                                              reference: str) -> None:
    rows = [row("train-val", m, scope, interval, f"ssl - {reference}") for m in ("loss_gap", "accuracy_gap")
            for scope in ("last", "matched")]
    rows += [row(s, m, "all", interval, f"ssl - {reference}") for s, m in claim.ABSOLUTE]
    last, matched, scores = claim.other_tasks(Table(tuple(rows)), ("vae", "imagenet", "ssl"))
    assert f"The gap of `ssl` at the last epoch is {gap} that of `{reference}` (" in last
    assert f"The gap of `ssl` at matched training accuracy is {gap} that of `{reference}` (" in matched
    assert f"On unseen lesions `ssl` is {score} `{reference}` (" in scores
    assert claim.other_tasks(Table(tuple(rows)), ("vae", "imagenet", "random")) == ()
    assert claim.other_tasks(Table(()), ("vae", "imagenet", "ssl")) == ()


def test_a_constant_predictor_is_named() -> None:
    rows = (Row(arm="random-head", seed=MEAN, split="test", metric=SHARE, scope="all", value=0.999),
            Row(arm="vae", seed=MEAN, split="test", metric=SHARE, scope="all", value=0.7))
    found = claim.constant(Table(rows), ("vae", "random-head"))
    assert len(found) == 1 and "`random-head` is a constant predictor" in found[0] and "99.9%" in found[0]


@given(st.floats(-1, 1), st.floats(0, 1), st.floats(-1, 1))
def test_only_the_interval_decides(low: float, width: float, value: float) -> None:
    r = Row(arm="a - b", seed=MEAN, split="test", metric="m", scope="all", value=value, low=low, high=low + width)
    mirrored = Row(arm="b - a", seed=MEAN, split="test", metric="m", scope="all", value=-value, low=-(low + width),
                   high=-low)
    flipped = {"lower": "higher", "higher": "lower"}
    assert claim.sign(mirrored) == flipped.get(claim.sign(r), claim.sign(r))
    assert (claim.sign(r) == "not distinguishable") == (low <= 0 <= low + width)
