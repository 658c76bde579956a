"""What stands around the handlers: the closed server, headers, scripts, and errors in words."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient

from dermdemo.config import Environment
from dermdemo.errors import AuthError, CheckpointError, ConfigError, ImageError, JobError
from dermdemo.jobs.credential import HASH_FILE
from dermdemo.ui.admin.answers import PAGE, add_error_answers
from dermdemo.ui.admin.guard import POLICY, AdminGuard
from dermdemo.ui.admin.routes import STATIC, add_admin_routes
from dermdemo.ui.admin.site import open_site
from tests.ui.admin.conftest import Server


@dataclass(frozen=True)
class Wanted:
    """A body as handlers declare it."""

    number: int


@pytest.fixture(params=[None, "", "no <i>hash</i>"])
def closed(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    """A server without a usable credential, and with a page of its own at the root."""
    monkeypatch.setenv("DERMDEMO_HOME", str(tmp_path))
    if request.param is not None:
        (tmp_path / HASH_FILE).write_text(request.param)
    settings = Environment(home=tmp_path, checkpoints=tmp_path)
    app = FastAPI(openapi_url=None)
    app.add_middleware(AdminGuard)
    add_admin_routes(app, open_site(settings, None), settings)
    app.get("/{rest:path}")(lambda rest: "a page")
    with TestClient(app) as client:
        yield client


def test_a_closed_server_has_nothing_but_the_explanation(closed: TestClient, server: Server) -> None:
    page = closed.get(PAGE)
    assert page.status_code == 200 and "set-password" in page.text and "<form" not in page.text
    assert "<i>" not in page.text
    for route in iter_route_contexts(server.app.routes):
        if route.path and route.path.startswith(PAGE + "/"):
            for method in ("GET", "POST", "PUT", "DELETE"):
                answer = closed.request(method, route.path.replace("{", "").replace("}", ""))
                assert answer.status_code == 404, (method, route.path)
    assert closed.post(PAGE).status_code == 405


def test_a_closed_server_says_what_is_wrong_with_its_credential(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DERMDEMO_HOME", str(tmp_path))
    (tmp_path / HASH_FILE).write_text("no hash")
    settings = Environment(home=tmp_path, checkpoints=tmp_path)
    app = FastAPI()
    add_admin_routes(app, open_site(settings, None), settings)
    with TestClient(app) as client:
        assert "holds no argon2id hash" in client.get(PAGE).text


@pytest.mark.parametrize("path", [PAGE, PAGE + "/", PAGE + "/api/session", PAGE + "/api/nothing", "/login"])
def test_stricter_headers(server: Server, path: str) -> None:
    headers = server.client().get(path).headers
    assert headers["content-security-policy"] == POLICY and headers["cache-control"] == "no-store"
    assert headers["x-frame-options"] == "DENY" and headers["x-content-type-options"] == "nosniff"


def test_the_policy_lets_no_script_but_our_own_files() -> None:
    assert "script-src 'self';" in POLICY and "frame-ancestors 'none'" in POLICY and "eval" not in POLICY
    assert "http" not in POLICY and "*" not in POLICY


def test_what_is_below_never_falls_through_to_the_pages(server: Server) -> None:
    client = server.client()
    for path in ("/x", "/api", "/api/", "/api/jobs/0001/x", "/login/x", "/%2e%2e/config", "//x"):
        answer = client.get(PAGE + path)
        assert answer.status_code == 404 and answer.json()["error"]
    assert client.get(PAGE + "/").headers["location"] == PAGE


@pytest.mark.parametrize("name", ["login.html", "x.js", "../server.py", "..%2Fserver.py", "%2e%2e/latent_map.js",
                                  "login.js.map", ".js", "login.js/", "LOGIN.JS"])  # fmt: skip
def test_only_listed_scripts_and_styles_are_served(server: Server, name: str) -> None:
    answer = server.client().get(f"/dermdemo/admin/{name}")
    assert answer.status_code in (307, 404)


def test_the_scripts_of_the_page_are_served(server: Server) -> None:
    found = [p for p in STATIC.iterdir() if p.suffix in (".js", ".css")]
    assert found
    for path in found:
        answer = server.client().get(f"/dermdemo/admin/{path.name}")
        assert answer.content == path.read_bytes() and answer.headers["content-type"].startswith("text/")


@pytest.fixture
def failing() -> Iterator[TestClient]:
    """Handlers that fail in every way, below administration and elsewhere."""
    app = FastAPI()
    app.add_middleware(AdminGuard)
    add_error_answers(app)
    errors: dict[str, Exception] = {
        "auth": AuthError("No."), "job": JobError("Not now."), "config": ConfigError("Too large."),
        "checkpoint": CheckpointError("Changed."), "image": ImageError("Cut off.", reason="truncated"),
        "unknown": HTTPException(404, "No such job."), "bug": RuntimeError("a secret of the inside")}

    def fail(name: str) -> None:
        raise errors[name]

    def body(wanted: Wanted) -> int:
        return wanted.number

    for prefix in (PAGE + "/api", "/elsewhere"):
        app.get(prefix + "/fail/{name}")(fail)
        app.post(prefix + "/body")(body)
    with TestClient(app, raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize(("name", "status", "said"), [
    ("auth", 403, {"error": "No.", "kind": "AuthError"}), ("job", 409, {"error": "Not now.", "kind": "JobError"}),
    ("config", 400, {"error": "Too large.", "kind": "ConfigError"}),
    ("checkpoint", 400, {"error": "Changed.", "kind": "CheckpointError"}),
    ("image", 400, {"error": "Cut off.", "kind": "ImageError", "reason": "truncated"}),
    ("unknown", 404, {"error": "No such job.", "kind": "HTTPException"})])  # fmt: skip
def test_errors_are_sentences(failing: TestClient, name: str, status: int, said: dict[str, str]) -> None:
    answer = failing.get(f"{PAGE}/api/fail/{name}")
    assert (answer.status_code, answer.json()) == (status, said)


def test_what_nobody_expected_tells_nothing(failing: TestClient) -> None:
    answer = failing.get(f"{PAGE}/api/fail/bug")
    assert answer.status_code == 500 and "secret" not in answer.text and "its log" in answer.json()["error"]
    assert failing.get("/elsewhere/fail/bug").text == "Internal Server Error"


def test_bodies_of_another_form_are_said(failing: TestClient) -> None:
    for content in (b'{"number": "many-secrets"}', b"{}", b"{", b""):
        answer = failing.post(f"{PAGE}/api/body", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400 and answer.json()["kind"] == "RequestError"
        assert "many-secrets" not in answer.text
    assert failing.post(f"{PAGE}/api/body", json={"number": 7}).json() == 7
    assert failing.post("/elsewhere/body", json={}).status_code == 422  # as FastAPI has it


def test_other_paths_keep_their_answers(failing: TestClient) -> None:
    assert failing.get("/elsewhere/fail/unknown").json() == {"detail": "No such job."}
    assert failing.get("/administrationx").json() == {"detail": "Not Found"}


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "999999999999"])
def test_a_length_that_is_none_or_too_much_is_refused(length: str) -> None:
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def never(*_: Any) -> Any:
        raise AssertionError("neither read nor handled")

    scope = {"type": "http", "method": "POST", "path": PAGE + "/api/launch",
             "headers": [(b"content-length", length.encode())]}
    asyncio.run(AdminGuard(never)(scope, never, send))
    assert sent[0]["status"] == 413


def test_a_starting_server_removes_what_a_killed_one_left(server: Server) -> None:
    old = server.site.settings.home / "uploads" / ("0" * 32 + ".zip.part")
    left = server.site.settings.home / "data" / ".upload.x"
    for path in (old.parent, left):
        path.mkdir(parents=True, exist_ok=True)
    old.write_bytes(b"PK")
    for path in (old, left):
        os.utime(path, (time.time() - 25 * 3600,) * 2)
    add_admin_routes(FastAPI(openapi_url=None), server.site, server.site.settings)
    assert not old.exists() and not left.exists()
