"""What a job will take on this machine: a range of seconds, memory and disk, and what the figures stand on.

Epochs are those of past jobs at the same size, where there are some; else of a short measurement on a few images
of the data set, in a process of its own, kept for later.
"""

from __future__ import annotations

from dataclasses import dataclass

from dermdemo.jobs.cost_basis import CostBasis, Counts, wanted_of
from dermdemo.jobs.datasets import Catalogue, DataSet
from dermdemo.jobs.durations import steps
from dermdemo.jobs.footprint import disk, gpu_memory, memory
from dermdemo.jobs.past import past_jobs
from dermdemo.jobs.plan import RetrainRequest
from dermdemo.jobs.speeds import Speeds


@dataclass(frozen=True, kw_only=True)
class Part:
    """A step of the job and the seconds it will take; Stage II is that of both arms."""

    name: str
    seconds_low: float
    seconds_high: float


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a job will take; bytes at the highest point. `basis`: what the figures stand on, in words."""

    seconds_low: float
    seconds_high: float
    memory_bytes: int
    gpu_memory_bytes: int | None
    disk_bytes: int
    basis: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Costs:
    """Costs of jobs on the data of a catalogue."""

    data: Catalogue

    @property
    def _speeds(self) -> Speeds:
        return Speeds(self.data.home)

    def known(self, request: RetrainRequest, data: DataSet, encoder: str) -> Cost | None:
        """The cost of a request; None if `measure` has to be called first. Raises ConfigError, DataError."""
        wanted, speeds = wanted_of(request, data, encoder), self._speeds
        common = speeds.common(wanted)
        if common is None or speeds.missing(wanted) is not None:
            return None
        images = {d.id: d.images for d in self.data.listed()}
        basis = CostBasis(request=request, wanted=wanted, counts=Counts.of(data, self.data.audit_of(data)),
                          known={s: speeds.of(wanted, s) for s in wanted.sizes}, common=common,
                          past=past_jobs(self.data.home / "jobs", wanted, images))
        return cost_of(basis)

    def measure(self, request: RetrainRequest, data: DataSet, encoder: str) -> None:
        """Measure what `known` lacks. Takes a minute or so. Raises JobError: it failed, or took too long."""
        self._speeds.measure(wanted_of(request, data, encoder))


def cost_of(basis: CostBasis) -> Cost:
    """The cost that follows from what is known."""
    found = steps(basis)
    parts = tuple(Part(name=n, seconds_low=round(s.low, 1), seconds_high=round(s.high, 1)) for n, s in found.items())
    return Cost(seconds_low=sum(p.seconds_low for p in parts), seconds_high=sum(p.seconds_high for p in parts),
                memory_bytes=memory(basis), gpu_memory_bytes=gpu_memory(basis), disk_bytes=disk(basis),
                basis=basis.words(), parts=parts)
