"""How far a job is and how long it still takes, from what its own epochs took.

Only durations that a run measured itself are used (`seconds` of its epochs, of its steps), never differences of
wall-clock times: a clock that jumps moves no estimate. Epochs at another size count by their pixels. A step that
has not begun takes what its like took: the other arm of this job, or the same step of an earlier job, scaled by
images where they are known. Where nothing is known, nothing is said.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dermdemo.config import Phase, parse_schedule
from dermdemo.errors import DermdemoError
from dermdemo.jobs.curves import Curves, Took

RECENT = 5  # epochs whose median stands for the next
LONGEST = 365 * 86400.0  # seconds; beyond it an estimate says nothing


@dataclass(frozen=True, kw_only=True)
class Pace:
    """What a finished step took, to judge its like by.

    Attributes:
        seconds: of the whole step. `per_pixel`: seconds per epoch, image and pixel of a training step, None of
            others. `images`: it trained on. `beside`: seconds of a training step that were no epoch's.
    """

    seconds: float
    per_pixel: float | None = None
    images: int = 0
    beside: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """A step that is running or to come.

    Attributes:
        schedule: of a training step, "" of others. `curves`: its run so far, None before it has begun.
        stage: ``pretrain`` or ``train``, "" of others. `last`: it ends after the running epoch.
        elapsed: seconds a step that trains nothing has been running, as its worker counts them.
    """

    name: str
    stage: str = ""
    schedule: str = ""
    curves: Curves | None = None
    last: bool = False
    elapsed: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Share done in [0, 1] and seconds to go (at least 0); None where they cannot be told."""

    progress: float | None = None
    eta_seconds: float | None = None


def estimate(ahead: Sequence[Ahead], *, spent: float, images: int, paces: Mapping[str, Pace]) -> Estimate:
    """Estimate for the steps of a job that are not done: training that cannot be judged makes it unknown, a step
    beside it of which nothing is known counts for nothing.

    Args:
        spent: seconds that the steps done and the running one have taken so far.
        images: training images, 0 if not known. `paces`: step name, or stage, -> what its like took.
    """
    each = [left_of(step, images, paces) for step in ahead]
    known = [seconds for seconds in each if seconds is not None]
    if not known or any(step.stage and seconds is None for step, seconds in zip(ahead, each, strict=True)):
        return Estimate()
    total, whole = sum(known), spent + sum(known)
    if not 0 <= total <= LONGEST or spent < 0:
        return Estimate()
    return Estimate(progress=spent / whole if whole > 0 else None, eta_seconds=total)


def left_of(step: Ahead, images: int, paces: Mapping[str, Pace]) -> float | None:
    """Seconds that a step still takes; None if that cannot be told."""
    known = paces.get(step.name) or paces.get(step.stage or f"dry {step.name}")
    if not step.stage:
        return max(0.0, known.seconds - step.elapsed) if known else None
    curves = step.curves
    if curves and (curves.finished or (curves.epochs and curves.epoch >= curves.epochs)):
        return 0.0
    begun = curves.epoch if curves else 0
    left = _left(_phases(step.schedule), begun)[:1 if step.last else None]
    measured = per_size(curves.took.values()) if curves else {}
    if measured:
        return sum(_scaled(measured, size) for size in left)
    if known is None or known.per_pixel is None:
        return None
    return known.beside + sum(known.per_pixel * (images or known.images) * size * size for size in left)


def _phases(schedule: str) -> tuple[Phase, ...]:
    try:
        return parse_schedule(schedule)
    except DermdemoError:
        return ()


def _left(phases: Iterable[Phase], begun: int) -> list[int]:
    """Sizes of the epochs to come."""
    return [p.size for p in phases for _ in range(p.epochs)][begun:]


def per_size(took: Iterable[Took]) -> dict[int, float]:
    """Size in pixels -> seconds an epoch takes: the median of the last few."""
    found: dict[int, list[float]] = {}
    for t in sorted(took, key=lambda t: t.epoch):
        if t.size > 0:
            found.setdefault(t.size, []).append(t.seconds)
    return {size: statistics.median(seconds[-RECENT:]) for size, seconds in found.items()}


def _scaled(measured: Mapping[int, float], size: int) -> float:
    """Seconds an epoch takes at a size: as measured there, else by the pixels of the nearest size."""
    if size in measured:
        return measured[size]
    nearest = min(measured, key=lambda s: abs(s - size))
    return measured[nearest] * (size / nearest) ** 2


def pace(curves: Curves | None, seconds: float | None) -> Pace | None:
    """What a finished step took; None where it did not say."""
    if curves is None or not curves.took:
        return None if seconds is None else Pace(seconds=seconds)
    spent = sum(t.seconds for t in curves.took.values())
    pixels = sum(t.size * t.size for t in curves.took.values()) * curves.images
    return Pace(seconds=max(spent, seconds or 0.0), per_pixel=spent / pixels if pixels else None,
                images=curves.images, beside=max(0.0, (seconds or 0.0) - spent))
