"""Is an attribution map worth looking at? Asked on demand: these run the model tens of times.

- Deletion and insertion: hide (or show) the most heated pixels first and watch the target's probability;
  a faithful map has a lower deletion area and a higher insertion area than random maps of the same grid.
- Cascading randomisation: replace the weights from the head downwards; a map that does not change with
  them says nothing of the model.

Source: Petsiuk et al. 2018 (RISE, 1806.07421); Adebayo et al. 2018 (1810.03292).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dermdemo.analysis.attribution import check_layer, grad_cam
from dermdemo.errors import ConfigError
from dermdemo.models.classifier import Classifier
from dermdemo.runtime import generator
from dermdemo.types import Attribution

Probability = Callable[[Tensor], np.ndarray]  # (N, 3, S, S) in [0, 1] -> (N,) probability of the target


@dataclass(frozen=True, kw_only=True)
class Faithfulness:
    """Deletion and insertion of one map beside random maps.

    Attributes:
        fractions: share of pixels hidden or shown at each point of the curves, from 0 to 1.
        deletion, insertion: area under the curve of the target's probability, in [0, 1].
        random_deletion, random_insertion: the same, mean over `controls` random maps of the same grid.
        random_deletion_curve, random_insertion_curve: the mean of their curves.
    """

    arm: str
    target: str
    layer: str
    fractions: tuple[float, ...]
    deletion_curve: tuple[float, ...]
    insertion_curve: tuple[float, ...]
    random_deletion_curve: tuple[float, ...]
    random_insertion_curve: tuple[float, ...]
    deletion: float
    insertion: float
    random_deletion: float
    random_insertion: float
    controls: int

    @property
    def better_than_random(self) -> bool:
        """Both areas on the right side of the control."""
        return self.deletion < self.random_deletion and self.insertion > self.random_insertion


class SanityStep(NamedTuple):
    """Rank correlation, in [-1, 1], of the map with the original once everything down to `part` is random."""

    part: str
    correlation: float


def faithfulness(probability: Probability, x: Tensor, cam: Attribution, *, steps: int = 12, controls: int = 3,
                 seed: int = 0) -> Faithfulness:
    """Deletion and insertion areas of one map against random maps.

    Hidden pixels take the image's mean colour (deletion) or are blurred (insertion).

    Args:
        x: the image, (1, 3, S, S) in [0, 1]; S is the side of `cam.heat`.
        steps: intervals of the curves; the model sees 2 (steps + 1) (1 + controls) images.
        seed: of the random maps and of the order among equally heated pixels.

    Raises:
        ConfigError: the map is flat, or `steps` or `controls` is below 1.
    """
    if steps < 1 or controls < 1:
        raise ConfigError("Deletion and insertion need at least one step and one random map.")
    if not cam.heat.any():
        raise ConfigError(f"The map of '{cam.arm}' for {cam.target} is flat: there is no order to hide pixels in.")
    size, rng = x.shape[-1], np.random.default_rng(seed)
    fractions = np.linspace(0, 1, steps + 1)
    curves = [_curves(probability, x, _ranks(heat, rng), fractions)
              for heat in [cam.heat, *(_random_map(cam.grid, size, rng) for _ in range(controls))]]
    areas = np.trapezoid(np.array(curves), fractions, axis=2)  # (1 + controls, 2, steps + 1) -> (1 + controls, 2)
    control, control_curves = areas[1:].mean(0), np.array(curves[1:]).mean(0)
    return Faithfulness(
        arm=cam.arm, target=cam.target, layer=cam.layer, fractions=tuple(fractions.tolist()),
        deletion_curve=tuple(curves[0][0].tolist()), insertion_curve=tuple(curves[0][1].tolist()),
        random_deletion_curve=tuple(control_curves[0].tolist()),
        random_insertion_curve=tuple(control_curves[1].tolist()),
        deletion=float(areas[0, 0]), insertion=float(areas[0, 1]), random_deletion=float(control[0]),
        random_insertion=float(control[1]), controls=controls)


def _ranks(heat: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(S, S) -> place of each pixel in the order from most to least heated, as a share in [0, 1)."""
    flat = heat.ravel()
    order = np.lexsort((rng.random(flat.size), -flat))  # equal heat: in random order, not in reading order
    ranks = np.empty(flat.size)
    ranks[order] = np.arange(flat.size) / flat.size
    return ranks.reshape(heat.shape)


def _random_map(grid: tuple[int, int], size: int, rng: np.random.Generator) -> np.ndarray:
    """Noise on the same grid, interpolated in the same way: as smooth as the map it is compared with."""
    noise = torch.from_numpy(rng.random((1, 1, *grid)))
    return F.interpolate(noise, size=(size, size), mode="bilinear", align_corners=False)[0, 0].numpy()


def _curves(probability: Probability, x: Tensor, ranks: np.ndarray, fractions: np.ndarray
            ) -> tuple[np.ndarray, np.ndarray]:
    """Target probability at each fraction, hiding and showing: two arrays (steps + 1,)."""
    from torchvision.transforms.functional import gaussian_blur

    chosen = torch.from_numpy(ranks[None] < fractions[:, None, None])[:, None].to(x.device)  # (F, 1, S, S)
    side = x.shape[-1]
    blurred = gaussian_blur(x, [2 * (side // 8) + 1] * 2, [side / 16] * 2)
    hidden = torch.where(chosen, x.mean((2, 3), keepdim=True), x)
    shown = torch.where(chosen, x, blurred)
    return probability(hidden), probability(shown)


def cascading_randomisation(model: Classifier, x: Tensor, target: int, layer: str, *, seed: int = 0
                            ) -> tuple[SanityStep, ...]:
    """Map of a class while weights are made random from the head down to the stem, one part after another.

    A part is made random by permuting the entries of each of its tensors: their distribution stays, so
    that the network neither dies nor explodes. `model` itself is not touched.

    Args:
        x: the image, (1, 3, S, S) in [0, 1].
        target: class index.
    """
    stages, size = check_layer(layer), x.shape[-1]
    model = copy.deepcopy(model).requires_grad_(False)
    encoder = model.encoder
    parts: list[tuple[str, nn.Module]] = [("head", model.head), ("norm", encoder.norm)]
    parts += [(f"stages[{k}]", encoder.stages[k]) for k in range(len(encoder.stages) - 1, -1, -1)]
    parts.append(("stem", encoder.stem))

    def heat() -> np.ndarray:
        with torch.inference_mode():
            fmap = encoder.trunk(x, stages)
        return grad_cam(model, fmap, [target], layer, size)[0].heat

    original, draw, steps = heat(), generator("cascade", seed), []
    for name, part in parts:
        for parameter in part.parameters():
            order = torch.randperm(parameter.numel(), generator=draw).to(parameter.device)
            parameter.data = parameter.data.flatten()[order].view_as(parameter).contiguous()
        steps.append(SanityStep(name, _rank_correlation(original, heat())))
    return tuple(steps)


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's; 0 where one map is flat, for then nothing of the other is left in it."""
    from scipy.stats import spearmanr  # a second to import

    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(spearmanr(a.ravel(), b.ravel()).statistic)
