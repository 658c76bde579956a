"""A server with one router of the administration: access as a header says, parts of tiny models, nothing launched."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, FastAPI, Header, HTTPException, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from dermdemo.config import environment
from dermdemo.errors import AuthError, DermdemoError, JobError
from dermdemo.jobs.launcher import Launcher
from dermdemo.jobs.retrain import Retraining, retraining
from dermdemo.jobs.store import Store
from dermdemo.ui.admin import access
from dermdemo.ui.admin.site import AdminSite
from dermdemo.ui.admin.tasks import Tasks

API = "/administration/api"
STATUS = {AuthError: 403, JobError: 409}


def admitted(x_test_admin: Annotated[str, Header()] = "") -> access.Admin:
    """Whoever the header names; nobody without it."""
    if not x_test_admin:
        raise HTTPException(401, "Log in first.")
    return access.Admin(who=x_test_admin, session="s")


def serve(site: AdminSite, router: APIRouter) -> TestClient:
    """A client of a server with one router; errors as the real server answers them."""
    app = FastAPI(openapi_url=None)
    app.state.admin = site
    app.dependency_overrides |= {access.reading: admitted, access.acting: admitted}
    app.include_router(router)

    @app.exception_handler(DermdemoError)
    def refused(_: Request, error: DermdemoError) -> JSONResponse:
        status = next((s for kind, s in STATUS.items() if isinstance(error, kind)), 400)
        return JSONResponse({"error": str(error), "kind": type(error).__name__}, status)

    @app.exception_handler(HTTPException)
    def said(_: Request, error: HTTPException) -> JSONResponse:
        return JSONResponse({"error": error.detail}, error.status_code)

    return TestClient(app, headers={"X-Test-Admin": "ada"})


def outcome(client: TestClient, task: str, *, within: float = 240.0) -> dict[str, Any]:
    """Wait for the end of a task."""
    end = time.monotonic() + within
    while time.monotonic() < end:
        found: dict[str, Any] = client.get(f"{API}/tasks/{task}").json()
        if found["state"] != "running":
            return found
        time.sleep(0.05)
    raise AssertionError(f"the task did not end: {found}")


@pytest.fixture
def parts(make_set: Callable[[int], Path], lesion_folder: Path, tmp_path: Path,
          monkeypatch: pytest.MonkeyPatch) -> Retraining:
    """Retraining from an allow-list that holds the live models' own data; nothing is launched."""
    shutil.copytree(lesion_folder, tmp_path / "allowed" / "own")
    monkeypatch.setenv("DERMDEMO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DERMDEMO_CHECKPOINTS", str(make_set(0)))
    monkeypatch.setenv("DERMDEMO_DATA", str(tmp_path / "allowed"))
    return Retraining(Launcher(Store(environment().home.resolve()), {"cpu": 0, "cuda": 0}), retraining().data)


@pytest.fixture
def site(parts: Retraining) -> AdminSite:
    return AdminSite(settings=environment(), registry=parts.data.registry, jobs=parts,
                     live=None, door=None, tasks=Tasks())  # type: ignore[arg-type]
