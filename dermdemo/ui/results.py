"""Results of visitors: in memory only, each under a key that nobody can guess, for a while.

A page keeps the key, never the result: every tab draws from the one analysis, and nothing is computed or
stored twice. What is dropped (page closed, too old, too many) is gone; nothing of it is on disk.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")

KEEP_SECONDS = 3600.0
KEEP_RESULTS = 2000  # about 150 kB each at 64 px


class Results(Generic[T]):
    """A bounded store of values by key. Thread-safe.

    Args:
        seconds: age since the last use at which a result is dropped.
        limit: results kept at most; the one unused for longest goes first.
        clock: monotonic time in seconds.
    """

    def __init__(self, *, seconds: float = KEEP_SECONDS, limit: int = KEEP_RESULTS,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._limit, self._clock = seconds, limit, clock
        self._kept: OrderedDict[str, tuple[float, T]] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, value: T) -> str:
        """Keep one value; returns its key."""
        key = secrets.token_urlsafe(24)
        with self._lock:
            self._kept[key] = (self._clock(), value)
            self._tidy()
        return key

    def get(self, key: str | None) -> T | None:
        """The value of a key, or None if there is none (any more)."""
        if not key:
            return None
        with self._lock:
            self._tidy()
            found = self._kept.get(key)
            if found is None:
                return None
            self._kept[key] = (self._clock(), found[1])
            self._kept.move_to_end(key)
            return found[1]

    def drop(self, keys: str | Sequence[str] | None) -> None:
        """Forget one key or several; unknown ones are no error."""
        with self._lock:
            for key in [keys] if isinstance(keys, str) else keys or ():
                self._kept.pop(key, None)

    def _tidy(self) -> None:
        oldest = self._clock() - self._seconds
        while self._kept:
            key, (used, _) = next(iter(self._kept.items()))
            if used >= oldest and len(self._kept) <= self._limit:
                return
            del self._kept[key]
