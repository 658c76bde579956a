"""Learning rate and beta as functions of progress; nothing here keeps state."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dermdemo.config import Warmup


def cosine_lr(epoch: float, *, epochs: int, warmup: float, floor: float = 0.01) -> float:
    """Multiplier of the base learning rate at fractional `epoch`: linear warm-up, then cosine to `floor`."""
    warmup = min(warmup, epochs / 2)
    if epoch < warmup:
        return min(max((epoch + 1e-8) / warmup, 1e-3), 1.0)
    progress = min((epoch - warmup) / max(epochs - warmup, 1e-8), 1.0)
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def phased_lr(epoch: float, *, phases: Sequence[int], warmup: float, restart: float) -> float:
    """`cosine_lr` over phases of so many epochs each, one curve over all of them if `restart` is 0.

    Otherwise each phase has a warm-up and a cosine of its own: the first from the base learning rate, those after
    it from `restart` times that.
    """
    if restart == 0:
        return cosine_lr(epoch, epochs=sum(phases), warmup=warmup)
    start, first = 0, True
    for epochs in phases[:-1]:
        if epoch < start + epochs:
            break
        start, first = start + epochs, False
    else:
        epochs = phases[-1]
    return (1.0 if first else restart) * cosine_lr(epoch - start, epochs=epochs, warmup=warmup)


def kl_beta(epoch: float, *, epochs: int, beta: float, warmup: Warmup, fraction: float, cycles: int) -> float:
    """Weight of the KL term at fractional `epoch`.

    ``none``: beta throughout. ``linear``: 0 to beta over the first `fraction` of training.
    ``cyclical``: `cycles` ramps, each rising over `fraction` of its cycle (Fu et al. 2019).
    """
    if warmup == "none":
        return beta
    progress = epoch / epochs
    if warmup == "cyclical":
        progress = (progress * cycles) % 1.0 if progress < 1 else 1.0
    return beta * min(progress / fraction, 1.0)



def clock(seconds: float) -> str:
    """``2 h 05 min``, ``12 min``, ``40 s``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60:02d} min"
