"""The events of a run: typed JSON lines, appended and flushed, the only thing a watcher reads.

Kinds: started, prepared, epoch, checkpoint, warning, evaluated, finished, failed.
A line cut off by a crash is ignored by the reader; everything before it counts.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from dermdemo.errors import DataError

FILE_NAME = "events.jsonl"


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events; `time` is seconds since the epoch, UTC."""

    kind: ClassVar[str] = ""
    time: float = field(default_factory=time.time)

    def to_line(self) -> str:
        return json.dumps({"kind": self.kind, **_finite(asdict(self))}, allow_nan=False)


@dataclass(frozen=True, kw_only=True)
class Started(Event):
    kind: ClassVar[str] = "started"
    stage: str
    config: Mapping[str, Any]
    data: Mapping[str, Any]
    device: str
    versions: Mapping[str, str]
    resumed_from: int = 0


@dataclass(frozen=True, kw_only=True)
class Prepared(Event):
    """So many augmentation views of all images have gone through the frozen part."""

    kind: ClassVar[str] = "prepared"
    done: int
    total: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Epoch(Event):
    """Epoch 0 is the state before the first update; `train` is then empty or measured without training."""

    kind: ClassVar[str] = "epoch"
    epoch: int
    epochs: int
    size: int
    train: Mapping[str, Any]
    val: Mapping[str, Any]
    lr: float
    images_per_second: float
    seconds: float
    beta: float | None = None


@dataclass(frozen=True, kw_only=True)
class Checkpoint(Event):
    kind: ClassVar[str] = "checkpoint"
    epoch: int
    path: str
    best: bool


@dataclass(frozen=True, kw_only=True)
class Warning_(Event):
    kind: ClassVar[str] = "warning"
    name: str
    message: str
    epoch: int


@dataclass(frozen=True, kw_only=True)
class Evaluated(Event):
    kind: ClassVar[str] = "evaluated"
    split: str
    metrics: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    kind: ClassVar[str] = "finished"
    epochs: int
    best_epoch: int
    seconds: float
    reason: str = "completed"


@dataclass(frozen=True, kw_only=True)
class Failed(Event):
    kind: ClassVar[str] = "failed"
    reason: str
    message: str
    epoch: int


def _finite(value: Any) -> Any:
    """JSON-safe copy: NaN and infinities become None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(k): _finite(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(v) for v in value]
    return value


class EventLog:
    """Appends events to ``events.jsonl`` of a run folder; a silent log (`active=False`) writes nothing."""

    def __init__(self, folder: Path, *, active: bool = True) -> None:
        self.path, self.active = folder / FILE_NAME, active

    def write(self, event: Event) -> None:
        if not self.active:
            return
        with self.path.open("ab") as stream:
            if stream.tell() and not self._ends_with_newline():
                stream.write(b"\n")
            stream.write(event.to_line().encode() + b"\n")
            stream.flush()
            os.fsync(stream.fileno())

    def _ends_with_newline(self) -> bool:
        with self.path.open("rb") as stream:
            stream.seek(-1, os.SEEK_END)
            return stream.read(1) == b"\n"


def read_events(folder: Path) -> list[dict[str, Any]]:
    """All complete events of a run, oldest first.

    Raises:
        DataError: the folder has no events.
    """
    path = folder / FILE_NAME
    if not path.exists():
        raise DataError(f"'{folder}' is not a training run: it has no {FILE_NAME}.")
    events = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue  # the line a crash cut off
        if isinstance(event, dict) and "kind" in event:
            events.append(event)
    return events
