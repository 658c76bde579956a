"""The page in Debian's Chromium, used as a person would."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from dermdemo import RESEARCH_NOTICE
from dermdemo.ui import text
from tests.ui.conftest import jpeg

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]

pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A fresh visitor; requests that leave this machine and script errors fail the test."""
    context = browser.new_context(viewport=getattr(request, "param", {"width": 1280, "height": 900}))
    opened, strangers, errors = context.new_page(), [], []
    local = ("127.0.0.1", "localhost", None)
    opened.on("request", lambda r: urlsplit(r.url).hostname not in local and strangers.append(r.url))
    opened.on("pageerror", lambda e: errors.append(str(e)))
    yield opened
    context.close()
    assert strangers == [] and errors == []


def analyse(page: Any, data: bytes, name: str = "lesion.jpg") -> str:
    """Upload a picture and return the text of its result."""
    page.locator("#dd-upload input[type=file]").first.set_input_files(
        {"name": name, "mimeType": "image/jpeg", "buffer": data})
    page.wait_for_selector(".dd-verdict, .dd-failure", timeout=60_000)
    return str(page.inner_text("#dd-result"))


def test_two_lesions_give_two_results_under_the_notice(page: Any, app: str) -> None:
    page.goto(app)
    page.get_by_text(text.EMPTY_TITLE).wait_for()
    assert RESEARCH_NOTICE in page.inner_text("#dd-head")
    first = analyse(page, jpeg("mel", 21))
    page.get_by_label("Clear").or_(page.get_by_label("Remove Image")).first.click()
    page.get_by_text(text.EMPTY_TITLE).wait_for()
    second = analyse(page, jpeg("vasc", 22))
    assert text.arm_name("vae") in first and text.arm_name("imagenet") in first
    assert first != second
    assert page.locator("#dd-result img").count() >= 6


def test_an_example_is_analysed_by_a_click(page: Any, app: str) -> None:
    page.goto(app)
    page.get_by_role("button", name=text.SHORT_LABELS["vasc"]).click()
    page.wait_for_selector(".dd-verdict", timeout=60_000)
    assert "ynthetic" in page.inner_text(".dd-verdict")


def test_a_file_that_is_no_image_gives_a_sentence(page: Any, app: str) -> None:
    page.goto(app)
    page.get_by_text(text.EMPTY_TITLE).wait_for()
    said = analyse(page, b"<html>not an image</html>")
    assert text.FAILED_TITLE in said and "Traceback" not in page.content()


@pytest.mark.parametrize("page", [{"width": 390, "height": 844}], indirect=True)
def test_a_phone_needs_no_sideways_scrolling(page: Any, app: str) -> None:
    page.goto(app)
    page.get_by_text(text.EMPTY_TITLE).wait_for()
    analyse(page, jpeg("nv", 23))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert RESEARCH_NOTICE.split(".")[0] in page.inner_text("#dd-head")


def test_cards_are_dark_in_the_dark(page: Any, app: str) -> None:
    page.goto(f"{app}?__theme=dark")
    page.get_by_text(text.EMPTY_TITLE).wait_for()
    colour = page.evaluate("getComputedStyle(document.querySelector('.dd-card')).backgroundColor")
    channels = [int(v) for v in colour.removeprefix("rgb(").removesuffix(")").split(",")[:3]]
    assert max(channels) < 80, colour


def test_without_checkpoints_the_page_says_why(page: Any, bare_app: str) -> None:
    page.goto(bare_app)
    page.get_by_text(text.NO_MODELS_TITLE).wait_for()
    assert "meta.json cannot be read" in page.inner_text("#dd-result")


def test_nothing_of_an_upload_stays_in_the_log(page: Any, app: str, tmp_path: Path) -> None:
    page.goto(app)
    page.get_by_text(text.EMPTY_TITLE).wait_for()
    result = analyse(page, jpeg("df", 24), name="MARKER-patient-4711.jpg")
    assert "MARKER-patient" not in result
