"""Two training runs side by side: the `compare RUN_A RUN_B` command.

From the event histories come changes, gaps (at the last epoch, at the best, and at matched training
accuracy) and failure signatures; from stored predictions on the same images, paired differences with
intervals over lesions and an exact McNemar test. The paper's figures stand in columns of their own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dermdemo.config import FinetuneConfig
from dermdemo.errors import DataError
from dermdemo.evaluation import paper, study_text
from dermdemo.evaluation.calibration import softmax
from dermdemo.evaluation.constant import ConstantAnswer, constant_answer
from dermdemo.evaluation.curves import ArmSummary, MatchedGap, at_train_accuracy, summarise
from dermdemo.evaluation.history import (
    ArmHistory,
    StoredPredictions,
    load_history,
    load_predictions,
)
from dermdemo.evaluation.intervals import (
    Interval,
    McNemar,
    PairedDifference,
    group_bootstrap,
    mcnemar_exact,
    paired_difference,
)
from dermdemo.evaluation.malignancy import malignancy_metrics
from dermdemo.evaluation.paper import PAPER_ARMS, PaperArm
from dermdemo.evaluation.records import encode
from dermdemo.evaluation.scores import STANDARD_METRICS, Metric, class_metrics

EXPECTED_DIFFERENCES = frozenset(
    {"name", "out", "output", "output_dir", "run", "run_dir", "created", "started"}
)
GAP_NOTE = (
    "Accuracy gap = train - validation accuracy; loss gap = validation - train loss. Read a gap beside the "
    "absolute figures: a constant predictor has none, and an underfitted model has little."
)
MATCHED_NOTE = (
    "Matched training accuracy: the lower of the two final ones, each arm where it first reaches it, "
    "linear between epochs."
)


@dataclass(frozen=True, kw_only=True)
class PairedComparison:
    """Both arms on the same images, probabilities as trained (temperature 1).

    Attributes:
        intervals: per arm (A, B), by metric name.
        differences: A - B by metric name, same resampled lesions for both.
    """

    split: str
    n_images: int
    n_lesions: int
    intervals: tuple[Mapping[str, Interval], ...]
    differences: Mapping[str, PairedDifference]
    mcnemar: McNemar


@dataclass(frozen=True, kw_only=True)
class StudyTable:
    """The comparison. `arms` and `matched` are in the order (A, B); `paper` is labelled as the paper's."""

    arms: tuple[ArmSummary, ...]
    matched: tuple[MatchedGap, ...]
    paired: PairedComparison | None
    paper: tuple[PaperArm, ...]
    differing_settings: tuple[str, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return dict(encode(self))

    def to_text(self) -> str:
        """Fixed-width table for a terminal."""
        return study_text.render(self)


def compare_runs(
    run_a: Path | str,
    run_b: Path | str,
    *,
    classes: Sequence[str] | None = None,
    n_resamples: int = 1000,
    seed: int = 0,
) -> StudyTable:
    """Read two run directories and compare them.

    Args:
        classes: class keys in the order of the logits; by default ``classes`` in the config of run A,
            else no figure by class or malignancy is given.

    Raises:
        DataError: a run directory is missing something or damaged.
    """
    a, b = load_history(run_a), load_history(run_b)
    if a.name == b.name:
        a, b = load_history(run_a, name=f"A:{a.name}"), load_history(run_b, name=f"B:{b.name}")
    constant = [_constant(run) for run in (run_a, run_b)]
    pair, why = _same_images(run_a, run_b)
    names = tuple(classes) if classes is not None else tuple(a.config.get("classes") or ())
    paired = None if pair is None else compare_predictions(*pair, names, n_resamples=n_resamples, seed=seed)
    return compare_histories(a, b, constant=constant, paired=paired, notes=(why,) if why else ())


def compare_histories(
    a: ArmHistory,
    b: ArmHistory,
    *,
    constant: Sequence[ConstantAnswer | None] = (None, None),
    paired: PairedComparison | None = None,
    notes: Sequence[str] = (),
) -> StudyTable:
    """Compare two histories that are already in memory; `notes` are put before the standing ones."""
    target = min(a.train.accuracy[-1], b.train.accuracy[-1])
    matched = tuple(at_train_accuracy(h, target) for h in (a, b))
    own = [GAP_NOTE, MATCHED_NOTE, *(m.reason for m in matched if m.reason)]
    if a.epochs != b.epochs:
        own.append(
            f"The arms were recorded at different epochs ({a.epochs[0]} to {a.epochs[-1]} and {b.epochs[0]} "
            f"to {b.epochs[-1]}), so they did not get the same number of updates."
        )
    own += [
        f"{h.name} has no record of epoch 0: initial is epoch {h.epochs[0]}." for h in (a, b) if h.epochs[0]
    ]
    return StudyTable(
        arms=tuple(summarise(h, constant=c) for h, c in zip((a, b), constant, strict=True)),
        matched=matched,
        paired=paired,
        paper=PAPER_ARMS,
        differing_settings=differing_settings(a.config, b.config),
        notes=(*notes, *own, *paper.CAVEATS),
    )


def compare_predictions(
    a: StoredPredictions,
    b: StoredPredictions,
    classes: tuple[str, ...] = (),
    *,
    n_resamples: int = 1000,
    seed: int = 0,
) -> PairedComparison:
    """Paired differences of two runs whose rows are the same images in the same order.

    Raises:
        DataError: images or labels differ, or `classes` do not fit the logits.
    """
    if not (np.array_equal(a.image_id, b.image_id) and np.array_equal(a.y, b.y)):
        raise DataError("The two runs were not evaluated on the same images, so they cannot be paired.")
    if classes and len(classes) != a.logits.shape[1]:
        raise DataError(f"{len(classes)} class names were given for logits of {a.logits.shape[1]} classes.")
    fns: dict[str, Metric] = dict(STANDARD_METRICS)
    if classes:
        named = class_metrics(classes)
        fns |= {k: v for k, v in named.items() if k.startswith("sensitivity:")} | malignancy_metrics(classes)
    p, q = softmax(a.logits), softmax(b.logits)
    options = {"n_resamples": n_resamples, "seed": seed}
    return PairedComparison(
        split=a.split,
        n_images=len(a.y),
        n_lesions=len(np.unique(a.groups)),
        intervals=tuple(group_bootstrap(fns, a.y, x, a.groups, **options) for x in (p, q)),
        differences=paired_difference(fns, a.y, p, q, a.groups, **options),
        mcnemar=mcnemar_exact(a.y, p.argmax(axis=1), q.argmax(axis=1), a.groups, seed=seed),
    )


def _told(value: Any) -> Any:
    """Names travel with a study, folders of the machine it was made on do not."""
    return Path(value).name if isinstance(value, str) and value.startswith("/") else value


def _completed(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    if settings.get("stage") != "train" or not isinstance(settings.get("config"), Mapping):
        return settings
    return {**settings, "config": FinetuneConfig.completed(settings["config"])}


def differing_settings(a: Mapping[str, Any], b: Mapping[str, Any]) -> tuple[str, ...]:
    """Settings that the two runs do not share, as ``key: value of A | value of B``.

    In a fair comparison only the origin of the encoder is among them. Of a path only the name is told. A setting of
    Stage II that an older version did not have yet had its default.
    """
    flat_a, flat_b = ({key: _told(value) for key, value in _flatten(_completed(settings))} for settings in (a, b))
    keys = sorted(set(flat_a) | set(flat_b))
    return tuple(
        f"{key}: {flat_a.get(key, 'not set')} | {flat_b.get(key, 'not set')}"
        for key in keys
        if flat_a.get(key, "not set") != flat_b.get(key, "not set")
        and key.rsplit(".", maxsplit=1)[-1] not in EXPECTED_DIFFERENCES
    )


def _flatten(config: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    out: list[tuple[str, Any]] = []
    for key, value in config.items():
        name = f"{prefix}{key}"
        out += _flatten(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return out


def _constant(run: Path | str) -> ConstantAnswer | None:
    """The constant answer on the validation images, if validation predictions were stored."""
    stored = load_predictions(run, "val")
    return None if stored is None else constant_answer(stored.y)


def _same_images(
    run_a: Path | str, run_b: Path | str
) -> tuple[tuple[StoredPredictions, StoredPredictions] | None, str | None]:
    """Predictions of both runs with rows in the same order, or the reason why there is no such pair."""
    for split in ("test", "val"):
        a, b = load_predictions(run_a, split), load_predictions(run_b, split)
        if a is not None and b is not None:
            return _align(a, b)
    return None, "No paired differences: the two runs have no stored predictions of the same split."


def _align(
    a: StoredPredictions, b: StoredPredictions
) -> tuple[tuple[StoredPredictions, StoredPredictions] | None, str | None]:
    a, b = _sorted(a), _sorted(b)
    if not np.array_equal(a.image_id, b.image_id):
        shared = len(np.intersect1d(a.image_id, b.image_id))
        return (
            None,
            f"No paired differences: only {shared} of the {a.split} images are the same in both runs.",
        )
    if a.logits.shape != b.logits.shape or not np.array_equal(a.y, b.y):
        return None, "No paired differences: the two runs do not agree on the classes of the same images."
    if not np.array_equal(a.groups, b.groups):
        return None, "No paired differences: the two runs do not agree on which images show one lesion."
    return (a, b), None


def _sorted(p: StoredPredictions) -> StoredPredictions:
    """The same predictions in the order of their image ids."""
    rows = np.argsort(p.image_id, kind="stable")
    return StoredPredictions(
        split=p.split,
        y=p.y[rows],
        logits=p.logits[rows],
        groups=p.groups[rows],
        image_id=p.image_id[rows],
    )
