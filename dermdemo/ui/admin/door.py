"""A login: one password, the attempts at it, and the sessions it has opened.

There are two, the administrator's and the visitors', which share nothing but this code. Passwords are verified one
at a time in a thread of their own (64 MiB and some 50 ms each), and the delay after a wrong one is slept on the
event loop: neither keeps a page waiting.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool
from starlette.requests import HTTPConnection

from dermdemo.config import Environment
from dermdemo.errors import AuthError, DermdemoError
from dermdemo.jobs import credential
from dermdemo.jobs.audit_log import AuditLog
from dermdemo.jobs.credential import Kind
from dermdemo.ui.admin.attempts import Attempts, Failure, Refused, client_of
from dermdemo.ui.admin.sessions import Opened, Session, Sessions
from dermdemo.ui.admin.transport import came_from_here, is_trusted, token_of
from dermdemo.ui.wording import access as words

VISITOR_IDLE, VISITOR_TOTAL, VISITOR_SESSIONS = 2 * 3600.0, 12 * 3600.0, 4096
NOBODY = "nobody"  # the name in the audit log where nobody has logged in
_VERIFIER = ThreadPoolExecutor(1, thread_name_prefix="argon2")

log = logging.getLogger(__name__)


class LoginError(AuthError):
    """A login that failed.

    Attributes:
        status: of the HTTP answer. `seconds`: after which the next one is looked at, None if at once.
    """

    def __init__(self, message: str, *, status: int, seconds: int | None = None) -> None:
        super().__init__(message)
        self.status, self.seconds = status, seconds


@dataclass(frozen=True)
class Door:
    """One login.

    Attributes:
        log: gets every login of an administrator, and lock-outs; no visitors, who have no names.
    """

    kind: Kind
    settings: Environment
    log: AuditLog
    sessions: Sessions = field(default_factory=Sessions)
    attempts: Attempts = field(default_factory=Attempts)
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep

    def stamp(self) -> str | None:
        """Of the credential as it is now; None where there is no usable one."""
        return credential.stamp(self.settings, self.kind)

    def session(self, conn: HTTPConnection, *, use: bool = True) -> Session | None:
        """The session that a request belongs to. `use` puts its end without use off."""
        token = token_of(conn, self.kind, self.settings)
        return self.sessions.find(token, self.stamp(), use=use) if token else None

    async def enter(self, conn: HTTPConnection, who: str, password: str) -> Opened:
        """Log in: a new session, in place of the one that the request may have come with.

        Raises:
            LoginError: wrong password (after a delay), locked out, closed, or a way that no password may come.
        """
        stamp = self.stamp()
        if stamp is None:
            raise LoginError(words.CLOSED, status=403)
        client = client_of(conn.client.host if conn.client else None)
        try:
            self.attempts.begin(client)
        except Refused as refused:
            raise _refusal(refused) from None
        await self._verify(client, password)
        since = self.attempts.succeeded(client)
        self.sessions.close(token_of(conn, self.kind, self.settings))
        opened = self.sessions.open(who, stamp)
        if self.kind == "admin":
            await run_in_threadpool(self._note, who, "login", {"address": client, "failed_before": since})
        return opened

    async def leave(self, conn: HTTPConnection) -> None:
        """Log out."""
        session = self.session(conn)
        self.sessions.close(token_of(conn, self.kind, self.settings))
        if session and self.kind == "admin":
            await run_in_threadpool(self._note, session.who, "logout", {})

    async def _verify(self, client: str, password: str) -> None:
        """Raises LoginError after a delay unless it is the password; whatever happens, the attempt ends."""
        right = False
        try:
            loop = asyncio.get_running_loop()
            right = await loop.run_in_executor(_VERIFIER, credential.verify, password, self.settings, self.kind)
            if not right:
                await self.sleep(self.attempts.wait(client))
        finally:
            failure = None if right else self.attempts.failed(client)
        if failure is not None:
            await self._refuse(client, failure)

    async def _refuse(self, client: str, failure: Failure) -> None:
        if not failure.locked:
            raise LoginError(words.WRONG, status=401)
        count = failure.lockouts
        if count & (count - 1) == 0:  # the 1st, 2nd, 4th, 8th ...: a flood hardly grows the log
            log.warning("%s is locked out of the %s login (%d lock-outs in a row)", client, self.kind, count)
            details = {"login": self.kind, "address": client, "in_a_row": count}
            await run_in_threadpool(self._note, NOBODY, "lock-out", details)
        raise _refusal(Refused(failure.locked, "locked"))

    def _note(self, who: str, action: str, details: dict[str, object]) -> None:
        """Write to the audit log. A log that cannot be written keeps nobody out: it is how they learn of it."""
        try:
            self.log.append(who=who, action=action, details=details)
        except (DermdemoError, OSError) as error:
            log.error("the %s is not in the audit log: %s", action, error)


def check_way(conn: HTTPConnection, settings: Environment) -> None:
    """Raises LoginError unless a password may come this way, from a page of this server."""
    if not is_trusted(conn, settings):
        raise LoginError(words.PLAIN_HTTP, status=403)
    if not came_from_here(conn, acts=True):
        raise LoginError(words.CROSS_SITE, status=403)


def _refusal(refused: Refused) -> LoginError:
    said = {"busy": words.BUSY, "brake": words.BRAKE, "locked": words.LOCKED}[refused.kind]
    return LoginError(said.format(seconds=refused.seconds, minutes=-(-refused.seconds // 60)), status=429,
                      seconds=refused.seconds)
