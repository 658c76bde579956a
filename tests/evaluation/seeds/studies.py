"""Studies of known make, in memory: runs with curves, scores per image and test predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from dermdemo.config import FinetuneConfig
from dermdemo.diagnoses import HAM10000_CLASSES
from dermdemo.evaluation.constant import constant_answer
from dermdemo.evaluation.curves import failure_signatures
from dermdemo.evaluation.history import ArmHistory, Curve, StoredPredictions
from dermdemo.evaluation.image_scores import RunScores, SplitScores
from dermdemo.evaluation.seeds.folder import Reading, StudySettings
from dermdemo.evaluation.seeds.runs import Run, Study
from tests.models.tiny import meta

CLASSES = tuple(HAM10000_CLASSES)


class Made(NamedTuple):
    """What an arm is made to be: accuracy on test, final loss and accuracy on train, final gaps."""

    signal: float = 2.0
    train_loss: float = 0.4
    train_accuracy: float = 0.8
    loss_gap: float = 0.1
    accuracy_gap: float = 0.05
    constant: bool = False


def lesions(n: int, per_lesion: int = 1) -> np.ndarray:
    return np.array([f"L{k // per_lesion:05d}" for k in range(n)])


def _split(rng: np.random.Generator, n: int, losses: np.ndarray, accuracies: np.ndarray, offset: int) -> SplitScores:
    """Scores whose means are exactly those asked for in loss, and as near as n images allow in accuracy."""
    noise = rng.normal(size=(1, n)) * 0.05
    loss = losses[:, None] + noise - noise.mean()
    right = (np.arange(n)[rng.permutation(n)][None] < np.round(accuracies * n)[:, None]).astype(float)
    y = np.arange(n) % len(CLASSES)
    return SplitScores(loss=loss, right=right, y=y, groups=np.array([f"{offset}-{g}" for g in lesions(n)]))


def _predictions(rng: np.random.Generator, n: int, made: Made, noise: float) -> StoredPredictions:
    """Images of lesions common to all runs: `signal` on the true class, noise of the lesion and of the run."""
    y = (np.arange(n) // 2) % len(CLASSES)
    logits = np.random.default_rng(7).normal(size=(n, len(CLASSES))) + noise * rng.normal(size=(n, len(CLASSES)))
    logits[np.arange(n), y] += made.signal
    if made.constant:
        logits[:] = 0.0
        logits[:, CLASSES.index("nv")] = 5.0
    return StoredPredictions(split="test", y=y, logits=logits, groups=lesions(n, 2),
                             image_id=np.array([f"I{k}" for k in range(n)]))


def make_run(arm: str, seed: int, made: Made, *, n: int = 140, epochs: int = 6, noise: float = 0.5) -> Run:
    rng = np.random.default_rng([seed, sum(map(ord, arm))])
    way = np.linspace(0, 1, epochs + 1)
    train_accuracy = 0.3 + way * (made.train_accuracy - 0.3)
    train_loss = 1.5 + way * (made.train_loss - 1.5)
    scores = RunScores(
        epochs=tuple(range(epochs + 1)), train=_split(rng, n, train_loss, train_accuracy, 0),
        val=_split(rng, n, train_loss + way * made.loss_gap, train_accuracy - way * made.accuracy_gap, 1))
    curves = {s: Curve(loss=tuple(getattr(scores, s).loss.mean(1)), accuracy=tuple(getattr(scores, s).right.mean(1)),
                       balanced_accuracy=tuple(getattr(scores, s).right.mean(1))) for s in ("train", "val")}
    history = ArmHistory(name=f"{arm}-s{seed}", epochs=scores.epochs, **curves)
    test = _predictions(rng, n, made, noise)
    checkpoint = meta("classifier", files={"head": f"{seed:064d}"}, spent={"epochs": epochs, "hours": 0.5,
                                                                           "hardware": "CPU, 2 threads"},
                      versions={"torch": "2.0"}, arm=arm)
    return Run(name=history.name, history=history, scores=scores, test=test, temperature=1.5, thresholds={0.8: 0.4},
               signatures=failure_signatures(history, constant=constant_answer(scores.val.y)),
               reading=Reading(sha256=checkpoint.sha256, split_hash="b" * 64, readings=1), finished="2026-01-01",
               meta=checkpoint)


def make_study(arms: Mapping[str, Made], *, seeds: Sequence[int] = (0, 1, 2), **options: Any) -> Study:
    config = {k: str(v) for k, v in FinetuneConfig().to_dict().items()}
    settings = StudySettings(data="made up", data_hash="a" * 64, split_seed=0, split_hash="b" * 64, classes=CLASSES,
                             encoder="convnext_tiny", config=config, arms=tuple(arms), seeds=tuple(seeds))
    runs = {arm: {s: make_run(arm, s, made, **options) for s in seeds} for arm, made in arms.items()}
    return Study(settings=settings, runs=runs)
