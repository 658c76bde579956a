"""`python -m dermdemo.training.speed`: how fast, and in how much memory, this machine does what a job does.

A few real steps of each stage on a few images of the data set, with the tasks and the epoch of the training
loop itself. The request comes as JSON on standard input, the report goes as JSON to standard output. A process
of its own, so that whoever asks neither trains nor imports torch, and can end it.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric

from dermdemo.config import FinetuneConfig, PretrainConfig, RunConfig
from dermdemo.data.sources import LesionTable, load_source
from dermdemo.data.splits import Fingerprints, Split, fingerprint, near_duplicates
from dermdemo.errors import DataError, DermdemoError
from dermdemo.models.weights import encoder_from
from dermdemo.runtime import resolve_device, seed_everything
from dermdemo.training.finetune import FinetuneTask
from dermdemo.training.loop import make_fabric, make_optimizer, train_epoch
from dermdemo.training.pretrain import PretrainTask
from dermdemo.types import Speed, SpeedReport

VAL_IMAGES, CPU_BATCH, GPU_BATCH, DECODED = 16, 32, 256, 400
MIN_SECONDS, MAX_EPOCHS = 2.0, 4  # timed for at least this long, or this often
COMPARED = 1024  # fingerprints that are compared with each other
STATUS, CLEAR, STAT = Path("/proc/self/status"), Path("/proc/self/clear_refs"), Path("/proc/stat")


def measure(request: Mapping[str, Any], began: float) -> SpeedReport:
    """Measure what a request names: ``source``, ``encoder``, ``seconds``, ``stages`` with ``stage, config, sizes``.

    Args:
        began: when the process was started, on the clock of `time.time`.

    Raises:
        DataError: the source has too few images that can be read. ConfigError: there is no such device.
    """
    start, clock, others = time.time() - began, time.perf_counter(), _Others()
    whole = load_source(request["source"])
    table_seconds, clock = time.perf_counter() - clock, time.perf_counter()
    stages = [(_config(s["stage"], s["config"]), sorted(s["sizes"])) for s in request["stages"]]
    cuda = any(resolve_device(config.device).type == "cuda" for config, _ in stages)
    batch = min(max((c.batch_size for c, _ in stages), default=1), GPU_BATCH if cuda else CPU_BATCH)
    table, decode = sample(whole, batch + VAL_IMAGES)
    found: list[Speed] = []
    deadline = time.perf_counter() + float(request["seconds"])
    for config, sizes in stages:
        for place, size in enumerate(sizes):
            if place and time.perf_counter() + _expected(found[-1], size) > deadline:
                break  # the smallest is always measured; larger ones are scaled from what there is
            config = replace(config, batch_size=batch, schedule=f"{size}x1", warmup_epochs=0)
            found.append(_speed(config, request["encoder"], table))
    return SpeedReport(start=start, table=table_seconds, decode=decode, compare=_compare(), images=len(table),
                       share=others.left(), speeds=tuple(found))


class _Others:
    """What other programs leave of the processors, from the kernel's counters (Linux; elsewhere all of it)."""

    def __init__(self) -> None:
        self._busy, self._own, self._clock = _busy_seconds(), time.process_time(), time.perf_counter()

    def left(self) -> float:
        """Share in [0.05, 1] since this was made."""
        others = (_busy_seconds() - self._busy) - (time.process_time() - self._own)
        there = (time.perf_counter() - self._clock) * (os.cpu_count() or 1)
        return min(1.0, max(0.05, 1 - others / there))


def _busy_seconds() -> float:
    """Seconds that all processors together were not idle since the machine started, those of a host's others too."""
    line = STAT.read_text().partition("\n")[0].split() if STAT.exists() else []
    return sum(int(n) for k, n in enumerate(line[1:9]) if k not in (3, 4)) / os.sysconf("SC_CLK_TCK")  # idle, iowait


def _config(stage: str, values: dict[str, Any]) -> RunConfig:
    return (PretrainConfig if stage == "pretrain" else FinetuneConfig).from_dict(values)


def _expected(last: Speed, size: int) -> float:
    """Seconds that a measurement at `size` will take, from the one before."""
    per_image = last.train + last.evaluate + 2 * last.frozen
    return (2 + MAX_EPOCHS) * (last.batch + VAL_IMAGES) * per_image * (size / last.size) ** 2


def sample(table: LesionTable, count: int) -> tuple[LesionTable, float]:
    """Readable images from all over a table, and the seconds that one more takes to decode and fingerprint.

    Raises:
        DataError: there are fewer than half of `count`.
    """
    _decoded(table, count)  # what is loaded at the first image is not counted
    part, seconds, unreadable = _decoded(table, count)
    more, longer, _ = _decoded(table, count + DECODED)
    each = longer / len(more)  # opening an archive in every thread is no part of an image, but of the process
    if len(more) > 2 * len(part):
        each = max(0.1 * each, (longer - seconds) / (len(more) - len(part)))
    part = part.take([i not in unreadable and bool(part.frame["label"].iat[i]) for i in range(len(part))])
    if len(part) < count // 2:
        raise DataError(f"Only {len(part)} images of '{table.name}' can be measured on.")
    return part, each


def _decoded(table: LesionTable, count: int) -> tuple[LesionTable, float, Mapping[int, str]]:
    """Rows from all over a table, the seconds that fingerprinting them took, and those that cannot be read."""
    rows = set(np.linspace(0, len(table) - 1, min(len(table), count)).astype(int).tolist())
    part = table.take([i in rows for i in range(len(table))])
    clock = time.perf_counter()
    unreadable = fingerprint(part).unreadable
    return part, time.perf_counter() - clock, unreadable


def _compare() -> float:
    """Seconds to compare two fingerprints, from many."""
    draw = np.random.default_rng(0)
    prints = Fingerprints(draw.integers(0, 2**63, (COMPARED, 8), np.int64).astype(np.uint64),
                          np.zeros((COMPARED, 1024), np.float32), {})
    clock = time.perf_counter()
    near_duplicates(prints, [str(i) for i in range(COMPARED)])
    return (time.perf_counter() - clock) / COMPARED**2


def _task(config: RunConfig, encoder: str, table: LesionTable, fabric: Fabric) -> Any:
    """The task of a stage on a few images, the last of which are for validation."""
    held = max(1, len(table) - VAL_IMAGES)
    split = Split(tuple("train" if i < held else "val" for i in range(len(table))), "", 0)
    if isinstance(config, FinetuneConfig):
        start = encoder_from("random", encoder, layer_scale=config.layer_scale)[0]
        return FinetuneTask(replace(config, label_fraction=1.0, views=1), table, split, fabric, start)
    return PretrainTask(replace(config, encoder=encoder), table, split, fabric)  # type: ignore[arg-type, call-arg]


def _speed(config: RunConfig, encoder: str, table: LesionTable) -> Speed:
    """One stage at one size: a first epoch that is not counted, then a few that are."""
    _release()
    seed_everything(0)
    fabric = make_fabric(config)
    fabric.launch()
    task = _task(config, encoder, table, fabric)
    model, optimizer = _set_up(task, fabric)
    _forget_peak(fabric)
    (idle, gpu_idle), n = _memory(fabric), min(config.batch_size, len(task.train_rows))
    task.start_phase(config.size)
    train_epoch(task, model, optimizer, config, fabric, 1, config.size)
    _forget_peak(fabric)  # now that the optimiser has its state
    task.start_phase(config.size)
    train, evaluate = _timed(task, model, optimizer, config, fabric)
    peak, gpu_peak = _memory(fabric, peak=True)
    parameters = list(task.module.parameters())
    trained = sum(p.numel() for p in parameters if p.requires_grad)
    state = 3 * 4 * trained  # gradients and the two moments of the optimiser, made in the first step
    on_gpu, pixels, second = fabric.device.type == "cuda", n * config.size**2, task.stage == "train"
    idle, gpu_idle = (idle, gpu_idle + state) if on_gpu else (idle + state, 0)
    return Speed(stage=task.stage, size=config.size, batch=n, train=train, evaluate=evaluate,
                 frozen=_frozen(task) if second else 0.0, save=_saved(task, optimizer),
                 idle=idle, active=max(0, peak - idle) / pixels, kept=_kept(task) if second else 0,
                 gpu_idle=gpu_idle, gpu_active=max(0, gpu_peak - gpu_idle) / pixels,
                 parameters=sum(p.numel() for p in parameters), trained=trained)


def _set_up(task: Any, fabric: Fabric) -> tuple[Any, Any]:
    """Model and optimiser as the loop sets them up."""
    groups = [{**g, "base_lr": g["lr"]} for g in task.parameter_groups()]
    module = task.module.to(memory_format=torch.channels_last)
    model, optimizer = fabric.setup(module, make_optimizer(groups))
    for name in task.forward_methods:
        model.mark_forward_method(name)
    return model, optimizer


def _timed(task: Any, model: Any, optimizer: Any, config: RunConfig, fabric: Fabric) -> tuple[float, float]:
    """Seconds that an image takes in a step, and in evaluation."""
    train = evaluate = spent = 0.0
    done = 0
    measured = len(task.val_rows) + (len(task.plain[1]) if hasattr(task, "plain") else 0)
    while spent < MIN_SECONDS and done < MAX_EPOCHS:
        epoch = train_epoch(task, model, optimizer, config, fabric, done + 2, config.size)
        stepping = len(task.train_rows) / epoch.images_per_second
        train, evaluate = train + stepping, evaluate + epoch.seconds - stepping
        spent, done = spent + epoch.seconds, done + 1
    return train / (done * len(task.train_rows)), evaluate / (done * measured)


def _frozen(task: FinetuneTask) -> float:
    """Seconds that an image takes through the part that is computed once; 0 where all of it is trained."""
    if not task.caches:
        return 0.0
    clock = time.perf_counter()
    task._features(task.store, 0)
    return (time.perf_counter() - clock) / len(task.store)


def _kept(task: FinetuneTask) -> int:
    """Bytes that the frozen part's output of one image takes."""
    features = task.val[0]
    return features[0].numel() * features.element_size()


def _saved(task: Any, optimizer: Any) -> float:
    """Seconds to write a training checkpoint."""
    clock = time.perf_counter()
    with tempfile.TemporaryFile(dir=".") as file:
        torch.save({"model": task.module.state_dict(), "optimizer": optimizer.state_dict()}, file)
    return time.perf_counter() - clock


def _forget_peak(fabric: Fabric) -> None:
    """Begin to look for the peak of memory anew (Linux; elsewhere it stays the highest so far)."""
    _release()
    if CLEAR.exists():
        CLEAR.write_text("5")
    if fabric.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()


def _release() -> None:
    """Give back what earlier models took, so that it does not hide what the next one takes (glibc)."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _memory(fabric: Fabric, *, peak: bool = False) -> tuple[int, int]:
    """Bytes of memory now, or at most since `_forget_peak`, of this process and on the GPU."""
    key = "VmHWM:" if peak else "VmRSS:"
    lines = STATUS.read_text().splitlines() if STATUS.exists() else []
    here = next((int(line.split()[1]) * 1024 for line in lines if line.startswith(key)), 0)
    if fabric.device.type != "cuda":
        return here, 0
    return here, torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated()


def main() -> int:
    """Read a request, write a report. A DermdemoError is a sentence on stderr and exit code 1."""
    request = json.load(sys.stdin)
    try:
        report = measure(request, float(request["began"]))
    except DermdemoError as error:
        print(f"dermdemo: {error}", file=sys.stderr)
        return 1
    print(json.dumps(asdict(report)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
