"""Contrastive pretraining without labels: SimCLR on the images that Stage I sees.

Train and val lesions only: calib and test never enter. The loss (NT-Xent, nats) pulls two views of an image together
and pushes them from all other images of the batch, over all processes; the encoder's pooled features are kept, and
the projection head that the loss is computed behind is thrown away.

Unusual here:
- the projection head has layer norm where SimCLR has batch norm, as every other layer of a ConvNeXt: nothing leaks
  between the images of a batch, and several processes compute what one does;
- the loss is the library's `SupConLoss`: with one positive per view it is NT-Xent, and it takes memory of N^2, while
  the library's `NTXentLoss` takes N^3 (10 GB for 512 images);
- a last batch that is not full would be an easier task, and waits for another epoch.

Source: Chen et al. 2020, A Simple Framework for Contrastive Learning of Visual Representations (arXiv 2002.05709).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from dermdemo.config import ContrastiveConfig
from dermdemo.data.contrastive_views import CONTRASTIVE_VIEWS
from dermdemo.data.loader import shard_batches, to_float
from dermdemo.data.sources import LesionTable
from dermdemo.data.splits import Split
from dermdemo.errors import DataError
from dermdemo.models.encoder import Encoder
from dermdemo.runtime import generator
from dermdemo.training.embeddings import pair_figures, spread_figures
from dermdemo.training.pixel_task import PixelTask

COLLAPSED = 0.05  # share of the dimensions that embeddings could fill
ONE_DIRECTION = 1.5  # effective rank, for few images or dimensions


def nt_xent(temperature: float) -> Callable[[Tensor, Tensor], Tensor]:
    """NT-Xent of two views (N, D) of the same N images, in nats, mean over the 2N embeddings.

    -log of the share that the own other view has of exp(cosine / temperature) over all 2N - 1 others; log(2N - 1)
    where nothing is told apart. Source: Chen et al. 2020, equation 1.
    """
    from pytorch_metric_learning.losses import SelfSupervisedLoss, SupConLoss
    from pytorch_metric_learning.reducers import MeanReducer

    return cast(Callable[[Tensor, Tensor], Tensor],
                SelfSupervisedLoss(SupConLoss(temperature=temperature, reducer=MeanReducer())))


class ContrastiveNet(nn.Module):
    """Encoder and projection head: images (N, 3, H, W) in [0, 1] -> embeddings (N, D), not normalised."""

    def __init__(self, config: ContrastiveConfig) -> None:
        super().__init__()
        self.encoder = Encoder(config.encoder, layer_scale=config.layer_scale)
        hidden = config.projection_hidden
        self.projection = nn.Sequential(nn.Linear(self.encoder.width, hidden), nn.LayerNorm(hidden), nn.GELU(),
                                        nn.Linear(hidden, config.projection, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.projection(self.encoder(x)).float()


class ContrastiveTask(PixelTask):
    """What the loop needs to know of contrastive pretraining."""

    stage = "pretrain-ssl"
    config: ContrastiveConfig
    module: ContrastiveNet

    def __init__(self, config: ContrastiveConfig, table: LesionTable, split: Split, fabric: Fabric) -> None:
        self.config, self.table, self.split, self.fabric = config, table, split, fabric
        torch.manual_seed(config.seed)
        self.module = ContrastiveNet(config)
        self.train_rows = split.rows("train")
        found = split.rows("val")[:config.val_limit]
        order = torch.randperm(len(found), generator=generator("pairs", 0))  # images of one lesion are neighbours
        self.val_rows = [found[int(k)] for k in order]
        if min(len(self.val_rows), len(self.train_rows) // fabric.world_size) < 2:
            raise DataError(f"'{table.name}' has too few images in train or in val: contrastive pretraining tells "
                            "images apart and needs at least two of each, in every process.")
        self.loss = nt_xent(config.temperature)

    # -- one step
    def steps_per_epoch(self) -> int:
        """Full batches; one that is not full if there is no other."""
        return max(1, len(self.train_rows) // self._together)

    def batches(self, epoch: int) -> Iterator[Tensor]:
        return itertools.islice(super().batches(epoch), self.steps_per_epoch())

    @property
    def _together(self) -> int:
        """Images of a batch over all processes."""
        return self.config.batch_size * self.fabric.world_size

    def training_loss(self, model: Any, batch: Tensor, *, epoch: int, step: int, progress: float
                      ) -> tuple[Tensor, dict[str, Tensor]]:
        rank, world = self.fabric.global_rank, self.fabric.world_size
        g = generator("view", self.config.seed, epoch, step, 0)
        x = to_float(self.train_store.batch(batch).to(self.fabric.device))
        views = torch.cat([CONTRASTIVE_VIEWS(x, g, rank=rank, world=world) for _ in range(2)])
        first, second = map(self._gathered, model(views.contiguous(memory_format=torch.channels_last)).chunk(2))
        loss = self.loss(first, second)
        with torch.no_grad():
            logs = pair_figures(first, second) | spread_figures(torch.cat([first, second]))
        return loss, {"loss": loss, **logs}

    def _gathered(self, z: Tensor) -> Tensor:
        """Embeddings of all processes, with their gradient: its mean over processes is that of the global loss."""
        return self.fabric.all_gather(z, sync_grads=True).reshape(-1, z.shape[1])

    # -- measuring
    @torch.no_grad()
    def validate(self, model: Any, epoch: int) -> dict[str, Any]:
        """Figures of two views that are the same in every epoch and run.

        Pairs are told apart in groups of at least a training batch, where val has as many; ``group_size`` is their
        mean size. ``std`` and ``effective_rank`` are of all of val at once.
        """
        first, second = self._val_embeddings(model)
        groups = max(1, len(first) // self._together)
        sums: dict[str, float] = {}
        for a, b in zip(first.tensor_split(groups), second.tensor_split(groups), strict=True):
            for name, value in ({"loss": self.loss(a, b)} | pair_figures(a, b)).items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(a)
        figures = {name: value / len(first) for name, value in sums.items()}
        spread = spread_figures(torch.cat([first, second]))
        return figures | {name: float(v) for name, v in spread.items()} | {"group_size": len(first) / groups}

    def _val_embeddings(self, model: Any) -> Tensor:
        """(2, N, D): both views of all of val, from all processes."""
        n = len(self.val_rows)
        g = generator("val-view", 0)
        draws = [CONTRASTIVE_VIEWS.draw(n, g) for _ in range(2)]
        z = torch.zeros((2, n, self.config.projection), device=self.fabric.device)
        for batch in shard_batches(n, self.config.batch_size, self.fabric.global_rank, self.fabric.world_size):
            x = to_float(self.val_store.batch(batch).to(self.fabric.device))
            for view, draw in enumerate(draws):
                seen = CONTRASTIVE_VIEWS.apply(x, draw[batch])
                z[view, batch.to(z.device)] = model(seen.contiguous(memory_format=torch.channels_last))
        return self.fabric.all_reduce(z, reduce_op="sum")

    def warnings(self, history: list[dict[str, Any]]) -> list[tuple[str, str]]:
        return collapse_warnings(history, most=min(self.config.projection, len(self.val_rows)),
                                 after=min(self.config.warmup_epochs, self.config.epochs / 2))


def collapse_warnings(history: list[dict[str, Any]], *, most: int, after: float) -> list[tuple[str, str]]:
    """Names a collapse of the embeddings in a run so far: ``dimensional-collapse``.

    Args:
        most: dimensions that the validation embeddings could fill.
        after: epochs of warm-up, in which embeddings are still as the initial weights left them.
    """
    last = history[-1]
    rank, spread = last["val"]["effective_rank"], last["val"]["std"]
    if last["epoch"] <= after or rank >= max(COLLAPSED * most, ONE_DIRECTION):
        return []
    return [("dimensional-collapse", f"The embeddings fill {rank:.1f} of {most} dimensions (effective rank; standard "
             f"deviation {spread:.3g}): images are told apart by few directions, or not at all. Try a higher "
             "temperature, a larger batch, or a lower learning rate.")]
