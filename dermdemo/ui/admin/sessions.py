"""Sessions: who is logged in, and for how much longer. In memory only: a restart logs everybody out.

A browser holds a random token of 256 bits; the server keeps its SHA-256 alone, so that a dump of the memory or a
log of the keys opens nothing. Every session has a CSRF token, a time without use and a time in all after which it
ends, and the stamp of the credential it was opened with: it ends when the password changes or goes. Time is the
machine's uptime, which no change of the wall clock touches and which goes on while the machine sleeps.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

IDLE_SECONDS, TOTAL_SECONDS = 30 * 60.0, 8 * 3600.0
MAX_SESSIONS = 64
TOKEN_BYTES = 32
_UPTIME = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def uptime() -> float:
    """Seconds since the machine was started, asleep or not."""
    return time.clock_gettime(_UPTIME)


@dataclass(frozen=True, kw_only=True)
class Session:
    """One login.

    Attributes:
        id: names the session where its token must not be seen; opens nothing.
        stamp: of the credential it was opened with.
        opened, used: by the clock of its `Sessions`, in seconds.
    """

    id: str
    who: str
    csrf: str
    stamp: str
    opened: float
    used: float

    def is_csrf(self, given: str | None) -> bool:
        """Whether this is the session's CSRF token, in a time that tells nothing."""
        return given is not None and hmac.compare_digest(given.encode("utf-8", "replace"), self.csrf.encode())


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A session and the token that opens it, which is known only here and to the browser."""

    token: str
    session: Session


class Sessions:
    """All sessions of one login. Thread-safe.

    Args:
        idle, total: seconds without use, and in all, after which a session ends.
        most: sessions kept; one more ends the one that was used least recently.
    """

    def __init__(self, *, idle: float = IDLE_SECONDS, total: float = TOTAL_SECONDS, most: int = MAX_SESSIONS,
                 clock: Callable[[], float] = uptime) -> None:
        self.idle, self.total, self.most = idle, total, most
        self._clock, self._lock = clock, threading.Lock()
        self._known: dict[bytes, Session] = {}

    def __len__(self) -> int:
        return len(self._known)

    def open(self, who: str, stamp: str) -> Opened:
        """A new session, with a token and a CSRF token that nobody has seen before."""
        token, now = secrets.token_urlsafe(TOKEN_BYTES), self._clock()
        session = Session(id=secrets.token_hex(8), who=who, csrf=secrets.token_urlsafe(TOKEN_BYTES), stamp=stamp,
                          opened=now, used=now)
        with self._lock:
            self._known = {k: s for k, s in self._known.items() if self._seconds(s, now) > 0 and s.stamp == stamp}
            while len(self._known) >= self.most:
                self._known.pop(min(self._known, key=lambda k: self._known[k].used))
            self._known[_key(token)] = session
        return Opened(token=token, session=session)

    def find(self, token: str | None, stamp: str | None, *, use: bool = True) -> Session | None:
        """The session of a token, if it has not ended; one that has is forgotten.

        Args:
            stamp: of the credential as it is now; None where there is none, which ends every session.
            use: count this as use, which puts the end without use off.
        """
        if not token:
            return None
        key, now = _key(token), self._clock()
        with self._lock:
            found = self._known.get(key)
            if found is None:
                return None
            if stamp is None or found.stamp != stamp or self._seconds(found, now) <= 0:
                del self._known[key]
                return None
            if use:
                found = self._known[key] = replace(found, used=now)
            return found

    def seconds_left(self, session: Session) -> tuple[float, float]:
        """Seconds until a session ends without use, and until it ends in any case."""
        now = self._clock()
        ends = max(0.0, session.opened + self.total - now)
        return min(max(0.0, session.used + self.idle - now), ends), ends

    def close(self, token: str | None) -> bool:
        """Log out. Returns whether there was such a session."""
        with self._lock:
            return bool(token) and self._known.pop(_key(token or ""), None) is not None

    def _seconds(self, session: Session, now: float) -> float:
        return min(session.used + self.idle, session.opened + self.total) - now


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
