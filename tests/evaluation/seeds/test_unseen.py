"""Figures on test: agreement with the plain bootstrap, pairing, single seeds, and coverage of a known truth."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from dermdemo.evaluation.calibration import softmax
from dermdemo.evaluation.intervals import paired_difference
from dermdemo.evaluation.scores import STANDARD_METRICS
from dermdemo.evaluation.seeds.runs import Study
from dermdemo.evaluation.seeds.sampling import LesionWeights, Resampling, estimate
from dermdemo.evaluation.seeds.table import Table
from dermdemo.evaluation.seeds.unseen import SHARE, unseen_rows
from tests.evaluation.seeds.studies import Made, lesions, make_study

HOW = Resampling(n_resamples=200)


def table_of(study: Study) -> Table:
    return Table(tuple(unseen_rows(study, HOW)))


def test_paired_differences_are_those_of_the_hierarchical_bootstrap() -> None:
    study = make_study({"vae": Made(signal=1.0), "imagenet": Made(signal=2.5)})
    row = table_of(study).find("vae - imagenet", "test", "balanced_accuracy")
    stacks = [np.stack([softmax(r.test.logits) for r in study.runs[a].values()]) for a in ("vae", "imagenet")]
    test = study.runs["vae"][0].test
    metric = {"m": STANDARD_METRICS["balanced_accuracy"]}
    plain = paired_difference(metric, test.y, *stacks, test.groups, n_resamples=200)["m"]
    assert row is not None and (row.value, row.low, row.high) == (plain.estimate, plain.low, plain.high)
    assert row.high is not None and row.high < 0
    assert (row.n_images, row.n_lesions) == (140, 70)


def test_the_mean_is_over_seeds_and_every_seed_is_there() -> None:
    table = table_of(make_study({"vae": Made()}, seeds=(0, 1, 4)))
    singles = [table.find("vae", "test", "accuracy", seed=str(s)) for s in (0, 1, 4)]
    mean = table.find("vae", "test", "accuracy")
    assert mean is not None and mean.value == pytest.approx(np.mean([s.value for s in singles if s]))
    assert all(s is not None and s.low is None for s in singles)
    assert mean.low is not None and mean.high is not None and mean.low <= mean.value <= mean.high


def test_an_arm_against_itself_differs_by_nothing() -> None:
    study = make_study({"vae": Made(), "imagenet": Made()})
    same = dataclasses.replace(study, runs={"vae": study.runs["vae"], "imagenet": study.runs["vae"]})
    for metric in ("accuracy", "nll", "malignant_auc"):
        row = table_of(same).find("vae - imagenet", "test", metric)
        assert row is not None and (row.value, row.low, row.high) == (0, 0, 0)


def test_differences_take_the_seeds_that_both_have() -> None:
    study = make_study({"vae": Made(), "imagenet": Made(signal=1.0)})
    fewer = {"vae": study.runs["vae"], "imagenet": {s: study.runs["imagenet"][s] for s in (0, 2)}}
    part = dataclasses.replace(study, runs=fewer)
    assert part.missing() == ("imagenet-s1",)
    table = table_of(part)
    row = table.find("vae - imagenet", "test", "accuracy")
    by_seed = [[table.find(a, "test", "accuracy", seed=s) for s in ("0", "2")] for a in ("vae", "imagenet")]
    vae, imagenet = (np.mean([r.value for r in rows if r]) for rows in by_seed)
    assert row is not None and row.value == pytest.approx(vae - imagenet)


def test_one_seed_leaves_only_lesions_to_draw() -> None:
    assert Resampling(n_resamples=50).seed_weights(1).tolist() == [[1.0]] * 50
    table = table_of(make_study({"vae": Made()}, seeds=(0,)))
    row = table.find("vae", "test", "accuracy")
    assert row is not None and row.low is not None and row.low < row.high


def test_a_class_of_few_lesions_has_no_interval_and_thresholds_are_each_models_own() -> None:
    table = table_of(make_study({"vae": Made()}, n=60))  # 30 lesions, 4 or 5 of each class
    row = table.find("vae", "test", "sensitivity", "class: mel")
    assert row is not None and row.low is None and row.n_lesions is not None and row.n_lesions < 10
    assert table.find("vae", "test", "malignant_sensitivity", "specificity 0.8 on val") is not None
    assert table.find("vae", "test", "nll_calibrated") != table.find("vae", "test", "nll")


def test_a_constant_predictor_has_a_share_of_one() -> None:
    row = table_of(make_study({"random-head": Made(constant=True), "vae": Made()})).find("random-head", "test", SHARE)
    assert row is not None and row.value == 1


def test_intervals_over_lesions_and_seeds_cover_the_truth() -> None:
    """Accuracy 0.7 by chance of lesion, of image and of seed: the interval holds the truth in most of 150 studies."""
    rng, how, held = np.random.default_rng(3), Resampling(n_resamples=300), 0
    groups = lesions(300, 2)
    weights = LesionWeights("val", [groups], how)
    seeds = how.seed_weights(5)
    for _ in range(150):
        easy = np.repeat(rng.beta(3.5, 1.5, 150), 2)  # mean 0.7
        p = np.clip(easy + rng.normal(0, 0.02, (5, 1)), 0, 1)  # a seed's own luck
        right = (rng.random((5, 300)) < p).astype(float)
        sampled = np.einsum("bs,sb->b", seeds, np.stack([weights.means(groups, r[:, None])[:, 0] for r in right]))
        found = estimate(right.mean(), sampled, 0.95, n_lesions=150)
        assert found.low is not None and found.high is not None
        held += found.low <= 0.7 <= found.high
    assert held >= 0.88 * 150
