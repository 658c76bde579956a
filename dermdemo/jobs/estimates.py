"""Estimates for the jobs of one state folder: each job's own runs, and what its like took before."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dermdemo.jobs.curves import Curves
from dermdemo.jobs.progress import Ahead, Estimate, Pace, estimate, pace
from dermdemo.jobs.records import ACTIVE, CANCEL, Step
from dermdemo.jobs.steps import DRY, is_training, running_seconds, schedule_of, step_seconds
from dermdemo.jobs.store import View
from dermdemo.jobs.tailing import Tails

PAST = 5  # finished jobs that estimates look at


@dataclass
class Estimator:
    """Reads runs, and remembers what finished jobs took; safe to use from several threads."""

    tails: Tails[Curves] = field(default_factory=lambda: Tails(Curves))
    _paces: dict[tuple[str, int], dict[str, Pace]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def curves(self, view: View, step: Step) -> Curves | None:
        """The run of a step so far; None before it has written anything. Not to be changed."""
        found: Curves = self.tails.read(view.folder.path / step.run / "events.jsonl", Curves.snapshot)
        return found if found.stage or found.epochs else None

    def of(self, view: View, events: Sequence[Mapping[str, Any]], others: Sequence[View]) -> Estimate:
        """Progress of a job that is not over; a finished one is done."""
        if view.state == "finished":
            return Estimate(progress=1.0)
        if view.state not in ("queued", *ACTIVE) or view.folder.asked(CANCEL):
            return Estimate()
        h = view.history
        anew = h.mode == "fresh" and not h.worker  # what lies there is of an attempt before, and will be discarded
        runs = {s.name: c for s in view.record.steps if is_training(s) and not s.name.startswith(DRY) and not anew
                and (c := self.curves(view, s)) is not None}
        ahead = [self._ahead(view, s, runs, events) for s in view.record.steps if s.name not in h.done]
        took = step_seconds(events)
        trained = {name: sum(t.seconds for t in c.took.values()) for name, c in runs.items()}
        spent = sum((trained | {n: t for n, t in took.items() if n in h.done}).values())
        own = {s.argv[0]: p for s in view.record.steps if s.name in h.done and s.name in runs
               and (p := pace(runs[s.name], took.get(s.name)))}
        paces = self._past(view, others) | {n: Pace(seconds=t) for n, t in took.items() if n.startswith(DRY)}
        paces |= own | {a.name: own[a.stage] for a in ahead if a.stage in own}
        images = max((c.images for c in runs.values()), default=0)
        return estimate(ahead, spent=spent, images=images, paces=paces)

    def _ahead(self, view: View, step: Step, runs: Mapping[str, Curves], events: Sequence[Mapping[str, Any]]
               ) -> Ahead:
        running = view.state in ACTIVE and step.name == view.history.step
        trains = is_training(step) and not step.name.startswith(DRY)
        elapsed = running_seconds(view, events) if running and not trains else None
        return Ahead(name=step.name, stage=step.argv[0] if trains else "", schedule=schedule_of(step),
                     curves=runs.get(step.name), last=running and view.state == "stopping", elapsed=elapsed or 0.0)

    def _past(self, view: View, others: Sequence[View]) -> dict[str, Pace]:
        """Step, or stage -> what it took in finished jobs on the same device, rather on these data."""
        same = [v for v in others if v.state == "finished" and v.record.device == view.record.device]
        same.sort(key=lambda v: (v.record.facts.get("data_hash") == view.record.facts.get("data_hash"), int(v.id)))
        found: dict[str, Pace] = {}
        for v in same[-PAST:]:
            found |= self._took(v)
        return found

    def _took(self, view: View) -> dict[str, Pace]:
        """What the steps of a finished job took; read once."""
        key = (view.id, view.history.attempt)
        with self._lock:
            if key in self._paces:
                return self._paces[key]
        took, found = step_seconds(view.folder.events()), dict[str, Pace]()
        for step in view.record.steps:
            if step.name.startswith(DRY):
                continue
            curves = self.curves(view, step) if is_training(step) else None
            known = pace(curves, took.get(step.name))
            if known is not None and (curves is not None or not is_training(step)):
                found[step.name] = known
                if is_training(step):
                    found[step.argv[0]] = known
        with self._lock:
            self._paces[key] = found
        return found
