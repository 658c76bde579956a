"""The VAE's own convolutional decoder: latent vector -> image of any size that 32 divides.

Unusual here:
- one linear layer gives a fixed 4x4 map, which is interpolated to size/16 and then doubled four
  times, so that the same weights decode at 64, 128 or 224 px (progressive resizing);
- beside the convolutions a linear layer draws a coarse picture of 32x32 px, enlarged and added before
  the sigmoid: what PCA would draw, and convolutions between group norms are slow to learn. It starts
  at zero.

Upsampling is nearest-neighbour followed by convolution: no checkerboard (Odena et al. 2016).
The study does not state its decoder: this one is ours.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dermdemo.config import check_size

GRID = 4
COARSE = 32
WIDTHS = (256, 192, 128, 64, 32)


class ResidualBlock(nn.Module):
    """GroupNorm - SiLU - 3x3 convolution, twice, with a skip; shape is kept."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


class Decoder(nn.Module):
    """(N, D) -> (N, 3, size, size) in [0, 1].

    Args:
        latent: dimensions D of the latent vector.
        widths: channels at size/16, size/8, size/4, size/2 and size.
    """

    def __init__(self, latent: int, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.latent = latent
        self.widths = widths
        self.coarse = nn.Linear(latent, 3 * COARSE * COARSE)
        nn.init.zeros_(self.coarse.weight)
        nn.init.zeros_(self.coarse.bias)
        self.expand = nn.Linear(latent, widths[0] * GRID * GRID)
        self.blocks = nn.ModuleList(ResidualBlock(w) for w in widths[:-1])
        self.shrink = nn.ModuleList(
            nn.Conv2d(a, b, 3, padding=1) for a, b in zip(widths[:-1], widths[1:], strict=True)
        )
        self.norm = nn.GroupNorm(8, widths[-1])
        self.out = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, z: Tensor, size: int) -> Tensor:
        check_size(size)
        h = self.expand(z).view(-1, self.widths[0], GRID, GRID)  # (N, D) -> (N, C, 4, 4)
        if size // 16 != GRID:
            h = F.interpolate(h, size=(size // 16, size // 16), mode="bilinear", align_corners=False)
        for block, shrink in zip(self.blocks, self.shrink, strict=True):
            h = shrink(F.interpolate(block(h), scale_factor=2.0, mode="nearest"))
        coarse = self.coarse(z).view(-1, 3, COARSE, COARSE)
        coarse = F.interpolate(coarse, size=(size, size), mode="bilinear", align_corners=False)
        return (self.out(F.silu(self.norm(h))) + coarse).sigmoid()


def blank_coarse(latent: int) -> dict[str, Tensor]:
    """The state of a decoder's coarse picture before training; draws what a decoder stored without one drew."""
    pixels = 3 * COARSE * COARSE
    return {"coarse.weight": torch.zeros(pixels, latent), "coarse.bias": torch.zeros(pixels)}
