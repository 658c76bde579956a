"""From a command to a finished run: source, split, task, loop, exported checkpoint.

Finished models go to a store: a folder with one checkpoint folder each, where a classifier finds the
encoder it stands on as its neighbour.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from dermdemo.config import Arm, FinetuneConfig, PretrainConfig, RunConfig, SupervisedConfig
from dermdemo.data.readable import prepare
from dermdemo.data.sources import LesionTable, load_source
from dermdemo.data.splits import Split
from dermdemo.errors import CheckpointError, ConfigError
from dermdemo.models.card import data_licence, write_card
from dermdemo.models.checkpoint import (
    CheckpointMeta,
    Kind,
    Parts,
    classifier_parts,
    encoder_parts,
    load_meta,
    save_checkpoint,
    vae_parts,
)
from dermdemo.models.encoder import STAGES, Encoder
from dermdemo.models.weights import Origin, encoder_from
from dermdemo.training.finetune import FinetuneTask
from dermdemo.training.loop import RunState, fit, hardware, make_fabric, open_run, versions
from dermdemo.training.pretrain import PretrainTask
from dermdemo.training.supervised import SupervisedTask
from dermdemo.types import InputSpec


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """Where a run reads and writes.

    Attributes:
        source: any source of `data.sources`.
        out: run folder.
        store: folder of finished checkpoints; the new one is called `name` (by default after `out`).
        finish: train no further; export what a stopped run has reached.
    """

    source: str
    out: Path
    store: Path
    name: str | None = None
    resume: bool = False
    finish: bool = False
    split_seed: int = 0

    @property
    def folder(self) -> Path:
        return self.store / (self.name or self.out.name)


def _begin(request: RunRequest, config: RunConfig, fabric: Fabric, stage: str, extra: dict[str, Any]) -> None:
    if fabric.is_global_zero:
        settings = {"source": request.source, "split_seed": request.split_seed, "name": request.folder.name, **extra}
        open_run(request.out, config, stage=stage, resume=request.resume or request.finish, extra=settings)
    fabric.barrier()


def done(config: RunConfig, state: RunState) -> str:
    """The part of the schedule that was really trained, such as ``64x15,128x1``."""
    sizes = [config.phase_of(epoch).size for epoch in range(1, state.epoch + 1)]
    return ",".join(f"{size}x{sizes.count(size)}" for size in sorted(set(sizes)))


def _common(request: RunRequest, config: RunConfig, table: LesionTable, state: RunState, fabric: Fabric,
            split: Split | None) -> dict[str, Any]:
    """Metadata that every exported checkpoint carries."""
    last = state.history[-1]
    data = {"name": table.name, "hash": table.data_hash(), "images": len(table),
            "groups": int(table.frame["group"].nunique()), "split_seed": request.split_seed}
    return {
        "name": request.folder.name, "input": InputSpec(size=config.phase_of(state.epoch).size),
        "licence": data_licence(table.name),
        "config": config.to_dict(), "seed": config.seed, "data": data, "versions": versions(),
        "split_hash": split.hash if split else None,
        "spent": {"epochs": state.epoch, "schedule": done(config, state), "hours": round(state.seconds / 3600, 3),
                  "hardware": hardware(fabric.device)},
        "metrics": {"training": {"val": {k: v for k, v in last["val"].items() if not isinstance(v, list)},
                                 "train": {k: v for k, v in last["train"].items() if not isinstance(v, list)},
                                 "best_epoch": state.best_epoch}},
    }


def _export(request: RunRequest, meta: CheckpointMeta, parts: Parts) -> None:
    meta = save_checkpoint(request.folder, meta, parts)
    write_card(request.folder, meta)


def run_pretrain(request: RunRequest, config: PretrainConfig) -> Path:
    """Stage I, from a source to an exported VAE (or autoencoder). Returns the checkpoint folder."""
    fabric = make_fabric(config)
    fabric.launch()
    table, split = prepare(request.source, split_seed=request.split_seed)
    _begin(request, config, fabric, "pretrain", {})
    if fabric.is_global_zero:
        split.save(request.out / "split.csv", table)
    task = PretrainTask(config, table, split, fabric)
    state = fit(task, config, request.out, fabric=fabric, resume=request.resume, finish=request.finish)
    task.module.size = config.phase_of(state.epoch).size
    if fabric.is_global_zero:
        kind: Kind = "ae" if config.ae else "vae"
        words = "a plain autoencoder" if config.ae else "a VAE"
        origin = (f"trained from scratch as {words} on {len(task.train_rows)} unlabelled images of {table.name} "
                  f"({done(config, state)} px x epochs)")
        meta = CheckpointMeta(kind=kind, encoder=config.encoder, latent=config.latent, origin=f"{kind}:{table.name}",
                              origin_text=origin, **_common(request, config, table, state, fabric, split))
        _export(request, meta, vae_parts(task.module))
    fabric.barrier()
    return request.folder


def run_supervised(request: RunRequest, config: SupervisedConfig) -> Path:
    """Supervised pretraining, from a source to an exported encoder. Returns the checkpoint folder."""
    fabric = make_fabric(config)
    fabric.launch()
    table = load_source(request.source)
    _begin(request, config, fabric, "pretrain-supervised", {})
    task = SupervisedTask(config, table, fabric)
    state = fit(task, config, request.out, fabric=fabric, resume=request.resume, finish=request.finish)
    if fabric.is_global_zero:
        origin = (f"supervised stand-in: trained by this package on {len(task.train_rows)} images in "
                  f"{len(table.classes)} classes of {table.name} ({done(config, state)} px x epochs); "
                  "not ImageNet-1k weights")
        meta = CheckpointMeta(kind="encoder", encoder=config.encoder, origin=f"supervised:{table.name}",
                              origin_text=origin, **_common(request, config, table, state, fabric, None))
        _export(request, meta, encoder_parts(task.module.encoder))
    fabric.barrier()
    return request.folder


def arm_encoder(arm: Arm, weights: str | None, store: Path, config: FinetuneConfig, encoder: str
                ) -> tuple[Encoder, Origin]:
    """The encoder an arm starts from.

    Raises:
        CheckpointError, ConfigError: the weights are not there, or are not what the arm's name says.
    """
    if arm in ("scratch", "random"):
        if weights not in (None, "random"):
            raise ConfigError(f"The arm '{arm}' starts from random weights: leave --weights out.")
        if arm == "scratch" and config.unfrozen_stages < STAGES:
            raise ConfigError("The arm 'scratch' trains everything: add --unfrozen-stages 4.")
        torch.manual_seed(config.seed)
        return encoder_from("random", encoder, layer_scale=config.layer_scale)
    if arm == "imagenet":
        return encoder_from(weights or "timm", encoder)
    folder = Path(weights) if weights else store / arm
    kind = load_meta(folder).kind
    if kind != arm:
        raise CheckpointError(f"The arm '{arm}' needs a checkpoint of that kind; '{folder}' holds a {kind}.")
    return encoder_from(str(folder), encoder)


def run_train(request: RunRequest, config: FinetuneConfig, *, arm: Arm, weights: str | None, encoder: str) -> Path:
    """Stage II of one arm, from a source to an exported, calibrated classifier."""
    from dermdemo.training.finish import finish_arm

    fabric = make_fabric(config)
    fabric.launch()
    start, origin = arm_encoder(arm, weights, request.store, config, encoder)
    table, split = prepare(request.source, split_seed=request.split_seed)
    _begin(request, config, fabric, "train", {"arm": arm, "weights": weights, "origin": origin.text,
                                             "classes": list(table.classes)})
    if fabric.is_global_zero:
        split.save(request.out / "split.csv", table)
    task = FinetuneTask(config, table, split, fabric, start)
    state = fit(task, config, request.out, fabric=fabric, resume=request.resume,
                early_stopping=config.early_stopping, finish=request.finish)
    if fabric.is_global_zero:
        if config.early_stopping:
            best = torch.load(request.out / "best.pt", map_location="cpu", weights_only=True)
            task.module.load_state_dict(best["model"])
        base = origin.base if origin.base and origin.base.parent.resolve() == request.store.resolve() else None
        parts, borrowed = classifier_parts(task.module, base)
        meta = CheckpointMeta(kind="classifier", encoder=encoder, arm=arm, classes=table.classes,
                              hidden=config.hidden, unfrozen_stages=config.unfrozen_stages, head_trained=True,
                              base=borrowed,
                              origin=origin.slug, origin_text=origin.text,
                              **_common(request, config, table, state, fabric, split))
        _export(request, meta, parts)
        finish_arm(request.folder, request.out, table, split, device=config.device)
    fabric.barrier()
    return request.folder
