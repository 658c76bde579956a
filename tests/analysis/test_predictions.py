"""From logits to words: temperature, malignant share, prediction sets, agreement."""

from __future__ import annotations

import numpy as np
import pytest

from dermdemo.analysis.predictions import agreement, predict_arm
from dermdemo.models.checkpoint import CheckpointMeta
from dermdemo.types import InputSpec, Prediction


def meta(classes: tuple[str, ...], temperature: float | None = None) -> CheckpointMeta:
    return CheckpointMeta(kind="classifier", name="vae-arm", encoder="convnext_atto", input=InputSpec(size=64),
                          origin="test", origin_text="a test", licence="none", classes=classes,
                          temperature=temperature)


def test_temperature_softens_and_keeps_the_order() -> None:
    logits = np.array([3.0, 1.0, -1.0], np.float32)
    plain, soft = (predict_arm("vae", meta(("mel", "nv", "df"), t), logits, None) for t in (None, 4.0))
    assert plain.probabilities == plain.raw_probabilities == soft.raw_probabilities
    assert plain.temperature == 1 and soft.temperature == 4
    assert soft.probabilities["mel"] < plain.probabilities["mel"] and soft.top == plain.top == "mel"
    assert sum(soft.probabilities.values()) == pytest.approx(1)


def test_malignant_is_a_sum_or_nothing() -> None:
    logits = np.zeros(4, np.float32)
    assert predict_arm("vae", meta(("mel", "nv", "bcc", "akiec")), logits, None).malignant == pytest.approx(0.75)
    assert predict_arm("vae", meta(("a", "b", "c", "d")), logits, None).malignant is None
    assert predict_arm("vae", meta(("mel", "bcc", "akiec")), logits[:3], None).malignant == pytest.approx(1)


def said(arm: str, top: str) -> Prediction:
    probabilities = {c: 0.8 if c == top else 0.1 for c in ("mel", "nv", "bcc", "bkl")}
    return Prediction(arm=arm, checkpoint="", sha256="", origin="", probabilities=probabilities,
                      raw_probabilities=probabilities, temperature=1, malignant=None)


@pytest.mark.parametrize(("first", "second", "level"), [
    ("nv", "nv", "agree"), ("nv", "bkl", "disagree"), ("mel", "bcc", "disagree"),
    ("mel", "nv", "disagree-on-malignancy"), ("bkl", "bcc", "disagree-on-malignancy")])
def test_agreement(first: str, second: str, level: str) -> None:
    assert agreement({"vae": said("vae", first), "imagenet": said("imagenet", second)}) == level


def test_one_arm_agrees_with_itself() -> None:
    assert agreement({"vae": said("vae", "mel")}) == "agree"
