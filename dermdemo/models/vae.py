"""Stage I: a ConvNeXt VAE with a Gaussian latent.

Unusual here:
- the posterior is read from the last feature map pooled to a 4x4 grid, not from its global
  average, so that the latent can say where things are; Stage II still uses the pooled features;
- with `ae=True` the same network is a plain autoencoder: z = mu, no noise, no KL;
- `logvar` is the log of the variance, clamped to [-12, 6];
- sigma-VAE: the decoder's variance is shared and analytic; the one to evaluate with is a buffer.

Source: Kingma & Welling 2014; Rybkin et al. 2021 (sigma-VAE).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dermdemo.models.decoder import Decoder
from dermdemo.models.encoder import Encoder

NECK_GRID = 4
NECK_WIDTH = 128
LOGVAR_RANGE = (-12.0, 6.0)


class Posterior(NamedTuple):
    """q(z | x): mean and log variance, both (N, D)."""

    mu: Tensor
    logvar: Tensor


class VAE(nn.Module):
    """Encoder, posterior neck and decoder.

    Args:
        encoder: ConvNeXt name or a ready `Encoder`.
        latent: dimensions D of the latent.
        size: default side of decoded images in pixels.
        ae: plain autoencoder, z = mu.
    """

    noise_variance: Tensor

    def __init__(self, encoder: str | Encoder = "convnext_tiny", *, latent: int = 256, size: int = 224,
                 layer_scale: float = 1e-6, ae: bool = False) -> None:
        super().__init__()
        self.encoder = Encoder(encoder, layer_scale=layer_scale) if isinstance(encoder, str) else encoder
        self.encoder.norm.requires_grad_(False)  # used by pooled features (Stage II) only
        self.latent, self.size, self.ae = latent, size, ae
        self.neck = nn.Sequential(nn.Conv2d(self.encoder.width, NECK_WIDTH, 1), nn.GroupNorm(1, NECK_WIDTH),
                                  nn.SiLU())
        self.posterior = nn.Linear(NECK_WIDTH * NECK_GRID**2, 2 * latent)
        self.decoder = Decoder(latent)
        self.register_buffer("noise_variance", torch.ones(()))

    def posterior_of(self, fmap: Tensor) -> Posterior:
        """Final feature map (N, C, h, w) -> q(z | x)."""
        h = F.adaptive_avg_pool2d(self.neck(fmap), NECK_GRID)  # (N, 128, h, w) -> (N, 128, 4, 4)
        mu, logvar = self.posterior(h.flatten(1)).float().chunk(2, dim=1)
        return Posterior(mu, logvar.clamp(*LOGVAR_RANGE))

    def encode(self, x: Tensor) -> Posterior:
        """Images (N, 3, H, W) in [0, 1] -> q(z | x)."""
        return self.posterior_of(self.encoder.top(self.encoder.trunk(x)))

    def sample(self, q: Posterior, *, noise: Tensor | None = None) -> Tensor:
        """One draw z (N, D); `noise` (N, D) standard normal makes it repeatable. AE: z = mu."""
        if self.ae:
            return q.mu
        eps = torch.randn_like(q.mu) if noise is None else noise.to(q.mu)
        return q.mu + eps * (0.5 * q.logvar).exp()

    def decode(self, z: Tensor, size: int | None = None) -> Tensor:
        """(N, D) -> (N, 3, size, size) in [0, 1]."""
        return self.decoder(z, size or self.size)

    def reconstruct(self, x: Tensor) -> Tensor:
        """decode(mu): deterministic, same size as `x`."""
        return self.decode(self.encode(x).mu, x.shape[-1])

    def forward(self, x: Tensor, noise: Tensor | None = None) -> tuple[Tensor, Posterior]:
        """Images -> (x_hat, q)."""
        q = self.encode(x)
        return self.decode(self.sample(q, noise=noise), x.shape[-1]).float(), q
