"""What is shown of jobs, as types: a row of each, and one in full. Times to go are None where nothing is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dermdemo.jobs.messages import Message
from dermdemo.jobs.resources import Resources
from dermdemo.jobs.steps import AttemptShown, StepShown


@dataclass(frozen=True, kw_only=True)
class JobRow:
    """One job in a list.

    Attributes:
        progress: share done in [0, 1]; `eta_seconds`: to its end. None where they cannot be told.
        actions: what may be done now. `candidate`: number of the version it made. `repeats`: job it repeats.
    """

    id: str
    state: str
    who: str
    created: str
    device: str
    data: str
    data_name: str
    recipe: str
    stage1: bool
    attempt: int
    step: str
    steps_done: int
    steps_total: int
    progress: float | None
    eta_seconds: float | None
    reason: str
    stopped: tuple[str, ...]
    actions: tuple[str, ...]
    candidate: int | None
    repeats: str | None


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training run; series and grids as they are so far.

    Attributes:
        prepared: views that a frozen part has been given before the epochs to come, and of how many; (0, 0) for none.
        finished: how it ended, None before. `eta_seconds`: of this run alone.
        series: name -> (epoch, value). `kl_per_dim`: (epoch, nats of each dimension) of a few epochs.
        grids: epochs that have a picture.
    """

    name: str
    stage: str
    epoch: int
    epochs: int
    size: int
    prepared: tuple[int, int]
    finished: str | None
    images_per_second: float | None
    eta_seconds: float | None
    series: Mapping[str, list[tuple[int, float]]]
    kl_per_dim: list[tuple[int, tuple[float, ...]]]
    grids: list[int]


@dataclass(frozen=True, kw_only=True)
class JobDetail(JobRow):
    """One job in full."""

    request: Mapping[str, Any]
    facts: Mapping[str, str]
    steps: list[StepShown]
    attempts: list[AttemptShown]
    messages: list[Message]
    runs: list[Run]
    resources: Resources | None
    logs: tuple[str, ...]
    verdict: str | None
    drift: list[str]


@dataclass(frozen=True, kw_only=True)
class Names:
    """What rows are called by: data id -> name, job id -> number of its version."""

    data: Mapping[str, str] = field(default_factory=dict)
    candidates: Mapping[str, int] = field(default_factory=dict)
