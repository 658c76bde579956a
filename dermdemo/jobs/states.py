"""The state of a job, derived: from its events, from whether its worker is alive, and from how long it was missed.

Durations are the observer's own, by a clock that neither jumps nor counts suspended hours; wall-clock times in
events are shown to people and decide nothing.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path

from dermdemo.jobs.records import ACTIVE, History, State

START_GRACE = 120.0  # seconds that a launched worker may take to say that it has begun
GONE_GRACE = 30.0  # seconds that a Slurm job may be missing from the queue before its end is written
HUNG_AFTER = 900.0  # seconds without a new heartbeat after which a worker counts as hung
BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Seconds of this boot of this machine."""

    seconds: float
    boot: str

    @classmethod
    def now(cls) -> Clock:
        boot = BOOT.read_text().strip() if BOOT.exists() else ""
        return cls(seconds=time.monotonic(), boot=boot)

    def since(self, seconds: float, boot: str) -> float:
        """Seconds since a moment of `boot`; of another boot only that since this one began is known."""
        return max(0.0, self.seconds - seconds) if boot == self.boot else self.seconds


@dataclass(frozen=True, kw_only=True)
class Watch:
    """What an observer remembers of a job between looks.

    Attributes:
        missing: when its worker was first not found, None while it is.
        beat, beat_at: the last heartbeat seen, and when it was first seen.
        boot: the boot that the moments belong to.
    """

    attempt: int = 0
    missing: float | None = None
    beat: int = -1
    beat_at: float = 0.0
    boot: str = ""


@dataclass(frozen=True, kw_only=True)
class Look:
    """One look at a job: `alive` is None where that cannot be told (the cluster does not answer)."""

    alive: bool | None
    beat: int = -1
    stop: bool = False
    cancel: bool = False
    lock_is_proof: bool = True


@dataclass(frozen=True, kw_only=True)
class Judged:
    """The state; `write` is an end to be written ("lost" or "cancelled"), `kill` a worker to be ended first."""

    state: State
    watch: Watch
    write: str = ""
    reason: str = ""
    kill: bool = False


def judge(h: History, look: Look, watch: Watch, now: Clock) -> Judged:
    """State of a job; total: every history and look has one, and none lasts for ever without a living worker."""
    watch = _remember(h, look, watch, now)
    if h.end:
        return Judged(state=h.end, watch=watch)  # type: ignore[arg-type]
    if not h.launching:
        if look.cancel:
            return Judged(state="cancelled", watch=watch, write="cancelled", reason="Cancelled before it began.")
        return Judged(state="queued", watch=watch)
    stopping = look.cancel or (look.stop and not h.stopped)
    active: State = ACTIVE[1] if stopping else ACTIVE[0]  # type: ignore[assignment]
    if not look.alive and watch.missing is not None:
        missed = now.since(watch.missing, watch.boot)
        if missed >= _grace(h, look):
            end = "cancelled" if look.cancel else "lost"
            return Judged(state=end, watch=watch, write=end, reason=_why(h))  # type: ignore[arg-type]
    elif look.alive and h.worker and now.since(watch.beat_at, watch.boot) >= HUNG_AFTER:
        reason = f"The worker is there but has not moved for {HUNG_AFTER / 60:.0f} minutes; it was ended."
        return Judged(state="lost", watch=watch, write="lost", reason=reason, kill=True)
    return Judged(state=active, watch=watch)


def _remember(h: History, look: Look, watch: Watch, now: Clock) -> Watch:
    if (watch.attempt, watch.boot) != (h.attempt, now.boot):
        watch = Watch(attempt=h.attempt, boot=now.boot, beat_at=now.seconds)
    if look.alive is False or (look.alive is None and look.cancel):  # who cancels need not wait for the cluster
        watch = replace(watch, missing=now.seconds if watch.missing is None else watch.missing)
    else:
        watch = replace(watch, missing=None)
    if look.beat != watch.beat or not look.alive:
        watch = replace(watch, beat=look.beat, beat_at=now.seconds)
    return watch


def _grace(h: History, look: Look) -> float:
    if not h.worker:
        return START_GRACE
    return 0.0 if look.lock_is_proof and look.alive is False else GONE_GRACE


def _why(h: History) -> str:
    if not h.worker:
        return "It was launched and never began; its folder's logs may say why. Retry it."
    where = f" during '{h.step}'" if h.step else ""
    return f"Its worker ended without a word{where} (killed, out of memory, or the machine went down). Resume it."
