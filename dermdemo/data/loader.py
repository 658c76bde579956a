"""Pixels for training: decoded once into memory, or streamed from disk when they do not fit.

Every image passes `data.images` (the one decoder) and `to_input` (the one preprocessing), so that
training sees what an upload is turned into. Batches are uint8 (N, 3, S, S); augmentation is done on
the batch in torch, with an explicit generator.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from tqdm import tqdm

from dermdemo.data.images import decode_image, to_input
from dermdemo.data.sources import LesionTable
from dermdemo.errors import DataError, ImageError
from dermdemo.runtime import derived_seed
from dermdemo.types import InputSpec

MEMORY_LIMIT = 6 * 2**30


class PixelStore:
    """Square uint8 pixels of chosen rows of a table.

    Args:
        table: where the bytes are.
        rows: rows to serve; position k of the store is row rows[k].
        spec: size and crop.
        memory_limit: above this many bytes images are decoded again for every batch.

    Raises:
        DataError: an image cannot be decoded; the audit lists them beforehand.
    """

    def __init__(self, table: LesionTable, rows: Sequence[int], spec: InputSpec, *,
                 memory_limit: int = MEMORY_LIMIT, progress: bool = False) -> None:
        self.table, self.rows, self.spec = table, list(rows), spec
        self._pool = ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1))
        self.resident = len(self.rows) * 3 * spec.size**2 <= memory_limit
        self._pixels: np.ndarray | None = None
        if self.resident:
            pixels = np.empty((len(self.rows), spec.size, spec.size, 3), np.uint8)
            decoded = self._pool.map(self._decode, self.rows, chunksize=64)
            for k, image in enumerate(tqdm(decoded, total=len(self.rows), desc="decoding",
                                          disable=None if progress else True)):
                pixels[k] = image
            self._pixels = pixels

    def __len__(self) -> int:
        return len(self.rows)

    def _decode(self, row: int) -> np.ndarray:
        name = str(self.table.frame["image_id"].iat[row])
        try:
            decoded = decode_image(self.table.read(row), name=name, max_side=None)
        except ImageError as error:
            raise DataError(f"{error} Run `python -m dermdemo data audit` to list every unreadable file.") from error
        return to_input(decoded.pixels, self.spec)

    def batch(self, positions: Tensor | Sequence[int]) -> Tensor:
        """uint8 images (N, 3, S, S) in channels-last memory."""
        index = np.asarray(positions)
        if self._pixels is not None:
            pixels = self._pixels[index]
        else:
            pixels = np.stack(list(self._pool.map(self._decode, [self.rows[int(k)] for k in index])))
        return torch.from_numpy(pixels).permute(0, 3, 1, 2)  # (N, S, S, 3) -> (N, 3, S, S)


def to_float(batch: Tensor) -> Tensor:
    """uint8 [0, 255] -> float32 [0, 1]."""
    return batch.float().div_(255)


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random affine view and colour jitter, drawn per image.

    Attributes:
        rotate: any angle and both mirror images (dermoscopy has no up); else horizontal mirror only.
        min_zoom: smallest visible share of the side, in (0, 1].
        brightness, contrast, saturation: largest relative change.
    """

    DRAWS: ClassVar[int] = 9
    rotate: bool = True
    min_zoom: float = 0.75
    brightness: float = 0.1
    contrast: float = 0.1
    saturation: float = 0.1

    def __call__(self, x: Tensor, generator: torch.Generator, *, rank: int = 0, world: int = 1) -> Tensor:
        """(N, 3, S, S) in [0, 1] -> the same, augmented; reflection beyond the border.

        With several processes the draws of the global batch are made and this process takes its own.
        """
        return self.apply(x, self.draw(len(x) * world, generator)[rank::world])

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """What decides the views of n images: uniform numbers (n, DRAWS)."""
        return torch.rand((n, self.DRAWS), generator=generator)

    def apply(self, x: Tensor, draw: Tensor) -> Tensor:
        """The view of each image (N, 3, S, S) that its row of `draw` (N, DRAWS) decides."""
        zoom = self.min_zoom + (1 - self.min_zoom) * draw[:, :1]
        return self._jitter(self._warp(x, zoom.expand(-1, 2), draw[:, 1:5]), (draw[:, 5:8] * 2 - 1).to(x))

    def _warp(self, x: Tensor, zoom: Tensor, draw: Tensor) -> Tensor:
        """The window of `zoom` (N, 2) of width and height, turned, mirrored and moved as `draw` (N, 4) says."""
        angle = 2 * torch.pi * draw[:, 0] if self.rotate else torch.zeros(len(x))
        mirror = torch.where(draw[:, 1] < 0.5, -1.0, 1.0)
        cos, sin = torch.cos(angle)[:, None] * zoom, torch.sin(angle)[:, None] * zoom
        shift = (draw[:, 2:4] * 2 - 1) * (1 - zoom)
        theta = torch.stack([torch.stack([cos[:, 0] * mirror, -sin[:, 1], shift[:, 0]], 1),
                             torch.stack([sin[:, 0] * mirror, cos[:, 1], shift[:, 1]], 1)], 1)  # (N, 2, 3)
        grid = F.affine_grid(theta.to(x), list(x.shape), align_corners=False)
        return F.grid_sample(x, grid, mode="bilinear", padding_mode="reflection", align_corners=False)

    def _jitter(self, x: Tensor, draw: Tensor) -> Tensor:
        brightness, contrast, saturation = (
            1 + draw[:, k, None, None, None] * limit
            for k, limit in enumerate((self.brightness, self.contrast, self.saturation)))
        mean = x.mean((1, 2, 3), keepdim=True)
        grey = x.mean(1, keepdim=True)
        x = (x - mean) * contrast + mean
        return ((x - grey) * saturation + grey).mul_(brightness).clamp_(0, 1)


LESION_VIEWS = Augmentation()
NATURAL_VIEWS = Augmentation(rotate=False, min_zoom=0.6, brightness=0.3, contrast=0.3, saturation=0.3)


def shard(count: int, rank: int, world: int) -> Tensor:
    """Positions of this process: rank, rank + world, ... below `count`."""
    return torch.arange(count)[rank::world]


def epoch_batches(count: int, batch_size: int, *, seed: int, epoch: int, rank: int = 0, world: int = 1
                  ) -> Iterator[Tensor]:
    """Shuffled batches of positions; the order depends on seed and epoch only.

    With several processes each takes its own slice of every global batch; all get equally many steps.
    """
    order = torch.randperm(count, generator=torch.Generator().manual_seed(derived_seed("order", seed, epoch)))
    step = batch_size * world
    usable = count if world == 1 else count - count % world
    for start in range(0, usable, step):
        mine = order[start:min(start + step, usable)][rank::world]
        if len(mine):
            yield mine


def shard_batches(count: int, batch_size: int, rank: int, world: int) -> tuple[Tensor, ...]:
    """Batches of this process's positions, in order; none if there are more processes than positions."""
    mine = shard(count, rank, world)
    return tuple(mine.split(batch_size)) if len(mine) else ()
