"""Measuring in turns: every round runs every case once, in an order that rotates."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch

Case = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Seconds of each round of one case."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """`name` says what is divided by what; the aim is a bound on it, or None for information only.

    Attributes:
        value: median over rounds of the ratio within the round.
        low, high: smallest and largest ratio of a round.
    """

    name: str
    value: float
    low: float
    high: float
    aim: float | None = None
    bound: Literal["at most", "at least"] = "at most"

    @property
    def met(self) -> bool | None:
        """True if the aim is met, None if there is none."""
        if self.aim is None:
            return None
        return self.value <= self.aim if self.bound == "at most" else self.value >= self.aim


def in_turns(cases: Mapping[str, Case], *, repeats: int, warmup: int = 2) -> dict[str, Timed]:
    """Run the cases in turns and time each run.

    Args:
        repeats: measured rounds.
        warmup: rounds run before and not measured.
    """
    names = list(cases)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for round_ in range(-warmup, repeats):
        shift = round_ % len(names)
        for name in names[shift:] + names[:shift]:
            spent = _timed(cases[name])
            if round_ >= 0:
                seconds[name].append(spent)
    return {name: Timed(name=name, seconds=tuple(values)) for name, values in seconds.items()}


def _timed(case: Case) -> float:
    gc.collect()
    _wait()
    start = time.perf_counter()
    case()
    _wait()
    return time.perf_counter() - start


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def ratio(name: str, above: Timed, below: Timed, *, aim: float | None = None,
          bound: Literal["at most", "at least"] = "at most") -> Ratio:
    """Time of `above` over time of `below`, round by round."""
    rounds = [a / b for a, b in zip(above.seconds, below.seconds, strict=True)]
    return Ratio(name=name, value=statistics.median(rounds), low=min(rounds), high=max(rounds), aim=aim, bound=bound)
