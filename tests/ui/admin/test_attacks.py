"""Every route of administration, as the app lists them, attacked over HTTP: refused, and nothing happens.

The routes are found in the running app, so one that is added later is attacked without a word here.
"""

from __future__ import annotations

import dataclasses
import json
import re
import typing
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from dermdemo.ui.admin import access
from dermdemo.ui.admin.answers import PAGE
from dermdemo.ui.admin.sessions import IDLE_SECONDS
from tests.ui.admin.conftest import VISITORS, Server, snapshot

CATCH_ALL = f"{PAGE}/{{rest:path}}"
PUBLIC = {("GET", PAGE), ("POST", f"{PAGE}/login")}  # the two that nobody can be logged in for
VALUES = {"n": "1", "number": "1", "version": "1", "task": "t0001", "data": "d0001", "action": "promote"}
BODY = {"data": "d0001", "recipe": "quick", "stage1": False, "device": "cpu", "gate": "calib", "seed": 0, "hours": 1,
        "dry_run": False, "knobs": {}, "path": "/", "name": "x", "mapping": {}, "split_seed": 0, "names_only": False}


@dataclasses.dataclass(frozen=True)
class Route:
    """A method and an address below administration, and what answers there."""

    method: str
    path: str
    endpoint: Any

    @property
    def address(self) -> str:
        return re.sub(r"\{(\w+)(:\w+)?\}", lambda m: VALUES.get(m[1], "0001"), self.path)


@dataclasses.dataclass(frozen=True)
class Attack:
    """What somebody without the right to sends along."""

    name: str
    cookies: dict[str, str] = dataclasses.field(default_factory=dict)
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    allowed: tuple[int, ...] = (401, 403)
    only_acts: bool = False  # it would be right for a route that only reads


def routes_of(app: FastAPI) -> Iterator[Route]:
    """Every route below administration but the one that says 404 to all others."""
    for found in iter_route_contexts(app.routes):
        if found.path and (found.path == PAGE or found.path.startswith(PAGE + "/")) and found.path != CATCH_ALL:
            assert found.methods, f"{found.path} is no plain route"
            yield from (Route(method, found.path, found.endpoint) for method in sorted(found.methods))


def guarded(app: FastAPI) -> list[Route]:
    return [route for route in routes_of(app) if (route.method, route.path) not in PUBLIC]


def send(server: Server, route: Route, attack: Attack, method: str | None = None) -> httpx.Response:
    """The request with exactly these headers: no cookie of an earlier answer, nothing added."""
    cookie = {"Cookie": "; ".join(f"{k}={v}" for k, v in attack.cookies.items())} if attack.cookies else {}
    headers = {"Content-Type": "application/json", "X-File-Name": "x.zip", **cookie, **attack.headers}
    server.bare.cookies.clear()
    return server.bare.request(method or route.method, server.address + route.address, headers=headers,
                               content=json.dumps(BODY).encode())


def token(client: httpx.Client, kind: str = "admin") -> str:
    return str(client.cookies[f"dermdemo-{kind}"])


def attacks(server: Server) -> list[Attack]:
    """All of them, with real sessions of two administrators and of a visitor behind them."""
    here = {"Origin": server.address, "Sec-Fetch-Site": "same-origin"}
    server.ask_visitors()
    idle, idle_csrf = server.login("Idle")
    server.clock.now += IDLE_SECONDS / 2
    gone, gone_csrf = server.login("Gone")
    gone_token = token(gone)
    assert gone.post(f"{PAGE}/logout", headers={"X-CSRF-Token": gone_csrf}).status_code == 200
    ada, ada_csrf = server.login("Ada")
    bob, bob_csrf = server.login("Bob")
    visitor = server.client()
    assert visitor.post("/login", data={"password": VISITORS}).status_code == 303
    server.clock.now += IDLE_SECONDS / 2  # the end of the first one, not of the others
    a, v = token(ada), token(visitor, "visitor")
    forged = a[:-1] + ("A" if a[-1] != "A" else "B")
    mine = {"dermdemo-admin": a}
    right = {**here, "X-CSRF-Token": ada_csrf}
    return [
        Attack("anonymous"),
        Attack("anonymous, from here", headers=here),
        Attack("anonymous, with a CSRF token", headers=right),
        Attack("expired", {"dermdemo-admin": token(idle)}, {**here, "X-CSRF-Token": idle_csrf}),
        Attack("logged out", {"dermdemo-admin": gone_token}, {**here, "X-CSRF-Token": gone_csrf}),
        Attack("random token", {"dermdemo-admin": "x" * 43}, right),
        Attack("empty token", {"dermdemo-admin": ""}, right),
        Attack("altered token", {"dermdemo-admin": forged}, right),
        Attack("visitor", {"dermdemo-visitor": v}, right),
        Attack("visitor as administrator", {"dermdemo-admin": v, "dermdemo-visitor": v}, right),
        Attack("administrator as visitor", {"dermdemo-visitor": a}, right),
        Attack("plain cookie over https", mine, {**right, "X-Forwarded-Proto": "https"}),
        Attack("secure cookie over http", {"__Host-dermdemo-admin": a}, right),
        Attack("another machine over http", mine, {**right, "X-Forwarded-For": "192.0.2.7"}),
        Attack("another name for this machine", mine,
               {**right, "Host": "rebound.example", "Origin": "http://rebound.example"}),
        Attack("CSRF token of another", mine, {**here, "X-CSRF-Token": bob_csrf}, only_acts=True),
        Attack("cookie of another", {"dermdemo-admin": token(bob)}, right, only_acts=True),
        Attack("no CSRF token", mine, here, only_acts=True),
        Attack("empty CSRF token", mine, {**here, "X-CSRF-Token": ""}, only_acts=True),
        Attack("no origin", mine, {"X-CSRF-Token": ada_csrf}, only_acts=True),
        Attack("typed address", mine, {"X-CSRF-Token": ada_csrf, "Sec-Fetch-Site": "none"}, only_acts=True),
        Attack("another site", mine, {**right, "Origin": "https://evil.example"}),
        Attack("another port", mine, {**right, "Origin": "http://127.0.0.1:1"}),
        Attack("null origin", mine, {"X-CSRF-Token": ada_csrf, "Origin": "null"}),
        Attack("cross-site", mine, {**right, "Sec-Fetch-Site": "cross-site"}),
        Attack("same site, other origin", mine, {**right, "Sec-Fetch-Site": "same-site"}),
    ]


@pytest.fixture(params=[False, True], ids=["open to visitors", "visitors log in"])
def attacked(server: Server, request: pytest.FixtureRequest) -> tuple[Server, list[Attack]]:
    """The server and the attacks on it, with and without the visitors' check in front of the handlers."""
    found = attacks(server)
    if not request.param:
        server.app.state.visitors = None
    return server, found


def test_there_is_something_to_attack(server: Server) -> None:
    found = {(route.method, route.path) for route in routes_of(server.app)}
    assert found >= PUBLIC and ("POST", f"{PAGE}/logout") in found and ("GET", f"{PAGE}/api/session") in found


def test_every_attack_on_every_route_is_refused_and_nothing_happens(attacked: tuple[Server, list[Attack]]) -> None:
    server, found = attacked
    before, sessions = snapshot(server.home), len(server.site.sessions)
    wrong = []
    for route in guarded(server.app):
        for attack in found:
            if attack.only_acts and route.method == "GET":
                continue
            answer = send(server, route, attack)
            if answer.status_code not in attack.allowed or not isinstance(answer.json().get("error"), str):
                wrong.append((attack.name, route.method, route.path, answer.status_code))
    assert wrong == []
    assert snapshot(server.home) == before
    assert len(server.site.sessions) <= sessions  # those that ended may have been forgotten
    nothing_exists(server)


def test_no_other_method_does_anything(attacked: tuple[Server, list[Attack]]) -> None:
    """Nobody's, and an administrator's: the page sends each route the method it has, and no other counts."""
    server, found = attacked
    administrator = next(a for a in found if a.name == "CSRF token of another")
    before, wrong = snapshot(server.home), []
    known = {(route.method, route.address) for route in routes_of(server.app)}
    for route in routes_of(server.app):
        for method in {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}:
            if (method, route.address) in known:
                continue
            for attack in (found[0], administrator):
                status = send(server, route, attack, method).status_code
                if status not in (401, 403, 404, 405):
                    wrong.append((attack.name, method, route.path, status))
    assert wrong == []
    assert snapshot(server.home) == before
    nothing_exists(server)


def nothing_exists(server: Server) -> None:
    parts = server.site.jobs
    assert parts.jobs.tick() == [] and parts.data.listed() == ()
    assert server.site.registry.numbers() == (0,) and server.site.registry.switch().live == 0
    assert {e.action for e in server.site.registry.log.read()} <= {"login", "logout", "lock-out"}


def test_the_same_requests_are_taken_from_an_administrator(server: Server) -> None:
    """The attacks fail for what they lack, not for what they are."""
    client, csrf = server.login()
    for route in guarded(server.app):
        if route.path != f"{PAGE}/logout":
            answer = client.request(route.method, route.address, headers={"X-CSRF-Token": csrf}, json=BODY)
            assert answer.status_code not in (401, 403), (route, answer.text)
    assert client.post(f"{PAGE}/logout", headers={"X-CSRF-Token": csrf}).status_code == 200


def test_every_handler_asks_for_the_administrator_itself(server: Server) -> None:
    unguarded = []
    for route in guarded(server.app):
        hints = typing.get_type_hints(route.endpoint, include_extras=True).values()
        wanted = [access.Actor] if route.method != "GET" else [access.Reader, access.Actor]
        if not any(hint == one for hint in hints for one in wanted):
            unguarded.append((route.method, route.path))
    assert unguarded == []


def test_the_dependencies_are_those_of_this_package(server: Server) -> None:
    """And nobody has put others in their place."""
    assert server.app.dependency_overrides == {}
    for found in iter_route_contexts(server.app.routes):
        if found.path and found.path.startswith(f"{PAGE}/api"):
            calls = {one.call for one in found.original_route.dependant.dependencies}  # type: ignore[attr-defined]
            assert calls & {access.reading, access.acting}, found.path


def test_the_pages_of_visitors_have_no_function_of_administration(server: Server) -> None:
    config = server.client().get("/config").json()
    in_tab = {c["id"] for c in config["components"] if c["props"].get("elem_id") == "dd-admin"}
    assert in_tab and not any(in_tab & {*d["inputs"], *d["outputs"]} for d in config["dependencies"])
    names = " ".join(str(d["api_name"]) for d in config["dependencies"])
    assert not re.search("admin|login|password|launch|promote|roll_?back|register|job", names)
