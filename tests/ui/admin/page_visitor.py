"""An administrator's browser on the server of canned answers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.ui.admin import canned_answers as answers
from tests.ui.admin.canned import PASSWORD, Canned, serving
from tests.ui.chromium import WAIT, chromium, visitor

LOSS = "document.querySelector('[data-chart=loss] .plot')"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture
def canned() -> Iterator[Canned]:
    """A server of one test, with one of everything."""
    with serving(Canned()) as running:
        yield running


@contextmanager
def admin(browser: Any, canned: Canned, path: str = "/overview", **options: Any) -> Iterator[Any]:
    """Somebody who has logged in, on a page of the workspace; script errors and markup that came alive fail the test.

    That a request was refused is noted on the console by the browser itself; it is no error of the page.
    """
    with visitor(browser, **options) as page:
        said: list[str] = []
        page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
        page.goto(f"{canned.address}/administration#{path}")
        enter(page)
        page.wait_for_selector("#main h1")  # the workspace: the log-in page has a heading too
        yield page
        assert [text for text in said if not text.startswith("Failed to load resource")] == []
        assert page.title() != "owned" and page.locator("img[src=x]").count() == 0


def enter(page: Any, name: str = "Ada", password: str = PASSWORD) -> None:
    page.fill("#login-name", name)
    page.fill("#login-password", password)
    page.click("button:has-text('Log in')")


def until(page: Any, expression: str) -> None:
    """Wait until a JavaScript expression is true; the page's policy lets it evaluate none itself."""
    end = time.monotonic() + WAIT / 1000
    while not page.evaluate(expression):
        assert time.monotonic() < end, expression
        page.wait_for_timeout(100)


def advance(page: Any, canned: Canned, epochs: int) -> None:
    """Let the job reach an epoch, and wait until the page shows it."""
    canned.job = answers.job(epochs)
    until(page, f"{LOSS}?.data?.[1].x.at(-1) === {epochs}")
