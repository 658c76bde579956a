"""Stand-ins for workers, clocks and jobs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from dermdemo.jobs.records import History, JobFolder, JobRecord, Step
from dermdemo.jobs.states import Clock, Look
from dermdemo.jobs.store import stop_asked


def record(device: str = "cpu", *steps: Step, hours: float = 1.0) -> JobRecord:
    return JobRecord(id="", who="ada", created="2026-01-01T00:00:00+00:00", device=device, hours=hours,
                     steps=steps or (Step(name="one", argv=("--help",)),))


@dataclass
class FakeProbe:
    """Workers that are alive because a test says so."""

    alive: set[str] = field(default_factory=set)
    silent: bool = False
    killed: list[str] = field(default_factory=list)
    during: Callable[[JobFolder], None] = lambda _: None

    def prepare(self) -> None:
        pass

    def look(self, folder: JobFolder, record: JobRecord, history: History) -> Look:
        alive = None if self.silent else folder.id in self.alive
        self.during(folder)
        return replace(stop_asked(folder), alive=alive)

    def kill(self, folder: JobFolder, record: JobRecord, history: History) -> None:
        self.killed.append(folder.id)
        self.alive.discard(folder.id)


@dataclass
class FakeClock:
    """A clock that moves when told to."""

    seconds: float = 0.0
    boot: str = "a"

    def __call__(self) -> Clock:
        return Clock(seconds=self.seconds, boot=self.boot)
