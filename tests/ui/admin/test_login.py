"""The administrator's login over HTTP: delay, lock-out, cookies, expiry, and what is written down of it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
import threading
from typing import Any

import httpx
import pytest
from starlette.requests import HTTPConnection

from dermdemo.jobs import credential
from dermdemo.jobs.credential import HASH_FILE
from dermdemo.ui.admin.attempts import Attempts
from dermdemo.ui.admin.door import Door, LoginError
from dermdemo.ui.admin.sessions import IDLE_SECONDS, TOTAL_SECONDS
from tests.ui.admin.conftest import CHEAP, PASSWORD, Server

LOGIN, LOGOUT, SESSION = "/administration/login", "/administration/logout", "/administration/api/session"
WRONG = "wrong but long enough"


def attempt(client: httpx.Client, password: str = WRONG, **headers: str) -> httpx.Response:
    return client.post(LOGIN, json={"name": "Eve", "password": password}, headers=headers)


def over_https(server: Server) -> dict[str, str]:
    """Headers of a request that a proxy on this machine took over https."""
    return {"X-Forwarded-Proto": "https", "Origin": server.address.replace("http:", "https:")}


def actions(server: Server) -> list[tuple[str, str]]:
    return [(e.who, e.action) for e in server.site.registry.log.read()]


def test_login_session_and_logout(server: Server) -> None:
    client = server.client()
    assert client.get(SESSION).status_code == 401
    answer = client.post(LOGIN, json={"name": " Ada Lovelace ", "password": PASSWORD})
    said = answer.json()
    assert set(said) == {"who", "csrf", "idle_seconds", "ends_in_seconds"} and said["who"] == "Ada Lovelace"
    assert (said["idle_seconds"], said["ends_in_seconds"]) == (IDLE_SECONDS, TOTAL_SECONDS)
    assert client.get(SESSION).json() == said
    assert client.post(LOGOUT, headers={"X-CSRF-Token": said["csrf"]}).status_code == 200
    assert "dermdemo-admin" not in client.cookies
    assert client.get(SESSION).status_code == 401


def test_the_page_is_the_login_until_one_is_in(server: Server) -> None:
    client = server.client()
    before = client.get("/administration")
    assert before.status_code == 200 and "/dermdemo/admin/login.js" in before.text
    client, csrf = server.login()
    inside = client.get("/administration")
    assert inside.status_code == 200 and inside.text != before.text and "login.js" not in inside.text
    client.post(LOGOUT, headers={"X-CSRF-Token": csrf})
    assert client.get("/administration").text == before.text


def test_the_cookie_is_bound_and_hidden(server: Server) -> None:
    client = server.client()
    plain = client.post(LOGIN, json={"name": "Ada", "password": PASSWORD}).headers["set-cookie"]
    assert plain.startswith("dermdemo-admin=") and "secure" not in plain.lower()
    secure = attempt(client, PASSWORD, **over_https(server)).headers["set-cookie"]
    assert secure.startswith("__Host-dermdemo-admin=")
    assert "secure" in [part.strip().lower() for part in secure.split(";")]
    for cookie in (plain, secure):
        parts = [part.strip().lower() for part in cookie.split(";")]
        assert {"httponly", "samesite=strict", "path=/"} <= set(parts)
        assert not any(part.startswith(("domain", "max-age", "expires")) for part in parts)


def test_a_login_never_takes_over_a_token_that_was_there(server: Server) -> None:
    client, csrf = server.login()
    old = client.cookies["dermdemo-admin"]
    said = client.post(LOGIN, json={"name": "Ada", "password": PASSWORD}).json()
    assert client.cookies["dermdemo-admin"] != old and said["csrf"] != csrf
    assert server.client(cookies={"dermdemo-admin": old}).get(SESSION).status_code == 401
    planted = server.client(cookies={"dermdemo-admin": "planted-by-somebody-else"})
    planted.post(LOGIN, json={"name": "Ada", "password": PASSWORD})
    assert "planted-by-somebody-else" not in [c.value for c in planted.cookies.jar if c.domain == "127.0.0.1"]
    assert server.client(cookies={"dermdemo-admin": "planted-by-somebody-else"}).get(SESSION).status_code == 401


def test_two_administrators_have_sessions_of_their_own(server: Server) -> None:
    (ada, csrf), (bob, other) = server.login("Ada"), server.login("Bob")
    assert ada.post(LOGOUT, headers={"X-CSRF-Token": other}).status_code == 403
    assert bob.post(LOGOUT, headers={"X-CSRF-Token": other}).status_code == 200
    assert ada.get(SESSION).json()["who"] == "Ada" and csrf != other


def test_a_session_ends_without_use_and_in_any_case(server: Server) -> None:
    client, _ = server.login()
    server.clock.now += IDLE_SECONDS - 1
    assert client.get(SESSION, headers={"X-Background": "1"}).json()["idle_seconds"] == 1
    server.clock.now += 1
    assert client.get(SESSION).status_code == 401
    client, _ = server.login()
    for _ in range(int(TOTAL_SECONDS // 1000)):
        server.clock.now += 1000
        assert client.get(SESSION).status_code == 200
    server.clock.now += 1000
    assert client.get(SESSION).status_code == 401


def test_refused_requests_do_not_keep_a_session(server: Server) -> None:
    client, _ = server.login()
    server.clock.now += IDLE_SECONDS - 1
    assert client.post(LOGOUT).status_code == 403
    assert client.get(SESSION, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    server.clock.now += 1
    assert client.get(SESSION).status_code == 401


def test_another_password_ends_all_sessions(server: Server) -> None:
    client, csrf = server.login()
    (server.home / HASH_FILE).write_text(CHEAP.hash("a new password for all"))
    assert client.get(SESSION).status_code == 401
    assert client.post(LOGOUT, headers={"X-CSRF-Token": csrf}).status_code == 401
    server.login(password="a new password for all")


def test_without_its_credential_everything_is_refused(server: Server) -> None:
    client, csrf = server.login()
    kept = (server.home / HASH_FILE).read_text()
    for broken in (None, "", PASSWORD):
        (server.home / HASH_FILE).unlink() if broken is None else (server.home / HASH_FILE).write_text(broken)
        assert client.get(SESSION).status_code == 401
        assert client.post(LOGOUT, headers={"X-CSRF-Token": csrf}).status_code == 401
        assert attempt(client, PASSWORD).status_code == 403
        page = client.get("/administration")
        assert page.status_code == 200 and "is closed" in page.text and "app.js" not in page.text
    (server.home / HASH_FILE).write_text(kept)
    assert client.get(SESSION).status_code == 401  # what has ended does not come back


def test_every_failure_waits_and_the_fifth_locks_out(server: Server) -> None:
    client = server.client()
    answers = [attempt(client) for _ in range(5)]
    assert [a.status_code for a in answers] == [401, 401, 401, 401, 429]
    assert server.delays == [0.5, 1, 2, 4, 8]
    assert answers[4].headers["retry-after"] == "900" and "15 minutes" in answers[4].json()["error"]
    assert not any("set-cookie" in a.headers for a in answers)


def test_the_right_password_is_not_even_looked_at_in_a_lock_out(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = server.client()
    for _ in range(5):
        attempt(client)
    looked: list[str] = []
    monkeypatch.setattr(credential, "verify", lambda *args: looked.append("") or True)
    answer = attempt(client, PASSWORD)
    assert answer.status_code == 429 and int(answer.headers["retry-after"]) > 0 and looked == []
    other = {"X-Forwarded-For": "192.0.2.7", **over_https(server)}
    monkeypatch.undo()
    assert attempt(client, PASSWORD, **other).status_code == 200  # another address still may
    server.clock.now += 900
    assert attempt(client, PASSWORD).status_code == 200


def test_a_success_clears_the_count(server: Server) -> None:
    client = server.client()
    for _ in range(2):
        assert [attempt(client).status_code for _ in range(4)] == [401] * 4
        assert attempt(client, PASSWORD).status_code == 200


def test_many_addresses_meet_the_brake(server: Server) -> None:
    client, addresses = server.client(), [{"X-Forwarded-For": f"192.0.2.{k}"} for k in range(25)]
    seen = [attempt(client, **over_https(server), **address).status_code for address in addresses]
    assert seen == [401] * 20 + [429] * 5


def test_a_flood_hardly_grows_the_audit_log(server: Server) -> None:
    client = server.client()
    before = len(actions(server))
    for _ in range(8):
        for _ in range(5):
            attempt(client)
        for _ in range(10):
            assert attempt(client).status_code == 429
        server.clock.now += 900
    assert actions(server)[before:] == [("nobody", "lock-out")] * 4  # the 1st, 2nd, 4th and 8th
    assert attempt(client, PASSWORD).status_code == 200
    last = server.site.registry.log.read()[-1]
    assert (last.who, last.action) == ("Eve", "login")
    assert dict(last.details) == {"address": "127.0.0.1", "failed_before": "40"}


def test_logins_and_logouts_are_in_the_audit_log(server: Server) -> None:
    before = len(actions(server))
    client, csrf = server.login("Ada")
    client.post(LOGOUT, headers={"X-CSRF-Token": csrf})
    client.post(LOGOUT, headers={"X-CSRF-Token": csrf})  # nobody's any more
    assert actions(server)[before:] == [("Ada", "login"), ("Ada", "logout")]


def test_a_damaged_audit_log_keeps_nobody_out(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    server.login()
    path = server.site.registry.log.path
    kept = path.read_bytes()
    try:
        path.write_bytes(kept.replace(b"Ada", b"Eve", 1))
        server.login()
        assert "is not in the audit log" in caplog.text
    finally:
        path.write_bytes(kept)


@pytest.mark.parametrize("name", ["", "  ", "x" * 81, "new\nline", "bell\a", "zero\u200bwidth", "turned\u202eround",
                                  "half\ud800", None, 7, ["Ada"]])  # fmt: skip
def test_names_that_cannot_be_shown_are_refused(server: Server, name: Any) -> None:
    body = json.dumps({"name": name, "password": PASSWORD}).encode()
    answer = server.client().post(LOGIN, content=body)
    assert answer.status_code == 400 and "1 to 80 visible characters" in answer.json()["error"]
    assert len(server.site.door.attempts) == 0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'"x"', b"null", b'{"name": "Ada"}', b"\xff\xfe",
                                  b'{"name": "Ada", "password": 7}', b"[" * 100_000])  # fmt: skip
def test_what_is_no_login_is_said(server: Server, body: bytes) -> None:
    answer = server.client().post(LOGIN, content=body)
    assert answer.status_code == 400 and "JSON object" in answer.json()["error"]


@pytest.mark.parametrize("password", ["", "x" * 100_000, "half\ud800 a surrogate", "nul\0inside the thing"])
def test_odd_passwords_are_just_wrong(server: Server, password: str) -> None:
    body = json.dumps({"name": "Eve", "password": password}).encode()
    assert server.client().post(LOGIN, content=body).status_code == 401


@pytest.mark.parametrize("size", [300_000, 40_000_000])
def test_endless_bodies_are_not_read(server: Server, size: int) -> None:
    def chunks() -> Any:
        for _ in range(size // 10_000):
            yield b"x" * 10_000

    for content in (b"x" * 300_000, chunks()):
        try:
            answer = server.client().post(LOGIN, content=content)
        except httpx.WriteError:  # it closed the connection before all was sent
            continue
        assert answer.status_code == 413


def test_no_password_over_plain_http_from_another_machine(server: Server) -> None:
    there = {"X-Forwarded-For": "192.0.2.7"}  # what uvicorn makes the client of the request
    answer = attempt(server.client(), PASSWORD, **there)
    assert answer.status_code == 403 and "https" in answer.json()["error"] and "set-cookie" not in answer.headers
    allowed = dataclasses.replace(server.site.settings, admin_http=True)
    door = dataclasses.replace(server.site.door, settings=allowed)
    server.app.state.admin = dataclasses.replace(server.site, settings=allowed, door=door)
    answer = attempt(server.client(), PASSWORD, **there)
    assert answer.status_code == 200 and answer.headers["set-cookie"].startswith("dermdemo-admin=")


@pytest.mark.parametrize("headers", [
    {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"},
    {"Host": "rebound.example", "Origin": "http://rebound.example"}])  # fmt: skip
def test_no_login_from_another_site(server: Server, headers: dict[str, str]) -> None:
    answer = attempt(server.client(), PASSWORD, **headers)
    assert answer.status_code == 403 and "set-cookie" not in answer.headers
    assert len(server.site.door.attempts) == 0


def test_the_password_is_nowhere(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    client = server.client()
    answers = [attempt(client, secret) for secret in [WRONG] * 6]
    server.clock.now += 900
    answers += [attempt(client, PASSWORD), client.get("/administration"), client.get(SESSION)]
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith(("http", "asyncio"))]  # this test's own
    assert any("locked out" in line for line in ours)
    written = [*ours, *(p.read_bytes().decode("latin-1") for p in server.home.rglob("*") if p.is_file())]
    said = [a.text + str(a.headers) for a in answers]
    assert not any(secret in text for text in [*written, *said] for secret in (WRONG, PASSWORD))
    assert not any(client.cookies["dermdemo-admin"] in text for text in written)


def test_a_delayed_answer_keeps_nobody_else_waiting(server: Server) -> None:
    """While a wrong password is waited for, pages answer, and the same address gets no second try."""
    waiting, end = threading.Event(), threading.Event()

    async def sleep(seconds: float) -> None:
        waiting.set()
        while not end.is_set():
            await asyncio.sleep(0.005)

    server.app.state.admin = dataclasses.replace(server.site, door=server.door("admin", sleep=sleep))
    answers: list[httpx.Response] = []
    client = server.client()
    thread = threading.Thread(target=lambda: answers.append(attempt(client)))
    thread.start()
    try:
        assert waiting.wait(30)
        assert server.client().get("/administration").status_code == 200
        second = attempt(server.client(), PASSWORD)
        assert second.status_code == 429 and second.headers["retry-after"] == "1"
    finally:
        end.set()
        thread.join(30)
    assert answers[0].status_code == 401
    assert attempt(client, PASSWORD).status_code == 200


def test_passwords_are_verified_one_at_a_time_and_waiting_is_bounded(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, most, calls = [0], [0], [0]

    def verify(*_: object) -> bool:
        now[0] += 1
        calls[0] += 1
        most[0] = max(most[0], now[0])
        for _ in range(1000):
            pass
        now[0] -= 1
        return False

    monkeypatch.setattr(credential, "verify", verify)
    door = server.door("admin")
    door = Door("admin", door.settings, door.log, attempts=Attempts(clock=server.clock, burst=12), sleep=door.sleep)

    async def one(k: int) -> int:
        conn = HTTPConnection({"type": "http", "scheme": "https", "headers": [], "client": (f"192.0.2.{k % 200}", 1)})
        try:
            await door.enter(conn, "Eve", WRONG)
        except LoginError as error:
            return error.status
        return 200

    async def all_at_once() -> list[int]:
        return list(await asyncio.gather(*(one(k) for k in range(400))))

    seen = asyncio.run(all_at_once())
    assert most == [1] and calls == [12]
    assert sorted(set(seen)) == [401, 429] and seen.count(401) == 12
