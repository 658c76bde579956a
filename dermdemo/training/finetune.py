"""Stage II: train the head and the last stages on labels, with focal loss, for a fixed number of epochs.

Whatever lies below the first trained stage is computed once per augmentation view and kept in fp16; views belong
to the training images, whatever the seed, which decides on initial head, order and choice of view. With all stages
trained there is nothing to keep, and every step draws a fresh view.
`train` figures are measured in evaluation mode on un-augmented training images, so that the gaps
between train and validation compare like with like.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from lightning_fabric import Fabric
from torch import Tensor

from dermdemo.config import FinetuneConfig
from dermdemo.data.loader import LESION_VIEWS, PixelStore, shard_batches, to_float
from dermdemo.data.sources import LesionTable
from dermdemo.data.splits import Split, label_subset
from dermdemo.errors import DataError
from dermdemo.evaluation.constant import ConstantAnswer, constant_answer
from dermdemo.evaluation.image_scores import ImageLosses, write_epoch, write_images
from dermdemo.models.classifier import Classifier
from dermdemo.models.encoder import STAGES, Encoder
from dermdemo.runtime import generator
from dermdemo.training.losses import class_alpha, focal_loss
from dermdemo.training.pixel_task import PixelTask
from dermdemo.training.sharing import Extras, frozen_hash
from dermdemo.training.telling import Tell, untold
from dermdemo.types import InputSpec

EVAL_BATCH = 256


class FinetuneTask(PixelTask):
    """What the loop needs to know of Stage II."""

    stage = "train"
    forward_methods: tuple[str, ...] = ("forward_features",)
    config: FinetuneConfig
    module: Classifier
    split: Split

    def __init__(self, config: FinetuneConfig, table: LesionTable, split: Split, fabric: Fabric, encoder: Encoder,
                 extras: Extras | None = None) -> None:
        self.config, self.table, self.split, self.fabric = config, table, split, fabric
        self.extras = extras or Extras()
        self.measured: dict[str, ImageLosses] = {}
        labels = torch.tensor(table.labels())
        labelled = [r for r in split.rows("train") if labels[r] >= 0]
        self.train_rows = label_subset(table, labelled, config.label_fraction, seed=config.seed)
        self.val_rows = [r for r in split.rows("val") if labels[r] >= 0][:config.val_limit]
        if not self.train_rows or not self.val_rows:
            raise DataError(f"'{table.name}' has no labelled images in train or in val: Stage II needs both.")
        self.labels = labels
        torch.manual_seed(config.seed)
        self.module = Classifier(encoder, len(table.classes), hidden=config.hidden, dropout=config.dropout,
                                 unfrozen=config.unfrozen_stages)
        self.alpha = class_alpha(labels[self.train_rows], len(table.classes), config.alpha)

    # -- set-up
    def parameter_groups(self) -> list[dict[str, Any]]:
        return self.module.parameter_groups(lr=self.config.lr, stage_lr=self.config.stage_lr,
                                            decay=self.config.lr_decay, weight_decay=self.config.weight_decay)

    def data_summary(self) -> dict[str, Any]:
        return super().data_summary() | {"classes": list(self.table.classes)}

    @property
    def caches(self) -> bool:
        """True if some of the network is frozen, so that its output can be kept."""
        return self.config.unfrozen_stages < STAGES

    def start_phase(self, size: int, tell: Tell = untold) -> None:
        """Decode, and run the frozen part once over every view, the plain training images and val."""
        spec = InputSpec(size=size)
        self.module.eval()
        self.store = self._pixels(self.train_rows, spec)
        if self.caches:
            self.views = self._frozen_output(self.config.views, self.train_rows, spec,
                                             lambda: self._augmented_features(tell))
        order = torch.randperm(len(self.train_rows), generator=generator("train-eval", 0))
        measured = sorted(order[:self.config.train_eval_limit].tolist())
        plain = [self.train_rows[k] for k in measured]
        self.plain, self.val = self._plain_features(plain, spec), self._plain_features(self.val_rows, spec)
        if self._scores is not None:
            groups = self.table.frame["group"].to_numpy(str)
            write_images(self._scores, {name: (self.labels[rows].numpy(), groups[rows])
                                        for name, rows in (("train", plain), ("val", self.val_rows))})

    @property
    def _scores(self) -> Path | None:
        """Where the scores of every image go, if they are asked for and this process sees all images."""
        return self.extras.scores if self.fabric.world_size == 1 else None

    def _pixels(self, rows: list[int], spec: InputSpec) -> PixelStore:
        shared = self.extras.shared
        return shared.pixels(rows, spec) if shared else PixelStore(self.table, rows, spec)

    def _plain_features(self, rows: list[int], spec: InputSpec) -> tuple[Tensor, Tensor]:
        """Un-augmented output of the frozen part, and labels."""
        features = self._frozen_output(0, rows, spec, lambda: self._features(self._pixels(rows, spec)))
        return features, self.labels[rows]

    def _frozen_output(self, views: int, rows: list[int], spec: InputSpec, make: Callable[[], Tensor]) -> Tensor:
        """What `make` returns of so many views (0: of plain images), from another run of this trunk if it is there.

        Of the seed it knows only by rows and weights.
        """
        shared = self.extras.shared
        if shared is None:
            return make()
        where = f"{self.fabric.device.type}/{self.config.precision}"
        return shared.features((views, tuple(rows), spec, frozen_hash(self.module), where), make)

    def _augmented_features(self, tell: Tell) -> Tensor:
        """Output of the frozen part for every view of every training image: views x images x ..., fp16."""
        first = self._features(self.store, 0)
        views = torch.empty((self.config.views, *first.shape), dtype=first.dtype)
        views[0] = first
        tell(1, self.config.views)
        for view in range(1, self.config.views):
            views[view] = self._features(self.store, view)
            tell(view + 1, self.config.views)
        return views

    @torch.no_grad()
    def _features(self, store: PixelStore, view: int | None = None) -> Tensor:
        """Output of the frozen part for a whole store, fp16 on the CPU; `view` None is un-augmented."""
        out = []
        for batch in torch.arange(len(store)).split(EVAL_BATCH):
            x = to_float(store.batch(batch).to(self.fabric.device))
            if view is not None:
                x = LESION_VIEWS(x, generator("view", 0, view, int(batch[0])))  # whatever the seed
            with self.fabric.autocast():
                out.append(self.module.frozen_part(x.contiguous(memory_format=torch.channels_last)).half().cpu())
        return torch.cat(out)

    # -- one step
    def training_loss(self, model: Any, batch: Tensor, *, epoch: int, step: int, progress: float
                      ) -> tuple[Tensor, dict[str, Tensor]]:
        rank, world = self.fabric.global_rank, self.fabric.world_size
        g = generator("step", self.config.seed, epoch, step)
        if self.caches:
            choice = torch.randint(self.config.views, (len(batch) * world,), generator=g)[rank::world]
            features = self.views[choice, batch].to(self.fabric.device).float()
        else:
            x = to_float(self.store.batch(batch).to(self.fabric.device))
            features = LESION_VIEWS(x, g, rank=rank, world=world)
        target = self.labels[[self.train_rows[int(k)] for k in batch]].to(features.device)
        if features.ndim == 4:
            features = features.contiguous(memory_format=torch.channels_last)
        with self.fabric.autocast():  # in a single process Fabric does so for `forward` alone
            logits = model.forward_features(features)
        loss = focal_loss(logits, target, gamma=self.config.gamma, alpha=self.alpha)
        return loss, {"augmented_loss": loss}

    # -- measuring
    def train_metrics(self, model: Any, sums: Mapping[str, Tensor], count: int, epoch: int) -> dict[str, Any]:
        """Evaluation-mode figures on un-augmented training images, and the augmented training loss."""
        return self._measure(model, "train", *self.plain) | super().train_metrics(model, sums, count, epoch)

    def validate(self, model: Any, epoch: int) -> dict[str, Any]:
        """Figures on val; the loop measures train just before, so both are written down here if asked for."""
        record = self._measure(model, "val", *self.val)
        if self._scores is not None:
            write_epoch(self._scores, epoch, self.measured)
        return record

    @torch.no_grad()
    def _measure(self, model: Any, split: str, features: Tensor, labels: Tensor) -> dict[str, Any]:
        """Focal loss, NLL, accuracy, balanced accuracy over classes present; sharded over processes."""
        classes = self.module.classes
        sums = torch.zeros(2, dtype=torch.float64)
        table = torch.zeros((2, classes), dtype=torch.float64)  # right, all
        alpha = self.alpha if self.alpha is not None else torch.ones(classes)
        losses, hits = [], []
        for part in shard_batches(len(labels), EVAL_BATCH, self.fabric.global_rank, self.fabric.world_size):
            with self.fabric.autocast():
                logits = model.forward_features(features[part].to(self.fabric.device).float()).cpu()
            y = labels[part]
            log_p = F.log_softmax(logits, 1).gather(1, y[:, None]).squeeze(1)
            focal = -((1 - log_p.exp()).clamp_min(0) ** self.config.gamma) * log_p * alpha[y]
            losses.append(focal)
            hits.append(y == logits.argmax(1))
            sums += torch.stack([focal.sum(), -log_p.sum()]).double()
            table += torch.stack([torch.bincount(y[hits[-1]], minlength=classes),
                                  torch.bincount(y, minlength=classes)]).double()
        if self._scores is not None:
            self.measured[split] = ImageLosses(np.concatenate(losses), np.concatenate(hits))
        sums = self.fabric.all_reduce(sums, reduce_op="sum").cpu()
        right, total = self.fabric.all_reduce(table, reduce_op="sum").cpu()
        present = total > 0
        n = float(total.sum())
        return {"loss": float(sums[0]) / n, "nll": float(sums[1]) / n, "accuracy": float(right.sum()) / n,
                "balanced_accuracy": float((right[present] / total[present]).mean()), "n": int(n)}

    def warnings(self, history: list[dict[str, Any]]) -> list[tuple[str, str]]:
        return classifier_warnings(history, constant=constant_answer(self.labels[self.val_rows].cpu().numpy()))


def classifier_warnings(history: list[dict[str, Any]], *, constant: ConstantAnswer) -> list[tuple[str, str]]:
    """Names what a Stage II run shows so far: ``overfitting``, ``underfitting``, ``constant-predictor``."""
    if len(history) < 6:
        return []
    found = []
    losses = [h["val"]["loss"] for h in history]
    train = [h["train"]["loss"] for h in history]
    if losses[-1] > 1.1 * min(losses) and train[-1] < 0.9 * train[losses.index(min(losses))]:
        found.append(("overfitting", "Training loss keeps falling while validation loss is more than 10 % above its "
                      "best: the model overfits."))
    if min(losses[1:]) > 0.95 * losses[0]:
        found.append(("underfitting", "Validation loss has hardly fallen since the start: the model underfits."))
    last = history[-1]["val"]
    if constant.matches(last["accuracy"], last["balanced_accuracy"]):
        found.append(("constant-predictor", f"Validation accuracy equals the share of the largest class "
                      f"({constant.accuracy:.3f}): the model predicts little else."))
    return found
