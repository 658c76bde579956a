"""The visitors' login: with one, nothing of the app without a session; without one, everything as before."""

from __future__ import annotations

import asyncio
import re
import urllib.request
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import Mount

from dermdemo.config import Environment
from dermdemo.jobs.credential import VISITOR_FILE, set_password
from dermdemo.ui.admin.site import visitors_door
from dermdemo.ui.admin.visitors import VisitorsOnly, is_open
from tests.ui.admin.conftest import CHEAP, PASSWORD, VISITORS, Server
from tests.ui.conftest import jpeg

PAGE = {"Accept": "text/html,application/xhtml+xml", "Sec-Fetch-Mode": "navigate"}
WANTED = ["/config", "/theme.css", "/gradio_api/info", "/gradio_api/queue/data?session_hash=x", "/gradio_api/file=x",
          "/gradio_api/heartbeat/x", "/gradio_api/upload", "/gradio_api/queue/join", "/gradio_api/call/analyse",
          "/gradio_api/run/predict", "/dermdemo/plotly.min.js", "/dermdemo/map/x.json", "/dermdemo/lesion/x/1.png",
          "/dermdemo/admin/../plotly.min.js", "/dermdemo/admin/x/y", "/static/x", "/nothing", "/login/", "//login",
          "/administration/", "/administration/api/session", "/administration/x", "/favicon.ico"]  # fmt: skip


def enter(server: Server, password: str = VISITORS, **headers: str) -> tuple[httpx.Client, httpx.Response]:
    client = server.client()
    return client, client.post("/login", data={"password": password}, headers=headers)


def paths_of(app: FastAPI) -> set[str]:
    """Every address of the app and of what is mounted in it, with something in place of the parameters."""
    found: set[str] = set()
    for route in app.routes:
        inner = route.app.routes if isinstance(route, Mount) else [route]  # type: ignore[attr-defined]
        found |= {re.sub(r"\{[^}]*\}", "x", r.path) for r in inner if getattr(r, "path", None)}
    return found


@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "DELETE"])
def test_nothing_without_a_session(server: Server, method: str) -> None:
    server.ask_visitors()
    for path in {*WANTED, *paths_of(server.app), "/"}:
        if is_open(path):
            continue
        answer = server.bare.request(method, server.address + path)
        expected = 303 if path == "/" and method in ("GET", "HEAD") else 401
        assert answer.status_code == expected, path
        assert "set-cookie" not in answer.headers and answer.headers["cache-control"] == "no-store"


def test_an_upload_is_not_even_read(server: Server, tmp_path: Path) -> None:
    server.ask_visitors()
    answer = server.bare.post(server.address + "/gradio_api/upload", files={"files": ("x.jpg", jpeg("nv", 1))})
    assert answer.status_code == 401


def test_a_browser_is_sent_to_the_login(server: Server) -> None:
    server.ask_visitors()
    client = server.client(headers=PAGE)
    for path in ("/", "/?view=x", "/anything"):
        answer = client.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    page = client.get("/login")
    assert page.status_code == 200 and 'action="/login"' in page.text and 'data-state="outside"' in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"] and "<script" not in page.text


def test_the_health_check_of_the_container_passes(server: Server) -> None:
    server.ask_visitors()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(server.address, timeout=8) as answer:
        assert answer.status == 200


def test_with_the_password_all_is_there(server: Server) -> None:
    server.ask_visitors()
    client, answer = enter(server)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")
    cookie = answer.headers["set-cookie"].lower()
    assert cookie.startswith("dermdemo-visitor=") and "httponly" in cookie and "samesite=strict" in cookie
    assert client.get("/").status_code == 200 and client.get("/config").json()["version"]
    kept = client.get("/dermdemo/plotly.min.js")
    assert kept.status_code == 200 and kept.headers["cache-control"].startswith("private")
    assert 'data-state="inside"' in client.get("/login").text
    assert client.post("/logout").headers["location"] == "/login"
    assert client.get("/config").status_code == 401


def test_what_is_stored_by_others_is_said_only_on_an_open_server(server: Server) -> None:
    assert server.client().get("/dermdemo/plotly.min.js").headers["cache-control"].startswith("public")


def test_visitors_are_no_administrators_but_administrators_may_visit(server: Server) -> None:
    server.ask_visitors()
    visitor, _ = enter(server)
    assert visitor.get("/administration/api/session").status_code == 401
    token = visitor.cookies["dermdemo-visitor"]
    assert server.client(cookies={"dermdemo-admin": token}).get("/config").status_code == 401
    assert enter(server, PASSWORD)[1].status_code == 401
    admin, _ = server.login()
    assert admin.get("/config").status_code == 200
    before = server.site.sessions.find(admin.cookies["dermdemo-admin"], server.site.door.stamp(), use=False)
    server.clock.now += 60
    assert admin.get("/config").status_code == 200  # the pages poll: no use of administration
    after = server.site.sessions.find(admin.cookies["dermdemo-admin"], server.site.door.stamp(), use=False)
    assert before == after


def test_the_login_of_administrators_needs_no_visit(server: Server) -> None:
    server.ask_visitors()
    client = server.client(headers=PAGE)
    assert client.get("/administration").status_code == 200
    assert client.get("/dermdemo/admin/login.js").status_code == 200
    server.login()


def test_wrong_passwords_wait_and_lock_out_on_their_own(server: Server) -> None:
    server.ask_visitors()
    answers = [enter(server, "wrong <b>password</b>")[1] for _ in range(5)]
    assert [a.status_code for a in answers] == [401] * 4 + [429]
    assert 'role="alert"' in answers[0].text and "<b>password" not in answers[0].text
    assert server.delays == [0.5, 1, 2, 4, 8]
    refused = enter(server)[1]
    assert refused.status_code == 429 and refused.headers["retry-after"] == "900"
    server.login()  # the administrator is not locked out with them
    found = [e for e in server.site.registry.log.read() if e.action == "lock-out"][-1]
    assert found.details["login"] == "visitor"
    assert not any(e.who == "visitor" for e in server.site.registry.log.read())


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Origin": "null"},
                                     {"Sec-Fetch-Site": "cross-site"}, {"X-Forwarded-For": "192.0.2.7"}])
def test_no_login_from_elsewhere(server: Server, headers: dict[str, str]) -> None:
    server.ask_visitors()
    client, answer = enter(server, **headers)
    assert answer.status_code == 403 and "set-cookie" not in answer.headers
    assert client.post("/logout", headers=headers).status_code == 403


def test_a_form_without_referrer_is_taken_where_the_browser_vouches_for_it(server: Server) -> None:
    server.ask_visitors()
    assert enter(server, **{"Origin": "null", "Sec-Fetch-Site": "same-origin"})[1].status_code == 303


@pytest.mark.parametrize("body", [b"", b"password", b"\xff", b"password=%ff%fe", b"&".join([b"password=x"] * 50)])
def test_odd_forms_are_just_wrong(server: Server, body: bytes) -> None:
    server.ask_visitors()
    assert server.client().post("/login", content=body).status_code == 401


def test_without_a_visitors_password_there_is_no_login(server: Server) -> None:
    client = server.client()
    assert client.get("/config").status_code == 200
    assert [client.get("/login").status_code, enter(server)[1].status_code, client.post("/logout").status_code
            ] == [404] * 3


@pytest.mark.parametrize("now", [None, "no hash", "another"])
def test_a_credential_that_goes_shuts_visitors_out(server: Server, now: str | None) -> None:
    server.ask_visitors()
    client, _ = enter(server)
    path = server.home / VISITOR_FILE
    path.unlink() if now is None else path.write_text(CHEAP.hash("changed, and long") if now == "another" else now)
    assert client.get("/config").status_code == 401
    answer = enter(server)[1]
    assert answer.status_code == (401 if now == "another" else 403)


def test_a_hash_that_cannot_be_used_still_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMDEMO_HOME", str(tmp_path))
    settings = Environment(home=tmp_path, checkpoints=tmp_path)
    assert visitors_door(settings) is None
    (tmp_path / VISITOR_FILE).write_text("no hash")
    door = visitors_door(settings)
    assert door is not None and door.stamp() is None
    set_password(VISITORS, settings, "visitor")
    assert door.stamp() is not None


def test_web_sockets_are_refused_and_streams_pass_as_they_come(server: Server) -> None:
    """At the ASGI level: what the middleware sends, and when."""
    server.ask_visitors()
    client, _ = enter(server)
    token = client.cookies["dermdemo-visitor"]
    host = server.address.removeprefix("http://").encode()

    async def streamed(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for part in (b"a", b"b"):
            await send({"type": "http.response.body", "body": part, "more_body": True})

    def sent_for(kind: str, cookie: bytes) -> list[dict[str, Any]]:
        sent: list[dict[str, Any]] = []

        async def send(message: Any) -> None:
            sent.append(message)

        async def receive() -> Any:
            raise AssertionError("nothing is read")

        scope = {"type": kind, "path": "/gradio_api/x", "method": "GET", "scheme": "ws" if kind == "websocket" else
                 "http", "headers": [(b"host", host), (b"cookie", cookie)], "app": server.app, "query_string": b"",
                 "client": ("127.0.0.1", 1)}
        asyncio.run(VisitorsOnly(streamed)(scope, receive, send))
        return sent

    mine = f"dermdemo-visitor={token}".encode()
    assert [m["type"] for m in sent_for("websocket", b"")] == ["websocket.close"]
    assert sent_for("websocket", mine)[0]["type"] == "http.response.start"  # it reached the app
    assert [m.get("body") for m in sent_for("http", mine)] == [None, b"a", b"b"]
    assert sent_for("http", b"dermdemo-visitor=x")[0]["status"] == 401
