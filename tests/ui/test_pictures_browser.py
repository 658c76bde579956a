"""The Reconstruction and Attribution tabs in Chromium: keyboard, classes, measuring, another image, a phone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dermdemo.diagnoses import full_name
from dermdemo.ui import text
from dermdemo.ui.wording import attribution as attribution_words
from dermdemo.ui.wording import reconstruct as words
from tests.ui.chromium import MARKS, chromium, open_tab, upload, visitor
from tests.ui.conftest import jpeg

pytestmark = MARKS
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Any]:
    with visitor(browser, **getattr(request, "param", {})) as opened:
        yield opened


def visit(page: Any, app: str, tab: str, label: str = "mel", seed: int = 41) -> None:
    page.goto(app)
    page.get_by_text(text.EMPTY_TITLE).wait_for()
    upload(page, jpeg(label, seed))
    open_tab(page, tab)


def analyse_another(page: Any, label: str, seed: int) -> None:
    open_tab(page, text.TAB_ANALYSE)
    page.get_by_label("Clear").or_(page.get_by_label("Remove Image")).first.click()
    page.get_by_text(text.EMPTY_TITLE).wait_for()
    upload(page, jpeg(label, seed))


def sources(page: Any, where: str) -> list[str]:
    """Pictures below a selector."""
    return list(page.eval_on_selector_all(f"{where} img", "all => all.map((i) => i.src)"))


def decoded(page: Any, where: str) -> list[str]:
    """Pictures of a place that is drawn once it is on the screen."""
    page.locator(where).scroll_into_view_if_needed()
    page.wait_for_selector(f"{where} img", timeout=60_000)
    return sources(page, where)


def test_before_the_first_image_both_tabs_say_so(page: Any, app: str) -> None:
    page.goto(app)
    page.get_by_text(text.EMPTY_TITLE).wait_for()
    for tab, place in ((text.TAB_RECONSTRUCTION, "#dd-reconstruction"), (text.TAB_ATTRIBUTION, "#dd-maps")):
        open_tab(page, tab)
        page.locator(place).get_by_text(text.SUBJECT_NONE).wait_for()
    assert page.locator("#dd-faith-run").count() == page.locator("#dd-draw-again").count() == 0


def test_the_slider_moves_by_keyboard_and_by_pointer(page: Any, app: str) -> None:
    visit(page, app, text.TAB_RECONSTRUCTION)
    slider = page.get_by_label(words.COMPARE_ARIA)
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert slider.input_value() == "60"
    cut = "getComputedStyle(document.querySelector('.dd-over')).clipPath"
    assert page.evaluate(cut).replace(" ", "") in ("inset(040%00)", "inset(0px40%0px0px)")
    box = slider.bounding_box()
    page.mouse.click(box["x"] + 0.2 * box["width"], box["y"] + box["height"] / 2)
    assert abs(int(slider.input_value()) - 20) <= 1
    assert all(s.startswith("data:") for s in sources(page, "#dd-reconstruction"))


def test_draws_and_walk_come_when_seen_and_follow_their_controls(page: Any, app: str) -> None:
    visit(page, app, text.TAB_RECONSTRUCTION)
    first = decoded(page, "#dd-samples")
    page.locator("#dd-draw-again").click()
    page.locator("#dd-samples", has_text="Seed 1").wait_for()
    second = sources(page, "#dd-samples")
    assert len(first) == len(second) == 7 and not set(first) & set(second)
    walk = decoded(page, "#dd-walk")
    page.locator("#dd-dimension input").click()
    page.get_by_role("option").nth(2).click()
    page.wait_for_function("old => (document.querySelector('#dd-walk img') || {}).src !== old", arg=walk[0])
    assert len(sources(page, "#dd-walk")) == len(walk) == 8


def test_another_image_leaves_nothing_of_the_previous_one(page: Any, app: str) -> None:
    visit(page, app, text.TAB_RECONSTRUCTION)
    before = {*sources(page, "#dd-reconstruction"), *decoded(page, "#dd-samples"), *decoded(page, "#dd-walk")}
    open_tab(page, text.TAB_ATTRIBUTION)
    before |= set(sources(page, "#dd-maps"))
    analyse_another(page, "vasc", 42)
    open_tab(page, text.TAB_RECONSTRUCTION)
    after = {*sources(page, "#dd-reconstruction"), *decoded(page, "#dd-samples"), *decoded(page, "#dd-walk")}
    open_tab(page, text.TAB_ATTRIBUTION)
    page.wait_for_selector(".dd-cam")
    after |= set(sources(page, "#dd-maps"))
    assert len(before) > 15 and not before & after


def test_class_layer_and_opacity_change_the_maps(page: Any, app: str) -> None:
    visit(page, app, text.TAB_ATTRIBUTION)
    page.wait_for_selector(".dd-cam")
    page.locator("#dd-class input").click()
    page.get_by_role("option", name=full_name("vasc")).click()
    for name in ("vae", "imagenet"):
        caption = attribution_words.CAPTION.format(arm=text.arm_name(name), target=full_name("vasc"))
        page.locator("#dd-maps figcaption", has_text=caption).wait_for()
    page.locator("#dd-layer label").nth(1).click()
    page.locator("#dd-maps", has_text="4 × 4 = 16 values").wait_for()
    page.locator("#dd-opacity").focus()
    page.keyboard.press("Home")
    assert page.evaluate("getComputedStyle(document.querySelector('.dd-heat')).opacity") == "0"
    page.locator("#dd-cells").uncheck()
    assert not page.locator(".dd-cells").first.is_visible()
    analyse_another(page, "nv", 43)
    open_tab(page, text.TAB_ATTRIBUTION)
    page.locator("#dd-maps", has_text="4 × 4 = 16 values").wait_for()
    assert full_name("vasc") in page.inner_text("#dd-maps"), "the class stays for the next image"
    assert page.evaluate("getComputedStyle(document.querySelector('.dd-heat')).opacity") == "0"


def test_measuring_ends_in_sentences_and_goes_with_its_maps(page: Any, app: str) -> None:
    visit(page, app, text.TAB_ATTRIBUTION)
    page.locator("#dd-faith-run").click()
    page.wait_for_selector("#dd-faith svg", timeout=120_000)
    page.locator("#dd-sanity-run").click()
    page.wait_for_selector("#dd-sanity .dd-deviations", timeout=120_000)
    assert page.locator("#dd-faith article").count() == page.locator("#dd-sanity article").count() == 2
    assert page.locator("#dd-faith svg[role=img]").first.get_attribute("aria-label")
    page.locator("#dd-layer label").nth(1).click()
    page.locator("#dd-maps", has_text="4 × 4 = 16 values").wait_for()
    assert page.locator("#dd-faith article").count() == page.locator("#dd-sanity article").count() == 0


@pytest.mark.parametrize("page", [PHONE], indirect=True)
def test_a_phone_needs_no_sideways_scrolling(page: Any, app: str) -> None:
    visit(page, app, text.TAB_RECONSTRUCTION)
    decoded(page, "#dd-walk")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    open_tab(page, text.TAB_ATTRIBUTION)
    page.locator("#dd-faith-run").click()
    page.wait_for_selector("#dd-faith svg", timeout=120_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
