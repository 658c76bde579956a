"""Grad-CAM: where a classifier looked for a class.

Unusual here:
- captum hooks an identity module made anew for every call, never the model: maps can be made by several
  threads at once, and no hook can stay behind after an error;
- the model runs from the chosen layer upwards only, on the feature map that the analysis already has.

`stages[-1]` is a 7 x 7 grid at 224 px, `stages[-2]` one of 14 x 14: the smooth picture is interpolation.
Source: Selvaraju et al. 2017 (1610.02391); captum's LayerGradCam with its ReLU switched on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dermdemo.errors import ConfigError
from dermdemo.models.classifier import Classifier
from dermdemo.models.encoder import STAGES

# Layer name -> number of encoder stages below it; `Encoder.trunk(x, n)` is its output.
LAYERS: Mapping[str, int] = {"stages[-1]": STAGES, "stages[-2]": STAGES - 1}


class CamMap(NamedTuple):
    """One map: heat (size, size) float32 in [0, 1], the grid it comes from, its maximum before division."""

    heat: np.ndarray
    grid: tuple[int, int]
    peak: float


class _FromLayer(nn.Module):
    """A classifier from the output of one layer upwards; `tap` stands for that layer."""

    def __init__(self, model: Classifier, stages: int) -> None:
        super().__init__()
        self.tap = nn.Identity()
        self.model = model
        self.stages = stages

    def forward(self, fmap: Tensor) -> Tensor:
        encoder = self.model.encoder
        return self.model.head(encoder.pool(encoder.top(self.tap(fmap), self.stages))).float()


def check_layer(layer: str) -> int:
    """Stages below a named layer. Raises ConfigError if there is no such layer."""
    if layer not in LAYERS:
        raise ConfigError(f"There is no layer '{layer}': choose one of {', '.join(LAYERS)}.")
    return LAYERS[layer]


def grad_cam(model: Classifier, fmap: Tensor, targets: Sequence[int], layer: str, size: int) -> list[CamMap]:
    """Grad-CAM of a batch from the layer's own output.

    Args:
        model: in eval mode.
        fmap: (N, C, h, w), what `layer` put out; may come from inference mode.
        targets: one class index per image.
        layer: a key of `LAYERS`.
        size: side of the maps in pixels.

    Raises:
        ConfigError: unknown layer, or a target the model does not have.
    """
    stages = check_layer(layer)
    if any(not 0 <= t < model.classes for t in targets):
        raise ConfigError(f"A target must be a class from 0 to {model.classes - 1}; got {list(targets)}.")
    from captum.attr import LayerGradCam  # a second to import

    upper = _FromLayer(model, stages)
    with torch.inference_mode(False):
        chosen = torch.tensor(list(targets), device=fmap.device)
        raw = LayerGradCam(upper, upper.tap).attribute(fmap.clone(), chosen, relu_attributions=True)
        maps = F.interpolate(raw.detach(), size=(size, size), mode="bilinear", align_corners=False)
    grid = (int(fmap.shape[2]), int(fmap.shape[3]))
    return [_normalised(heat, grid) for heat in maps[:, 0].cpu().numpy()]  # (N, 1, S, S) -> (N, S, S)


def _normalised(heat: np.ndarray, grid: tuple[int, int]) -> CamMap:
    """Divide by the maximum; a map that is zero everywhere stays zero."""
    peak = float(heat.max())
    return CamMap((heat / peak if peak > 0 else heat).astype(np.float32), grid, peak)
