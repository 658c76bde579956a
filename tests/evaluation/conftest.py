"""Scored data of known make for the evaluation tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pytest


class Scored(NamedTuple):
    y: np.ndarray  # (N,)
    logits: np.ndarray  # (N, K)
    probs: np.ndarray  # (N, K)
    groups: np.ndarray  # (N,) str


MakeScored = Callable[..., Scored]


def softmax(z: np.ndarray) -> np.ndarray:
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.fixture(scope="session")
def make_scored() -> MakeScored:
    """Factory: n images of k classes (each class occurs), logits with `signal` on the true class."""

    def make(n: int = 200, k: int = 4, *, signal: float = 1.5, seed: int = 0, per_lesion: int = 2) -> Scored:
        rng = np.random.default_rng(seed)
        n_groups = max(k, n // per_lesion)
        labels = np.concatenate([np.arange(k), rng.integers(0, k, n_groups - k)])  # one class per lesion
        member = np.concatenate([np.arange(n_groups), rng.integers(0, n_groups, n)])[:n]
        y = labels[member]
        logits = rng.normal(size=(n, k))
        logits[np.arange(n), y] += signal
        return Scored(y, logits, softmax(logits), np.array([f"L{g:04d}" for g in member]))

    return make
