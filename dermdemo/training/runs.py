"""From a command to a finished run: source, split, task, loop, exported checkpoint.

Finished models go to a store: a folder with one checkpoint folder each, where a classifier finds the
encoder it stands on as its neighbour.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from lightning_fabric import Fabric
from torch import nn

from dermdemo.config import Arm, ContrastiveConfig, FinetuneConfig, PretrainConfig, RunConfig, SupervisedConfig
from dermdemo.data.readable import prepare
from dermdemo.data.sources import LesionTable, load_source
from dermdemo.data.splits import Split
from dermdemo.errors import CheckpointError, ConfigError
from dermdemo.evaluation.paper import STAND_IN
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
from dermdemo.training.contrastive import ContrastiveTask
from dermdemo.training.finetune import FinetuneTask
from dermdemo.training.loop import RunState, fit, hardware, make_fabric, open_run, versions
from dermdemo.training.pixel_task import PixelTask
from dermdemo.training.pretrain import PretrainTask
from dermdemo.training.sharing import Extras
from dermdemo.training.supervised import SupervisedTask
from dermdemo.training.warm_start import WarmStart, check_unseen, find_start, join_schedules, load_start
from dermdemo.types import InputSpec


@dataclass(frozen=True, kw_only=True)
class RunRequest:
    """Where a run reads and writes.

    Attributes:
        source: any source of `data.sources`.
        out: run folder.
        store: folder of finished checkpoints; the new one is called `name` (by default after `out`).
        finish: train no further; export what a stopped run has reached.
        init: checkpoint that pretraining starts from; None is from scratch.
    """

    source: str
    out: Path
    store: Path
    name: str | None = None
    resume: bool = False
    finish: bool = False
    split_seed: int = 0
    init: Path | None = None

    @property
    def resumes(self) -> bool:
        """True if the run folder is expected to hold a run already."""
        return self.resume or self.finish

    @property
    def folder(self) -> Path:
        return self.store / (self.name or self.out.name)


def _begin(request: RunRequest, config: RunConfig, fabric: Fabric, stage: str, extra: dict[str, Any]) -> None:
    if fabric.is_global_zero:
        settings = {"source": request.source, "split_seed": request.split_seed, "name": request.folder.name, **extra}
        open_run(request.out, config, stage=stage, resume=request.resumes, extra=settings)
    fabric.barrier()


def done(config: RunConfig, state: RunState) -> str:
    """The part of the schedule that was really trained, such as ``64x15,128x1``."""
    sizes = [config.phase_of(epoch).size for epoch in range(1, state.epoch + 1)]
    return ",".join(f"{size}x{sizes.count(size)}" for size in sorted(set(sizes)))


def _common(request: RunRequest, config: RunConfig, table: LesionTable, state: RunState, fabric: Fabric,
            split: Split | None, start: WarmStart | None = None) -> dict[str, Any]:
    """Metadata that every exported checkpoint carries; what `start` had spent counts."""
    last, licence = state.history[-1], data_licence(table.name)
    spent = {"epochs": state.epoch, "schedule": done(config, state), "hours": round(state.seconds / 3600, 3),
             "hardware": hardware(fabric.device), "finished": datetime.now(UTC).date().isoformat()}
    data = {"name": table.name, "hash": table.data_hash(), "images": len(table),
            "groups": int(table.frame["group"].nunique()), "split_seed": request.split_seed}
    return {
        "name": request.folder.name, "input": InputSpec(size=config.phase_of(state.epoch).size),
        "licence": start.licence_with(licence) if start else licence,
        "config": config.to_dict(), "seed": config.seed, "data": data, "versions": versions(),
        "split_hash": split.hash if split else None,
        "spent": start.spent_with(spent) if start else spent,
        "metrics": {"training": {"val": {k: v for k, v in last["val"].items() if not isinstance(v, list)},
                                 "train": {k: v for k, v in last["train"].items() if not isinstance(v, list)},
                                 "best_epoch": state.best_epoch}},
    }


def _export(request: RunRequest, meta: CheckpointMeta, parts: Parts) -> None:
    meta = save_checkpoint(request.folder, meta, parts)
    write_card(request.folder, meta)


def _origin(how: str, config: RunConfig, state: RunState, start: WarmStart | None) -> str:
    """`how` it was trained, for how long, and what it started from."""
    own = done(config, state)
    if start is None:
        return f"{how} ({own} px x epochs)"
    total = join_schedules(str(start.spent.get("schedule", "")), own)
    return f"{how} ({own} px x epochs), {start.words}; {total} px x epochs in all"


def _started(request: RunRequest, start: WarmStart | None, module: nn.Module) -> None:
    """Put the weights of `start` in place, unless the run has its own already."""
    if start is not None and not (request.resumes and (request.out / "last.pt").exists()):
        load_start(start, module)


C = TypeVar("C", PretrainConfig, ContrastiveConfig)
T = TypeVar("T", bound=PixelTask)


class Pretrained(NamedTuple, Generic[T]):
    """A pretraining run that has come to its end, and what it was made of."""

    task: T
    state: RunState
    fabric: Fabric
    table: LesionTable
    split: Split
    start: WarmStart | None

    def how(self, words: str) -> str:
        """``trained from scratch as a VAE on 5953 unlabelled images of ham10000``."""
        return (f"trained {'' if self.start else 'from scratch '}{words} on {len(self.task.train_rows)} unlabelled "
                f"images of {self.table.name}")


def _without_labels(request: RunRequest, config: C, stage: str,
                    make: Callable[[C, LesionTable, Split, Fabric], T]) -> Pretrained[T]:
    """Train on the images of train, and measure on those of val."""
    fabric = make_fabric(config)
    fabric.launch()
    start = find_start(request.init, request.out, config, resumes=request.resumes)
    table, split = prepare(request.source, split_seed=request.split_seed)
    if start is not None:
        check_unseen(start, table.data_hash(), split.hash)
    _begin(request, config, fabric, stage, {"init": dataclasses.asdict(start) if start else None})
    if fabric.is_global_zero:
        split.save(request.out / "split.csv", table)
    task = make(config, table, split, fabric)
    _started(request, start, task.module)
    state = fit(task, config, request.out, fabric=fabric, resume=request.resume, finish=request.finish)
    return Pretrained(task, state, fabric, table, split, start)


def run_pretrain(request: RunRequest, config: PretrainConfig) -> Path:
    """Stage I, from a source to an exported VAE (or autoencoder). Returns the checkpoint folder."""
    task, state, fabric, table, split, start = run = _without_labels(request, config, "pretrain", PretrainTask)
    task.module.size = config.phase_of(state.epoch).size
    if fabric.is_global_zero:
        kind: Kind = "ae" if config.ae else "vae"
        how = run.how(config.method)
        meta = CheckpointMeta(kind=kind, encoder=config.encoder, latent=config.latent, origin=f"{kind}:{table.name}",
                              origin_text=_origin(how, config, state, start),
                              **_common(request, config, table, state, fabric, split, start))
        _export(request, meta, vae_parts(task.module))
    fabric.barrier()
    return request.folder


def run_contrastive(request: RunRequest, config: ContrastiveConfig) -> Path:
    """SimCLR, from a source to an exported encoder. Returns the checkpoint folder."""
    task, state, fabric, table, split, start = run = _without_labels(request, config, "pretrain-ssl", ContrastiveTask)
    if fabric.is_global_zero:
        how = run.how("by SimCLR (contrastive, no labels)")
        meta = CheckpointMeta(kind="ssl", encoder=config.encoder, origin=f"ssl:{table.name}",
                              origin_text=_origin(how, config, state, start) + "; its projection head is not kept",
                              **_common(request, config, table, state, fabric, split, start))
        _export(request, meta, encoder_parts(task.module.encoder))
    fabric.barrier()
    return request.folder


def run_supervised(request: RunRequest, config: SupervisedConfig) -> Path:
    """Supervised pretraining, from a source to an exported encoder. Returns the checkpoint folder."""
    fabric = make_fabric(config)
    fabric.launch()
    start = find_start(request.init, request.out, config, resumes=request.resumes)
    table = load_source(request.source)
    _begin(request, config, fabric, "pretrain-supervised", {"init": dataclasses.asdict(start) if start else None})
    task = SupervisedTask(config, table, fabric)
    _started(request, start, task.module)
    state = fit(task, config, request.out, fabric=fabric, resume=request.resume, finish=request.finish)
    if fabric.is_global_zero:
        how = (f"supervised stand-in: trained by this package on {len(task.train_rows)} images in "
               f"{len(table.classes)} classes of {table.name}")
        meta = CheckpointMeta(kind="encoder", encoder=config.encoder, origin=f"supervised:{table.name}",
                              origin_text=_origin(how, config, state, start) + f"; {STAND_IN}",
                              **_common(request, config, table, state, fabric, None, start))
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


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a Stage II run starts from: the arm, and where its encoder's weights are (see `arm_encoder`)."""

    arm: Arm
    weights: str | None
    encoder: str


def run_train(request: RunRequest, config: FinetuneConfig, *, arm: Arm, weights: str | None, encoder: str) -> Path:
    """Stage II of one arm, from a source to an exported, calibrated classifier."""
    return train_arm(request, config, Start(arm=arm, weights=weights, encoder=encoder))


def train_arm(request: RunRequest, config: FinetuneConfig, start: Start, *,
              data: tuple[LesionTable, Split] | None = None, extras: Extras | None = None) -> Path:
    """`run_train`; `data` is the source of the request where it is loaded and split already."""
    from dermdemo.training.finish import finish_arm

    fabric = make_fabric(config)
    fabric.launch()
    encoder, origin = arm_encoder(start.arm, start.weights, request.store, config, start.encoder)
    table, split = data or prepare(request.source, split_seed=request.split_seed)
    _begin(request, config, fabric, "train", {"arm": start.arm, "weights": start.weights, "origin": origin.text,
                                             "classes": list(table.classes)})
    if fabric.is_global_zero:
        split.save(request.out / "split.csv", table)
    task = FinetuneTask(config, table, split, fabric, encoder, extras)
    state = fit(task, config, request.out, fabric=fabric, resume=request.resume,
                early_stopping=config.early_stopping, finish=request.finish)
    if fabric.is_global_zero:
        if config.early_stopping:
            best = torch.load(request.out / "best.pt", map_location="cpu", weights_only=True)
            task.module.load_state_dict(best["model"])
        base = origin.base if origin.base and origin.base.parent.resolve() == request.store.resolve() else None
        parts, borrowed = classifier_parts(task.module, base)
        meta = CheckpointMeta(kind="classifier", encoder=start.encoder, arm=start.arm, classes=table.classes,
                              hidden=config.hidden, unfrozen_stages=config.unfrozen_stages, head_trained=True,
                              base=borrowed,
                              origin=origin.slug, origin_text=origin.text,
                              **_common(request, config, table, state, fabric, split))
        _export(request, meta, parts)
        finish_arm(request.folder, request.out, table, split, device=config.device)
    fabric.barrier()
    return request.folder
