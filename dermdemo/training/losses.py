"""Losses of both stages, with their reductions spelled out."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class ELBOTerms(NamedTuple):
    """Negative ELBO in nats per image: `loss` (scalar, what is minimised), `rec` and `kl` unweighted."""

    loss: Tensor
    rec: Tensor
    kl: Tensor


def gaussian_kl(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(q || N(0, I)) in nats, (N, D) -> (N, D), not reduced. Source: Kingma & Welling 2014, App. B."""
    return 0.5 * (mu.square() + logvar.exp() - 1.0 - logvar)


def sigma_nll(mse: Tensor, pixels: int, shared_mse: Tensor | None = None) -> Tensor:
    """Sigma-VAE reconstruction term in nats per image with the optimal shared variance, scalar.

    D/2 (log(2 pi MSE) + 1), where MSE is over the whole batch. With several processes `mse` is this
    process's and `shared_mse` the mean over all (no gradient): the value is then that of the global
    batch, and the gradient, averaged over processes, that of the global term.

    Source: Rybkin et al. 2021, Simple and Effective VAE Training with Calibrated Decoders.
    """
    shared = mse.detach() if shared_mse is None else shared_mse
    shared = shared.clamp_min(1e-10)
    return 0.5 * pixels * (math.log(2 * math.pi) + shared.log() + mse / shared)


def gaussian_nll(sse: Tensor, pixels: int, variance: Tensor | float) -> Tensor:
    """Gaussian NLL in nats per image: (N,) sums of squared errors -> (N,)."""
    variance = torch.as_tensor(variance, dtype=sse.dtype, device=sse.device).clamp_min(1e-10)
    return 0.5 * (pixels * (2 * math.pi * variance).log() + sse / variance)


def laplace_nll(sae: Tensor, pixels: int, scale: float) -> Tensor:
    """Laplace NLL in nats per image: (N,) sums of absolute errors -> (N,)."""
    return pixels * math.log(2 * scale) + sae / scale


def free_bits_kl(kl: Tensor, floor: float) -> Tensor:
    """KL per image in nats, (N, D) -> scalar: each dimension's batch mean counts at least `floor` nats.

    Source: Kingma et al. 2016 (inverse autoregressive flow), section 2 of the appendix.
    """
    per_dimension = kl.mean(0)
    return per_dimension.clamp_min(floor).sum() if floor > 0 else per_dimension.sum()


def focal_loss(logits: Tensor, target: Tensor, *, gamma: float = 2.0, alpha: Tensor | None = None) -> Tensor:
    """Multi-class focal loss, (N, K) and (N,) -> mean over the batch.

    -alpha_y (1 - p_y)^gamma log p_y. `alpha` (K,) weighs classes; gamma 0 without alpha is
    cross-entropy. Source: Lin et al. 2017, Focal Loss for Dense Object Detection.
    """
    log_p = F.log_softmax(logits.float(), dim=1).gather(1, target[:, None]).squeeze(1)
    focus = (1 - log_p.exp()).clamp_min(1e-8) ** gamma  # above 0: gamma < 1 has no gradient there
    loss = -focus * log_p
    if alpha is not None:
        loss = loss * alpha.to(loss)[target]
    return loss.mean()


def class_alpha(labels: Tensor, classes: int, rule: str) -> Tensor | None:
    """Focal alpha per class (K,), mean 1 over the training images; None for rule ``none``.

    ``inverse`` weighs by 1/frequency, ``sqrt`` by its square root; a class without images gets 0.
    """
    if rule == "none":
        return None
    counts = torch.bincount(labels, minlength=classes).float()
    weights = torch.where(counts > 0, counts.clamp_min(1) ** (-0.5 if rule == "sqrt" else -1.0), 0.0)
    return weights * counts.sum() / (weights * counts).sum()
