"""One pass of a batch over everything that is served: every trunk once, no gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dermdemo.analysis.serving import Served, TrunkKey, trunk_key
from dermdemo.models.checkpoint import Loaded
from dermdemo.types import InputSpec

TRUNK_LAYER = "stages[-2]"
Inputs = Mapping[InputSpec, np.ndarray]  # (N, S, S, 3) uint8 for each kind of input


@dataclass(frozen=True)
class Outputs:
    """What the models make of a batch of N images.

    Attributes:
        x, x_hat: the VAE's input and decode(mu), (N, 3, S, S) in [0, 1].
        mu, logvar: (N, D).
        logits: arm -> (N, K).
        pooled: arm -> (N, W).
        maps: arm -> layer -> feature map (N, C, h, w), the layers of `attribution.LAYERS`.
    """

    x: Tensor
    x_hat: Tensor
    mu: Tensor
    logvar: Tensor
    logits: Mapping[str, Tensor]
    pooled: Mapping[str, Tensor]
    maps: Mapping[str, Mapping[str, Tensor]]


def to_tensor(pixels: np.ndarray, device: torch.device) -> Tensor:
    """(N, S, S, 3) uint8 -> (N, 3, S, S) float32 in [0, 1], channels last in memory."""
    return torch.from_numpy(pixels).to(device).permute(0, 3, 1, 2).float().div_(255)


def trunk_features(out: Outputs, arm: str) -> Tensor:
    """What the trunk below an arm's last stage makes of each image, averaged over the picture: (N, C)."""
    return out.maps[arm][TRUNK_LAYER].mean((2, 3)).float()


@torch.inference_mode()
def forward(served: Served, inputs: Inputs) -> Outputs:
    """Run the VAE and every classifier on a batch; a trunk that several stand on runs once."""
    x = {spec: to_tensor(pixels, served.device) for spec, pixels in inputs.items()}
    done: dict[TrunkKey, Tensor] = {}

    def trunk(model: Loaded) -> Tensor:
        key = trunk_key(model.meta)
        if key not in done:
            done[key] = model.module.encoder.trunk(x[key.spec])
        return done[key]

    vae, own = served.vae.module, x[served.vae.meta.input]
    q = vae.posterior_of(vae.encoder.top(trunk(served.vae)))
    x_hat = vae.decode(q.mu, own.shape[-1]).float()
    logits, pooled, maps = {}, {}, {}
    for arm, loaded in served.arms.items():
        features, model = trunk(loaded), loaded.module
        top = model.encoder.top(features)
        pooled[arm] = model.encoder.pool(top)
        logits[arm] = model.head(pooled[arm]).float()
        maps[arm] = {"stages[-1]": top, TRUNK_LAYER: features}
    return Outputs(own, x_hat, q.mu, q.logvar, logits, pooled, maps)
