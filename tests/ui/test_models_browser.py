"""The Models and Administration tabs in a browser: whole on a desk and on a phone, in light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dermdemo.ui import text
from dermdemo.ui.wording import models
from tests.ui.chromium import MARKS, chromium, open_tab, visitor
from tests.ui.conftest import start
from tests.ui.evidence_samples import make_store

pytestmark = MARKS
WIDE = "[...document.querySelectorAll('.dd-models *')].filter(e => !e.closest('.dd-scroll, .dd-nav') && "
WIDE += "e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"
SIDEWAYS = "document.documentElement.scrollWidth > innerWidth"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def served_study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of an app whose checkpoints have test figures, cards and a study."""
    folder = tmp_path_factory.mktemp("served-study")
    (folder / "made").mkdir()
    process, address, log = start(make_store(folder / "made").store, folder)
    yield address
    process.terminate()
    process.wait(120)
    assert "Traceback" not in log.read_text()


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "light"), (390, "dark")])
def test_everything_is_shown_without_sideways_scrolling(
    browser: Any, served_study: str, width: int, scheme: str
) -> None:
    with visitor(browser, width=width, color_scheme=scheme) as page:
        page.goto(served_study)
        open_tab(page, text.TAB_MODELS)
        page.locator("#dd-models-study").wait_for()
        assert page.locator("#dd-models svg").count() == 8
        assert page.evaluate(SIDEWAYS) is False
        assert page.evaluate(WIDE) == []
        first, second = (page.locator(f"#dd-models .dd-chart-label.is-{tone}").first for tone in "ab")
        assert len({c.evaluate("e => getComputedStyle(e).fill") for c in (first, second)}) == 2


def test_links_lead_to_sections_and_cards_open(browser: Any, served_study: str) -> None:
    with visitor(browser) as page:
        page.goto(served_study)
        open_tab(page, text.TAB_MODELS)
        page.get_by_role("navigation", name=models.NAVIGATION).get_by_text(models.SECTIONS["study"]).click()
        place = "document.querySelector('#dd-models-study').getBoundingClientRect().top"
        page.wait_for_function(f"Math.abs({place}) < 200")
        card = page.locator(".dd-model-card").nth(1)
        assert "Intended use" not in card.inner_text()
        card.get_by_role("button").first.click()
        card.get_by_text("Intended use and limits").wait_for()
        page.get_by_text(models.CURVE_FIGURES).click()
        assert page.locator(".dd-more table").first.is_visible()
