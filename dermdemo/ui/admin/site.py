"""What the routes of one server share: the parts of retraining, the models being served, the login."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from fastapi import HTTPException, Request

from dermdemo.config import Environment
from dermdemo.jobs.credential import configured, present
from dermdemo.jobs.registry import Registry, Version, registry
from dermdemo.jobs.retrain import Retraining, retraining
from dermdemo.ui.admin.door import VISITOR_IDLE, VISITOR_SESSIONS, VISITOR_TOTAL, Door
from dermdemo.ui.admin.sessions import Sessions
from dermdemo.ui.admin.tasks import Tasks
from dermdemo.ui.wording import access as words


class LiveStatus(Protocol):
    """Which version is served."""

    @property
    def number(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    @property
    def problem(self) -> str | None: ...


class LiveModels(Protocol):
    """The models that the pages serve, and how they are replaced."""

    def switch(self, number: int, action: Literal["promote", "rollback"], who: str) -> Version: ...
    def check(self) -> None: ...
    def status(self) -> LiveStatus: ...


@dataclass(frozen=True, kw_only=True)
class AdminSite:
    """Administration of one server.

    Attributes:
        jobs: launching and watching jobs (`jobs.jobs`), the data sets (`jobs.data`).
        live: the models that are served, and their switch.
        tasks: long checks that run while the page polls.
    """

    settings: Environment
    registry: Registry
    jobs: Retraining
    live: LiveModels
    door: Door
    tasks: Tasks

    @property
    def sessions(self) -> Sessions:
        return self.door.sessions


def site_of(request: Request) -> AdminSite:
    """The site that a request came to. Raises HTTPException 404 where administration is closed."""
    site = getattr(request.app.state, "admin", None)
    if not isinstance(site, AdminSite):
        raise HTTPException(404, words.NOTHING_HERE)
    return site


def open_site(settings: Environment, live: LiveModels) -> AdminSite | None:
    """Administration as the environment describes it; None where no usable password is configured."""
    if not configured(settings):
        return None
    parts = retraining()
    models = parts.data.registry
    return AdminSite(settings=settings, registry=models, jobs=parts, live=live,
                     door=Door("admin", settings, models.log), tasks=Tasks())


def visitors_door(settings: Environment) -> Door | None:
    """The visitors' login; None where no password is asked for. One that cannot be used lets nobody in."""
    if not present(settings, "visitor"):
        return None
    sessions = Sessions(idle=VISITOR_IDLE, total=VISITOR_TOTAL, most=VISITOR_SESSIONS)
    return Door("visitor", settings, registry().log, sessions=sessions)
