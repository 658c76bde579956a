"""Train against validation: the gaps of every run at its last and best epoch and at matched training accuracy.

Accuracy gap = train - validation accuracy; loss gap = validation - train loss; both in evaluation mode on
un-augmented images. Intervals draw training lesions, validation lesions and seeds; the epoch is held as it was
found on all images. Matched: per seed the lower of the two final training accuracies, each run where it first
reaches it, linear between epochs, as in `compare`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np

from dermdemo.evaluation.checks import FloatArray
from dermdemo.evaluation.curves import at_train_accuracy
from dermdemo.evaluation.seeds.runs import Run, Study
from dermdemo.evaluation.seeds.sampling import LesionWeights, Resampling, estimate
from dermdemo.evaluation.seeds.table import MEAN, Row, versus
from dermdemo.evaluation.seeds.variants import PIXELS, TRAINED_REFERENCES, compared_with

QUANTITIES = (("train", "loss"), ("val", "loss"), ("train", "accuracy"), ("val", "accuracy"),
              ("train-val", "loss_gap"), ("train-val", "accuracy_gap"))
INITIAL, FIRST, LAST, BEST, MATCHED = "initial", "first", "last", "best", "matched"
Positions = Mapping[int, float]  # seed -> index into the epochs of its run, between two where not whole


def matched_to(reference: str) -> str:
    """Scope of an arm's figures where its training accuracy is matched to that of another."""
    return f"{MATCHED}: {reference}"


class GapFigures:
    """Values and resamples of the six quantities for any arm at any position."""

    def __init__(self, study: Study, how: Resampling) -> None:
        self.study, self.how = study, how
        runs = [run for of_arm in study.runs.values() for run in of_arm.values()]
        self.lesions = {"train": LesionWeights("train", [r.scores.train.groups for r in runs], how),
                        "val": LesionWeights("val", [r.scores.val.groups for r in runs], how)}
        self._cache: dict[tuple[str, float], tuple[FloatArray, FloatArray]] = {}

    def of_run(self, run: Run, index: float) -> tuple[FloatArray, FloatArray]:
        """Six values (Q,), and their resamples over lesions (B, Q)."""
        if (run.name, index) not in self._cache:
            point, sampled = [], []
            for split, scores in (("train", run.scores.train), ("val", run.scores.val)):
                values = np.stack([_at(scores.loss, index), _at(scores.right, index)], axis=1)  # (N, 2)
                point.append(values.mean(axis=0))
                sampled.append(self.lesions[split].means(scores.groups, values))
            both = _six(*point), _six(*(s.T for s in sampled)).T
            self._cache[run.name, index] = both
        return self._cache[run.name, index]

    def of_arm(self, arm: str, where: Positions) -> tuple[FloatArray, FloatArray]:
        """Mean over the seeds of `where`: (Q,), and resamples over lesions and seeds (B, Q)."""
        each = [self.of_run(self.study.runs[arm][s], i) for s, i in where.items()]
        weights = self.how.seed_weights(len(each))  # (B, S)
        sampled = np.einsum("bs,sbq->bq", weights, np.stack([sampled for _, sampled in each]))
        return np.mean([point for point, _ in each], axis=0), sampled

    def rows(self, arm: str, scope: str, found: tuple[FloatArray, FloatArray], epoch: float | None) -> list[Row]:
        """One row per quantity."""
        return [self._row(arm, MEAN, q, scope, float(found[0][k]), found[1][:, k], epoch)
                for k, q in enumerate(QUANTITIES)]

    def _row(self, arm: str, seed: str, quantity: tuple[str, str], scope: str, point: float, sampled: FloatArray,
             epoch: float | None) -> Row:
        split, metric = quantity
        images, lesions = self.counts[split]
        found = estimate(point, sampled, self.how.level, n_lesions=lesions)
        return Row(arm=arm, seed=seed, split=split, metric=metric, scope=scope, value=found.value, low=found.low,
                   high=found.high, n_images=images, n_lesions=lesions, epoch=epoch)

    def single(self, arm: str, seed: int, scope: str, index: float) -> list[Row]:
        """The six values of one run, without intervals."""
        run = self.study.runs[arm][seed]
        point, nothing = self.of_run(run, index)[0], np.array([])
        return [self._row(arm, str(seed), q, scope, float(point[k]), nothing, _epoch(run, index))
                for k, q in enumerate(QUANTITIES)]

    def changes(self, arm: str, start: Positions, end: Positions) -> list[Row]:
        """Relative change in % of the mean over seeds, as the paper gives it."""
        a, b = self.of_arm(arm, start), self.of_arm(arm, end)
        rows = []
        for k, (split, metric) in enumerate(QUANTITIES[:4]):
            point, sampled = (_change_pct(x[..., k], y[..., k]) for x, y in zip(a, b, strict=True))
            rows.append(self._row(arm, MEAN, (split, f"{metric}_change_pct"), LAST, float(point), sampled, None))
        return rows

    @cached_property
    def counts(self) -> dict[str, tuple[int, int]]:
        """Images of a run and lesions of all runs, by split; a gap rests on both splits."""
        first = next(r for of_arm in self.study.runs.values() for r in of_arm.values())
        found = {s: (len(getattr(first.scores, s).y), len(w.names)) for s, w in self.lesions.items()}
        (a, b), (c, d) = found["train"], found["val"]
        return {**found, "train-val": (a + c, b + d)}


def _at(values: FloatArray, index: float) -> FloatArray:
    """Row of (E, N) at a position, linear between neighbours: (N,)."""
    below = int(index)
    share = index - below
    at: FloatArray = values[below] if share == 0 else (1 - share) * values[below] + share * values[below + 1]
    return at


def _six(train: FloatArray, val: FloatArray) -> FloatArray:
    """(loss, accuracy) of both splits -> the quantities in their order."""
    return np.stack([train[0], val[0], train[1], val[1], val[0] - train[0], train[1] - val[1]])


def _change_pct(start: FloatArray, end: FloatArray) -> FloatArray:
    """From start to end in % of start; NaN where that is 0."""
    out = np.full(np.shape(start), np.nan)
    np.divide(100 * (end - start), np.abs(start), out=out, where=start != 0)
    return out


def _epoch(run: Run, index: float) -> float:
    return float(np.interp(index, np.arange(len(run.scores.epochs)), run.scores.epochs))


def positions(study: Study, arm: str, scope: str) -> dict[int, float]:
    """Where each run of an arm is looked at."""
    out: dict[int, float] = {}
    for seed in study.seeds(arm):
        run = study.runs[arm][seed]
        last = len(run.scores.epochs) - 1
        best = int(np.argmin(run.history.val.loss)) if run.history else last
        out[seed] = float({INITIAL: 0, FIRST: min(1, last), LAST: last, BEST: best}[scope])
    return out


def matched_positions(study: Study, arm: str, reference: str) -> tuple[list[dict[int, float]], list[str]]:
    """Positions of both arms at equal training accuracy for every common seed, or the reasons why there are none."""
    where: list[dict[int, float]] = [{}, {}]
    reasons: list[str] = []
    for seed in study.seeds(arm, reference):
        histories = [study.runs[a][seed].history for a in (arm, reference)]
        known = [h for h in histories if h is not None]
        target = min(h.train.accuracy[-1] for h in known)
        for side, history in zip(where, known, strict=True):
            found = at_train_accuracy(history, target)
            if found.point is None:
                reasons.append(found.reason or "")
            else:
                side[seed] = float(np.interp(found.point.epoch, history.epochs, np.arange(len(history.epochs))))
    return ([{}, {}] if reasons else where), reasons


def gap_rows(study: Study, how: Resampling) -> tuple[list[Row], list[str]]:
    """Every figure on train and val, and sentences on what could not be matched."""
    figures, rows, notes = GapFigures(study, how), [], []
    networks = [a for a in study.arms if a != PIXELS]
    for arm in networks:
        for scope in (INITIAL, FIRST, LAST, BEST):
            where = positions(study, arm, scope)
            rows += [row for s, i in where.items() for row in figures.single(arm, s, scope, i)]
            rows += figures.rows(arm, scope, figures.of_arm(arm, where), _mean_epoch(study, arm, where))
        rows += figures.changes(arm, positions(study, arm, INITIAL), positions(study, arm, LAST))
    if PIXELS in study.arms:
        last = positions(study, PIXELS, LAST)
        found = figures.rows(PIXELS, LAST, figures.of_arm(PIXELS, last), None)
        rows += [row for row in found if row.value is not None]
    for reference in (r for r in TRAINED_REFERENCES if r in networks):
        for arm in (a for a in compared_with(reference, networks) if study.seeds(a, reference)):
            rows += _differences(figures, arm, reference)
            more, reasons = _matched(figures, arm, reference)
            rows += more
            notes += [f"No gap at matched training accuracy for {arm} against {reference}: {r}" for r in reasons]
    return rows, notes


def _mean_epoch(study: Study, arm: str, where: Positions) -> float:
    return float(np.mean([_epoch(study.runs[arm][s], i) for s, i in where.items()]))


def _differences(figures: GapFigures, arm: str, reference: str) -> list[Row]:
    """Arm minus reference at the last and the best epoch, over their common seeds."""
    seeds, rows = figures.study.seeds(arm, reference), []
    for scope in (LAST, BEST):
        sides = [{s: positions(figures.study, a, scope)[s] for s in seeds} for a in (arm, reference)]
        a, b = (figures.of_arm(name, side) for name, side in zip((arm, reference), sides, strict=True))
        rows += figures.rows(versus(arm, reference), scope, (a[0] - b[0], a[1] - b[1]), None)
    return rows


def _matched(figures: GapFigures, arm: str, reference: str) -> tuple[list[Row], list[str]]:
    """Both arms at matched training accuracy, and their difference."""
    sides, reasons = matched_positions(figures.study, arm, reference)
    if reasons:
        return [], reasons
    a, b = (figures.of_arm(name, side) for name, side in zip((arm, reference), sides, strict=True))
    epochs = [_mean_epoch(figures.study, name, side) for name, side in zip((arm, reference), sides, strict=True)]
    own_turn = arm in TRAINED_REFERENCES and reference in compared_with(arm, figures.study.arms)
    other = [] if own_turn else figures.rows(reference, matched_to(arm), b, epochs[1])
    return [*figures.rows(arm, matched_to(reference), a, epochs[0]), *other,
            *figures.rows(versus(arm, reference), MATCHED, (a[0] - b[0], a[1] - b[1]), None)], []
