"""Debian's Chromium, and a visitor whose page must not fail or reach another host."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]
MARKS = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]
# Tabs that do not fit have been moved to the menu.
SETTLED = "(row => row && row.scrollWidth <= row.clientWidth + 1)(document.querySelector('#dd-tabs [role=tablist]'))"
STILL = {"reduced_motion": "reduce"}  # what turns while it waits is drawn by the processor, of which there is little
WAIT = 90_000  # ms: a loaded machine is no failure


@contextmanager
def chromium() -> Iterator[Any]:
    """A running browser."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextmanager
def visitor(browser: Any, *, width: int = 1280, height: int = 900, **options: Any) -> Iterator[Any]:
    """A fresh visitor; requests that leave this machine and script errors fail the test."""
    context = browser.new_context(viewport={"width": width, "height": height}, **(STILL | options))
    context.set_default_timeout(WAIT)
    opened, strangers, errors = context.new_page(), [], []
    local = ("127.0.0.1", "localhost", None)
    context.on("request", lambda r: urlsplit(r.url).hostname not in local and strangers.append(r.url))
    opened.on("pageerror", lambda e: errors.append(str(e)))
    yield opened
    context.close()
    assert strangers == [] and errors == []


def upload(page: Any, data: bytes, name: str = "lesion.jpg", kind: str = "image/jpeg") -> str:
    """Upload a picture in the Analyse tab and return the text of its result."""
    file = {"name": name, "mimeType": kind, "buffer": data}
    page.locator("#dd-upload input[type=file]").first.set_input_files(file)
    page.wait_for_selector("#dd-result .dd-verdict, #dd-result .dd-failure", timeout=WAIT)
    return str(page.inner_text("#dd-result"))


def open_tab(page: Any, name: str) -> None:
    """Open a tab by its label, out of the overflow menu if it is there."""
    page.locator("#dd-upload").wait_for(state="attached")
    page.wait_for_function(SETTLED)
    tab = page.get_by_role("tab", name=name, exact=True)
    if tab.first.is_visible():
        tab.first.click()
        return
    page.locator(".overflow-menu > button").first.click()
    page.locator(".overflow-dropdown").get_by_role("button", name=name, exact=True).click()
