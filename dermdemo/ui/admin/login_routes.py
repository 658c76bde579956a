"""Routes of the administrator's login: in, out, and how long the session lasts."""

from __future__ import annotations

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from dermdemo.ui.admin.access import Actor, Reader
from dermdemo.ui.admin.door import LoginError, check_way
from dermdemo.ui.admin.sessions import Session, Sessions
from dermdemo.ui.admin.site import site_of
from dermdemo.ui.admin.transport import drop_cookie, set_cookie
from dermdemo.ui.wording import access as words

MAX_NAME = 80
router = APIRouter()


@router.post("/administration/login")
async def login(request: Request) -> Response:
    """A name for the audit log and the password, in exchange for a session."""
    site = site_of(request)
    check_way(request, site.settings)
    who, password = _credentials(await request.body())
    opened = await site.door.enter(request, who, password)
    answer = JSONResponse(_described(opened.session, site.sessions))
    set_cookie(answer, request, "admin", opened.token)
    return answer


@router.post("/administration/logout")
async def logout(request: Request, admin: Actor) -> Response:
    """End the session."""
    await site_of(request).door.leave(request)
    answer = JSONResponse({"who": admin.who})
    drop_cookie(answer, request, "admin")
    return answer


@router.get("/administration/api/session")
def session(request: Request, admin: Reader) -> dict[str, Any]:
    """Whose session this is, its CSRF token, and when it ends."""
    site = site_of(request)
    found = site.door.session(request, use=False)
    if found is None:
        raise LoginError(words.NO_SESSION, status=401)
    return _described(found, site.sessions)


def _described(found: Session, sessions: Sessions) -> dict[str, Any]:
    idle, ends = sessions.seconds_left(found)
    return {"who": found.who, "csrf": found.csrf, "idle_seconds": round(idle), "ends_in_seconds": round(ends)}


def _credentials(body: bytes) -> tuple[str, str]:
    """Name and password. Raises LoginError, which never repeats what was sent."""
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise LoginError(words.BAD_LOGIN, status=400) from None
    if not isinstance(given, dict) or not isinstance(given.get("password"), str):
        raise LoginError(words.BAD_LOGIN, status=400)
    name = given.get("name")
    who = name.strip() if isinstance(name, str) else ""
    if not 1 <= len(who) <= MAX_NAME or not who.isprintable():
        raise LoginError(words.BAD_NAME, status=400)
    return who, given["password"]
