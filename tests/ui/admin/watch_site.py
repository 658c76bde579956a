"""A server with the routes on jobs and versions alone, on a launcher that starts nothing."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from fastapi.testclient import TestClient

from dermdemo.config import Environment
from dermdemo.errors import AuthError, DermdemoError, JobError
from dermdemo.jobs.datasets import Catalogue
from dermdemo.jobs.registry import Registry, Version
from dermdemo.jobs.retrain import Retraining
from dermdemo.ui.admin import access, job_routes, model_routes, overview_routes
from dermdemo.ui.admin.site import AdminSite
from tests.jobs.boards import Board

API = "/administration/api"


@dataclass
class FakeLive:
    """Moves the registry as the server does, without loading anything."""

    registry: Registry
    served: int = 0
    problem: str | None = None
    switched: list[tuple[int, str, str]] = field(default_factory=list)
    during: Callable[[], object] = lambda: None

    def switch(self, number: int, action: str, who: str) -> Version:
        self.during()
        move = self.registry.promote if action == "promote" else self.registry.rollback
        version = move(number, who=who)
        self.served = number
        self.switched.append((number, action, who))
        return version

    def status(self) -> SimpleNamespace:
        return SimpleNamespace(number=self.served, sha256="f" * 64, problem=self.problem)

    def check(self) -> None:
        pass


@dataclass
class Served:
    """A server under test."""

    app: FastAPI
    board: Board
    registry: Registry
    live: FakeLive
    client: TestClient

    def get(self, path: str, **params: Any) -> Any:
        """The JSON of an answer that must be fine."""
        answer = self.client.get(API + path, params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: object = None) -> tuple[int, Any]:
        answer = self.client.post(API + path, json=body)
        return answer.status_code, answer.json()

    def status(self, path: str, **params: Any) -> int:
        return self.client.get(API + path, params=params).status_code

    def at_once(self, *paths: str, body: object = None) -> list[tuple[int, Any]]:
        """Post to several paths at the same moment, each from a thread of its own; answers in the same order."""
        gate, found = threading.Barrier(len(paths)), dict[int, tuple[int, Any]]()

        def one(k: int, path: str) -> None:
            gate.wait()
            found[k] = self.post(path, body)

        threads = [threading.Thread(target=one, args=(k, path)) for k, path in enumerate(paths)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [found[k] for k in range(len(paths))]


def serve(tmp_path: Path, registry: Registry | None = None) -> Served:
    """The routes on a state folder; the administrator is ada."""
    models = registry or Registry(tmp_path / "home", tmp_path / "shipped")
    board, live = Board(models.home), FakeLive(models)
    app = FastAPI()
    for part in (overview_routes, job_routes, model_routes):
        app.include_router(part.router)
    app.add_exception_handler(DermdemoError, _refused)
    settings = Environment(home=models.home, checkpoints=models.shipped)
    parts = Retraining(board.jobs, Catalogue(models.home, (tmp_path,), models))
    # Whatever else a site has is not needed here.
    fields = {"settings": settings, "registry": models, "jobs": parts, "live": live}
    app.state.admin = AdminSite(**fields, **{n: None for n in AdminSite.__dataclass_fields__ if n not in fields})
    ada = access.Admin(who="ada", session="s")
    app.dependency_overrides = {access.reading: lambda: ada, access.acting: lambda: ada}
    return Served(app, board, models, live, TestClient(app))


async def _refused(request: Request, error: Exception) -> JSONResponse:
    status = 403 if isinstance(error, AuthError) else 409 if isinstance(error, JobError) else 400
    return JSONResponse({"error": str(error), "kind": type(error).__name__}, status)
