"""What is shown of jobs: a row of each, and one in full, from its folder as it is now.

Made to be asked every two seconds: the events of runs are read on from where the last look ended, and only jobs
that are not over are estimated. Nothing here decides or changes a state; `look` moves the queue on, as every look
does. A folder that is damaged is named in `problems`, and the rest goes on.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from dermdemo.errors import DermdemoError, JobError
from dermdemo.jobs.curves import Curves
from dermdemo.jobs.estimates import Estimator
from dermdemo.jobs.grids import grid_epochs
from dermdemo.jobs.launcher import Launcher
from dermdemo.jobs.log_tail import log_names
from dermdemo.jobs.messages import messages
from dermdemo.jobs.progress import Ahead, left_of
from dermdemo.jobs.records import ACTIVE, JobFolder, Step, job_folders
from dermdemo.jobs.resources import Meter
from dermdemo.jobs.retrain import drift
from dermdemo.jobs.shown import JobDetail, JobRow, Names, Run
from dermdemo.jobs.steps import (
    actions,
    attempts,
    is_training,
    runs_of,
    schedule_of,
    shown,
    stopped_steps,
)
from dermdemo.jobs.store import View, damage

GATE = ("work", "gate", "gate.json")
MOST_GATE = 4 << 20  # bytes
DRIFT_SECONDS = 60.0
DAMAGED = (OSError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError, DermdemoError)


@dataclass
class Watcher:
    """Looks at the jobs of one launcher; keeps what makes the next look cheap."""

    jobs: Launcher
    meter: Meter = field(default_factory=Meter)
    estimator: Estimator = field(default_factory=Estimator)
    _last: list[View] = field(default_factory=list)
    _drift: dict[str, tuple[float, list[str]]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def look(self) -> tuple[list[View], list[str]]:
        """Move the queue on. All jobs, oldest first, and what is wrong, in sentences.

        Where the queue cannot be had (busy, full disk) the jobs are as they were at the last look.
        """
        problems = []
        try:
            self._last = self.jobs.tick()
        except (OSError, JobError, sqlite3.Error) as error:
            problems.append(f"The job queue cannot be moved on ({error}): the jobs are shown as they were before.")
        seen = {v.id for v in self._last}
        problems += [damage(f) for f in job_folders(self.jobs.store.jobs) if f.id not in seen and damage(f)]
        return list(self._last), problems

    def rows(self, views: Sequence[View], names: Names) -> tuple[list[JobRow], list[str]]:
        """Rows of jobs, newest first; a job that cannot be shown becomes a sentence."""
        found, problems = [], []
        for view in reversed(views):
            try:
                found.append(JobRow(**self._row(view, names)))
            except DAMAGED as error:
                problems.append(f"Job {view.id} cannot be shown: its folder is damaged ({type(error).__name__}).")
        return found, problems

    def row(self, view: View, names: Names) -> JobRow:
        """The row of one job. Raises JobError: its folder is damaged."""
        found, problems = self.rows([view], names)
        if problems:
            raise JobError(problems[0])
        return found[0]

    def detail(self, view: View, names: Names) -> JobDetail:
        """One job in full. Raises JobError: its folder is damaged."""
        try:
            return self._detail(view, names)
        except DAMAGED as error:
            raise JobError(f"Job {view.id} cannot be shown in full: its folder is damaged ({error}).") from error

    def _row(self, view: View, names: Names) -> dict[str, Any]:
        events, request = view.folder.events(), asked_for(view)
        known = self.estimator.of(view, events, self._last or self.look()[0])
        return {
            "id": view.id, "state": view.state, "who": view.record.who, "created": view.record.created,
            "device": view.record.device, "data": str(request.get("data", "")),
            "data_name": names.data.get(str(request.get("data", "")), ""), "recipe": str(request.get("recipe", "")),
            "stage1": request.get("stage1") is True, "attempt": view.history.attempt, "step": view.history.step,
            "steps_done": sum(s.name in view.history.done for s in view.record.steps),
            "steps_total": len(view.record.steps), "progress": known.progress, "eta_seconds": known.eta_seconds,
            "reason": view.history.reason, "stopped": tuple(stopped_steps(events)),
            "actions": tuple(actions(view, events)), "candidate": names.candidates.get(view.id),
            "repeats": view.record.facts.get("repeats"),
        }  # fmt: skip

    def _detail(self, view: View, names: Names) -> JobDetail:
        events = view.folder.events()
        steps = [s for s in view.record.steps if is_training(s)]
        curves = {s.name: c for s in steps if (c := self.estimator.curves(view, s)) is not None}
        visible = runs_of(view)
        said = {s.name: curves[s.name] for s in visible if s.name in curves}
        worker = str(view.history.worker.get("identity", "")) if view.state in ACTIVE else ""
        measured = None if view.record.device == "slurm" else self.meter.measure(
            view.id, worker, self.jobs.store.home, gpu=view.record.device == "cuda")
        row = self._row(view, names)
        return JobDetail(
            **row, request=asked_for(view), facts=dict(view.record.facts),
            steps=shown(view, events, curves), attempts=attempts(view, events),
            messages=messages(view.record, events, said),
            runs=[_run(view, s, curves[s.name]) for s in visible if s.name in curves], resources=measured,
            logs=log_names(view.folder.path, view.record), verdict=verdict_of(view.folder), drift=self._drifted(view))

    def _drifted(self, view: View) -> list[str]:
        """What has changed in code and libraries since; hashing the code again once a minute."""
        with self._lock:
            at, found = self._drift.get(view.id, (-DRIFT_SECONDS, []))
        if time.monotonic() - at >= DRIFT_SECONDS:
            found = drift(view.record) if "code" in view.record.facts else []
            with self._lock:
                self._drift[view.id] = time.monotonic(), found
        return found


def _run(view: View, step: Step, curves: Curves) -> Run:
    series = curves.series()
    speed = series.get("images_per_second")
    left = left_of(Ahead(name=step.name, stage=step.argv[0], schedule=schedule_of(step), curves=curves,
                         last=view.state == "stopping"), curves.images, {})
    running = view.state in ACTIVE and step.name == view.history.step and not curves.finished
    return Run(name=step.name, stage=curves.stage, epoch=curves.epoch, epochs=curves.epochs, size=curves.size,
               prepared=curves.prepared,
               finished=curves.finished or None, images_per_second=speed[-1][1] if speed else None,
               eta_seconds=left if running else None, series=series, kl_per_dim=sorted(curves.kl.items()),
               grids=grid_epochs(view.folder, step))


def asked_for(view: View) -> dict[str, Any]:
    """The request of a job as values; a text that is none stays as it is."""
    found: dict[str, Any] = {}
    for key, text in view.record.request.items():
        try:
            found[key] = json.loads(text)
            json.dumps(found[key], allow_nan=False)
        except (ValueError, RecursionError):
            found[key] = text
    return found


def gate_of(folder: JobFolder) -> dict[str, Any] | None:
    """What the gate of a job found, as it was written; None before, or if it cannot be read."""
    path = folder.path.joinpath(*GATE)
    try:
        if path.stat().st_size > MOST_GATE:
            return None
        found = json.loads(path.read_bytes())
        json.dumps(found, allow_nan=False)
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def verdict_of(folder: JobFolder) -> str | None:
    """The gate's verdict in words; None before it has been reached."""
    found = (gate_of(folder) or {}).get("verdict")
    return found if isinstance(found, str) else None
