"""Views for contrastive pretraining: harder than those of the other stages, so that colour alone gives no pair away.

As in SimCLR: random resized crop, mirror, colour jitter, grey, blur; and any rotation, as dermoscopy has no up.
Hue moves little, for colour is part of a diagnosis. A view is cut from the image at the size that is trained, so a
window of a fifth of a 64 px image is 29 px enlarged. Drawn and applied as in `loader`.
Source: Chen et al. 2020, A Simple Framework for Contrastive Learning of Visual Representations, appendix A.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from dermdemo.data.loader import Augmentation


@dataclass(frozen=True, kw_only=True)
class ContrastiveViews(Augmentation):
    """`Augmentation` with windows of random area and shape, hue, grey and blur.

    Attributes:
        min_zoom: square root of the smallest visible share of the area, in (0, 1].
        aspect: largest ratio of the window's sides.
        hue: largest turn of the colours around the grey axis, as a share of a full turn.
        grey_share, blur_share: how many of the views lose their colour, or are blurred.
        blur: largest standard deviation of the blur, as a share of the side.
    """

    DRAWS: ClassVar[int] = 13
    min_zoom: float = 0.45
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.4
    aspect: float = 4 / 3
    hue: float = 0.05
    grey_share: float = 0.2
    blur_share: float = 0.5
    blur: float = 0.01

    def apply(self, x: Tensor, draw: Tensor) -> Tensor:
        """The view of each image (N, 3, S, S) that its row of `draw` (N, DRAWS) decides."""
        area = self.min_zoom**2 + (1 - self.min_zoom**2) * draw[:, 0]
        stretch = self.aspect ** (draw[:, 8] - 0.5)  # of the width; the height shrinks alike
        zoom = (area.sqrt()[:, None] * torch.stack([stretch, 1 / stretch], 1)).clamp_max(1)
        x = self._jitter(self._warp(x, zoom, draw[:, 1:5]), (draw[:, 5:8] * 2 - 1).to(x))
        grey = draw[:, 10] < self.grey_share
        x = torch.einsum("nij,njhw->nihw", self._colours(draw[:, 9] * 2 - 1, grey).to(x), x).clamp_(0, 1)
        size = x.shape[-1]
        sigma = torch.where(draw[:, 12] < self.blur_share, self.blur * size * draw[:, 11], 0)
        return gaussian_blur(x, sigma.to(x), radius=math.ceil(3 * self.blur * size)).clamp_(0, 1)  # rounding

    def _colours(self, turn: Tensor, grey: Tensor) -> Tensor:
        """Matrices (N, 3, 3) that turn RGB around the grey axis by `turn` (N,) of `hue`, or leave its mean only."""
        angle = (2 * torch.pi * self.hue * turn)[:, None, None]
        mean = torch.full((3, 3), 1 / 3)
        cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
        turned = mean + torch.cos(angle) * (torch.eye(3) - mean) + torch.sin(angle) * cross  # Rodrigues
        return torch.where(grey[:, None, None], mean, turned)


def gaussian_blur(x: Tensor, sigma: Tensor, *, radius: int) -> Tensor:
    """(N, C, S, S) blurred by its own `sigma` (N,) in pixels each, 0 for not at all; reflection at the border."""
    n, c = x.shape[:2]
    offsets = torch.arange(-radius, radius + 1, device=x.device)
    weights = torch.softmax(-0.5 * (offsets / sigma[:, None].clamp_min(1e-3)).square(), 1)
    kernel = weights.repeat_interleave(c, 0)[:, None]  # (N * C, 1, K)
    planes = F.pad(x, (radius,) * 4, mode="reflect").reshape(1, n * c, *(s + 2 * radius for s in x.shape[2:]))
    planes = F.conv2d(planes, kernel[..., None], groups=n * c)
    return F.conv2d(planes, kernel[:, :, None], groups=n * c).view_as(x)


CONTRASTIVE_VIEWS = ContrastiveViews()
