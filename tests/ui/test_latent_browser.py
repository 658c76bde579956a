"""The map in Debian's Chromium on the shipped checkpoints' atlas, used with mouse, keyboard and fingers."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from dermdemo.config import environment
from dermdemo.ui import text
from dermdemo.ui.known_map import ASSETS
from dermdemo.ui.wording import latent as words
from tests.ui.chromium import MARKS, WAIT, chromium, open_tab, upload, visitor
from tests.ui.conftest import jpeg, start

SHIPPED = environment().checkpoints
PLOT = "document.querySelector('#dd-map [data-map=plot]')"
POINTS = 10_015

pytestmark = [*MARKS, pytest.mark.slow, pytest.mark.timeout(600),
              pytest.mark.skipif(not (SHIPPED / "atlas" / "meta.json").exists(), reason="no shipped checkpoints")]


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an app that serves the checkpoints of the repository."""
    folder = tmp_path_factory.mktemp("shipped")
    process, address, log = start(SHIPPED, folder)
    yield address
    process.terminate()
    process.wait(30)
    assert "Traceback" not in log.read_text()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def points(shipped: str, browser: Any) -> dict[str, Any]:
    """What the map draws."""
    with visitor(browser) as page:
        show(page, shipped)
        key = page.get_attribute("#dd-map", "data-painted")
    answer = httpx.get(f"{shipped}{ASSETS}/map/{key}.json").json()
    assert len(answer["x"]) == POINTS
    return dict(answer)


def show(page: Any, address: str) -> None:
    """Open the tab and wait for the points."""
    if page.url == "about:blank":
        page.goto(address)
    open_tab(page, text.TAB_LATENT)
    page.wait_for_selector("#dd-map[data-painted]", timeout=WAIT)


def ranges(page: Any) -> list[float]:
    return list(page.evaluate(f"[...{PLOT}.layout.xaxis.range, ...{PLOT}.layout.yaxis.range]"))


def on_screen(page: Any, x: float, y: float) -> tuple[float, float]:
    """Page coordinates of a place on the map."""
    x0, x1, y0, y1 = ranges(page)
    box = page.locator("#dd-map .dd-map-stage").bounding_box()
    return (box["x"] + (x - x0) / (x1 - x0) * box["width"], box["y"] + (y1 - y) / (y1 - y0) * box["height"])


def lasso(page: Any, size: float = 90) -> None:
    """A square lasso about the middle of the map."""
    page.click("[data-mode=lasso]")
    page.locator("#dd-map .dd-map-stage").scroll_into_view_if_needed()
    box = page.locator("#dd-map .dd-map-stage").bounding_box()
    x, y = box["x"] + box["width"] * 0.58, box["y"] + box["height"] / 2
    page.mouse.move(x - size, y - size)
    page.mouse.down()
    for dx, dy in ((size, -size), (size, size), (-size, size), (-size, 6 - size)):
        page.mouse.move(x + dx, y + dy, steps=5)
    page.mouse.up()
    page.wait_for_selector("#dd-latent-panel .dd-lesions", timeout=WAIT)


def counted(page: Any) -> int:
    found = re.match(r"([\d,]+) images", page.inner_text("#dd-latent-panel h2"))
    assert found is not None
    return int(found[1].replace(",", ""))


def lonely(points: dict[str, Any]) -> int:
    """A row with no other near it, so that a pointer cannot hit its neighbour."""
    xs, ys = points["x"], points["y"]
    for row in range(POINTS):
        near = sum(abs(xs[row] - a) < 0.12 and abs(ys[row] - b) < 0.12 for a, b in zip(xs, ys, strict=True))
        if near == 1:
            return row
    raise AssertionError("every point has a neighbour")


def test_a_lasso_lists_scores_and_exports_its_lesions(browser: Any, shipped: str, points: dict[str, Any]) -> None:
    with visitor(browser) as page:
        show(page, shipped)
        lasso(page)
        inside, panel = counted(page), page.inner_text("#dd-latent-panel")
        assert 100 < inside < POINTS and words.ARMS_TITLE in panel and words.HELD_OUT in panel
        assert all(text.arm_name(arm) in panel for arm in ("vae", "imagenet"))
        with page.expect_download() as saving:
            page.click("#dd-latent-save")
        rows = list(csv.DictReader(io.StringIO(Path(saving.value.path()).read_text("utf-8-sig"))))
        assert saving.value.suggested_filename == words.CSV_NAME and len(rows) == inside
        x0, x1, y0, y1 = ranges(page)
        assert all(x0 < float(r["map_x"]) < x1 and y0 < float(r["map_y"]) < y1 for r in rows)
        page.locator("#dd-latent-panel [data-known]").first.click()
        page.wait_for_selector("#dd-latent-panel .dd-known")
        page.click("#dd-latent-panel [data-back]")
        page.wait_for_selector("#dd-latent-panel .dd-lesions")
        assert counted(page) == inside
        page.click("[data-step=clear]")
        page.get_by_text(words.PANEL_EMPTY).wait_for()


def test_hover_rings_and_then_tells(browser: Any, shipped: str, points: dict[str, Any]) -> None:
    row = lonely(points)
    with visitor(browser) as page:
        show(page, shipped)
        page.mouse.move(*on_screen(page, points["x"][row], points["y"][row]), steps=3)
        page.wait_for_selector(f".dd-map-card[data-row='{row}']:not([hidden])")
        card = page.inner_text(".dd-map-card")
        assert points["ids"][row] in card and words.MADE in card and text.arm_name("imagenet") in card
        page.wait_for_function("document.querySelector('.dd-map-card img').naturalWidth > 0")
        assert page.locator(".dd-map-ring:not(.is-held)").is_visible()
        page.mouse.move(5, 5)
        page.wait_for_selector(".dd-map-card", state="hidden")
        page.mouse.click(*on_screen(page, points["x"][row], points["y"][row]))
        page.wait_for_selector("#dd-latent-panel .dd-known")
        assert points["ids"][row] in page.inner_text("#dd-latent-panel")


def test_recolouring_and_hiding_change_the_drawing_and_no_place(browser: Any, shipped: str, points: dict[str, Any]
                                                                ) -> None:
    picture = "document.querySelector('#dd-map .gl-canvas-context').toDataURL()"
    with visitor(browser) as page:
        show(page, shipped)
        seen, before = {page.evaluate(picture)}, ranges(page)
        for column in points["columns"][1:]:
            page.select_option("#dd-map select", column["name"])
            page.wait_for_timeout(400)
            seen.add(page.evaluate(picture))
            legend = page.inner_text("#dd-map .dd-map-legend")
            assert all(c["label"] in legend for c in column["categories"])
        assert ranges(page) == before
        assert page.evaluate(f"{PLOT}.data.reduce((n, t) => n + t.x.length, 0)") == POINTS
        button = page.locator("#dd-map .dd-map-legend button").first
        button.click()
        assert button.get_attribute("aria-pressed") == "false"
        page.wait_for_function(f"{PLOT}.data.filter((t) => !t.visible).length === 1")
        assert len(seen) >= 2


def test_the_visitors_image_is_on_the_map_and_leaves_it(browser: Any, shipped: str) -> None:
    with visitor(browser) as page:
        page.goto(shipped)
        upload(page, jpeg("mel", 41))
        show(page, shipped)
        page.wait_for_selector(".dd-map-mine", state="visible")
        first = page.evaluate("document.querySelector('.dd-map-mine').style.transform")
        assert page.locator("#dd-latent-near [data-known]").count() == 8
        assert page.locator(".dd-map-near").count() == 8
        page.wait_for_function("[...document.querySelectorAll('.dd-near img')].every((i) => i.naturalWidth > 0)")
        page.locator("#dd-latent-near [data-known]").nth(1).click()
        page.wait_for_selector("#dd-latent-panel .dd-known")
        assert page.locator(".dd-map-ring.is-held").is_visible()
        open_tab(page, text.TAB_ANALYSE)
        page.get_by_label("Clear").or_(page.get_by_label("Remove Image")).first.click()
        page.get_by_text(text.EMPTY_TITLE).wait_for()
        upload(page, jpeg("vasc", 42))
        show(page, shipped)
        page.wait_for_function(f"document.querySelector('.dd-map-mine').style.transform !== '{first}'")


def test_the_keyboard_walks_opens_and_zooms(browser: Any, shipped: str, points: dict[str, Any]) -> None:
    with visitor(browser) as page:
        show(page, shipped)
        page.focus("#dd-map .dd-map-stage")
        for key in ("ArrowRight", "ArrowRight", "ArrowUp"):
            page.keyboard.press(key)
        row = int(page.get_attribute(".dd-map-card", "data-row"))
        assert points["ids"][row] in page.inner_text(".dd-map-said")
        page.keyboard.press("Enter")
        page.wait_for_selector("#dd-latent-panel .dd-known")
        assert points["ids"][row] in page.inner_text("#dd-latent-panel")
        wide = ranges(page)
        page.keyboard.press("+")
        page.wait_for_function(f"x => {PLOT}.layout.xaxis.range[0] > x + 0.1", arg=wide[0])
        page.keyboard.press("0")
        page.wait_for_function(f"x => Math.abs({PLOT}.layout.xaxis.range[0] - x) < 1e-6", arg=wide[0])


def test_a_phone_pinches_taps_and_needs_no_sideways_scrolling(browser: Any, shipped: str, points: dict[str, Any]
                                                              ) -> None:
    with visitor(browser, width=390, height=844, has_touch=True, is_mobile=True) as page:
        page.goto(shipped)
        show(page, shipped)
        page.locator("#dd-map .dd-map-stage").scroll_into_view_if_needed()
        box = page.locator("#dd-map .dd-map-stage").bounding_box()
        x, y, before = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, ranges(page)
        fingers = page.context.new_cdp_session(page)

        def touch(kind: str, *spots: float) -> None:
            at = [{"x": x + dx, "y": y, "id": k} for k, dx in enumerate(spots)]
            fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

        touch("touchStart", -20)
        touch("touchStart", -20, 20)
        for span in range(30, 90, 10):
            touch("touchMove", -span, span)
        touch("touchEnd")
        page.wait_for_timeout(800)
        after = ranges(page)
        assert after[1] - after[0] < 0.6 * (before[1] - before[0])
        row = min(range(POINTS), key=lambda k: (points["x"][k] - sum(after[:2]) / 2) ** 2
                  + (points["y"][k] - sum(after[2:]) / 2) ** 2)
        page.touchscreen.tap(*on_screen(page, points["x"][row], points["y"][row]))
        page.wait_for_selector("#dd-latent-panel .dd-known")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        stage, panel = (page.locator(s).bounding_box() for s in ("#dd-map", "#dd-latent-panel"))
        assert panel["y"] >= stage["y"] + stage["height"]


def test_dark_has_its_own_colours_and_the_map_follows(browser: Any, shipped: str) -> None:
    colour = f"{PLOT}.data[0].marker.color"
    with visitor(browser) as page:
        page.goto(f"{shipped}?__theme=dark")
        show(page, shipped)
        dark = page.evaluate(colour)
        page.evaluate("document.body.classList.remove('dark')")
        page.wait_for_function(f"{colour} !== '{dark}'")
