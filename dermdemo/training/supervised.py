"""Supervised pretraining of an encoder on any labelled source.

The honest stand-in for ImageNet-1k weights where those are out of reach: on Tiny-ImageNet it gives an
encoder that has seen natural images and their labels, and it is named for what it is.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor, nn

from dermdemo.config import SupervisedConfig
from dermdemo.data.loader import NATURAL_VIEWS, shard_batches, to_float
from dermdemo.data.sources import LesionTable
from dermdemo.errors import DataError
from dermdemo.models.encoder import Encoder
from dermdemo.runtime import generator
from dermdemo.training.pixel_task import PixelTask


class SupervisedNet(nn.Module):
    """Encoder and one linear layer: images (N, 3, H, W) -> logits (N, K)."""

    def __init__(self, config: SupervisedConfig, classes: int) -> None:
        super().__init__()
        self.encoder = Encoder(config.encoder, layer_scale=config.layer_scale, drop_path=config.drop_path)
        self.fc = nn.Linear(self.encoder.width, classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.encoder(x)).float()


class SupervisedTask(PixelTask):
    """What the loop needs to know of supervised pretraining; the hold-out is a seeded share of images."""

    stage = "pretrain-supervised"
    config: SupervisedConfig
    module: SupervisedNet

    def __init__(self, config: SupervisedConfig, table: LesionTable, fabric: Fabric) -> None:
        if len(table.classes) < 2 or -1 in table.labels():
            raise DataError(f"'{table.name}' needs labels of at least two classes for supervised pretraining.")
        self.config, self.table, self.fabric = config, table, fabric
        torch.manual_seed(config.seed)
        self.module = SupervisedNet(config, len(table.classes))
        self.labels = torch.tensor(table.labels())
        order = torch.randperm(len(table), generator=generator("holdout", 0)).tolist()
        held_out = max(1, round(config.val_fraction * len(table)))
        self.val_rows, self.train_rows = sorted(order[:held_out])[:config.val_limit], sorted(order[held_out:])

    def data_summary(self) -> dict[str, Any]:
        return super().data_summary() | {"classes": len(self.table.classes)}

    def training_loss(self, model: Any, batch: Tensor, *, epoch: int, step: int, progress: float
                      ) -> tuple[Tensor, dict[str, Tensor]]:
        rank, world = self.fabric.global_rank, self.fabric.world_size
        g = generator("view", self.config.seed, epoch, step, 0)
        x = to_float(self.train_store.batch(batch).to(self.fabric.device))
        x = NATURAL_VIEWS(x, g, rank=rank, world=world).contiguous(memory_format=torch.channels_last)
        target = self.labels[[self.train_rows[int(k)] for k in batch]].to(x.device)
        logits = model(x)
        loss = F.cross_entropy(logits, target, label_smoothing=self.config.label_smoothing)
        return loss, {"loss": loss, "accuracy": (logits.argmax(1) == target).float().mean()}

    @torch.no_grad()
    def validate(self, model: Any, epoch: int) -> dict[str, Any]:
        """Cross-entropy without smoothing, top-1 and top-5 accuracy on the hold-out."""
        totals = torch.zeros(4, dtype=torch.float64)
        for batch in shard_batches(len(self.val_rows), 256, self.fabric.global_rank, self.fabric.world_size):
            x = to_float(self.val_store.batch(batch).to(self.fabric.device))
            target = self.labels[[self.val_rows[int(k)] for k in batch]].to(x.device)
            logits = model(x.contiguous(memory_format=torch.channels_last))
            ranked = logits.topk(min(5, logits.shape[1]), dim=1).indices == target[:, None]
            totals += torch.stack([F.cross_entropy(logits, target, reduction="sum"), ranked[:, 0].sum(),
                                   ranked.any(1).sum(), torch.tensor(len(batch), device=x.device)]).double().cpu()
        loss, top1, top5, n = self.fabric.all_reduce(totals, reduce_op="sum").cpu().tolist()
        return {"loss": loss / n, "accuracy": top1 / n, "top5": top5 / n}
