"""Attempts to log in: how long a wrong password is waited for, and when nobody is listened to any more.

An attempt counts as failed from its beginning until its password has proved right, so that many at once gain
nothing. After `most` failures an address is locked out, whatever it says next; over all addresses a brake lets
`burst` failures pass, then one in `refill` seconds, so that many addresses gain little more than one. What is kept
is bounded by the brake: no address is remembered that it did not let through.
"""

from __future__ import annotations

import ipaddress
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from dermdemo.ui.admin.sessions import uptime

MOST, LOCK_SECONDS = 5, 15 * 60.0
BURST, REFILL_SECONDS = 20, 30.0
FIRST_DELAY, LONGEST_DELAY = 0.5, 8.0  # seconds; each failure doubles the delay of the one before


class Refused(Exception):
    """An attempt that is not looked at.

    Attributes:
        seconds: after which the next one may be.
        kind: ``locked`` out, ``busy`` with another attempt from there, or ``brake``: too many everywhere.
    """

    def __init__(self, seconds: float, kind: str) -> None:
        super().__init__(kind)
        self.seconds, self.kind = max(1, math.ceil(seconds)), kind


class Failure(NamedTuple):
    """The end of a failed attempt: seconds of a lock-out, 0 without; lock-outs since the last success."""

    locked: float
    lockouts: int


@dataclass
class _Client:
    failures: int = 0
    last: float = 0.0
    busy: bool = False


class Attempts:
    """The failed attempts of one login. Thread-safe.

    Args:
        most: failures of one address until it is locked out; all are forgotten `lock` seconds after the last.
        burst, refill: of the brake over all addresses.
        delay: seconds that the answer to a first failure waits.
    """

    def __init__(self, *, most: int = MOST, lock: float = LOCK_SECONDS, burst: int = BURST,
                 refill: float = REFILL_SECONDS, delay: float = FIRST_DELAY, clock: Callable[[], float] = uptime
                 ) -> None:
        self.most, self.lock, self.burst, self.refill, self.delay = most, lock, burst, refill, delay
        self.failures = self.lockouts = 0  # since the last success
        self._clock, self._mutex = clock, threading.Lock()
        self._clients: dict[str, _Client] = {}
        self._level, self._at = 0.0, clock()  # of the brake: failures not yet forgotten

    def __len__(self) -> int:
        return len(self._clients)

    def begin(self, client: str) -> None:
        """Count an attempt, which must then end in `failed` or `succeeded`.

        Raises:
            Refused: it must not be looked at; nothing was counted.
        """
        with self._mutex:
            now = self._clock()
            self._forget(now)
            known = self._clients.get(client, _Client())
            if known.busy:
                raise Refused(1, "busy")
            if known.failures >= self.most:
                raise Refused(known.last + self.lock - now, "locked")
            if self._level + 1 > self.burst:
                raise Refused((self._level + 1 - self.burst) * self.refill, "brake")
            self._level += 1
            self._clients[client] = _Client(known.failures + 1, now, True)

    def wait(self, client: str) -> float:
        """Seconds that the answer to a client's latest failure waits."""
        with self._mutex:
            known = self._clients.get(client, _Client())
        return min(self.delay * 2.0 ** max(0, known.failures - 1), LONGEST_DELAY) if self.delay else 0.0

    def failed(self, client: str) -> Failure:
        """End an attempt whose password was wrong."""
        with self._mutex:
            known = self._clients[client]
            known.busy, known.last = False, self._clock()
            self.failures += 1
            locked = known.failures >= self.most
            self.lockouts += locked
            return Failure(self.lock if locked else 0.0, self.lockouts)

    def succeeded(self, client: str) -> int:
        """End an attempt whose password was right. Returns the failures of all since the last success."""
        with self._mutex:
            self._clients.pop(client, None)
            self._level = max(0.0, self._level - 1)
            since, self.failures, self.lockouts = self.failures, 0, 0
            return since

    def _forget(self, now: float) -> None:
        self._level, self._at = max(0.0, self._level - (now - self._at) / self.refill), now
        self._clients = {k: c for k, c in self._clients.items() if c.busy or now - c.last < self.lock}


def client_of(host: str | None) -> str:
    """What counts as one client: an IPv4 address, or the IPv6 network of 64 bits that one household gets."""
    try:
        address = ipaddress.ip_address((host or "").split("%")[0])
    except ValueError:
        return "local"  # a socket file has no address
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return str(address.ipv4_mapped)
        return str(address) if address.is_loopback else str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
