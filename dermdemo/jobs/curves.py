"""The curves of one training run, folded from its events as they come.

Every figure is checked as it comes in: what is no finite number is left out. An epoch that was trained again
after a crash counts as it was trained last. Of the KL per dimension only a few epochs are kept: the first, the last
and every n-th between, with n doubled whenever there are more than ten.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

PRETRAIN = ("train.loss", "val.loss", "train.rec", "val.rec", "train.kl", "val.kl", "val.psnr", "val.ssim",
            "val.active_units", "beta", "lr", "images_per_second")
TRAIN = ("train.loss", "val.loss", "train.accuracy", "val.accuracy", "val.balanced_accuracy", "accuracy_gap",
         "loss_gap", "lr", "images_per_second")
SERIES = {"pretrain": PRETRAIN, "train": TRAIN}
BETWEEN = 10  # epochs of KL per dimension between the first and the last
MAX_EPOCHS, MAX_DIMS = 100_000, 65_536
DIGITS = 7


@dataclass(frozen=True, kw_only=True)
class Warned:
    """A warning of a run, or its failure."""

    name: str
    message: str
    epoch: int
    time: float | None


@dataclass(frozen=True, kw_only=True)
class Took:
    """What one epoch took, validation included: seconds at a size in pixels."""

    epoch: int
    seconds: float
    size: int


@dataclass
class Curves:
    """A run so far.

    Attributes:
        epochs: planned. `size`: of the last epoch. `images`: in train.
        prepared: views that have gone through a frozen part before its epochs, and of how many.
        finished, failed: how it ended, if it did. `resumed`: epoch it last went on from, 0 for none.
        epoch: the last one trained; 0 before the first has ended.
        values: series -> epoch -> value. `kl`: epoch -> nats per dimension.
    """

    stage: str = ""
    epoch: int = 0
    epochs: int = 0
    size: int = 0
    images: int = 0
    schedule: str = ""
    resumed: int = 0
    prepared: tuple[int, int] = (0, 0)
    finished: str = ""
    finished_epochs: int = 0
    failed: Warned | None = None
    warnings: list[Warned] = field(default_factory=list)
    values: dict[str, dict[int, float]] = field(default_factory=dict)
    kl: dict[int, tuple[float, ...]] = field(default_factory=dict)
    took: dict[int, Took] = field(default_factory=dict)

    def add(self, event: dict[str, Any]) -> None:
        """Take in one event; one that makes no sense changes nothing."""
        kind = event.get("kind")
        if kind == "started":
            self._start(event)
        elif kind == "prepared":
            self.prepared = whole(event.get("done")) or 0, whole(event.get("total")) or 0
        elif kind == "epoch":
            self._epoch(event)
        elif kind == "warning":
            self.warnings.append(_warned(event, "name"))
        elif kind == "finished":
            self.finished = str(event.get("reason") or "completed")
            self.finished_epochs = whole(event.get("epochs")) or 0
            self.failed = None
        elif kind == "failed":
            self.failed = _warned(event, "reason")

    def _start(self, event: Mapping[str, Any]) -> None:
        """A run begins, or goes on from an epoch: what was trained beyond it is trained again."""
        config, data = _mapping(event, "config"), _mapping(event, "data")
        self.stage = str(event.get("stage") or "")
        self.schedule = str(config.get("schedule") or "")
        self.images = whole(data.get("train_images")) or 0
        self.resumed = self.epoch = last = whole(event.get("resumed_from")) or 0
        self.prepared, self.finished, self.finished_epochs, self.failed = (0, 0), "", 0, None
        self.warnings = [w for w in self.warnings if w.epoch <= last]
        self.values = {name: {e: v for e, v in at.items() if e <= last} for name, at in self.values.items()}
        self.kl = {e: v for e, v in self.kl.items() if e <= last}
        self.took = {e: v for e, v in self.took.items() if e <= last}

    def _epoch(self, event: Mapping[str, Any]) -> None:
        epoch = whole(event.get("epoch"))
        if epoch is None or epoch > MAX_EPOCHS:
            return
        self.epoch, self.prepared = max(self.epoch, epoch), (0, 0)
        self.epochs = whole(event.get("epochs")) or self.epochs
        self.size = whole(event.get("size")) or self.size
        for name in SERIES.get(self.stage, (*PRETRAIN, *TRAIN)):
            value = _figure(event, name)
            if value is not None and (epoch or name not in ("lr", "images_per_second")):
                self.values.setdefault(name, {})[epoch] = value
        self._keep_kl(epoch, _mapping(event, "val").get("kl_per_dim"))
        seconds = number(event.get("seconds"))
        if epoch and seconds is not None and seconds >= 0:
            self.took[epoch] = Took(epoch=epoch, seconds=seconds, size=self.size)

    def _keep_kl(self, epoch: int, found: object) -> None:
        if not isinstance(found, list) or not 0 < len(found) <= MAX_DIMS:
            return
        values = [number(v) for v in found]
        self.kl[epoch] = tuple(short(v, 4) if v is not None else 0.0 for v in values)
        first, last, step = min(self.kl), max(self.kl), 1
        while (last - 1) // step - first // step > BETWEEN:
            step *= 2
        self.kl = {e: self.kl[e] for e in sorted(self.kl) if e in (first, last) or e % step == 0}

    def snapshot(self) -> Curves:
        """A copy that stays as it is when more is added here."""
        return replace(self, warnings=list(self.warnings), values={n: dict(at) for n, at in self.values.items()},
                       kl=dict(self.kl), took=dict(self.took))

    def series(self) -> dict[str, list[tuple[int, float]]]:
        """Name -> (epoch, value) along the epochs."""
        return {name: sorted(at.items()) for name, at in self.values.items() if at}


def _figure(event: Mapping[str, Any], name: str) -> float | None:
    """One figure of an epoch, by the name of its series; None where it is missing or not finite."""
    if name in ("accuracy_gap", "loss_gap"):
        key = name.removesuffix("_gap")
        train, val = number(_mapping(event, "train").get(key)), number(_mapping(event, "val").get(key))
        if train is None or val is None:
            return None
        return short(train - val if key == "accuracy" else val - train)
    part, _, key = name.partition(".")
    value = number(_mapping(event, part).get(key) if key else event.get(part))
    return None if value is None else short(value)


def _mapping(event: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = event.get(key)
    return found if isinstance(found, dict) else {}


def _warned(event: Mapping[str, Any], key: str) -> Warned:
    return Warned(name=str(event.get(key) or ""), message=str(event.get("message") or ""),
                  epoch=whole(event.get("epoch")) or 0, time=number(event.get("time")))


def number(value: object) -> float | None:
    """A finite number, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # a whole number beyond what a float holds
        return None


def whole(value: object) -> int | None:
    """A whole number from 0 on, else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def short(value: float, digits: int = DIGITS) -> float:
    """The value with no more digits than a chart shows."""
    return float(f"{value:.{digits}g}")
