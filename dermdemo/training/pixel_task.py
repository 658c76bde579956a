"""What the tasks of all stages have in common: decoded pixels, the order of batches, AdamW groups."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning_fabric import Fabric
from torch import Tensor, nn

from dermdemo.config import RunConfig
from dermdemo.data.loader import PixelStore, epoch_batches
from dermdemo.data.sources import LesionTable
from dermdemo.data.splits import Split
from dermdemo.training.telling import Tell, untold
from dermdemo.types import InputSpec


class PixelTask(ABC):
    """A task of the loop over rows of one table; a stage says what it minimises and measures.

    Attributes:
        train_rows, val_rows: rows of the table; position k of a store is row k of these.
        split: None where the table has no split by lesion.
    """

    stage: str
    forward_methods: tuple[str, ...] = ()
    selects_on: str = "loss"
    config: RunConfig
    table: LesionTable
    fabric: Fabric
    module: nn.Module
    train_rows: list[int]
    val_rows: list[int]
    split: Split | None = None

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Weight decay on matrices only."""
        wide = [p for p in self.module.parameters() if p.ndim > 1]
        narrow = [p for p in self.module.parameters() if p.ndim <= 1]
        return [{"params": wide, "lr": self.config.lr, "weight_decay": self.config.weight_decay},
                {"params": narrow, "lr": self.config.lr, "weight_decay": 0.0}]

    def data_summary(self) -> dict[str, Any]:
        split = {"split_hash": self.split.hash} if self.split else {}
        return {"name": self.table.name, "hash": self.table.data_hash(), **split,
                "train_images": len(self.train_rows), "val_images": len(self.val_rows)}

    def start_phase(self, size: int, tell: Tell = untold) -> None:
        """Decode the images at this size; `tell` hears of views that a frozen part has been given."""
        spec = InputSpec(size=size)
        self.train_store = PixelStore(self.table, self.train_rows, spec)
        self.val_store = PixelStore(self.table, self.val_rows, spec)

    def steps_per_epoch(self) -> int:
        return math.ceil(len(self.train_rows) / (self.config.batch_size * self.fabric.world_size))

    def batches(self, epoch: int) -> Iterator[Tensor]:
        return epoch_batches(len(self.train_rows), self.config.batch_size, seed=self.config.seed, epoch=epoch,
                             rank=self.fabric.global_rank, world=self.fabric.world_size)

    def beta(self, progress: float) -> float | None:
        return None

    @abstractmethod
    def training_loss(self, model: Any, batch: Tensor, *, epoch: int, step: int, progress: float
                      ) -> tuple[Tensor, dict[str, Tensor]]:
        """What a step minimises (scalar), and what is averaged over the epoch."""

    @abstractmethod
    def validate(self, model: Any, epoch: int) -> dict[str, Any]:
        """Figures on val."""

    def train_metrics(self, model: Any, sums: Mapping[str, Tensor], count: int, epoch: int) -> dict[str, Any]:
        """Means over the epoch's augmented batches (training mode)."""
        return {k: float(v) / count for k, v in sums.items()}

    def after_epoch(self, model: Any, epoch: int, folder: Path, record: Mapping[str, Any]) -> None:  # noqa: B027
        """Draw what is to be seen of the model; by default nothing, the curves are in the events."""

    def warnings(self, history: list[dict[str, Any]]) -> list[tuple[str, str]]:
        return []
