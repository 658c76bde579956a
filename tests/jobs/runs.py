"""Jobs and training runs as they lie on disk, written without training anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dermdemo.jobs.records import JobFolder, JobRecord, Step

PREPARE = Step(name="prepare", argv=("jobs", "prepare", "{job}"))
STAGE1 = Step(name="stage I", run="work/I", argv=("pretrain", "d", "--schedule", "32x4,64x4"))
VAE_ARM = Step(name="stage II vae", run="work/II-vae", argv=("train", "d", "--schedule", "64x10"))
OTHER_ARM = Step(name="stage II imagenet", run="work/II-imagenet", argv=("train", "d", "--schedule", "64x10"))
GATE = Step(name="gate", argv=("gate",))
STEPS = (PREPARE, STAGE1, VAE_ARM, OTHER_ARM, GATE)


def retraining_record(*steps: Step, **changes: Any) -> JobRecord:
    values: dict[str, Any] = {
        "id": "", "who": "ada", "created": "2026-01-01T00:00:00+00:00", "device": "cpu", "hours": 1.0,
        "steps": steps or STEPS, "facts": {"data_hash": "d", "base": "0"},
        "request": {"data": '"d0001"', "recipe": '"quick"', "stage1": "true"}} | changes  # fmt: skip
    return JobRecord(**values)


def started(stage: str = "pretrain", *, schedule: str = "32x4,64x4", resumed_from: int = 0, time: float = 1000.0,
            images: int = 100) -> dict[str, Any]:
    return {"kind": "started", "time": time, "stage": stage, "config": {"schedule": schedule},
            "data": {"train_images": images}, "resumed_from": resumed_from}


def epoch(number: int, *, epochs: int = 8, size: int = 32, seconds: float = 2.0, time: float = 1000.0,
          train: dict[str, Any] | None = None, val: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"kind": "epoch", "time": time, "epoch": number, "epochs": epochs, "size": size,
            "train": {"loss": 1.0 / (number + 1)} if train is None else train,
            "val": {"loss": 2.0 / (number + 1)} if val is None else val, "lr": 0.001, "images_per_second": 50.0,
            "seconds": seconds, "beta": 1.0}


def append(path: Path, *events: dict[str, Any] | bytes) -> Path:
    """Write events (or raw bytes) to the end of a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as stream:
        for event in events:
            stream.write(event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n")
    return path


def run_of(folder: JobFolder, step: Step, *events: dict[str, Any] | bytes) -> Path:
    """Events of a step's run."""
    return append(folder.path / step.run / "events.jsonl", *events)
