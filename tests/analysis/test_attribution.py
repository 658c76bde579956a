"""Grad-CAM: range, target, grid, agreement with the definition, and nothing left behind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dermdemo.analysis.attribution import LAYERS, grad_cam
from dermdemo.errors import ConfigError
from dermdemo.models.checkpoint import load_classifier
from dermdemo.models.classifier import Classifier


@pytest.fixture(scope="module")
def model(shared_store: Path) -> Classifier:
    module: Classifier = load_classifier(shared_store / "imagenet-arm").module
    return module.requires_grad_(False)


@pytest.fixture(scope="module")
def x() -> Tensor:
    coarse = torch.rand((3, 3, 5, 5), generator=torch.Generator().manual_seed(0))
    return F.interpolate(coarse, size=(64, 64), mode="bilinear")


def fmap(model: Classifier, x: Tensor, layer: str) -> Tensor:
    with torch.inference_mode():
        return model.encoder.trunk(x, LAYERS[layer])


def hooks(model: nn.Module) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) for m in model.modules())


@pytest.mark.parametrize(("layer", "grid"), [("stages[-1]", (2, 2)), ("stages[-2]", (4, 4))])
def test_maps_lie_in_the_unit_range_and_say_their_grid(
        model: Classifier, x: Tensor, layer: str, grid: tuple[int, int]) -> None:
    maps = [m for t in range(7) for m in grad_cam(model, fmap(model, x, layer), [t] * 3, layer, 64)]
    for cam in maps:
        assert cam.heat.shape == (64, 64) and cam.heat.dtype == np.float32 and cam.grid == grid
        assert cam.heat.min() >= 0
        assert cam.heat.max() == (pytest.approx(1) if cam.peak > 0 else 0)
    assert any(cam.peak > 0 for cam in maps)


@pytest.mark.parametrize("layer", list(LAYERS))
def test_a_map_is_what_the_definition_says(model: Classifier, x: Tensor, layer: str) -> None:
    """ReLU of the activations weighted by the spatial mean of the target logit's gradient, by hand."""
    features = fmap(model, x, layer).clone().requires_grad_()
    encoder = model.encoder
    logits = model.head(encoder.pool(encoder.top(features, LAYERS[layer])))
    targets = [1, 4, 5]
    gradient = torch.autograd.grad(logits[range(3), targets].sum(), features)[0]
    raw = (gradient.mean((2, 3), keepdim=True) * features).sum(1, keepdim=True).relu().detach()
    expected = F.interpolate(raw, size=(64, 64), mode="bilinear")[:, 0].numpy()
    for cam, heat in zip(grad_cam(model, fmap(model, x, layer), targets, layer, 64), expected, strict=True):
        assert cam.peak == pytest.approx(float(heat.max()), rel=1e-4)
        np.testing.assert_allclose(cam.heat * cam.peak, heat, atol=1e-4 * max(1.0, cam.peak))


@pytest.mark.parametrize("layer", list(LAYERS))
def test_a_map_moves_with_its_target(model: Classifier, x: Tensor, layer: str) -> None:
    features = fmap(model, x[:1], layer)
    maps = [grad_cam(model, features, [t], layer, 64)[0].heat for t in range(7)]
    assert max(np.abs(maps[0] - m).max() for m in maps[1:]) > 0.1


def test_one_image_gets_the_same_map_alone_and_in_a_batch(model: Classifier, x: Tensor) -> None:
    layer = "stages[-2]"
    together = grad_cam(model, fmap(model, x, layer), [0, 1, 2], layer, 64)
    for k in range(3):
        alone = grad_cam(model, fmap(model, x[k:k + 1], layer), [k], layer, 64)[0]
        np.testing.assert_allclose(alone.heat, together[k].heat, atol=1e-4)


def test_nothing_is_left_behind_after_an_error(model: Classifier, x: Tensor) -> None:
    features = fmap(model, x, "stages[-2]")

    class Broken(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            raise RuntimeError("broken head")

    head = model.head
    model.head = Broken()  # type: ignore[assignment]
    try:
        with pytest.raises(RuntimeError, match="broken head"):
            grad_cam(model, features, [0, 0, 0], "stages[-2]", 64)
        assert hooks(model) == 0
    finally:
        model.head = head
    assert hooks(model) == 0
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())
    assert grad_cam(model, features, [0, 0, 0], "stages[-2]", 64)


def test_a_flat_map_stays_zero(model: Classifier, x: Tensor) -> None:
    cam = grad_cam(model, torch.zeros_like(fmap(model, x[:1], "stages[-1]")), [0], "stages[-1]", 64)[0]
    assert cam.peak == 0 and not cam.heat.any()


def test_unknown_layers_and_targets_are_refused(model: Classifier, x: Tensor) -> None:
    with pytest.raises(ConfigError, match="no layer"):
        grad_cam(model, x, [0], "stages[0]", 64)
    for target in (-1, 7):
        with pytest.raises(ConfigError, match="from 0 to 6"):
            grad_cam(model, fmap(model, x[:1], "stages[-1]"), [target], "stages[-1]", 64)
