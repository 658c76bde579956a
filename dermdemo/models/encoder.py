"""The ConvNeXt encoder: timm's network, cut in two parts by name, with its own normalisation.

Unusual here:
- normalisation is a buffer of the encoder: images go in as RGB in [0, 1];
- the network is cut in two, `trunk` (stem and first stages) and `top` (the rest), so that a frozen
  trunk runs once for several models and its features can be cached;
- `layer_scale` sets the initial layer scale (timm: 1e-6, which leaves an untrained network little
  more than its stem and downsampling; the controls also use 1).

Source: Liu et al. 2022, A ConvNet for the 2020s; timm 1.0 (Apache-2.0).
"""

from __future__ import annotations

import timm
import torch
from torch import Tensor, nn

from dermdemo.errors import ConfigError
from dermdemo.models.depthwise import DepthwiseConv2d

ENCODERS = ("convnext_atto", "convnext_femto", "convnext_pico", "convnext_nano",
            "convnext_tiny", "convnext_small", "convnext_base")
STAGES = 4
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class Encoder(nn.Module):
    """A timm ConvNeXt without its classifier.

    Args:
        name: one of `ENCODERS`.
        layer_scale: initial value of every block's layer scale; ignored once weights are loaded.
        drop_path: stochastic depth rate in training.

    Raises:
        ConfigError: `name` is not a ConvNeXt this package knows.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str = "convnext_tiny", *, layer_scale: float = 1e-6, drop_path: float = 0.0) -> None:
        super().__init__()
        if name not in ENCODERS:
            raise ConfigError(f"Unknown encoder '{name}': choose one of {', '.join(ENCODERS)}.")
        self.name = name
        net = timm.create_model(name, pretrained=False, num_classes=0, ls_init_value=layer_scale,
                                drop_path_rate=drop_path)
        self.stem = net.stem
        self.stages = net.stages
        for stage in self.stages:
            for block in stage.blocks:
                block.conv_dw = DepthwiseConv2d.taking(block.conv_dw)
        self.norm = net.head.norm
        self.width = int(net.num_features)
        self.set_normalisation()

    def set_normalisation(self) -> None:
        """Make the buffers that no checkpoint holds."""
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(STD).view(1, 3, 1, 1), persistent=False)

    def trunk(self, x: Tensor, stages: int = STAGES - 1) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] -> feature map after `stages` stages (N, C, H', W')."""
        x = self.stem((x - self.mean) / self.std)
        for stage in self.stages[:stages]:
            x = stage(x)
        return x

    def top(self, features: Tensor, stages: int = STAGES - 1) -> Tensor:
        """Feature map after `stages` stages -> final feature map (N, width, H/32, W/32)."""
        for stage in self.stages[stages:]:
            features = stage(features)
        return features

    def pool(self, fmap: Tensor) -> Tensor:
        """(N, width, h, w) -> (N, width): global average, then layer norm, as timm's head does."""
        return self.norm(fmap.mean((2, 3), keepdim=True)).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] -> pooled, normed features (N, width)."""
        return self.pool(self.top(self.trunk(x)))

    def groups(self) -> dict[str, list[nn.Module]]:
        """The parts that freeze and are stored together: `trunk` (stem, stages 0-2) and `top`."""
        return {"trunk": [self.stem, *self.stages[:-1]], "top": [self.stages[-1], self.norm]}

    def trainable_from(self, unfrozen: int) -> None:
        """Freeze all but the last `unfrozen` stages (0: everything; 4: nothing, stem included)."""
        self.requires_grad_(unfrozen >= STAGES)
        if 0 < unfrozen < STAGES:
            for stage in self.stages[STAGES - unfrozen:]:
                stage.requires_grad_(True)
            self.norm.requires_grad_(True)


def part_of(key: str) -> str:
    """Which file, `trunk` or `top`, holds the encoder tensor named `key`."""
    return "top" if key.startswith((f"stages.{STAGES - 1}.", "norm.")) else "trunk"
