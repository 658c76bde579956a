"""What the runs of one study share: decoded pixels, and what a frozen part makes of images and of their views.

Unusual here: a result is found under a key that names everything it depends on (rows, views, size, frozen weights,
device, precision), so a run gets exactly what it would have computed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from dermdemo.data.loader import PixelStore
from dermdemo.data.sources import LesionTable
from dermdemo.models.classifier import Classifier
from dermdemo.types import InputSpec

KEPT_FEATURES = 3  # the views, the un-augmented training images and val of one trunk


class Shared:
    """Keeps pixels of one table and the latest features, for several runs in one process."""

    def __init__(self, table: LesionTable) -> None:
        self.table = table
        self._pixels: dict[Hashable, PixelStore] = {}
        self._features: dict[Hashable, Tensor] = {}

    def pixels(self, rows: Sequence[int], spec: InputSpec) -> PixelStore:
        """Decoded images of these rows; those of another size are let go."""
        key = (tuple(rows), spec)
        if key not in self._pixels:
            self._pixels = {k: store for k, store in self._pixels.items() if store.spec == spec}
            self._pixels[key] = PixelStore(self.table, rows, spec)
        return self._pixels[key]

    def features(self, key: Hashable, make: Callable[[], Tensor]) -> Tensor:
        """What is kept under `key`, else what `make` returns; the oldest beyond `KEPT_FEATURES` go."""
        if key not in self._features:
            for old in list(self._features)[:max(0, len(self._features) - KEPT_FEATURES + 1)]:
                del self._features[old]
            self._features[key] = make()
        return self._features[key]


@dataclass(frozen=True, kw_only=True)
class Extras:
    """What a study adds to a Stage II run; the run computes the same without it.

    Attributes:
        shared: kept between runs of one process.
        scores: folder for the loss of every measured image after every epoch (single process only).
    """

    shared: Shared | None = None
    scores: Path | None = None


@torch.no_grad()
def frozen_hash(module: Classifier) -> str:
    """SHA-256 over the names and values of the frozen parameters of the encoder."""
    digest = hashlib.sha256(f"{module.encoder.name}/{module.unfrozen}".encode())
    for name, value in module.encoder.named_parameters():
        if not value.requires_grad:
            digest.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
