"""Candidate against live: paired lines by class and subgroup, and a verdict that says no more than they do."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dermdemo.errors import DataError
from dermdemo.evaluation.predict import Predictions
from dermdemo.evaluation.versus import Line, corrected, subgroups, verdict, versus

CLASSES = ("bcc", "mel", "nv")


def _predictions(strength: float, *, n: int = 240, seed: int = 0) -> Predictions:
    """Logits that point to the true class by `strength`; two images a lesion."""
    truth = np.random.default_rng(1).integers(0, 3, n // 2).repeat(2)
    noise = np.random.default_rng(seed).normal(size=(n, 3))
    logits = (noise + strength * np.eye(3)[truth]).astype(np.float32)
    return Predictions(truth, logits, np.arange(n // 2).repeat(2).astype(str), np.arange(n).astype(str))


def _frame(n: int = 240) -> pd.DataFrame:
    return pd.DataFrame({"sex": ["female", "male", "unknown"] * (n // 3),
                         "age": [20.0, 50.0, 80.0, np.nan] * (n // 4),
                         "localization": ["back"] * (n - 4) + ["ear"] * 4})


def _outcomes(found: object) -> dict[str, str]:
    return {f"{x.scope}/{x.metric}": x.outcome for x in found.lines}  # type: ignore[attr-defined]


def test_a_better_candidate_is_called_better() -> None:
    found = versus("vae", _predictions(3), _predictions(0.5, seed=2), _frame(), CLASSES, n_resamples=200)
    said = _outcomes(found)
    assert said["all/balanced_accuracy"] == said["all/macro_auc"] == said["all/malignant_auc"] == "better"
    parts = ("sex: female/accuracy", "age: 45 to 59/accuracy", "class: mel/sensitivity")
    assert {said[k] for k in parts} == {"better"}
    assert said["site: ear/accuracy"] == "not comparable"
    assert "sex: unknown/accuracy" not in said
    assert found.verdict.startswith("On all images: better on balanced accuracy (+0.")
    assert "too few lesions to tell" in found.verdict
    assert (found.n_images, found.n_lesions) == (240, 120)


def test_the_other_way_round_it_is_worse_by_the_same_amounts() -> None:
    new, old = _predictions(3), _predictions(0.5, seed=2)
    there = versus("vae", new, old, _frame(), CLASSES, n_resamples=100)
    back = versus("vae", old, new, _frame(), CLASSES, n_resamples=100)
    assert _outcomes(back)["all/accuracy"] == "worse"
    for a, b in zip(there.lines, back.lines, strict=True):
        if a.difference is not None and b.difference is not None:
            assert a.difference == pytest.approx(-b.difference)
            assert (a.low, a.high) == pytest.approx((-b.high, -b.low))  # type: ignore[operator]


def test_the_same_model_twice_cannot_be_told_apart() -> None:
    p = _predictions(1)
    found = versus("vae", p, p, _frame(), CLASSES, n_resamples=50)
    assert {x.outcome for x in found.lines} == {"not distinguishable", "not comparable"}
    assert all(x.difference in (0.0, None) for x in found.lines)
    assert "No class or subgroup that can be compared differs" in found.verdict


def test_a_class_with_few_lesions_gets_no_figure() -> None:
    p = _predictions(1)
    rare = replace(p, y=np.where(np.arange(240) < 8, 0, np.maximum(p.y, 1)))
    found = versus("vae", rare, rare, _frame(), CLASSES, n_resamples=20)
    line = next(x for x in found.lines if x.scope == "class: bcc")
    assert line.outcome == "not comparable" and line.why == "4 lesions are too few" and line.candidate is None


def test_an_interval_that_rests_on_lucky_resamples_is_no_interval() -> None:
    """One lesion of a class: a third of the resamples lack it, and macro figures with it."""
    p, q = _predictions(3), _predictions(0.5, seed=2)
    y = np.where(np.arange(240) < 2, 0, np.maximum(p.y, 1))
    found = versus("vae", replace(p, y=y), replace(q, y=y), _frame(), CLASSES, n_resamples=200)
    line = next(x for x in found.lines if x.scope == "all" and x.metric == "balanced_accuracy")
    assert line.outcome == "not comparable" and "a class has too few lesions" in line.why
    assert _outcomes(found)["all/accuracy"] == "better"


def test_where_nothing_can_be_told_nothing_is_said() -> None:
    p = _predictions(1, n=12)
    text = versus("vae", p, p, _frame(12), CLASSES, n_resamples=50).verdict
    assert "No class or subgroup" not in text and "have too few lesions to tell" in text


def test_other_images_are_not_compared() -> None:
    a, b = _predictions(1), _predictions(1)
    with pytest.raises(DataError, match="same images"):
        versus("vae", replace(a, image_id=a.image_id[::-1]), b, _frame(), CLASSES)
    with pytest.raises(DataError, match="same images"):
        versus("vae", replace(a, logits=a.logits[:, :2]), b, _frame(), CLASSES)


def test_subgroups_come_from_whatever_metadata_there_are() -> None:
    assert subgroups(pd.DataFrame({"x": [1]})) == {}
    found = subgroups(_frame(12))
    assert set(found) == {"sex: female", "sex: male", "site: back", "site: ear", "age: under 30", "age: 45 to 59",
                          "age: 75 and over"}
    assert found["age: under 30"].sum() == 3


def _line(outcome: str, scope: str = "all", metric: str = "accuracy", **changes: Any) -> Line:
    values: dict[str, Any] = {"difference": 0.1, "low": 0.0, "high": 0.2} | changes
    return Line(scope=scope, metric=metric, n_images=20, n_lesions=20, candidate=0.5, live=0.5,
                outcome=outcome, **values)  # type: ignore[arg-type]


def test_the_verdict_names_each_side() -> None:
    size = "(+0.100, 95 % interval +0.000 to +0.200)"
    text = verdict([_line("better"), _line("worse", metric="macro_auc"), _line("worse", "sex: female", stands=True)])
    assert text == (f"On all images: better on accuracy {size}; worse on macro AUC {size}. In classes and subgroups: "
                    f"worse on accuracy of sex: female {size}.")
    assert verdict([]) == "On all images: nothing could be compared."


def test_what_many_comparisons_give_by_chance_is_said_so() -> None:
    size = "(+0.100, 95 % interval +0.000 to +0.200)"
    lines = [_line("better", "sex: female"), *(_line("not distinguishable", f"site: {k}") for k in range(39))]
    assert verdict([_line("better"), *lines]) == (
        f"On all images: better on accuracy {size}. Not after correction for the 40 lines compared there, of which "
        f"about 2 may leave 0 out by chance: better on accuracy of sex: female {size}.")


def test_holm_lets_stand_only_what_survives_all_lines() -> None:
    found = corrected([
        _line("better", p_value=1e-9), _line("better", "sex: a", p_value=1e-6),
        _line("worse", "sex: b", p_value=0.01), _line("better", "sex: c", p_value=0.03),
        _line("not distinguishable", "sex: d", p_value=0.5),
        _line("not comparable", "sex: e", difference=None, low=None, high=None)])
    assert [x.stands for x in found] == [False, True, True, False, False, False], "0.03 > 0.05 / 2; all is not asked"


def test_where_nothing_differs_little_stands() -> None:
    """Two models alike in skill: the share of arms with a class or subgroup that stands stays near 5 %."""
    hits = 0
    for seed in range(24):
        a, b = _predictions(1.0, seed=2 * seed), _predictions(1.0, seed=2 * seed + 1)
        found = versus("vae", a, b, _frame(), CLASSES, n_resamples=100, seed=seed)
        hits += any(x.stands for x in found.lines)
    assert hits <= 4


def test_the_p_value_agrees_with_the_interval() -> None:
    found = versus("vae", _predictions(2), _predictions(1.5, seed=2), _frame(), CLASSES, n_resamples=200)
    for x in found.lines:
        assert (x.p_value is None) == (x.outcome == "not comparable")
        if x.p_value is not None and (x.p_value < 0.02 or x.p_value > 0.15):
            assert (x.p_value < 0.05) == (x.outcome in ("better", "worse")), x
