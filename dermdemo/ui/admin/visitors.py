"""The visitors' login: where a password is set for them, no page, upload or answer without a session.

Pure ASGI, so that streams pass through as they come. A browser that asks for a page is sent to the login; all else
gets 401, a web socket is refused. An administrator's session opens the pages too, but using them does not keep it.
"""

from __future__ import annotations

import html
from urllib.parse import parse_qs

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

from dermdemo.ui.admin.answers import PAGE
from dermdemo.ui.admin.door import Door, LoginError, check_way
from dermdemo.ui.admin.guard import LOGIN, LOGOUT
from dermdemo.ui.admin.page_files import read_page
from dermdemo.ui.admin.site import AdminSite
from dermdemo.ui.admin.transport import drop_cookie, set_cookie
from dermdemo.ui.known_map import ASSETS
from dermdemo.ui.wording import access as words

OPEN = frozenset({LOGIN, LOGOUT, PAGE, f"{PAGE}/login", f"{PAGE}/logout"})
OPEN_FOLDER = f"{ASSETS}/admin"  # scripts and styles of the login pages


class VisitorsOnly:
    """Asks for a session wherever the app has a visitors' login; without one everything passes."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        door = _door(scope["app"]) if scope["type"] in ("http", "websocket") else None
        if door is None or is_open(scope["path"]):
            await self.app(scope, receive, send)
        elif _is_known(HTTPConnection(scope), door):
            await self.app(scope, receive, _private(send))
        elif scope["type"] == "websocket":
            await WebSocketClose(1008, words.NO_SESSION)(scope, receive, send)
        else:
            await _turned_away(HTTPConnection(scope))(scope, receive, send)


def is_open(path: str) -> bool:
    """Whether a path is needed to log in, and so is there for everybody."""
    return path in OPEN or path.rpartition("/")[0] == OPEN_FOLDER


def add_visitor_routes(app: FastAPI) -> None:
    """The visitors' login page; 404 on a server that asks them for nothing."""

    @app.get(LOGIN)
    def visitors_page(request: Request) -> Response:
        return HTMLResponse(_page(inside=_required(request).session(request) is not None))

    @app.post(LOGIN)
    async def visitors_login(request: Request) -> Response:
        door = _required(request)
        try:
            check_way(request, door.settings)
            opened = await door.enter(request, "visitor", _password(await request.body()))
        except LoginError as error:
            headers = {"Retry-After": str(error.seconds)} if error.seconds else None
            return HTMLResponse(_page(said=str(error)), status_code=error.status, headers=headers)
        answer = RedirectResponse("/", 303)
        set_cookie(answer, request, "visitor", opened.token)
        return answer

    @app.post(LOGOUT)
    async def visitors_logout(request: Request) -> Response:
        door = _required(request)
        check_way(request, door.settings)
        await door.leave(request)
        answer = RedirectResponse(LOGIN, 303)
        drop_cookie(answer, request, "visitor")
        return answer


def _private(send: Send) -> Send:
    """What everybody's cache might keep on an open server is for the visitor's own browser alone on this one."""
    async def kept(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            if "public" in headers.get("cache-control", ""):
                headers["Cache-Control"] = headers["Cache-Control"].replace("public", "private")
        await send(message)

    return kept


def _door(app: FastAPI) -> Door | None:
    door = getattr(app.state, "visitors", None)
    return door if isinstance(door, Door) else None


def _required(request: Request) -> Door:
    door = _door(request.app)
    if door is None:
        raise HTTPException(404)
    return door


def _is_known(conn: HTTPConnection, door: Door) -> bool:
    if door.session(conn) is not None:
        return True
    site = getattr(conn.app.state, "admin", None)
    return isinstance(site, AdminSite) and site.door.session(conn, use=False) is not None


def _turned_away(conn: HTTPConnection) -> Response:
    """The way to the login for a browser, and for the container's health check, which asks for `/`; else 401."""
    page = conn.scope["path"] == "/" or "text/html" in conn.headers.get("accept", "")
    headers = {"Cache-Control": "no-store"}
    if page and conn.scope["method"] in ("GET", "HEAD"):
        return RedirectResponse(LOGIN, 303, headers=headers)
    return JSONResponse({"error": words.NO_SESSION, "kind": "HTTPException"}, status_code=401, headers=headers)


def _password(body: bytes) -> str:
    try:
        fields = parse_qs(body.decode(), keep_blank_values=True, max_num_fields=8)
    except (ValueError, UnicodeDecodeError):
        return ""
    return fields.get("password", [""])[0]


def _page(*, inside: bool = False, said: str = "") -> str:
    """The page as HTML: the form, or, for those who are in, the way on and out."""
    page = read_page("visitor").replace("{state}", "inside" if inside else "outside")
    return page.replace("{said}", html.escape(said))
