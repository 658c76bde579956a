"""ASGI middleware of administration and logins: headers that its answers carry, and how much a request may send.

FastAPI reads a body before it asks who sent it, so the bound is here, before any handler.
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dermdemo.ui.admin.answers import is_ours
from dermdemo.ui.wording import access as words

LOGIN, LOGOUT = "/login", "/logout"  # the visitors'
MAX_BODY = 256 * 1024  # bytes
STREAMED = frozenset({"/administration/api/data/upload"})  # reads its body itself, once it knows whose it is
POLICY = "; ".join([
    "default-src 'none'", "script-src 'self'", "style-src 'self' 'unsafe-inline'", "img-src 'self' data: blob:",
    "font-src 'self'", "connect-src 'self'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'",
])  # fmt: skip  # plotly.js sets styles of its own; it needs neither inline scripts nor eval for what is drawn here
HEADERS = {
    "Content-Security-Policy": POLICY, "X-Frame-Options": "DENY", "Cache-Control": "no-store",
    "Referrer-Policy": "same-origin",  # with no-referrer a form's Origin would be "null"
    "Cross-Origin-Resource-Policy": "same-origin",
}  # fmt: skip


class AdminGuard:
    """Stricter headers on every answer, and a bound on every body, below administration and at the logins."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not (is_ours(scope["path"]) or scope["path"] in (LOGIN, LOGOUT)):
            await self.app(scope, receive, send)
            return

        async def strict(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        if scope["path"] not in STREAMED and scope["method"] not in ("GET", "HEAD"):
            body = await _read(Headers(scope=scope), receive)
            if body is None:
                said = {"error": words.TOO_BIG.format(limit=MAX_BODY), "kind": "RequestError"}
                await JSONResponse(said, status_code=413, headers={"Connection": "close"})(scope, receive, strict)
                return
            receive = _replayed(body, receive)
        await self.app(scope, receive, strict)


async def _read(headers: Headers, receive: Receive) -> Message | None:
    """The whole body as one message, or the news that the client has gone; None if it is too big."""
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MAX_BODY:
        return None
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return message
        body += message.get("body", b"")
        if len(body) > MAX_BODY:
            return None
        if not message.get("more_body", False):
            return {"type": "http.request", "body": body, "more_body": False}


def _replayed(first: Message, receive: Receive) -> Receive:
    left = [first]

    async def next_message() -> Message:
        return left.pop() if left else await receive()

    return next_message
