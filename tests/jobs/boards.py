"""A launcher that starts nothing, on which tests put jobs into any state."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dermdemo.jobs.launcher import Launcher
from dermdemo.jobs.records import JobFolder, JobRecord
from dermdemo.jobs.store import Store, View
from tests.jobs.fakes import FakeProbe
from tests.jobs.runs import retraining_record


@dataclass
class Board:
    """Jobs of a state folder whose workers are alive because a test says so."""

    home: Path
    jobs: Launcher = field(init=False)
    probe: FakeProbe = field(default_factory=FakeProbe)

    def __post_init__(self) -> None:
        self.jobs = Launcher(Store(self.home), {"cpu": 0, "cuda": 0})
        object.__setattr__(self.jobs, "probe", self.probe)

    def add(self, record: JobRecord | None = None) -> JobFolder:
        """A queued job."""
        return self.jobs.store.folder(self.jobs.store.add(record or retraining_record()))

    def write(self, job: str, kind: str, **fields: Any) -> None:
        folder = self.jobs.store.folder(job)
        assert folder.write(kind, attempt=folder.history().attempt, **fields), kind

    def begin(self, job: str, step: str = "", done: tuple[str, ...] = ()) -> JobFolder:
        """A worker begins a queued job, does some steps in ten seconds each, and is in one."""
        self.write(job, "launching")
        self.write(job, "started", pid=1, identity="", time_at=0)
        self.probe.alive.add(job)
        for name in done:
            self.write(job, "step", step=name, beat=0)
            self.write(job, "step-done", step=name, seconds=10.0)
        if step:
            self.write(job, "step", step=step, beat=0)
        return self.jobs.store.folder(job)

    def end(self, job: str, kind: str, reason: str = "") -> None:
        self.write(job, kind, reason=reason, seconds=60.0)
        self.probe.alive.discard(job)

    def view(self, job: str) -> View:
        return self.jobs.view(job)
