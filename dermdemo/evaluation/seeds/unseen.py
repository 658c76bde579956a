"""Figures on the test split: per run, mean over seeds with intervals, paired differences.

Scores are taken at temperature 1, as in `compare`; those of probabilities are given again as ``..._calibrated``,
with the temperature that each model got on calib. Thresholds of the malignant score are each model's own, from val.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dermdemo.evaluation.calibration import apply_temperature, softmax
from dermdemo.evaluation.checks import FloatArray, GroupArray, IntArray
from dermdemo.evaluation.malignancy import malignancy_metrics, malignant_indices, malignant_score
from dermdemo.evaluation.resampling import BootstrapData, Values, draw
from dermdemo.evaluation.scores import STANDARD_METRICS, Metric, WeightedScores, class_metrics
from dermdemo.evaluation.seeds.runs import Run, Study
from dermdemo.evaluation.seeds.sampling import Resampling, estimate
from dermdemo.evaluation.seeds.table import MEAN, Row, versus
from dermdemo.evaluation.seeds.variants import PIXELS, REFERENCES, compared_with

OF_PROBABILITIES = ("brier", "nll", "ece", "classwise_ece")
SHARE = "largest_predicted_share"
Key = tuple[str, str]  # metric, scope


def largest_predicted_share(s: WeightedScores) -> FloatArray:
    """(B,) share of the images that get the class named most often: 1 for a constant predictor."""
    named = s.confusion.sum(axis=1)
    share: FloatArray = named.max(axis=1) / s.total
    return share


@dataclass(frozen=True, eq=False)
class View:
    """One way to look at the predictions: labels (N,), and probabilities (N, K) by arm and seed."""

    y: IntArray
    probs: Mapping[str, Mapping[int, FloatArray]]
    metrics: Mapping[Key, Metric]
    counted: Mapping[Key, np.ndarray]  # rows (N,) bool that a figure rests on, where not all


class Figures:
    """Point values and resamples of one view; arms with the same seeds are drawn in one go."""

    def __init__(self, view: View, groups: GroupArray, how: Resampling) -> None:
        self.view, self.groups, self.how = view, groups, how
        self._drawn: dict[tuple[int, ...], tuple[list[str], Values, Values]] = {}
        self.names = {f"{metric}/{scope}": (metric, scope) for metric, scope in view.metrics}

    @cached_property
    def _functions(self) -> dict[str, Metric]:
        return {name: self.view.metrics[key] for name, key in self.names.items()}

    def drawn(self, arm: str, seeds: tuple[int, ...]) -> dict[str, tuple[float, FloatArray]]:
        """Mean over `seeds`: name -> point value and resamples (B,)."""
        if seeds not in self._drawn:
            arms = [a for a, of_arm in self.view.probs.items() if set(seeds) <= set(of_arm)]
            stacks = [np.stack([self.view.probs[a][s] for s in seeds]) for a in arms]
            data = BootstrapData.of(self.view.y, list(stacks), self.groups)
            how = self.how
            self._drawn[seeds] = arms, *draw(self._functions, data, how.n_resamples, how.seed, how.level)
        arms, point, sampled = self._drawn[seeds]
        k = arms.index(arm)
        return {name: (float(point[name][k, 0]), sampled[name][k]) for name in self.names}

    def single(self, arm: str, seed: int) -> dict[str, float]:
        """Point values of one run."""
        s = WeightedScores(self.view.y, self.view.probs[arm][seed], np.ones((1, len(self.view.y))))
        return {name: float(metric(s)[0]) for name, metric in self._functions.items()}

    def row(self, arm: str, seed: str, name: str, point: float, sampled: FloatArray | None) -> Row:
        metric, scope = self.names[name]
        counted = self.view.counted.get((metric, scope), np.ones(len(self.groups), bool))
        n = len(np.unique(self.groups[counted]))
        found = estimate(point, np.array([]) if sampled is None else sampled, self.how.level, n_lesions=n)
        return Row(arm=arm, seed=seed, split="test", metric=metric, scope=scope, value=found.value, low=found.low,
                   high=found.high, n_images=int(counted.sum()), n_lesions=n)


def unseen_rows(study: Study, how: Resampling) -> list[Row]:
    """All figures on test."""
    groups = _any(study).test.groups
    return [row for view in _views(study) for row in _rows(study, Figures(view, groups, how))]


def _rows(study: Study, figures: Figures) -> list[Row]:
    rows: list[Row] = []
    arms = [a for a in study.arms if a in figures.view.probs]
    for arm in arms:
        seeds = study.seeds(arm)
        if arm != PIXELS:
            rows += [figures.row(arm, str(s), name, value, None) for s in seeds
                     for name, value in figures.single(arm, s).items()]
        rows += [figures.row(arm, MEAN, name, *drawn) for name, drawn in figures.drawn(arm, seeds).items()]
    for reference in (r for r in REFERENCES if r in arms):
        for arm in (a for a in compared_with(reference, arms) if study.seeds(a, reference)):
            seeds = study.seeds(arm, reference)
            a, b = figures.drawn(arm, seeds), figures.drawn(reference, seeds)
            rows += [figures.row(versus(arm, reference), MEAN, name, a[name][0] - b[name][0], a[name][1] - b[name][1])
                     for name in figures.names]
    return rows


def _any(study: Study) -> Run:
    return next(iter(next(iter(study.runs.values())).values()))


def _views(study: Study) -> list[View]:
    y, classes = _any(study).test.y, study.settings.classes
    metrics: dict[Key, Metric] = {(m, "all"): fn for m, fn in STANDARD_METRICS.items()}
    metrics |= {(m, "all"): fn for m, fn in malignancy_metrics(classes).items()}
    metrics[SHARE, "all"] = largest_predicted_share
    named = class_metrics(classes)
    by_class = {("sensitivity", f"class: {c}"): named[f"sensitivity:{c}"] for c in classes}
    counted = {("sensitivity", f"class: {c}"): y == k for k, c in enumerate(classes)}
    raw = {a: {s: softmax(r.test.logits) for s, r in of_arm.items()} for a, of_arm in study.runs.items()}
    views = [View(y, raw, metrics | by_class, counted)]
    calibrated = {a: {s: apply_temperature(r.test.logits, r.temperature or 1.0) for s, r in of_arm.items()}
                  for a, of_arm in study.runs.items() if all(r.temperature for r in of_arm.values())}
    if calibrated:
        views.append(View(y, calibrated, {(f"{m}_calibrated", "all"): STANDARD_METRICS[m] for m in OF_PROBABILITIES},
                          {}))
    return [*views, *_operating_views(study, y, classes)]


def _operating_views(study: Study, y: IntArray, classes: Sequence[str]) -> list[View]:
    """One view per target specificity: benign (0) or malignant (1) as each model's own threshold says."""
    indices = malignant_indices(classes)
    networks = {a: of_arm for a, of_arm in study.runs.items() if a != PIXELS}
    targets = sorted({t for of_arm in networks.values() for r in of_arm.values() for t in r.thresholds})
    positive = np.isin(y, indices)
    views = []
    for target in targets if indices else []:
        called = {a: {s: _called(r, indices, target) for s, r in of_arm.items()} for a, of_arm in networks.items()
                  if all(target in r.thresholds for r in of_arm.values())}
        scope = f"specificity {target:g} on val"
        metrics: dict[Key, Metric] = {("malignant_sensitivity", scope): lambda s: s.recall[:, 1],
                                      ("malignant_specificity", scope): lambda s: s.recall[:, 0]}
        counted = {("malignant_sensitivity", scope): positive, ("malignant_specificity", scope): ~positive}
        views.append(View(positive.astype(np.int64), called, metrics, counted))
    return views


def _called(run: Run, indices: Sequence[int], target: float) -> FloatArray:
    """(N, 2): 1 in the column of what the threshold says."""
    score = malignant_score(apply_temperature(run.test.logits, run.temperature or 1.0), indices)
    return np.eye(2)[(score >= run.thresholds[target]).astype(int)]
