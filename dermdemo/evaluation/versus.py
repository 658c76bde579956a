"""A candidate against the live model on the same images: paired differences and a verdict in words.

Every figure is taken at temperature 1 (calibration moves with the model and is fitted elsewhere), every interval
is a bootstrap over lesions, and a difference counts only where its interval leaves 0 out. Many lines are
compared, so some of them leave 0 out by chance: the verdict on all images comes first and is the one to act on.
Lines on classes and subgroups are corrected together (Holm 1979, at 5 %), from p-values that take the width of
the interval for that of a normal distribution: resamples are too few to count such tails. What stands only before
the correction is said to be what chance alone may give.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from dermdemo.data.audit import UNKNOWN
from dermdemo.errors import DataError
from dermdemo.evaluation.calibration import softmax
from dermdemo.evaluation.checks import FloatArray
from dermdemo.evaluation.intervals import PairedDifference, group_bootstrap, paired_difference
from dermdemo.evaluation.malignancy import malignancy_metrics
from dermdemo.evaluation.predict import Predictions
from dermdemo.evaluation.scores import STANDARD_METRICS, Metric, class_metrics

Outcome = Literal["better", "worse", "not distinguishable", "not comparable"]
HEADLINE = ("balanced_accuracy", "macro_auc", "accuracy")
WORDS = {"balanced_accuracy": "balanced accuracy", "macro_auc": "macro AUC", "accuracy": "accuracy",
         "malignant_auc": "malignant AUC"}
SITES = ("localization", "anatom_site_general", "site")
AGE_BANDS = ((0, 30, "under 30"), (30, 45, "30 to 44"), (45, 60, "45 to 59"), (60, 75, "60 to 74"),
             (75, 200, "75 and over"))
MIN_LESIONS = 10  # a subgroup or class of fewer gets no interval
ALPHA = 0.05
WIDTH = 2 * 1.959964  # of a 95 % interval, in standard errors
MAX_UNDEFINED = 0.2  # share of resamples; an interval over fewer would rest on the lucky ones


@dataclass(frozen=True, kw_only=True)
class Line:
    """One figure of both models.

    Attributes:
        scope: ``all``, ``class: mel``, ``sex: female``, ``age: 45 to 59``, ``site: back``.
        difference, low, high: candidate minus live and its 95 % interval; None where `why` says why.
        outcome: by this interval alone. `p_value`: two-sided, see above; None without an interval.
        stands: on a class or subgroup, whether the outcome stands after correction for all of them.
    """

    scope: str
    metric: str
    n_images: int
    n_lesions: int
    candidate: float | None
    live: float | None
    difference: float | None
    low: float | None
    high: float | None
    outcome: Outcome
    why: str = ""
    p_value: float | None = None
    stands: bool = False

    def to_text(self) -> str:
        name = WORDS.get(self.metric, self.metric)
        return name if self.scope == "all" else f"{name} of {self.scope}"


@dataclass(frozen=True, kw_only=True)
class Versus:
    """All lines of one arm, and what they come to."""

    arm: str
    n_images: int
    n_lesions: int
    lines: tuple[Line, ...]
    verdict: str


def versus(arm: str, candidate: Predictions, live: Predictions, frame: pd.DataFrame, classes: Sequence[str], *,
           n_resamples: int = 1000, seed: int = 0) -> Versus:
    """Compare two models whose rows are the same images in the same order, logits in the order of `classes`.

    Args:
        frame: the metadata of those rows; sex, age and site are used where they are there.

    Raises:
        DataError: other images or labels, or logits that do not fit.
    """
    same = np.array_equal(candidate.image_id, live.image_id) and np.array_equal(candidate.y, live.y)
    if not same or len(frame) != len(live.y) or candidate.logits.shape != live.logits.shape:
        raise DataError("The two models were not run on the same images, so they cannot be compared.")
    pair = _Pair(live.y, softmax(candidate.logits), softmax(live.logits), live.groups, n_resamples, seed)
    everyone = np.ones(len(live.y), bool)
    metrics = {k: STANDARD_METRICS[k] for k in HEADLINE} | malignancy_metrics(classes)
    lines = pair.lines("all", metrics, everyone)
    named = class_metrics(tuple(classes))
    for k, name in enumerate(classes):
        lines += pair.lines(f"class: {name}", {"sensitivity": named[f"sensitivity:{name}"]}, everyone,
                            lesions=live.y == k)
    for scope, rows in subgroups(frame).items():
        lines += pair.lines(scope, {k: STANDARD_METRICS[k] for k in ("accuracy", "balanced_accuracy")}, rows)
    lines = corrected(lines)
    return Versus(arm=arm, n_images=len(live.y), n_lesions=len(np.unique(live.groups)), lines=tuple(lines),
                  verdict=verdict(lines))


@dataclass(frozen=True)
class _Pair:
    """Labels (N,), probabilities (N, K) of both models, groups (N,), and how to resample."""

    y: np.ndarray
    candidate: FloatArray
    live: FloatArray
    groups: np.ndarray
    n_resamples: int
    seed: int

    def lines(self, scope: str, metrics: Mapping[str, Metric], rows: np.ndarray, *,
              lesions: np.ndarray | None = None) -> list[Line]:
        """One line per metric on the rows (N,) bool; `lesions` are those whose number must suffice."""
        counted = rows if lesions is None else lesions
        n = len(np.unique(self.groups[counted]))
        common: dict[str, Any] = {"scope": scope, "n_images": int(counted.sum()), "n_lesions": n}
        if n < MIN_LESIONS:
            few = "1 lesion is too few" if n == 1 else f"{n} lesions are too few"
            return [Line(metric=m, candidate=None, live=None, difference=None, low=None, high=None,
                         outcome="not comparable", why=few, **common) for m in metrics]
        y, a, b, groups = (v[rows] for v in (self.y, self.candidate, self.live, self.groups))
        options = {"n_resamples": self.n_resamples, "seed": self.seed}
        found = paired_difference(metrics, y, a, b, groups, **options)
        points = [group_bootstrap(metrics, y, p, groups, n_resamples=1, seed=self.seed) for p in (a, b)]
        return [_line(m, d, points[0][m].estimate, points[1][m].estimate, common) for m, d in found.items()]


def _line(metric: str, d: PairedDifference, candidate: float | None, live: float | None, common: dict[str, Any]
          ) -> Line:
    """One line; without an interval where too many resamples had to be left out, as a class was not drawn."""
    low, high, why = d.low, d.high, d.note or ""
    if d.n_undefined > MAX_UNDEFINED * d.n_resamples:
        low, high = None, None
        why = f"undefined in {d.n_undefined} of {d.n_resamples} resamples: a class has too few lesions"
    if low is None or high is None:
        outcome: Outcome = "not comparable"
    else:
        outcome = "better" if low > 0 else "worse" if high < 0 else "not distinguishable"
    return Line(metric=metric, candidate=candidate, live=live, difference=d.estimate, low=low, high=high,
                outcome=outcome, why=why, p_value=_p_value(d.estimate, low, high), **common)


def _p_value(difference: float | None, low: float | None, high: float | None) -> float | None:
    """Two-sided, of a difference of 0, were its distribution normal and as wide as the interval."""
    if difference is None or low is None or high is None:
        return None
    if high <= low:
        return 1.0 if difference == 0 else 0.0
    return math.erfc(abs(difference) / ((high - low) / WIDTH) / math.sqrt(2))


def corrected(lines: Sequence[Line]) -> list[Line]:
    """The lines, those on classes and subgroups marked that stand after Holm's correction over all of these."""
    family = [k for k, line in enumerate(lines) if line.scope != "all" and line.p_value is not None]
    family.sort(key=lambda k: lines[k].p_value or 0.0)
    out = list(lines)
    for rank, k in enumerate(family):
        if (lines[k].p_value or 0.0) > ALPHA / (len(family) - rank):
            break
        out[k] = replace(lines[k], stands=lines[k].outcome in ("better", "worse"))
    return out


def subgroups(frame: pd.DataFrame) -> dict[str, np.ndarray]:
    """Rows (N,) bool of each sex, age band and site that the metadata name."""
    found: dict[str, np.ndarray] = {}
    for column, name in (("sex", "sex"), (next((c for c in SITES if c in frame), ""), "site")):
        if column in frame:
            values = frame[column].astype(str).str.strip().str.lower().to_numpy(str)
            found |= {f"{name}: {v}": values == v for v in sorted(set(values) - UNKNOWN)}
    if "age" in frame:
        age = pd.to_numeric(frame["age"], errors="coerce").to_numpy(float)
        bands = {f"age: {words}": (age >= low) & (age < high) for low, high, words in AGE_BANDS}
        found |= {name: rows for name, rows in bands.items() if rows.any()}
    return found


def verdict(lines: Sequence[Line]) -> str:
    """Plain words: first all images, then what classes and subgroups add, and how far it is to be believed."""
    overall = [line for line in lines if line.scope == "all"]
    rest = [line for line in lines if line.scope != "all"]
    text = f"On all images: {_sentence(overall)}."
    known = [line for line in rest if line.outcome != "not comparable"]
    moved = [line for line in known if line.outcome in ("better", "worse")]
    stands, by_chance = ([line for line in moved if line.stands is wanted] for wanted in (True, False))
    if stands:
        text += f" In classes and subgroups: {_sentence(stands)}."
    if by_chance:
        text += (f" Not after correction for the {len(known)} lines compared there, of which {_expected(len(known))} "
                 f"may leave 0 out by chance: {_sentence(by_chance)}.")
    if known and not moved:
        text += " No class or subgroup that can be compared differs by more than chance allows."
    unknown = len(rest) - len(known)
    return text + (f" {unknown} of {len(rest)} lines on classes and subgroups have too few lesions to tell."
                   if unknown else "")


def _expected(n: int) -> str:
    """How many of n lines are expected to leave 0 out where nothing differs."""
    return "about one" if n * ALPHA < 1.5 else f"about {n * ALPHA:.0f}"


def _sentence(lines: Sequence[Line]) -> str:
    parts = []
    for outcome in ("better", "not distinguishable", "worse", "not comparable"):
        names = [line.to_text() + _size(line) for line in lines if line.outcome == outcome]
        if names:
            parts.append(f"{outcome} {'in' if outcome == 'not comparable' else 'on'} {', '.join(names)}")
    return "; ".join(parts) or "nothing could be compared"


def _size(line: Line) -> str:
    if line.difference is None or line.low is None or line.high is None:
        return ""
    return f" ({line.difference:+.3f}, 95 % interval {line.low:+.3f} to {line.high:+.3f})"
