"""What past jobs of a machine took: epochs by stage and size from their runs' events, steps from the jobs' own."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from dermdemo.config import parse_schedule
from dermdemo.errors import DermdemoError, JobError
from dermdemo.jobs.machine import identity_of
from dermdemo.jobs.records import JobFolder, JobRecord, job_folders
from dermdemo.jobs.speeds import Wanted

RECENT = 8  # jobs that are looked at, newest first
LONGEST = 30 * 24 * 3600.0  # seconds: a step that seems to have taken longer saw the clock jump
SIZED = ("gate", "atlas")  # steps that run the models: figures of another image size say nothing
STAGES = {"pretrain": "stage I", "train": "stage II"}


@dataclass
class Past:
    """Figures of past jobs.

    Attributes:
        epochs: stage -> size -> seconds an epoch took for each training image, evaluation included.
        steps: step -> pairs of seconds and images of the data set.
        jobs: stage or step -> the newest job it is known from.
    """

    epochs: dict[str, dict[int, float]] = field(default_factory=dict)
    steps: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    jobs: dict[str, str] = field(default_factory=dict)

    def step(self, name: str, images: int) -> float | None:
        """Seconds of a step for so many images: in proportion for more, half of it at least for fewer."""
        found = self.steps.get(name)
        return median(s * max(0.5, images / max(1, n)) for s, n in found) if found else None


def past_jobs(jobs: Path, wanted: Wanted, images: Mapping[str, int]) -> Past:
    """Look at the newest jobs that ran on the same device of this machine.

    Args:
        images: data set -> its images.
    """
    past, machine, looked = Past(), identity_of(wanted.device), 0
    for folder in reversed(job_folders(jobs)):
        try:
            record = folder.record()
        except JobError:
            continue
        events = folder.events()
        here = any(e.get("kind") == "started" and e.get("machine") == machine for e in events)
        if record.device != wanted.device or not here:
            continue
        with contextlib.suppress(ValueError, TypeError, KeyError, AttributeError, DermdemoError):  # a damaged record
            _epochs(past, folder, record, wanted)
            skip = SIZED if _size(record) not in wanted.sizes["train"] else ()
            _steps(past, record, events, images.get(record.facts.get("data", ""), 0), skip)
        looked += 1
        if looked == RECENT:
            break
    return past


def _epochs(past: Past, folder: JobFolder, record: JobRecord, wanted: Wanted) -> None:
    """Epochs of a job's runs that trained the same network; the newest job with a size is the one that counts."""
    for run in sorted((folder.path / "work").glob("*/events.jsonl")):
        stage, sizes = _of_run(run, record, wanted)
        known = past.epochs.setdefault(stage, {})
        for size, seconds in sizes.items():
            if size not in known:
                known[size] = seconds
                past.jobs.setdefault(stage, folder.id)


def _of_run(path: Path, record: JobRecord, wanted: Wanted) -> tuple[str, dict[int, float]]:
    """Stage, and seconds per training image of an epoch at each size; none if the network was another."""
    stage, count, found = "", 0, dict[int, list[float]]()
    for event in _lines(path):
        if event.get("kind") == "started":
            stage, count = str(event.get("stage", "")), int(event.get("data", {}).get("train_images", 0))
            config = event.get("config", {})
            if stage == "train" and config.get("unfrozen_stages") != wanted.unfrozen:
                return stage, {}
        elif event.get("kind") == "epoch" and event.get("epoch") and count and event.get("seconds"):
            found.setdefault(int(event["size"]), []).append(float(event["seconds"]) / count)
    if json.loads(record.facts.get("stage I", "{}")).get("encoder") != wanted.encoder:
        return stage, {}
    return stage, {size: median(seconds) for size, seconds in found.items()}


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue  # cut off by a crash
        if isinstance(event, dict):
            yield event


def _size(record: JobRecord) -> int:
    """Size of the images that a job's classifiers take; 0 if it is not known."""
    schedule = str(json.loads(record.facts.get("stage II", "{}")).get("schedule", ""))
    return parse_schedule(schedule)[-1].size if schedule else 0


def _steps(past: Past, record: JobRecord, events: list[dict[str, Any]], images: int, skip: Sequence[str]) -> None:
    """Steps that ended as they should, and trained nothing."""
    began: dict[tuple[str, int], float] = {}
    trained = {s.name for s in record.steps if s.run} | set(skip)
    for event in events:
        name, when = str(event.get("step", "")), float(event.get("time", 0))
        key = (name, int(event.get("attempt", 0)))
        if event.get("kind") == "step":
            began[key] = when
        elif event.get("kind") == "step-done" and name not in trained and images:
            seconds = when - began.get(key, when)
            if 0 < seconds < LONGEST:
                past.steps.setdefault(name, []).append((seconds, images))
                past.jobs.setdefault(name, record.id)
