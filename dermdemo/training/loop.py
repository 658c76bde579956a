"""The one training loop, under Stage I, Stage II, contrastive and supervised pretraining alike.

Reads top to bottom: restore, then per epoch: phase, batches, validation, event, checkpoint.
A run folder holds config.json, events.jsonl, last.pt (model, optimiser, history), best.pt (model)
and, at the end, the exported checkpoint. A file called `stop` in it ends the run after the running epoch.
Everything random is derived from (seed, epoch, step), so a
run that was killed and resumed ends where an uninterrupted one ends.
"""

from __future__ import annotations

import errno
import json
import math
import os
import platform
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from tqdm import tqdm

import dermdemo
from dermdemo.config import RunConfig
from dermdemo.errors import ConfigError, TrainingError
from dermdemo.runtime import derived_seed, resolve_device, resolve_precision, seed_everything
from dermdemo.training import events
from dermdemo.training.schedules import phased_lr
from dermdemo.training.telling import Tell, epoch_line, prepared_line, say

STOP_FILE = "stop"


class Task(Protocol):
    """What a stage tells the loop. `model` is the wrapped module; logs are floats or lists of floats."""

    stage: str
    forward_methods: tuple[str, ...]
    selects_on: str

    @property
    def module(self) -> Any: ...
    def parameter_groups(self) -> list[dict[str, Any]]: ...
    def start_phase(self, size: int, tell: Tell = ...) -> None: ...
    def batches(self, epoch: int) -> Iterator[Tensor]: ...
    def steps_per_epoch(self) -> int: ...
    def training_loss(self, model: Any, batch: Tensor, *, epoch: int, step: int, progress: float
                      ) -> tuple[Tensor, dict[str, Tensor]]: ...
    def train_metrics(self, model: Any, sums: Mapping[str, Tensor], count: int, epoch: int) -> dict[str, Any]: ...
    def validate(self, model: Any, epoch: int) -> dict[str, Any]: ...
    def beta(self, progress: float) -> float | None: ...
    def after_epoch(self, model: Any, epoch: int, folder: Path, record: Mapping[str, Any]) -> None: ...
    def warnings(self, history: list[dict[str, Any]]) -> list[tuple[str, str]]: ...
    def data_summary(self) -> dict[str, Any]: ...


@dataclass
class RunState:
    """What a resume restores besides weights and optimiser."""

    epoch: int = 0
    best_epoch: int = 0
    best_value: float = math.inf
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)
    warned: list[str] = field(default_factory=list)


def make_fabric(config: RunConfig) -> Fabric:
    """Fabric for this machine: one process, or DDP when several devices, nodes or torchrun say so."""
    device = resolve_device(config.device)
    many = config.devices * config.num_nodes > 1 or int(os.environ.get("WORLD_SIZE", "1")) > 1
    return Fabric(accelerator="cuda" if device.type == "cuda" else "cpu", devices=config.devices,
                  num_nodes=config.num_nodes, strategy="ddp" if many else "auto",
                  precision=resolve_precision(config.precision, device))


def versions() -> dict[str, str]:
    """Versions that a result depends on."""
    import numpy
    import timm

    return {"dermdemo": dermdemo.__version__, "python": platform.python_version(), "torch": torch.__version__,
            "timm": timm.__version__, "numpy": numpy.__version__}


def hardware(device: torch.device) -> str:
    """The device in words, for events and cards."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {torch.get_num_threads()} threads"


def open_run(folder: Path, config: RunConfig, *, stage: str, resume: bool, extra: Mapping[str, Any]) -> None:
    """Create the run folder, or check that a resume goes on with the same settings.

    Raises:
        ConfigError: the folder holds a run and `resume` is off, or its settings differ.
    """
    path = folder / "config.json"
    saved = {"stage": stage, "config": config.to_dict(), **extra}
    if path.exists():
        if not resume:
            raise ConfigError(f"'{folder}' already holds a run: add --resume to go on, or choose another --out.")
        before = json.loads(path.read_text())
        free = {"device", "devices", "num_nodes"}
        began = config.completed(before["config"])
        changed = [k for k, v in saved["config"].items() if k not in free and began.get(k) != v]
        if changed or before.get("stage") != stage:
            raise ConfigError(f"'{folder}' was started with other settings ({', '.join(changed) or 'stage'}): "
                              "resume with the same ones, or choose another --out.")
        return
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, json.dumps(saved, indent=2).encode())


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old or the new content, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def save_atomic(path: Path, payload: Mapping[str, Any]) -> None:
    """torch.save to a temporary file, then rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        torch.save(dict(payload), temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def fit(task: Task, config: RunConfig, folder: Path, *, fabric: Fabric, resume: bool = False,
        early_stopping: int = 0, finish: bool = False) -> RunState:
    """Train `task` to its last epoch; on return the module holds the last epoch's weights.

    Args:
        resume: go on from last.pt.
        early_stopping: patience in epochs; 0 trains all of them.
        finish: train no further, only restore what an earlier, stopped run has reached.

    Raises:
        TrainingError: NaN, full disk or Ctrl-C; the reason is in the events and the last good
            checkpoint stays where it is.
    """
    log = events.EventLog(folder, active=fabric.is_global_zero)
    state = RunState()
    try:
        return _fit(task, config, folder, fabric, log, state, resume or finish, early_stopping, finish)
    except TrainingError as error:
        _log_failure(log, error.reason, str(error), state.epoch)
        raise
    except KeyboardInterrupt as error:
        message = f"Interrupted during epoch {state.epoch + 1}; resume from epoch {state.epoch} with --resume."
        _log_failure(log, "interrupted", message, state.epoch)
        raise TrainingError(message, reason="interrupted") from error
    except (OSError, RuntimeError) as error:
        if not _disk_full(error):
            _log_failure(log, "error", str(error), state.epoch)
            raise
        message = f"The disk is full; the checkpoint of epoch {state.epoch} is kept. Free space, then --resume."
        _log_failure(log, "disk-full", message, state.epoch)
        raise TrainingError(message, reason="disk-full") from error


def _log_failure(log: events.EventLog, reason: str, message: str, epoch: int) -> None:
    try:
        log.write(events.Failed(reason=reason, message=message, epoch=epoch))
    except OSError:
        print(message, file=sys.stderr)  # a full disk may refuse the event too


def _disk_full(error: BaseException) -> bool:
    """ENOSPC, or torch's own words for a write that failed."""
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "PytorchStreamWriter" in str(error) or "No space left" in str(error)


def make_optimizer(groups: list[dict[str, Any]]) -> torch.optim.AdamW:
    """AdamW in one kernel: torch's default on a CPU, one operation after another, takes seven times as long."""
    return torch.optim.AdamW(groups, betas=(0.9, 0.95), fused=True)


def _fit(task: Task, config: RunConfig, folder: Path, fabric: Fabric, log: events.EventLog, state: RunState,
         resume: bool, early_stopping: int, finish: bool) -> RunState:
    seed_everything(config.seed)
    groups = task.parameter_groups()
    for group in groups:
        group.setdefault("base_lr", group["lr"])
    optimizer = make_optimizer(groups)
    module = task.module.to(memory_format=torch.channels_last)
    model, optimizer = fabric.setup(module, optimizer)
    for name in task.forward_methods:
        model.mark_forward_method(name)
    if resume:
        _restore(folder / "last.pt", module, optimizer, state)
    if finish:
        if state.epoch == 0:
            raise TrainingError(f"'{folder}' has no finished epoch to keep.", reason="nothing-to-keep")
        _log_end(log, config, state)
        return state
    (folder / STOP_FILE).unlink(missing_ok=True)
    log.write(events.Started(stage=task.stage, config=config.to_dict(), data=task.data_summary(),
                             device=hardware(fabric.device), versions=versions(), resumed_from=state.epoch))
    size = config.phase_of(max(state.epoch, 1)).size
    _start_phase(task, size, state, log)
    if state.epoch == 0 and not state.history:
        _record(task, model, state, log, _epoch_zero(task, model, config, size), config)
    for epoch in range(state.epoch + 1, config.epochs + 1):
        if config.phase_of(epoch).size != size:
            size = config.phase_of(epoch).size
            _start_phase(task, size, state, log)
        record = train_epoch(task, model, optimizer, config, fabric, epoch, size)
        state.seconds += record.seconds
        _record(task, model, state, log, record, config)
        improved = record.val[task.selects_on] < state.best_value
        if improved:
            state.best_epoch, state.best_value = epoch, record.val[task.selects_on]
        state.epoch = epoch
        if fabric.is_global_zero:
            _save(folder, module, optimizer, state, improved)
            log.write(events.Checkpoint(epoch=epoch, path="last.pt", best=improved))
            task.after_epoch(model, epoch, folder, record.val)
        fabric.barrier()
        if early_stopping and epoch - state.best_epoch >= early_stopping:
            break
        if (folder / STOP_FILE).exists():
            break
    _log_end(log, config, state, patience=early_stopping)
    return state


def _start_phase(task: Task, size: int, state: RunState, log: events.EventLog) -> None:
    """Decoding, and what a frozen part makes of every view, are time spent on the run too."""
    def tell(done: int, total: int) -> None:
        made = events.Prepared(done=done, total=total, size=size)
        log.write(made)
        if log.active:
            say(prepared_line(made))

    began = time.perf_counter()
    task.start_phase(size, tell)
    state.seconds += time.perf_counter() - began


def _log_end(log: events.EventLog, config: RunConfig, state: RunState, patience: int = 0) -> None:
    early = patience and state.epoch - state.best_epoch >= patience
    reason = "completed" if state.epoch == config.epochs else "early-stopping" if early else "stopped"
    log.write(events.Finished(epochs=state.epoch, best_epoch=state.best_epoch, seconds=state.seconds, reason=reason))


def _restore(path: Path, module: nn.Module, optimizer: Any, state: RunState) -> None:
    """Load last.pt if there is one; a run killed before its first checkpoint starts over."""
    if not path.exists():
        return
    payload = torch.load(path, map_location="cpu", weights_only=True)
    module.load_state_dict(payload["model"])
    optimizer.load_state_dict(payload["optimizer"])
    for key, value in payload["state"].items():
        setattr(state, key, value)


def _save(folder: Path, module: nn.Module, optimizer: Any, state: RunState, improved: bool) -> None:
    weights = module.state_dict()
    save_atomic(folder / "last.pt", {"model": weights, "optimizer": optimizer.state_dict(), "state": vars(state)})
    if improved:
        save_atomic(folder / "best.pt", {"model": weights, "epoch": state.epoch})


def _epoch_zero(task: Task, model: Any, config: RunConfig, size: int) -> events.Epoch:
    start = time.perf_counter()
    model.eval()
    return events.Epoch(epoch=0, epochs=config.epochs, size=size, train=task.train_metrics(model, {}, 0, 0),
                        val=task.validate(model, 0), lr=0.0, images_per_second=0.0,
                        seconds=time.perf_counter() - start, beta=task.beta(0.0))


def _record(task: Task, model: Any, state: RunState, log: events.EventLog, record: events.Epoch,
            config: RunConfig) -> None:
    """Write the epoch, tell it, keep it in the history, and name what looks wrong (once each)."""
    log.write(record)
    if log.active:
        say(epoch_line(record, config))
    state.history.append({"epoch": record.epoch, "train": dict(record.train), "val": dict(record.val),
                          "beta": record.beta, "size": record.size})
    for name, message in task.warnings(state.history):
        if name not in state.warned:
            state.warned.append(name)
            log.write(events.Warning_(name=name, message=message, epoch=record.epoch))
            if log.active:
                say(f"warning ({name}): {message}")


def train_epoch(task: Task, model: Any, optimizer: Any, config: RunConfig, fabric: Fabric, epoch: int,
                size: int) -> events.Epoch:
    """One epoch of steps, then validation. Raises TrainingError: a step was not finite."""
    model.train()
    torch.manual_seed(derived_seed("epoch", config.seed, epoch, fabric.global_rank))  # dropout, drop path
    sums: dict[str, Tensor] = {}
    count, steps, start = 0, task.steps_per_epoch(), time.perf_counter()
    bar = tqdm(task.batches(epoch), total=steps, desc=f"epoch {epoch}/{config.epochs} at {size} px", leave=False,
               disable=not (fabric.is_global_zero and sys.stderr.isatty()))
    for step, batch in enumerate(bar):
        progress = epoch - 1 + step / steps
        factor = phased_lr(progress, phases=[p.epochs for p in config.phases], warmup=config.warmup_epochs,
                           restart=config.restart)
        for group in optimizer.param_groups:
            group["lr"] = group["base_lr"] * factor
        # -- one step
        loss, logs = task.training_loss(model, batch, epoch=epoch, step=step, progress=progress)
        optimizer.zero_grad(set_to_none=True)
        fabric.backward(loss)
        norm = torch.nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]],
                                              config.clip_norm)
        # -- a step that is not finite must not reach the weights
        if not torch.isfinite(norm + loss.detach()):
            raise TrainingError(f"The loss or its gradient is not a number in epoch {epoch}, step {step + 1}. Lower "
                                f"the learning rate (now {config.lr}), or use --precision fp32; the checkpoint of "
                                f"epoch {epoch - 1} is kept.", reason="nan")
        optimizer.step()
        count += len(batch)
        for key, value in logs.items():
            sums[key] = sums.get(key, torch.zeros((), device=value.device)) + value.detach() * len(batch)
    seconds = time.perf_counter() - start
    total = int(fabric.all_reduce(torch.tensor(float(count)), reduce_op="sum"))
    sums = {k: fabric.all_reduce(v, reduce_op="sum") for k, v in sums.items()}
    model.eval()
    return events.Epoch(epoch=epoch, epochs=config.epochs, size=size,
                        train=task.train_metrics(model, sums, total, epoch), val=task.validate(model, epoch),
                        lr=config.lr * factor, images_per_second=total / seconds,
                        seconds=time.perf_counter() - start, beta=task.beta(float(epoch)))
