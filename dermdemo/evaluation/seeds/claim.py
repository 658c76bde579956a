"""What the table says about the paper's claim, in words that follow from intervals and from nothing else.

The claim: an encoder pretrained as a VAE on lesions overfits less than one pretrained on natural images. A difference
counts only where its 95 % interval leaves 0 out. Both directions are asked: whether the gap is smaller, and whether
the model is worse in absolute figures, fits less, or is matched by a control.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from dermdemo.evaluation.scores import LOWER_IS_BETTER
from dermdemo.evaluation.seeds.gaps import BEST, LAST, MATCHED
from dermdemo.evaluation.seeds.table import Row, Table, versus
from dermdemo.evaluation.seeds.unseen import SHARE
from dermdemo.evaluation.seeds.variants import AGAINST, CLAIMED, OTHER_TASKS, PIXELS, RANDOM

Sign = Literal["lower", "higher", "not distinguishable", "not known"]
Verdict = Literal["lower", "higher", "mixed", "not distinguishable", "not known"]
ALMOST_ALL = 0.98  # share of one class among predictions from which a model counts as constant
ABSOLUTE = (("test", "balanced_accuracy"), ("test", "macro_auc"), ("test", "malignant_auc"), ("test", "accuracy"))
NAMES = {
    "balanced_accuracy": "balanced accuracy", "macro_auc": "macro AUC", "accuracy": "accuracy",
    "macro_f1": "macro F1", "malignant_auc": "malignant AUC", "mcc": "MCC", "nll": "NLL", "brier": "Brier score",
    "ece": "ECE",
    "classwise_ece": "classwise ECE", "loss": "loss", "loss_gap": "loss gap", "accuracy_gap": "accuracy gap",
}  # fmt: skip
PLACES = {LAST: "at the last epoch", BEST: "at the best epoch", MATCHED: "at matched training accuracy",
          "all": "on test"}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One question about the claim, its answer, and the row that gives it (None: there is none)."""

    question: str
    answer: str
    row: Row | None


def sign(row: Row | None) -> Sign:
    """Which way a difference goes, as far as its interval allows to say."""
    if row is None or row.low is None or row.high is None:
        return "not known"
    return "higher" if row.low > 0 else "lower" if row.high < 0 else "not distinguishable"


def joint(signs: Iterable[Sign]) -> Verdict:
    """One word for several figures: those that are distinguishable decide, if they agree."""
    found = list(signs)
    moved = {s for s in found if s in ("lower", "higher")}
    if len(moved) == 2:
        return "mixed"
    if moved:
        return "higher" if "higher" in moved else "lower"
    return "not distinguishable" if "not distinguishable" in found else "not known"


def difference(table: Table, arm: str, reference: str, split: str, metric: str, scope: str = "all") -> Row | None:
    """The paired difference of two arms."""
    return table.find(versus(arm, reference), split, metric, scope)


def is_better(metric: str, way: Sign) -> str:
    """``better``, ``worse``, or the sign itself where it is neither."""
    if way not in ("lower", "higher"):
        return way
    lower_is_better = metric in LOWER_IS_BETTER or metric == "loss"
    return "better" if (way == "lower") == lower_is_better else "worse"


def answers(table: Table) -> tuple[Answer, ...]:
    """The questions, in both directions, with what the intervals allow to answer."""
    out = []
    for scope in (LAST, BEST, MATCHED):
        for metric in ("loss_gap", "accuracy_gap"):
            row = difference(table, CLAIMED, AGAINST, "train-val", metric, scope)
            yes = {"lower": "yes", "higher": "no, it is larger"}
            answer = yes.get(sign(row), sign(row))
            out.append(Answer(question=f"Smaller {NAMES[metric]} {PLACES[scope]}?", answer=answer, row=row))
    absolute = [*ABSOLUTE, ("val", "loss"), ("val", "accuracy")]
    for split, metric in absolute:
        row = difference(table, CLAIMED, AGAINST, split, metric, "all" if split == "test" else LAST)
        better = is_better(metric, sign(row))
        answer = {"worse": "yes, worse", "better": "no, better"}.get(better, better)
        where = "on test" if split == "test" else "on val at the last epoch"
        out.append(Answer(question=f"Worse {NAMES[metric]} {where}?", answer=answer, row=row))
    row = difference(table, CLAIMED, AGAINST, "train", "accuracy", LAST)
    answer = {"lower": "yes, lower", "higher": "no, higher"}.get(sign(row), sign(row))
    return (*out, Answer(question="Lower training accuracy at the last epoch?", answer=answer, row=row))


def gap_signs(table: Table, scope: str, reference: str = AGAINST, arm: str = CLAIMED) -> dict[str, Sign]:
    """Both gaps of an arm at one place: of the VAE arm against `AGAINST`, ``lower`` is what the paper claims."""
    both = ("loss_gap", "accuracy_gap")
    return {NAMES[m]: sign(difference(table, arm, reference, "train-val", m, scope)) for m in both}


def score_signs(table: Table, arm: str, reference: str) -> dict[str, Sign]:
    """Figures on test, all of which are better when higher."""
    return {NAMES[m]: sign(difference(table, arm, reference, split, m)) for split, m in ABSOLUTE}


def told(sentence: str, signs: Mapping[str, Sign]) -> str:
    """The sentence, and in brackets which figures went which way."""
    groups = {way: [name for name, s in signs.items() if s == way] for way in get_args(Sign)}
    parts = [f"{way}: {', '.join(names)}" for way, names in groups.items() if names]
    return f"{sentence.removesuffix('.')} ({'; '.join(parts)})."


_GAP = {
    "lower": "In our data the VAE arm ends with the smaller gap between train and validation, as the paper claims.",
    "higher": "In our data the VAE arm ends with the larger gap between train and validation: this contradicts the "
              "paper's claim.",
    "mixed": "In our data the two gaps contradict each other: one is smaller for the VAE arm and the other larger.",
    "not distinguishable": "In our data the gaps of the two arms cannot be told apart: this neither supports nor "
                           "contradicts the paper's claim.",
    "not known": "Our data hold no comparison of the two gaps: they say nothing about the paper's claim.",
}
_SCORE = {
    "lower": "In absolute figures on unseen lesions the VAE arm is worse.",
    "higher": "In absolute figures on unseen lesions the VAE arm is better.",
    "mixed": "In absolute figures on unseen lesions the VAE arm is better by some and worse by others.",
    "not distinguishable": "In absolute figures on unseen lesions the two arms cannot be told apart.",
    "not known": "There is no comparison of absolute figures on unseen lesions.",
}
_MATCHED = {
    "lower": "At equal training accuracy its gap is smaller too, so that having trained less far does not explain it "
             "away.",
    "higher": "At equal training accuracy its gap is the larger one.",
    "mixed": "At equal training accuracy one of its gaps is smaller and the other larger.",
    "not distinguishable": "At equal training accuracy the gaps cannot be told apart.",
    "not known": "No gap at equal training accuracy could be compared.",
}


def conclusion(table: Table) -> tuple[str, ...]:
    """Sentences, the gap first, then what must be read with it."""
    gaps, at_match, scores = gap_signs(table, LAST), gap_signs(table, MATCHED), score_signs(table, CLAIMED, AGAINST)
    gap, score = joint(gaps.values()), joint(scores.values())
    fit = sign(difference(table, CLAIMED, AGAINST, "train", "accuracy", LAST))
    out = [told(_GAP[gap], gaps), told(_SCORE[score], scores)]
    if gap == "lower" and fit == "lower":
        out.append("Its training accuracy is lower as well, and a model that fits less has a smaller gap for that "
                   "reason alone: a small gap is also what underfitting looks like.")
    elif gap == "lower" and fit == "higher":
        out.append("Its training accuracy is higher nevertheless: underfitting does not explain the small gap.")
    out.append(told(_MATCHED[joint(at_match.values())], at_match))
    return (*out, *_together(gap, score))


def _together(gap: Verdict, score: Verdict) -> list[str]:
    """One sentence where both the gap and the absolute figures could be told apart."""
    out = []
    if gap == "lower" and score == "higher":
        out.append("Taken together: our data support the claim, and the arm that overfits less is also the better.")
    elif gap == "lower" and score == "lower":
        out.append("Taken together: our data support the claim about the gap, and not what one would want of it: the "
                   "arm that overfits less is the worse one.")
    elif gap == "higher" and score == "higher":
        out.append("Taken together: our data contradict the claim about the gap, yet the VAE arm is the better one.")
    elif gap == "higher" and score == "lower":
        out.append("Taken together: our data contradict the claim, and the VAE arm is the worse one as well.")
    return out


_CONTROL = {
    "higher": "better than", "lower": "worse than", "mixed": "better than by some figures and worse by others than",
    "not distinguishable": "not distinguishable from",
}  # fmt: skip
_CONTROLS = {**{r: f"{what} trained alike" for r, what in RANDOM.items()}, PIXELS: "logistic regression on pixels"}
_CREDIT = {
    "higher": "its pretraining has helped beyond that start",
    "lower": "its pretraining has not helped beyond that start",
    "mixed": "whether its pretraining has helped beyond that start depends on the figure",
    "not distinguishable": "nothing beyond that start can be credited to its pretraining",
}
_GAP_CONTROL = {
    "higher": ("larger than", ": without any pretraining it is smaller still"),
    "lower": ("smaller than", ""),
    "mixed": ("smaller by one measure and larger by the other than", ""),
    "not distinguishable": ("not distinguishable from", ": such a gap is no sign of pretraining"),
}  # fmt: skip


def gap_controls(table: Table) -> tuple[str, ...]:
    """The gap of the VAE arm at the last epoch against that of the same network untrained."""
    out = []
    for reference in RANDOM:
        signs = gap_signs(table, LAST, reference)
        found = joint(signs.values())
        if found != "not known":
            how, so = _GAP_CONTROL[found]
            out.append(told(f"The gap of `{CLAIMED}` at the last epoch is {how} that of "
                            f"{_CONTROLS[reference]} (`{reference}`){so}", signs))
    return tuple(out)


def controls(table: Table, arms: Sequence[str]) -> tuple[str, ...]:
    """The gap beside that of untrained networks, then scores of pretrained arms beside theirs and beside pixels."""
    out = list(gap_controls(table))
    for arm in (a for a in ("vae", "ae", "ssl", "imagenet") if a in arms):
        for reference, words in _CONTROLS.items():
            signs = score_signs(table, arm, reference)
            found = joint(signs.values())
            if found != "not known":
                credit = f": {_CREDIT[found]}" if reference in RANDOM else ""
                out.append(told(f"On unseen lesions `{arm}` is {_CONTROL[found]} {words} (`{reference}`){credit}",
                                signs))
    return tuple(out)


def other_tasks(table: Table, arms: Sequence[str]) -> tuple[str, ...]:
    """Arms pretrained without labels by another task: their gaps and their scores against both arms of the claim."""
    out = []
    for arm, reference in ((a, r) for a in OTHER_TASKS for r in (AGAINST, CLAIMED) if a in arms and r in arms):
        for scope in (LAST, MATCHED):
            gaps = gap_signs(table, scope, reference, arm)
            if joint(gaps.values()) != "not known":
                how, _ = _GAP_CONTROL[joint(gaps.values())]
                out.append(told(f"The gap of `{arm}` {PLACES[scope]} is {how} that of `{reference}`", gaps))
        scores = score_signs(table, arm, reference)
        if joint(scores.values()) != "not known":
            out.append(told(f"On unseen lesions `{arm}` is {_CONTROL[joint(scores.values())]} `{reference}`", scores))
    return tuple(out)


def constant(table: Table, arms: Sequence[str]) -> tuple[str, ...]:
    """Arms that name one class for almost every image: they have no gap and say nothing."""
    out = []
    for arm in arms:
        share = table.find(arm, "test", SHARE)
        if share is not None and share.value is not None and share.value >= ALMOST_ALL:
            out.append(f"`{arm}` is a constant predictor: it gives {share.value:.1%} of the test images the same "
                       "class. It has no gap, and learned nothing that shows.")
    return tuple(out)
