"""Everything that the finished runs of a study left behind, checked to be of the same images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dermdemo.errors import DataError
from dermdemo.evaluation.constant import constant_answer
from dermdemo.evaluation.curves import Signature, failure_signatures
from dermdemo.evaluation.history import (
    ArmHistory,
    StoredPredictions,
    finished_on,
    load_history,
    load_predictions,
)
from dermdemo.evaluation.image_scores import RunScores, SplitScores, read_scores
from dermdemo.evaluation.seeds.folder import (
    PIXELS_FOLDER,
    SCORES,
    TEST_FILE,
    Reading,
    RunPlace,
    StudySettings,
    load_settings,
    read_json,
)
from dermdemo.evaluation.seeds.variants import PIXELS, in_order
from dermdemo.models.checkpoint import CheckpointMeta, load_meta


@dataclass(frozen=True, eq=False, kw_only=True)
class Run:
    """One finished model and how it came to be.

    Attributes:
        history: curves; None for the control without a network.
        scores: loss and hit per image and epoch; losses are NaN for that control.
        thresholds: target specificity -> threshold on the calibrated malignant score, fixed on val.
        meta: of the checkpoint; None for that control.
    """

    name: str
    history: ArmHistory | None
    scores: RunScores
    test: StoredPredictions
    temperature: float | None
    thresholds: Mapping[float, float]
    signatures: tuple[Signature, ...]
    reading: Reading
    finished: str | None
    meta: CheckpointMeta | None


@dataclass(frozen=True, eq=False, kw_only=True)
class Study:
    """Settings, and the finished runs by arm and seed; arms without one are left out."""

    settings: StudySettings
    runs: Mapping[str, Mapping[int, Run]]

    @property
    def arms(self) -> tuple[str, ...]:
        return tuple(self.runs)

    def seeds(self, *arms: str) -> tuple[int, ...]:
        """Seeds that all these arms have finished."""
        return tuple(s for s in self.settings.seeds if all(s in self.runs[a] for a in arms))

    def missing(self) -> tuple[str, ...]:
        """Planned runs that have not finished, such as ``vae-s3``."""
        return tuple(f"{a}-s{s}" for a in self.settings.arms for s in self.settings.seeds
                     if s not in self.runs.get(a, {}))


def load_study_runs(root: Path) -> Study:
    """Read every run whose model is finished and read.

    Raises:
        DataError: no study, no finished run, a damaged file, or runs of different images.
    """
    settings = load_settings(root)
    runs: dict[str, dict[int, Run]] = {}
    for arm in in_order(settings.arms):
        places = [RunPlace(root=root, arm=arm, seed=s) for s in settings.seeds]
        done = {p.seed: _run(p, settings) for p in places if p.kind == "done"}
        if done:
            runs[arm] = done
    if not runs:
        raise DataError(f"No run of the study in '{root}' has finished yet: there is nothing to report.")
    control = _control(root / PIXELS_FOLDER)
    if control is not None:
        runs[PIXELS] = dict.fromkeys(settings.seeds, control)
    _check_same_images([run for of_arm in runs.values() for run in of_arm.values()])
    return Study(settings=settings, runs=runs)


def _run(place: RunPlace, settings: StudySettings) -> Run:
    history = load_history(place.folder, name=place.name)
    test, val, reading = load_predictions(place.folder, "test"), load_predictions(place.folder, "val"), place.reading
    meta = load_meta(place.checkpoint)
    if test is None or reading is None or reading.sha256 != meta.sha256 or meta.split_hash != settings.split_hash:
        raise DataError(f"Run {place.name} does not fit its checkpoint or the split of the study.")
    scores = read_scores(place.folder / SCORES)
    if scores.epochs != history.epochs:
        raise DataError(f"Run {place.name} has scores of other epochs than its curves.")
    constant = None if val is None else constant_answer(val.y)
    thresholds = {float(k): float(t["value"]) for k, t in meta.thresholds.items()}
    return Run(name=place.name, history=history, scores=scores, test=test, temperature=meta.temperature,
               thresholds=thresholds, signatures=failure_signatures(history, constant=constant), reading=reading,
               finished=finished_on(place.folder), meta=meta)


def _control(folder: Path) -> Run | None:
    """The control without a network; None where it was not made."""
    reading = read_json(Reading, folder / TEST_FILE)
    stored = {s: load_predictions(folder, s) for s in ("train", "val", "test")} if reading else {}
    train, val, test = (stored.get(s) for s in ("train", "val", "test"))
    if reading is None or train is None or val is None or test is None:
        return None
    scores = RunScores(epochs=(0,), train=_hits(train), val=_hits(val))
    return Run(name=PIXELS, history=None, scores=scores, test=test, temperature=None, thresholds={}, signatures=(),
               reading=reading, finished=None, meta=None)


def _hits(p: StoredPredictions) -> SplitScores:
    right = (p.logits.argmax(axis=1) == p.y)[None].astype(np.float64)
    return SplitScores(loss=np.full_like(right, np.nan), right=right, y=p.y, groups=p.groups)


def _check_same_images(runs: list[Run]) -> None:
    """Raise DataError unless every model was read on the same test images in the same order."""
    first = runs[0].test
    for run in runs[1:]:
        same = np.array_equal(run.test.image_id, first.image_id) and np.array_equal(run.test.y, first.y)
        if not same or run.test.logits.shape != first.logits.shape:
            raise DataError(f"{run.name} was read on other test images than {runs[0].name}: they cannot be compared.")
