"""A small server that serves the administration page and canned answers, and remembers what it was asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse
from PIL import Image

import dermdemo.ui
from dermdemo.ui.admin.page_files import read_page
from dermdemo.ui.server import plotly_script
from tests.ui.admin import canned_answers as answers
from tests.ui.conftest import free_port

UI = Path(dermdemo.ui.__file__).parent
COOKIE, PASSWORD = "dermdemo-test", "a long password"
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
          "font-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'")
API = "/administration/api"


@dataclass
class Canned:
    """State of the server; tests change it while the page is open.

    Attributes:
        asked: method, path, headers and JSON body of every request to the API.
        refuse: path -> (status, body) to answer instead.
        away: every API request is answered 503.
        cost_task: task that measures what a launch costs, while it is not known.
    """

    address: str = ""
    who: str = "Ada"
    token: str = "token-1"
    logged_in: bool = True
    ends_at: str = ""  # path of the request at which the session is found to have ended
    away: bool = False
    locked: bool = False
    idle: int = 1800
    overview: dict[str, Any] = field(default_factory=answers.overview)
    job: dict[str, Any] = field(default_factory=answers.job)
    version: dict[str, Any] = field(default_factory=answers.version)
    log: bytes = b""
    task: dict[str, Any] = field(default_factory=dict)
    cost_task: str | None = None
    refuse: dict[str, tuple[int, dict[str, Any]]] = field(default_factory=dict)
    asked: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)

    def posts(self, path: str) -> list[tuple[dict[str, str], Any]]:
        """Headers and bodies of the POST requests to a path below the API."""
        return [(headers, body) for method, p, headers, body in self.asked if (method, p) == ("POST", API + path)]

    def session(self) -> dict[str, Any]:
        return {"who": self.who, "csrf": self.token, "idle_seconds": self.idle, "ends_in_seconds": 28_800}

    def read_log(self, after: int) -> dict[str, Any]:
        start, end = min(after, len(self.log)), self.log.rfind(b"\n") + 1
        return {"step": "stage I", "text": self.log[start:end].decode(), "start": start, "end": end,
                "size": len(self.log), "unfinished": self.log[end:].decode()}


def picture() -> bytes:
    buffer = BytesIO()
    Image.new("RGB", (256, 64), (180, 120, 90)).save(buffer, format="PNG")
    return buffer.getvalue()


def create(canned: Canned) -> FastAPI:
    """The app: assets and pages as they are in the package, the API from `canned`."""
    app = FastAPI(openapi_url=None)
    _pages(app, canned)
    _log_in(app, canned)

    @app.middleware("http")
    async def gate(request: Request, call_next: Any) -> Response:
        path, answer = request.url.path, None
        if path.startswith(API):
            kind = request.headers.get("content-type", "")
            body = await request.json() if kind == "application/json" else None
            canned.asked.append((request.method, path, dict(request.headers), body))
            answer = _refusal(canned, request)
        answer = answer or await call_next(request)
        answer.headers.update({"Content-Security-Policy": POLICY, "Cache-Control": "no-store"})
        return answer

    _reads(app, canned)
    _changes(app, canned)
    return app


def _refusal(canned: Canned, request: Request) -> Response | None:
    """Away, without a session, without the token, or refused by the test."""
    if canned.away:
        return Response(status_code=503)
    if canned.ends_at and request.url.path == API + canned.ends_at:
        canned.logged_in, canned.ends_at = False, ""
    if not canned.logged_in or request.cookies.get(COOKIE) != canned.token:
        return JSONResponse({"error": "Your session has ended."}, 401)
    if request.method == "POST" and request.headers.get("x-csrf-token") != canned.token:
        return JSONResponse({"error": "The request did not come from the page."}, 403)
    status, body = canned.refuse.get(request.url.path.removeprefix(API), (0, {}))
    return JSONResponse(body, status) if status else None


def _pages(app: FastAPI, canned: Canned) -> None:
    @app.get("/administration")
    def page(request: Request) -> HTMLResponse:
        inside = canned.logged_in and request.cookies.get(COOKIE) == canned.token
        return HTMLResponse(read_page("workspace" if inside else "login"))

    @app.get("/dermdemo/plotly.min.js")
    def plotly() -> FileResponse:
        return FileResponse(plotly_script(), media_type="text/javascript")

    @app.get("/dermdemo/admin/{name}")
    def asset(name: str) -> FileResponse:
        kind = "text/css" if name.endswith(".css") else "text/javascript"
        return FileResponse(UI / "static" / "admin" / name, media_type=kind, headers={"Cache-Control": "no-cache"})

    @app.get("/")
    def front() -> Response:
        return Response("the app", media_type="text/plain")


def _log_in(app: FastAPI, canned: Canned) -> None:
    @app.post("/administration/login")
    async def login(request: Request) -> Response:
        body = await request.json()
        if canned.locked:
            return JSONResponse({"error": "Locked."}, 429, headers={"Retry-After": "95"})
        if body["password"] != PASSWORD:
            return JSONResponse({"error": "That is not the password."}, 401)
        canned.who, canned.token, canned.logged_in = body["name"], canned.token + "x", True
        answer = JSONResponse(canned.session())
        answer.set_cookie(COOKIE, canned.token, httponly=True, samesite="strict")
        return answer

    @app.post("/administration/logout")
    def logout() -> dict[str, Any]:
        canned.logged_in = False
        return {}


def _reads(app: FastAPI, canned: Canned) -> None:
    for path, of in {"/session": lambda: canned.session(), "/overview": lambda: canned.overview,
                     "/data/folders": answers.folders, "/launch": answers.launch, "/data/d0001": answers.data_detail,
                     "/jobs/0002": lambda: canned.job, "/versions/1": lambda: canned.version,
                     "/tasks/t1": lambda: canned.task}.items():  # fmt: skip
        app.get(API + path)(of)

    @app.get(API + "/jobs/{job}/log")
    def log(job: str, step: str, after: int) -> dict[str, Any]:
        return canned.read_log(after)

    @app.get(API + "/jobs/{job}/grid")
    def grid(job: str, run: str, epoch: int) -> Response:
        return Response(picture(), media_type="image/png")

    @app.get(API + "/audit")
    def audit(before: int | None = None, limit: int = 100) -> dict[str, Any]:
        return answers.audit(before)


def _changes(app: FastAPI, canned: Canned) -> None:
    @app.post(API + "/launch/check")
    async def check(request: Request) -> Response:
        body = await request.json()
        if body["knobs"].get("train.lr") == "0":
            return JSONResponse({"error": "lr must be above 0, not 0.0.", "kind": "ConfigError"}, 400)
        return JSONResponse(answers.launch_plan(body, canned.cost_task))

    app.post(API + "/launch")(lambda: {"id": "0002"})
    app.post(API + "/data/register")(lambda: {"task": "t1"})

    @app.post(API + "/data/upload")
    async def upload(request: Request) -> dict[str, Any]:
        return {"upload": "u1", "name": request.headers["x-file-name"], "bytes": len(await request.body())}

    @app.post(API + "/jobs/{job}/{action}")
    def act(job: str, action: str) -> dict[str, Any]:
        return {"id": "0002"} if action == "repeat" else canned.job

    @app.post(API + "/versions/{number}/{action}")
    def decide(number: int, action: str) -> dict[str, Any]:
        canned.overview["serving"] = {"number": number, "sha256": "1" * 64, "problem": None}
        canned.overview["versions"][1].update(standing="live", actions=[])
        return dict(canned.overview["versions"][1])


@contextmanager
def serving(canned: Canned) -> Iterator[Canned]:
    """The server on a free port of this machine, in a thread."""
    port = free_port()
    config = uvicorn.Config(create(canned), host="127.0.0.1", port=port, log_level="warning", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.02)
    canned.address = f"http://127.0.0.1:{port}"
    try:
        yield canned
    finally:
        server.should_exit = True
        thread.join(10)
