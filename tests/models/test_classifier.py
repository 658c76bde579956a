"""The classifier: frozen and trained parts, its optimiser groups, and that it can learn."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from dermdemo.models.encoder import STAGES
from tests.models.tiny import CLASSES, classifier, images, overfit, without_gradient

RATES = {"lr": 1e-3, "stage_lr": 1e-4, "decay": 0.5, "weight_decay": 0.05}


@pytest.mark.parametrize("unfrozen", range(STAGES + 1))
def test_frozen_part_then_features_is_the_whole_forward(unfrozen: int) -> None:
    model, x = classifier(unfrozen=unfrozen).eval(), images(3, 64)
    with torch.no_grad():
        frozen = model.frozen_part(x)
        logits = model.forward_features(frozen)
        torch.testing.assert_close(logits, model(x))
    assert logits.shape == (3, len(CLASSES))
    assert logits.dtype == torch.float32
    if unfrozen == STAGES:
        assert frozen is x
    elif unfrozen == 0:
        assert frozen.shape == (3, model.encoder.width)


@pytest.mark.parametrize("unfrozen", range(STAGES + 1))
def test_gradients_reach_exactly_what_trains(unfrozen: int) -> None:
    model = classifier(unfrozen=unfrozen).eval()  # no dropout: every path carries gradient
    F.cross_entropy(model(images(6)), torch.tensor([0, 1, 2, 0, 1, 2])).backward()
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert set(without_gradient(model)) == frozen
    assert not any(name.startswith("head.") for name in frozen)


def test_a_step_leaves_the_frozen_part_alone() -> None:
    model = classifier(unfrozen=1)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    x, y = images(6), torch.tensor([0, 1, 2, 0, 1, 2])
    overfit(model, lambda: F.cross_entropy(model(x), y), steps=2, lr=1e-2)
    moved = {k for k, v in model.state_dict().items() if not torch.equal(v, before[k])}
    assert moved
    assert all(k.startswith(("head.", "encoder.stages.3.", "encoder.norm.")) for k in moved)


@pytest.mark.parametrize("unfrozen", range(STAGES + 1))
def test_groups_hold_every_trained_parameter_once(unfrozen: int) -> None:
    model = classifier(unfrozen=unfrozen)
    groups = model.parameter_groups(**RATES)
    grouped = [id(p) for g in groups for p in g["params"]]
    assert sorted(grouped) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    for group in groups:
        wide = {p.ndim > 1 for p in group["params"]}
        assert len(wide) == 1
        assert group["weight_decay"] == (RATES["weight_decay"] if wide == {True} else 0.0)
        assert group["lr"] == group["base_lr"]


def test_rates_fall_from_the_head_downwards() -> None:
    model = classifier(unfrozen=STAGES)
    rate = {id(p): g["lr"] for g in model.parameter_groups(**RATES) for p in g["params"]}
    told = {name: rate[id(p)] for name, p in model.named_parameters()}
    assert {told[n] for n in told if n.startswith("head.")} == {1e-3}
    assert {told[n] for n in told if n.startswith("encoder.norm.")} == {1e-4}
    for stage in range(STAGES):
        rates = {told[n] for n in told if n.startswith(f"encoder.stages.{stage}.")}
        assert rates == {1e-4 * 0.5 ** (STAGES - 1 - stage)}
    assert {told[n] for n in told if n.startswith("encoder.stem.")} == {1e-4 * 0.5**STAGES}


def test_dropout_acts_in_training_only() -> None:
    model, x = classifier(unfrozen=0, dropout=0.5), images()
    with torch.no_grad():
        assert not torch.equal(model.train()(x), model(x))
        assert torch.equal(model.eval()(x), model(x))


def test_a_new_head_says_it_is_untrained() -> None:
    assert classifier().head_trained is False


@pytest.mark.parametrize("unfrozen", [1, STAGES])
def test_one_batch_can_be_overfitted(unfrozen: int) -> None:
    model = classifier(unfrozen=unfrozen, dropout=0.0)
    x, y = images(6), torch.tensor([0, 1, 2, 0, 1, 2])
    first, last = overfit(model, lambda: F.cross_entropy(model(x), y), steps=25, lr=3e-3)
    assert first > 0.9
    assert last < 0.1
