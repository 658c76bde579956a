"""The training loop against a bare loop of forward, backward and step on resident data."""

from __future__ import annotations

import copy
import statistics
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

from benchmarks.timing import Ratio
from dermdemo.config import DeviceName, FinetuneConfig, PretrainConfig, RunConfig
from dermdemo.data.loader import epoch_batches, to_float
from dermdemo.data.readable import prepare
from dermdemo.data.synthetic import write_synthetic
from dermdemo.models.encoder import Encoder
from dermdemo.training.finetune import FinetuneTask
from dermdemo.training.loop import make_fabric, make_optimizer, train_epoch
from dermdemo.training.losses import focal_loss, free_bits_kl, gaussian_kl, sigma_nll
from dermdemo.training.pretrain import PretrainTask

AIM = 0.95
LESIONS = 280
STAGE_II_SIZE = 128
Step = Callable[[nn.Module, Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Speeds:
    """Images per second of each round, of our loop and of the bare one."""

    name: str
    ours: tuple[float, ...]
    bare: tuple[float, ...]

    def ratio(self) -> Ratio:
        rounds = [a / b for a, b in zip(self.ours, self.bare, strict=True)]
        return Ratio(name=f"{self.name}: images/s of our loop / of a bare loop", value=statistics.median(rounds),
                     low=min(rounds), high=max(rounds), aim=AIM, bound="at least")


def measure_training(*, encoder: str, device: DeviceName, repeats: int) -> list[Speeds]:
    """Stage I at 64 px and Stage II with its last stage trained, on synthetic lesions in memory."""
    with tempfile.TemporaryDirectory() as folder:
        lesions = str(write_synthetic(Path(folder), n_lesions=LESIONS, seed=0))
        return [_stage_one(lesions, encoder, device, repeats), _stage_two(lesions, encoder, device, repeats)]


def _stage_one(lesions: str, encoder: str, device: DeviceName, repeats: int) -> Speeds:
    config = PretrainConfig(encoder=encoder, schedule=f"64x{repeats + 1}", batch_size=64, layer_scale=0.1,
                            device=device, val_limit=8, grid_every=10**6)
    fabric = make_fabric(config)
    table, split = prepare(lesions, split_seed=0)
    task = PretrainTask(config, table, split, fabric)
    task.start_phase(config.size)
    x = to_float(task.train_store.batch(torch.arange(len(task.train_store))))
    x = x.to(fabric.device).contiguous(memory_format=torch.channels_last)
    noise = torch.randn((len(x), config.latent), device=fabric.device)

    def step(model: nn.Module, batch: Tensor) -> Tensor:
        x_hat, q = model(x[batch], noise[batch])
        kl = free_bits_kl(gaussian_kl(q.mu, q.logvar), 0.0)
        return (sigma_nll((x_hat - x[batch]).square().mean(), task.pixels) + kl) / task.pixels

    return _race("Stage I, 64 px", task, config, fabric, step, repeats)


def _stage_two(lesions: str, encoder: str, device: DeviceName, repeats: int) -> Speeds:
    config = FinetuneConfig(schedule=f"{STAGE_II_SIZE}x{repeats + 1}", batch_size=64, views=2, device=device,
                            val_limit=8, train_eval_limit=8, unfrozen_stages=1)
    fabric = make_fabric(config)
    table, split = prepare(lesions, split_seed=0)
    torch.manual_seed(0)
    task = FinetuneTask(config, table, split, fabric, Encoder(encoder, layer_scale=0.1).to(fabric.device))
    task.module.to(fabric.device)
    task.start_phase(config.size)
    features = task.views[0].to(fabric.device).float().contiguous(memory_format=torch.channels_last)
    targets = task.labels[task.train_rows].to(fabric.device)

    def step(model: nn.Module, batch: Tensor) -> Tensor:
        logits = model.forward_features(features[batch])  # type: ignore[operator]
        return focal_loss(logits, targets[batch], gamma=config.gamma, alpha=task.alpha)

    return _race(f"Stage II, last stage, {STAGE_II_SIZE} px", task, config, fabric, step, repeats)


def _race(name: str, task: Any, config: RunConfig, fabric: Fabric, step: Step, repeats: int) -> Speeds:
    """Epochs of both loops in turns, the first of each not counted; only training steps are timed."""
    twin = copy.deepcopy(task.module).to(fabric.device, memory_format=torch.channels_last)
    bare_optimizer = torch.optim.AdamW(_groups(twin, config), lr=config.lr, betas=(0.9, 0.95), fused=True)
    groups = task.parameter_groups()
    for group in groups:
        group.setdefault("base_lr", group["lr"])
    module = task.module.to(memory_format=torch.channels_last)
    model, optimizer = fabric.setup(module, make_optimizer(groups))
    for method in task.forward_methods:
        model.mark_forward_method(method)
    ours, bare = [], []
    for epoch in range(1, repeats + 2):
        speeds = {
            True: lambda epoch=epoch: train_epoch(task, model, optimizer, config, fabric, epoch,
                                                   config.size).images_per_second,
            False: lambda epoch=epoch: _bare_epoch(twin, bare_optimizer, config, fabric, step, epoch,
                                                   len(task.train_rows)),
        }
        found = {first: speeds[first]() for first in (epoch % 2 == 0, epoch % 2 == 1)}
        ours.append(found[True])
        bare.append(found[False])
    return Speeds(name=name, ours=tuple(ours[1:]), bare=tuple(bare[1:]))


def _groups(module: nn.Module, config: RunConfig) -> list[dict[str, Any]]:
    trained = [p for p in module.parameters() if p.requires_grad]
    return [{"params": [p for p in trained if p.ndim > 1], "weight_decay": config.weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0}]


def _bare_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, config: RunConfig, fabric: Fabric, step: Step,
                epoch: int, count: int) -> float:
    """Images per second of an epoch of forward, backward and step, and of nothing else."""
    model.train()
    batches = list(epoch_batches(count, config.batch_size, seed=0, epoch=epoch))
    start = perf_counter()
    for batch in batches:
        with fabric.autocast():
            loss = step(model, batch.to(fabric.device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    if fabric.device.type == "cuda":
        torch.cuda.synchronize()
    return count / (perf_counter() - start)
