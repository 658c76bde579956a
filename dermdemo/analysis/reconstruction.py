"""What the VAE keeps of an image: decode(mu), error map, PSNR, SSIM; draws and walks in the latent space.

SSIM is written out here because importing torchmetrics takes three seconds, and because torchmetrics counts
windows that reach over the border; over the others a test holds the two together.
Source: Wang et al. 2004 (SSIM: Gaussian window of 11 px, sigma 1.5, K1 = 0.01, K2 = 0.03).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log10

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dermdemo.errors import ConfigError
from dermdemo.models.vae import VAE, Posterior
from dermdemo.runtime import generator
from dermdemo.types import Reconstruction

WINDOW, SIGMA = 11, 1.5
K1, K2 = 0.01, 0.03
MAX_PSNR = 100.0
PASS = 64  # latents decoded at once


def compare(x: Tensor, x_hat: Tensor) -> list[Reconstruction]:
    """Images and their reconstructions, both (N, 3, S, S) in [0, 1] -> one `Reconstruction` each."""
    x, x_hat = x.float(), x_hat.float()
    error = (x - x_hat).abs().mean(1).cpu().numpy()  # (N, S, S)
    mse = mean_squared_error(x, x_hat).tolist()
    similarity = ssim(x, x_hat).tolist()
    return [Reconstruction(original=o, image=i, error=e, mse=m, psnr=psnr(m), ssim=s)
            for o, i, e, m, s in zip(to_pixels(x), to_pixels(x_hat), error, mse, similarity, strict=True)]


def mean_squared_error(x: Tensor, x_hat: Tensor) -> Tensor:
    """(N, 3, S, S) twice -> (N,), mean over pixels and channels."""
    return (x - x_hat).square().mean((1, 2, 3))


def psnr(mse: float) -> float:
    """Peak signal-to-noise ratio in dB for images in [0, 1]; at most 100."""
    return min(MAX_PSNR, -10 * log10(mse)) if mse > 0 else MAX_PSNR


def ssim(x: Tensor, y: Tensor) -> Tensor:
    """Structural similarity of two batches (N, 3, S, S) in [0, 1] -> (N,), mean over pixels and channels.

    Only windows that lie inside the image count.

    Raises:
        ConfigError: the images are smaller than the window of 11 px.
    """
    if min(x.shape[-2:]) < WINDOW:
        raise ConfigError(f"SSIM needs images of at least {WINDOW} px, not {tuple(x.shape[-2:])}.")
    steps = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    line = torch.exp(-(steps / SIGMA).square() / 2)
    line = line / line.sum()
    kernel = (line[:, None] * line)[None, None].repeat(x.shape[1], 1, 1, 1)  # (3, 1, 11, 11)

    def blur(image: Tensor) -> Tensor:
        return F.conv2d(image, kernel, groups=image.shape[1])

    mx, my = blur(x), blur(y)
    vx, vy, cov = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    c1, c2 = K1**2, K2**2
    value = (2 * mx * my + c1) * (2 * cov + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    return value.mean((1, 2, 3))


def to_pixels(x: Tensor) -> np.ndarray:
    """(N, 3, S, S) in [0, 1] -> (N, S, S, 3) uint8."""
    scaled = (x.clamp(0, 1) * 255).round().to(torch.uint8)
    return scaled.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _decode(vae: VAE, z: Tensor, size: int) -> np.ndarray:
    with torch.inference_mode():
        return to_pixels(vae.decode(z, size).float())


def decode_latents(vae: VAE, mu: np.ndarray, size: int) -> np.ndarray:
    """Latents (N, D) -> pictures (N, size, size, 3) uint8, `PASS` at a time."""
    where = next(vae.parameters()).device
    pictures = np.empty((len(mu), size, size, 3), np.uint8)
    for start in range(0, len(mu), PASS):
        z = torch.from_numpy(mu[start:start + PASS]).float().to(where)
        pictures[start:start + PASS] = _decode(vae, z, size)
    return pictures


def posterior_samples(vae: VAE, mu: np.ndarray, logvar: np.ndarray, size: int, *, count: int = 6, seed: int = 0
                      ) -> np.ndarray:
    """Decoded draws from q(z | x): what the VAE takes for the same lesion.

    Args:
        mu, logvar: (D,) of one image.

    Returns:
        (count, size, size, 3) uint8; the same seed gives the same draws. An autoencoder repeats itself.
    """
    where = next(vae.parameters()).device
    noise = torch.randn((count, vae.latent), generator=generator("posterior", seed)).to(where)
    q = Posterior(*(torch.from_numpy(v).float().to(where).expand(count, -1) for v in (mu, logvar)))
    return _decode(vae, vae.sample(q, noise=noise), size)


def traverse(vae: VAE, mu: np.ndarray, dimension: int, values: Sequence[float], size: int) -> np.ndarray:
    """Decode `mu` with one coordinate replaced by each of `values` (the prior has mean 0, deviation 1).

    Returns:
        (len(values), size, size, 3) uint8.

    Raises:
        ConfigError: there is no such dimension, or no value.
    """
    if not 0 <= dimension < vae.latent:
        raise ConfigError(f"The latent has dimensions 0 to {vae.latent - 1}; there is no {dimension}.")
    if not values:
        raise ConfigError("A traversal needs at least one value.")
    z = torch.from_numpy(mu).float().repeat(len(values), 1)
    z[:, dimension] = torch.tensor([float(v) for v in values])
    return _decode(vae, z.to(next(vae.parameters()).device), size)
