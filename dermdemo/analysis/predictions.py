"""From an arm's logits to what is said of the image, and whether the arms say the same."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from dermdemo.diagnoses import MALIGNANT, malignant_classes
from dermdemo.evaluation.calibration import apply_temperature, softmax
from dermdemo.evaluation.conformal import ConformalThresholds, prediction_set
from dermdemo.models.checkpoint import CheckpointMeta
from dermdemo.types import AgreementLevel, KnownPredictions, Prediction


def predict_arm(arm: str, meta: CheckpointMeta, logits: np.ndarray, sets: ConformalThresholds | None) -> Prediction:
    """Calibrated probabilities, malignant share and prediction set of one image from its logits (K,)."""
    temperature = meta.temperature or 1.0
    probs = apply_temperature(logits, temperature)
    by_class = _by_class(meta.classes, probs)
    malignant = malignant_classes(meta.classes)
    return Prediction(
        arm=arm, checkpoint=meta.name, sha256=meta.sha256, origin=meta.origin_text, probabilities=by_class,
        raw_probabilities=_by_class(meta.classes, softmax(logits)), temperature=temperature,
        malignant=min(1.0, sum(by_class[c] for c in malignant)) if malignant else None,
        prediction_set=() if sets is None else prediction_set(probs, sets))


def predict_known(meta: CheckpointMeta, logits: np.ndarray) -> KnownPredictions:
    """First class and its calibrated probability for each row of an arm's stored logits (N, K)."""
    probs = apply_temperature(logits.astype(np.float64), meta.temperature or 1.0)
    top = probs.argmax(1)
    return KnownPredictions(tuple(meta.classes[k] for k in top), probs[np.arange(len(top)), top])


def _by_class(classes: tuple[str, ...], probs: np.ndarray) -> dict[str, float]:
    return dict(zip(classes, probs.tolist(), strict=True))


def agreement(predictions: Mapping[str, Prediction]) -> AgreementLevel:
    """Whether the arms name the same class, and if not, whether one calls it malignant and another does not."""
    tops = {p.top for p in predictions.values()}
    if len(tops) <= 1:
        return "agree"
    return "disagree-on-malignancy" if _mixed(tops) else "disagree"


def _mixed(classes: Iterable[str]) -> bool:
    return len({c in MALIGNANT for c in classes}) == 2
