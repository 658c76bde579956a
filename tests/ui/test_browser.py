"""The page in Debian's Chromium, used as a person would."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dermdemo import RESEARCH_NOTICE
from dermdemo.ui import text
from dermdemo.ui.known_map import ASSETS
from dermdemo.ui.wording import administration, models
from dermdemo.ui.wording import several as words
from tests.ui.chromium import MARKS, chromium, open_tab, upload, visitor
from tests.ui.conftest import jpeg

pytestmark = MARKS


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    with visitor(browser, **getattr(request, "param", {})) as opened:
        yield opened


def test_two_lesions_give_two_results_under_the_notice(page: Any, app: str) -> None:
    page.goto(app)
    page.get_by_text(text.EMPTY_TITLE).wait_for()
    assert RESEARCH_NOTICE in page.inner_text("#dd-head")
    first = upload(page, jpeg("mel", 21))
    page.get_by_label("Clear").or_(page.get_by_label("Remove Image")).first.click()
    page.get_by_text(text.EMPTY_TITLE).wait_for()
    second = upload(page, jpeg("vasc", 22))
    assert text.arm_name("vae") in first and text.arm_name("imagenet") in first
    assert first != second
    assert page.locator("#dd-result img").count() == 3


def test_an_example_is_analysed_by_a_click(page: Any, app: str) -> None:
    page.goto(app)
    page.get_by_role("button", name=text.SHORT_LABELS["vasc"]).click()
    page.wait_for_selector(".dd-verdict", timeout=60_000)
    assert "ynthetic" in page.inner_text(".dd-verdict")


def test_a_file_that_is_no_image_gives_a_sentence(page: Any, app: str) -> None:
    page.goto(app)
    page.get_by_text(text.EMPTY_TITLE).wait_for()
    said = upload(page, b"<html>not an image</html>")
    assert text.FAILED_TITLE in said and "Traceback" not in page.content()


@pytest.mark.parametrize("page", [{"width": 390, "height": 844}], indirect=True)
def test_a_phone_needs_no_sideways_scrolling(page: Any, app: str) -> None:
    page.goto(app)
    page.get_by_text(text.EMPTY_TITLE).wait_for()
    upload(page, jpeg("nv", 23))
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
    assert httpx.get(f"{bare_app}{ASSETS}/map/{'0' * 16}.json").status_code == 404


@pytest.mark.parametrize("page", [{"width": 390}], indirect=True)
def test_administration_is_closed_and_says_how_to_open_it(page: Any, bare_app: str) -> None:
    page.goto(bare_app)
    open_tab(page, text.TAB_ADMINISTRATION)
    page.get_by_text(administration.CLOSED_TITLE).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    open_tab(page, text.TAB_MODELS)
    page.get_by_text(models.NOTHING_TITLE).locator("visible=true").first.wait_for()


def test_nothing_of_an_upload_stays_in_the_log(page: Any, app: str, tmp_path: Path) -> None:
    page.goto(app)
    page.get_by_text(text.EMPTY_TITLE).wait_for()
    result = upload(page, jpeg("df", 24), name="MARKER-patient-4711.jpg")
    assert "MARKER-patient" not in result


def test_several_images_become_rows_that_sort_open_and_export(page: Any, app: str) -> None:
    page.goto(app)
    open_tab(page, text.TAB_SEVERAL)
    files = [{"name": f"{label}.jpg", "mimeType": "image/jpeg", "buffer": jpeg(label, 30 + k)}
             for k, label in enumerate(("nv", "mel", "bcc"))]
    files.append({"name": "page.jpg", "mimeType": "image/jpeg", "buffer": b"<html></html>"})
    page.locator("#dd-several-upload input[type=file]").first.set_input_files(files)
    page.wait_for_selector(".dd-list")
    assert page.locator(".dd-list tbody tr").count() == 3
    assert "page.jpg" in page.inner_text(".dd-failures")
    page.locator("[data-sort='0']").click()
    assert page.locator(".dd-list tbody [data-open]").all_inner_texts() == ["bcc.jpg", "mel.jpg", "nv.jpg"]
    page.locator("[data-sort='0']").click()
    assert page.locator("th[aria-sort='descending']").count() == 1
    with page.expect_download() as saved:
        page.get_by_role("button", name=words.CSV).click()
    assert Path(saved.value.path()).read_text(encoding="utf-8-sig").count("\n") == 5
    page.get_by_role("button", name="Open mel.jpg in every tab").click()
    page.wait_for_selector("#dd-result .dd-verdict")
    assert "mel.jpg" in page.inner_text("#dd-result")


def focus(page: Any, wanted: str, presses: int = 60) -> None:
    """Press Tab until the focused element's text or label says `wanted`."""
    said = ("(e => e === document.body ? '' : e.innerText || e.getAttribute('aria-label') || '')"
            "(document.activeElement)")
    for _ in range(presses):
        page.keyboard.press("Tab")
        if wanted in page.evaluate(said):
            return
    raise AssertionError(f"Tab never reached '{wanted}'")


def test_a_keyboard_is_enough(page: Any, app: str) -> None:
    page.goto(app)
    page.get_by_text(text.EMPTY_TITLE).wait_for()
    focus(page, text.SHORT_LABELS["bcc"])
    page.keyboard.press("Enter")
    page.wait_for_selector("#dd-result .dd-verdict")
    page.evaluate("document.activeElement.blur(); window.scrollTo(0, 0)")
    focus(page, text.TAB_SEVERAL)
    ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle + "
                         "getComputedStyle(document.activeElement).boxShadow")
    assert ring not in ("nonenone", "none")
    page.keyboard.press("Enter")
    page.locator("#dd-several-upload").wait_for()


def test_with_the_keyboard_a_file_is_chosen(page: Any, app: str, tmp_path: Path) -> None:
    (tmp_path / "lesion.jpg").write_bytes(jpeg("df", 25))
    page.goto(app)
    page.get_by_text(text.EMPTY_TITLE).wait_for()
    page.get_by_role("tab").first.wait_for()
    with page.expect_file_chooser() as chooser:
        page.locator("#dd-upload button").first.press("Enter")
    chooser.value.set_files(tmp_path / "lesion.jpg")
    page.wait_for_selector("#dd-result .dd-verdict")
