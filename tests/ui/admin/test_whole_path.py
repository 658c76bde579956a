"""The whole path of an administrator, in Chromium, against the real app and a real job on synthetic lesions.

From the Administration tab through login, data, launch, a crash of the web process in the middle, watching, promotion
and roll back; a visitor's page that was opened before it all goes on working, with the models that are live.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher

from dermdemo.jobs.audit_log import AuditLog
from dermdemo.jobs.registry import Registry
from tests.ui.admin.page_visitor import browser  # noqa: F401  fixture
from tests.ui.chromium import MARKS, open_tab, upload, visitor
from tests.ui.conftest import free_port, jpeg, start

pytestmark = [*MARKS, pytest.mark.slow, pytest.mark.timeout(1200)]

PASSWORD = "a long enough passphrase"
KNOBS = {"pretrain": {"Schedule": "32x2", "Batch size": "32", "Latent dimensions": "8"},
         "train": {"Schedule": "32x2", "Batch size": "32", "Views": "1"}}
JOB_SECONDS = 600


@pytest.fixture
def place(make_set: Callable[[int], Path], lesion_folder: Path, tmp_path: Path,
          monkeypatch: pytest.MonkeyPatch) -> Path:
    """Folder of an app with an administrator's password, and data that may be registered."""
    shutil.copytree(lesion_folder, tmp_path / "allowed" / "own")
    shutil.copytree(make_set(0), tmp_path / "shipped")
    monkeypatch.setenv("DERMDEMO_ADMIN_HASH", PasswordHasher(time_cost=1, memory_cost=8192).hash(PASSWORD))
    monkeypatch.setenv("DERMDEMO_DATA", str(tmp_path / "allowed"))
    return tmp_path


class Server:
    """The app as a process that can be killed and started again at the same address."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.start()

    def start(self) -> None:
        self.process, self.address, self.log = start(self.folder / "shipped", self.folder, port=self.port)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)


@pytest.fixture
def server(place: Path) -> Iterator[Server]:
    running = Server(place)
    yield running
    running.kill()


def log_in(page: Any, password: str = PASSWORD) -> None:
    page.get_by_label("Your name").fill("Ada")
    page.get_by_label("Administrator password").fill(password)
    page.get_by_role("button", name="Log in").click()


def go(page: Any, tab: str) -> None:
    page.locator("#nav").get_by_role("link", name=tab, exact=True).click()


def sure(page: Any, name: str) -> None:
    """Answer the open question with the button of this name."""
    page.get_by_role("dialog").get_by_role("button", name=name).click()
    page.get_by_role("dialog").wait_for(state="hidden")


def register(page: Any) -> None:
    go(page, "Data")
    page.get_by_role("link", name="Register").first.click()
    page.locator(".tree .pick", has_text="own").first.click()
    page.get_by_role("button", name="Check and register").click()
    page.wait_for_url(re.compile(r"#/data/d0001$"))
    page.get_by_text("90 lesions").first.wait_for()


def launch(page: Any) -> None:
    go(page, "Launch")
    page.get_by_text("Train the VAE anew").click()
    page.get_by_label("First try one batch of every step").uncheck()
    page.locator("summary", has_text="Settings").click()
    for stage, knobs in KNOBS.items():
        for name, value in knobs.items():
            page.locator(f"[data-stage={stage}]").get_by_label(name, exact=True).fill(value)
    page.get_by_label("Draws for each interval").fill("50")
    page.get_by_role("button", name="Launch …").click()
    sure(page, "Launch")
    page.wait_for_url(re.compile(r"#/jobs/0001$"))


def served(address: str) -> dict[str, str]:
    """Hashes of the models that analyse a picture now, by the documented API."""
    with httpx.Client(base_url=address, timeout=120) as client:
        path = client.post("/gradio_api/upload", files={"files": ("lesion.jpg", jpeg("nv", 5))}).json()[0]
        asked = {"data": [{"path": path, "meta": {"_type": "gradio.FileData"}}]}
        event = client.post("/gradio_api/call/analyse", json=asked)
        answer = client.get(f"/gradio_api/call/analyse/{event.json()['event_id']}").text
    return dict(json.loads(answer.partition("event: complete\ndata: ")[2].splitlines()[0])[0]["models"])


def test_from_the_tab_to_a_promoted_version_and_back(server: Server, browser: Any, place: Path) -> None:  # noqa: F811
    shipped = served(server.address)
    with visitor(browser) as guest, visitor(browser) as page:
        guest.goto(server.address)
        before = upload(guest, jpeg("nv", 5))
        page.goto(server.address)
        open_tab(page, "Administration")
        link = page.get_by_role("link", name="Open administration")
        page.goto(server.address + str(link.get_attribute("href")))  # it opens a tab of its own
        log_in(page, "not the password")
        page.get_by_role("alert").filter(has_text="password").wait_for()
        log_in(page)
        page.locator("#who", has_text="Ada").wait_for()
        register(page)
        launch(page)
        page.get_by_text("running").first.wait_for()
        # -- the web process is killed; the job goes on, and the page finds it again
        server.kill()
        page.locator("#away").wait_for()
        server.start()
        page.get_by_role("dialog").wait_for()
        log_in(page)
        page.locator(".step-list li", has_text="candidate").wait_for()
        page.get_by_text("It made").wait_for(timeout=1000 * JOB_SECONDS)
        for step in ("Stage I", "Stage II"):
            page.locator(".picks button", has_text=step).first.click()
            page.locator(".js-plotly-plot .scatterlayer .trace >> visible=true").first.wait_for()
        grid = page.locator("section", has_text="Reconstructions").locator("img").first
        assert grid.evaluate("image => image.complete && image.naturalWidth > 0")
        # -- decide
        page.get_by_role("link", name="Version 1").first.click()
        page.get_by_text("In plain words").wait_for()
        page.get_by_role("button", name="Promote version 1").click()
        sure(page, "Promote Version 1")
        versions = Registry(place / "home", place / "shipped")
        made = versions.version(1).models
        assert served(server.address)["vae"] == made["vae"] != shipped["vae"]
        after = upload(guest, jpeg("nv", 5))
        assert before != after, "a page opened before the promotion is answered by the promoted models"
        go(page, "Versions")
        page.get_by_role("link", name="Version 0 (shipped)").first.click()
        page.get_by_role("button", name="Roll back to version 0").click()
        sure(page, "Roll back to Version 0")
        assert served(server.address) == shipped and versions.switch().live == 0
        # -- account for it
        go(page, "Audit log")
        page.get_by_text("Rolled back").first.wait_for()
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("Administrator password").wait_for()
        assert page.context.cookies() == [], "nothing of the session stays"
    actions = [entry.action for entry in AuditLog(place / "home" / "audit").read()]
    asked = [a for a in actions if a in ("register-data", "launch", "register", "promote", "rollback")]
    assert asked == ["register-data", "launch", "register", "promote", "rollback"]
