"""Losses against torch.distributions, against their definitions, and across processes."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Laplace, Normal, kl_divergence

from dermdemo.training.losses import (
    class_alpha,
    focal_loss,
    free_bits_kl,
    gaussian_kl,
    gaussian_nll,
    laplace_nll,
    sigma_nll,
)

PIXELS = 48
seeds = st.integers(0, 2**32)


def numbers(*shape: int, seed: int = 0, grad: bool = False) -> Tensor:
    g = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=g, dtype=torch.float64).requires_grad_(grad)


# -- KL
def test_kl_is_zero_at_the_prior_and_so_is_its_gradient() -> None:
    mu, logvar = torch.zeros(2, 3, requires_grad=True), torch.zeros(2, 3, requires_grad=True)
    kl = gaussian_kl(mu, logvar)
    assert torch.equal(kl, torch.zeros(2, 3))
    kl.sum().backward()
    assert mu.grad is not None
    assert not bool(mu.grad.any())
    assert logvar.grad is not None
    assert not bool(logvar.grad.any())


@given(seeds)
def test_kl_agrees_with_torch(seed: int) -> None:
    mu, logvar = 3 * numbers(4, 5, seed=seed), 2 * numbers(4, 5, seed=seed + 1)
    expected = kl_divergence(Normal(mu, (0.5 * logvar).exp()), Normal(0.0, 1.0))
    torch.testing.assert_close(gaussian_kl(mu, logvar), expected)
    assert float(gaussian_kl(mu, logvar).min()) >= -1e-12


def test_free_bits_count_each_dimension_at_least_its_floor() -> None:
    kl = torch.tensor([[0.0, 3.0, 0.4], [0.2, 1.0, 0.6]])  # means 0.1, 2.0, 0.5
    assert float(free_bits_kl(kl, 0.0)) == pytest.approx(2.6)
    assert float(free_bits_kl(kl, 0.5)) == pytest.approx(3.0)
    assert float(free_bits_kl(kl, 5.0)) == pytest.approx(15.0)


def test_dimensions_below_the_floor_get_no_gradient() -> None:
    kl = torch.tensor([[0.1, 2.0]], requires_grad=True)
    free_bits_kl(kl, 0.5).backward()
    assert kl.grad is not None
    assert kl.grad.tolist() == [[0.0, 1.0]]


# -- reconstruction
@pytest.mark.parametrize("variance", [0.01, 1.0, 7.0])
def test_gaussian_nll_agrees_with_torch(variance: float) -> None:
    error = numbers(3, PIXELS)
    expected = -Normal(0.0, math.sqrt(variance)).log_prob(error).sum(1)
    torch.testing.assert_close(gaussian_nll(error.square().sum(1), PIXELS, variance), expected)
    tensor = torch.tensor(variance, dtype=torch.float64)
    torch.testing.assert_close(gaussian_nll(error.square().sum(1), PIXELS, tensor), expected)


@pytest.mark.parametrize("scale", [0.05, 2.0])
def test_laplace_nll_agrees_with_torch(scale: float) -> None:
    error = numbers(3, PIXELS)
    expected = -Laplace(0.0, scale).log_prob(error).sum(1)
    torch.testing.assert_close(laplace_nll(error.abs().sum(1), PIXELS, scale), expected)


def test_sigma_nll_is_the_gaussian_at_its_best_variance() -> None:
    error = 0.1 * numbers(4, PIXELS)
    mse = error.square().mean()
    best = gaussian_nll(error.square().sum(1), PIXELS, mse).mean()
    torch.testing.assert_close(sigma_nll(mse, PIXELS), best)
    for factor in (0.5, 0.9, 1.1, 2.0):
        assert float(gaussian_nll(error.square().sum(1), PIXELS, mse * factor).mean()) > float(best)


def test_sigma_nll_has_the_gradient_of_the_log_of_the_error() -> None:
    """d/dx of D/2 (log(2 pi MSE) + 1): the variance follows the data, though it is detached in the formula."""
    a, b = numbers(4, PIXELS, grad=True), numbers(4, PIXELS).requires_grad_()
    sigma_nll(a.square().mean(), PIXELS).backward()
    (0.5 * PIXELS * (2 * math.pi * b.square().mean()).log()).backward()
    torch.testing.assert_close(a.grad, b.grad)


def _numerical(x: Tensor, i: int) -> float:
    """Central difference of sigma_nll in element i."""
    step = torch.zeros_like(x)
    step.view(-1)[i] = 1e-5
    ahead, behind = (sigma_nll((x + s).square().mean(), PIXELS) for s in (step, -step))
    return float((ahead - behind) / 2e-5)


def test_sigma_nll_gradient_agrees_with_finite_differences() -> None:
    x = numbers(2, PIXELS, grad=True)
    sigma_nll(x.square().mean(), PIXELS).backward()
    assert x.grad is not None
    for i in (0, 17, 2 * PIXELS - 1):
        assert float(x.grad.view(-1)[i]) == pytest.approx(_numerical(x.detach(), i), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("processes", [2, 4])
def test_the_mean_of_shard_gradients_is_the_gradient_of_the_whole(processes: int) -> None:
    """What DDP does: each process its own MSE, the shared one detached, gradients averaged."""
    x, target = numbers(8, 5), numbers(8, PIXELS, seed=1)
    weight = numbers(5, PIXELS, seed=2, grad=True)

    def mse(rows: slice) -> Tensor:
        return (x[rows] @ weight - target[rows]).square().mean()

    (whole,) = torch.autograd.grad(sigma_nll(mse(slice(None)), PIXELS), weight)
    shards = [slice(k, None, processes) for k in range(processes)]
    shared = torch.stack([mse(s).detach() for s in shards]).mean()
    terms = [sigma_nll(mse(s), PIXELS, shared) for s in shards]
    mean = sum(torch.autograd.grad(t, weight)[0] for t in terms) / processes
    torch.testing.assert_close(mean, whole)
    torch.testing.assert_close(torch.stack(terms).mean(), sigma_nll(mse(slice(None)), PIXELS))
    alone = sum(torch.autograd.grad(sigma_nll(mse(s), PIXELS), weight)[0] for s in shards) / processes
    assert not torch.allclose(alone, whole)  # without sharing it would be another loss


def test_a_perfect_reconstruction_stays_finite() -> None:
    mse = torch.zeros((), requires_grad=True)
    loss = sigma_nll(mse, PIXELS)
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert mse.grad is not None
    assert bool(torch.isfinite(mse.grad))
    assert bool(torch.isfinite(gaussian_nll(torch.zeros(2), PIXELS, 0.0)).all())


# -- focal loss
@given(seeds, st.integers(2, 8))
def test_focal_loss_without_focus_is_cross_entropy(seed: int, classes: int) -> None:
    logits = 4 * numbers(6, classes, seed=seed)
    target = torch.arange(6) % classes
    torch.testing.assert_close(focal_loss(logits, target, gamma=0.0), F.cross_entropy(logits.float(), target))


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_focal_loss_is_its_definition(gamma: float) -> None:
    logits, target = numbers(6, 4).float(), torch.tensor([0, 1, 2, 3, 0, 1])
    alpha = torch.tensor([0.5, 1.0, 2.0, 0.25])
    p = logits.softmax(1)[torch.arange(6), target]
    expected = (-alpha[target] * (1 - p) ** gamma * p.log()).mean()
    torch.testing.assert_close(focal_loss(logits, target, gamma=gamma, alpha=alpha), expected)


def test_easy_examples_weigh_less_than_under_cross_entropy() -> None:
    easy, hard = torch.tensor([[4.0, 0.0]]), torch.tensor([[-1.0, 0.0]])
    target = torch.tensor([0])
    share = [float(focal_loss(x, target) / F.cross_entropy(x, target)) for x in (easy, hard)]
    assert share[0] < 0.01 < share[1] < 1


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("scale", [0.0, 1.0, 200.0])
def test_focal_gradients_stay_finite(gamma: float, scale: float) -> None:
    logits = (scale * torch.eye(3)).requires_grad_()
    for target in (torch.tensor([0, 1, 2]), torch.tensor([1, 2, 0])):  # certain and right, certain and wrong
        (grad,) = torch.autograd.grad(focal_loss(logits, target, gamma=gamma), logits)
        assert bool(torch.isfinite(grad).all())


# -- class weights
LABELS = torch.tensor([0] * 16 + [1] * 4 + [3])


@pytest.mark.parametrize("rule", ["sqrt", "inverse"])
def test_class_weights_average_to_one_over_the_images(rule: str) -> None:
    alpha = class_alpha(LABELS, 4, rule)
    assert alpha is not None
    assert float(alpha[LABELS].mean()) == pytest.approx(1.0)
    assert float(alpha[2]) == 0.0  # no image of it
    assert float(alpha[0]) < float(alpha[1]) < float(alpha[3])


def test_class_weights_follow_their_rule() -> None:
    inverse, root = class_alpha(LABELS, 4, "inverse"), class_alpha(LABELS, 4, "sqrt")
    assert inverse is not None
    assert root is not None
    assert float(inverse[3] / inverse[0]) == pytest.approx(16.0)
    assert float(root[3] / root[0]) == pytest.approx(4.0)
    assert class_alpha(LABELS, 4, "none") is None
