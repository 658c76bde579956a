"""Checks that take longer than a request may: each in a thread of its own, asked for by id.

A task goes on when the page that began it is closed, and ends with the server: what it does must be whole or
not at all. Heavy work belongs in a process that the thread waits for, or it keeps the server from answering.
What became of a task is kept for a while, for whoever asks.
"""

from __future__ import annotations

import errno
import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from dermdemo.errors import DermdemoError, JobError

RUNNING, KEPT, KEEP_SECONDS = 4, 100, 3600.0
FULL_DISK = "The disk is full: nothing was done. Free space, then try again."
UNEXPECTED = "Something went wrong that was not foreseen; the server's log has it."

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A task as it is now.

    Attributes:
        what: what it does, in words. `seconds`: how long it has run, or ran.
        result: what it returned, once done. `error`: why it failed, in a sentence.
        problem: the error itself, where it was one of this package's.
    """

    state: Literal["running", "done", "failed"]
    what: str
    seconds: float
    result: Any = None
    error: str | None = None
    problem: DermdemoError | None = None


@dataclass
class _Task:
    what: str
    alone: str
    began: float
    ended: float | None = None
    result: Any = None
    error: str | None = None
    problem: DermdemoError | None = field(default=None, repr=False)


class Tasks:
    """The running and the ended tasks of a server. Thread-safe.

    Args:
        running: at once, at most. `kept`: ended ones, at most. `keep`: seconds that each of those is kept.
    """

    def __init__(self, *, running: int = RUNNING, kept: int = KEPT, keep: float = KEEP_SECONDS,
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._kept, self._keep, self._clock = running, kept, keep, clock
        self._tasks: dict[str, _Task] = {}
        self._lock = threading.Lock()

    def start(self, what: str, work: Callable[[], Any], *, alone: str = "") -> str:
        """Do `work` in a thread; returns the task's id, which cannot be guessed.

        Args:
            alone: name of a kind of which one runs at a time, "" for any number.

        Raises:
            JobError: one of that kind, or as many as may, are running.
        """
        with self._lock:
            self._forget()
            running = [t for t in self._tasks.values() if t.ended is None]
            same = next((t for t in running if alone and t.alone == alone), None)
            if same:
                raise JobError(f"This is being done already ({same.what}): wait for its end.")
            if len(running) >= self._limit:
                raise JobError(f"{len(running)} checks are running; wait for one to end.")
            key, task = secrets.token_hex(16), _Task(what, alone, self._clock())
            self._tasks[key] = task
        threading.Thread(target=self._run, args=(task, work), name=f"task {what}"[:60], daemon=True).start()
        return key

    def running(self, alone: str) -> str | None:
        """Id of the running task of a kind, None if there is none."""
        with self._lock:
            return next((key for key, t in self._tasks.items() if t.alone == alone and t.ended is None), None)

    def get(self, key: str) -> Seen | None:
        """A task; None if there is no such one, or it ended too long ago."""
        with self._lock:
            self._forget()
            t = self._tasks.get(key)
            if t is None:
                return None
            seconds = (self._clock() if t.ended is None else t.ended) - t.began
            if t.ended is None:
                return Seen(state="running", what=t.what, seconds=seconds)
            state: Literal["done", "failed"] = "done" if t.error is None else "failed"
            return Seen(state=state, what=t.what, seconds=seconds, result=t.result, error=t.error, problem=t.problem)

    def _forget(self) -> None:
        """Drop what ended too long ago, and the oldest of what is too many."""
        ended = sorted((t.ended, key) for key, t in self._tasks.items() if t.ended is not None)
        too_many = len(ended) - self._kept
        for place, (when, key) in enumerate(ended):
            if place < too_many or self._clock() - when > self._keep:
                del self._tasks[key]

    def _run(self, task: _Task, work: Callable[[], Any]) -> None:
        result, error, problem = None, None, None
        try:
            result = work()
        except DermdemoError as raised:
            error, problem = str(raised), raised
        except Exception as raised:  # the end of a thread: nobody above could say it
            full = isinstance(raised, OSError) and raised.errno in (errno.ENOSPC, errno.EDQUOT)
            error = FULL_DISK if full else UNEXPECTED
            log.exception("%s failed", task.what)
        with self._lock:
            task.result, task.error, task.problem, task.ended = result, error, problem, self._clock()
