"""Who may read and who may act: the dependencies that every handler of administration names in its own signature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Request

from dermdemo.ui.admin.site import site_of
from dermdemo.ui.admin.transport import came_from_here
from dermdemo.ui.wording import access as words

CSRF_HEADER = "X-CSRF-Token"
BACKGROUND_HEADER = "X-Background"  # "1": a page that polls, which is nobody's use of it


@dataclass(frozen=True, kw_only=True)
class Admin:
    """An administrator with a session.

    Attributes:
        who: the name given at the login. `session`: names the session, and opens nothing.
    """

    who: str
    session: str


def reading(request: Request) -> Admin:
    """The administrator who may read.

    Raises:
        HTTPException: 401 without a session, 403 from a page of another site.
    """
    use = request.headers.get(BACKGROUND_HEADER) != "1"
    session = site_of(request).door.session(request, use=use and came_from_here(request, acts=False))
    if session is None:
        raise HTTPException(401, words.NO_SESSION)
    if not came_from_here(request, acts=False):
        raise HTTPException(403, words.CROSS_SITE)
    return Admin(who=session.who, session=session.id)


def acting(request: Request) -> Admin:
    """The administrator who may act: with the CSRF token of the same session, from a page of this server.

    Raises:
        HTTPException: 401 without a session, 403 otherwise.
    """
    door = site_of(request).door
    session = door.session(request, use=False)
    if session is None:
        raise HTTPException(401, words.NO_SESSION)
    if not came_from_here(request, acts=True):
        raise HTTPException(403, words.CROSS_SITE)
    if not session.is_csrf(request.headers.get(CSRF_HEADER)):
        raise HTTPException(403, words.NO_CSRF)
    if door.session(request) is None:  # ended in between
        raise HTTPException(401, words.NO_SESSION)
    return Admin(who=session.who, session=session.id)


Reader = Annotated[Admin, Depends(reading)]
Actor = Annotated[Admin, Depends(acting)]
