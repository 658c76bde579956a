"""The whole app on a real port in a thread of this process, with clocks and delays that the tests set."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from argon2 import PasswordHasher
from fastapi import FastAPI

from dermdemo.jobs.credential import HASH_FILE, VISITOR_FILE, Kind
from dermdemo.ui.admin.attempts import Attempts
from dermdemo.ui.admin.door import Door
from dermdemo.ui.admin.sessions import Sessions
from dermdemo.ui.admin.site import AdminSite
from dermdemo.ui.server import create_app
from tests.ui.conftest import free_port

PASSWORD, VISITORS = "correct horse battery", "visitors are welcome"
CHEAP = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@dataclass
class Clock:
    """Uptime in seconds, as the tests want it."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Server:
    """A running app; `reset` gives it new doors on `clock`, whose delays are written down and not slept."""

    address: str
    app: FastAPI
    home: Path
    clock: Clock = field(default_factory=Clock)
    delays: list[float] = field(default_factory=list)
    clients: list[httpx.Client] = field(default_factory=list)
    bare: httpx.Client = field(default_factory=lambda: httpx.Client(trust_env=False))  # adds no header of its own

    @property
    def site(self) -> AdminSite:
        site: AdminSite = self.app.state.admin
        return site

    def client(self, **options: Any) -> httpx.Client:
        """A browser without cookies, whose requests come from the server's own pages."""
        headers = {"Origin": self.address, **options.pop("headers", {})}
        self.clients.append(httpx.Client(base_url=self.address, headers=headers, trust_env=False, **options))
        return self.clients[-1]

    def login(self, name: str = "Ada", password: str = PASSWORD) -> tuple[httpx.Client, str]:
        """A browser that is logged in, and its CSRF token."""
        client = self.client()
        answer = client.post("/administration/login", json={"name": name, "password": password})
        assert answer.status_code == 200, answer.text
        return client, str(answer.json()["csrf"])

    def reset(self) -> None:
        (self.home / HASH_FILE).write_text(CHEAP.hash(PASSWORD))
        (self.home / VISITOR_FILE).unlink(missing_ok=True)
        self.clock, self.delays = Clock(), []
        settings = dataclasses.replace(self.site.settings, admin_http=False)
        self.app.state.admin = dataclasses.replace(self.site, settings=settings)
        self.app.state.admin = dataclasses.replace(self.site, door=self.door("admin"))
        self.app.state.visitors = None

    def ask_visitors(self) -> Door:
        """Give the server a visitors' login."""
        (self.home / VISITOR_FILE).write_text(CHEAP.hash(VISITORS))
        door = self.app.state.visitors = self.door("visitor")
        return door

    def door(self, kind: Kind, **options: Any) -> Door:
        async def sleep(seconds: float) -> None:
            self.delays.append(seconds)

        return Door(kind, self.site.settings, self.site.registry.log, sessions=Sessions(clock=self.clock),
                    attempts=Attempts(clock=self.clock), **{"sleep": sleep, **options})


def snapshot(folder: Path) -> dict[str, str]:
    """Every file and folder below a folder, with what is in it."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "folder"
            for p in sorted(folder.rglob("*"))}


class Running(threading.Thread):
    """An app on a free port, made and run by a thread of its own: Gradio wants the loop that it will run in."""

    def __init__(self, make: Callable[[], FastAPI]) -> None:
        super().__init__(daemon=True)
        self.make, self.port, self.ready = make, free_port(), threading.Event()
        self.app: FastAPI | None = None
        self.server: uvicorn.Server | None = None

    def run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self.app = self.make()
        config = uvicorn.Config(self.app, host="127.0.0.1", port=self.port, log_level="warning", access_log=False)
        self.server = uvicorn.Server(config)
        task = asyncio.create_task(self.server.serve())
        while not self.server.started and not task.done():
            await asyncio.sleep(0.01)
        self.ready.set()
        await task

    def end(self) -> None:
        if self.server:
            self.server.should_exit = True
        self.join(30)


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One app for all tests here: no models, an administrator's password in its state folder."""
    folder = tmp_path_factory.mktemp("administration")
    home = folder / "home"
    home.mkdir()
    (home / HASH_FILE).write_text(CHEAP.hash(PASSWORD))
    with pytest.MonkeyPatch.context() as patch:
        _settings(patch, home)
        thread = Running(lambda: create_app(None, problem="No models here."))
        thread.start()
        assert thread.ready.wait(120) and thread.app
    server = Server(address=f"http://127.0.0.1:{thread.port}", app=thread.app, home=home)
    yield server
    server.bare.close()
    thread.end()


def _settings(patch: pytest.MonkeyPatch, home: Path) -> None:
    """The environment of the app, which runs in this process: set for its tests and for no others."""
    for name in ("DERMDEMO_ADMIN_HASH", "DERMDEMO_VISITOR_HASH", "DERMDEMO_ADMIN_HTTP"):
        patch.delenv(name, raising=False)
    patch.setenv("DERMDEMO_HOME", str(home))
    patch.setenv("GRADIO_TEMP_DIR", str(home.parent / "uploads"))
    patch.setenv("DERMDEMO_CHECKPOINTS", str(home.parent / "none"))


@pytest.fixture
def server(running: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The app with nobody logged in, no attempts counted and no visitors' login."""
    _settings(monkeypatch, running.home)
    running.reset()
    yield running
    while running.clients:
        running.clients.pop().close()
