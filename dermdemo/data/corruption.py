"""What an autoencoder may be denied of an image that it has to draw whole: squares, or its sharpness.

Source: Im et al. 2017, Denoising Criterion for Variational Auto-Encoding Framework, 1511.06406; squares as in
He et al. 2022, Masked Autoencoders Are Scalable Vision Learners, 2111.06377, filled with the image's mean colour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from dermdemo.data.contrastive_views import gaussian_blur

CELLS = 8  # squares to a side: of 8 px at 64 px


@dataclass(frozen=True, kw_only=True)
class Corruption:
    """Squares hidden and sharpness taken, drawn per image.

    Attributes:
        mask: share of the squares of a grid of 8 x 8 that is hidden, in [0, 1).
        blur: largest standard deviation of the blur, as a share of the side, in [0, 0.25).
    """

    mask: float = 0.0
    blur: float = 0.0

    def __call__(self, x: Tensor, generator: torch.Generator, *, rank: int = 0, world: int = 1) -> Tensor:
        """(N, 3, S, S) in [0, 1] -> the same, corrupted; `x` itself, and nothing drawn, if nothing is to be done.

        With several processes the draws of the global batch are made and this process takes its own.
        """
        if not (self.mask or self.blur):
            return x
        draw = torch.rand((len(x) * world, CELLS * CELLS + 1), generator=generator)[rank::world]
        if self.blur:
            size = x.shape[-1]
            sigma = self.blur * size * draw[:, 0]
            x = gaussian_blur(x, sigma.to(x), radius=min(math.ceil(3 * self.blur * size), size - 1)).clamp(0, 1)
        return self._hide(x, draw[:, 1:]) if self.mask else x

    def _hide(self, x: Tensor, draw: Tensor) -> Tensor:
        """Exactly `mask` of the squares, rounded, those with the lowest numbers of `draw` (N, 64)."""
        count = round(self.mask * CELLS * CELLS)
        hidden = (draw.argsort(1).argsort(1) < count).view(-1, 1, CELLS, CELLS)
        place = torch.arange(x.shape[-1]) * CELLS // x.shape[-1]
        hidden = hidden[:, :, place][:, :, :, place].to(x.device)
        return torch.where(hidden, x.mean((2, 3), keepdim=True), x)
