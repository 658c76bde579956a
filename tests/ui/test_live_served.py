"""Promotions while pages are open and requests come in, on one running app.

A page that is open goes on, says what it cannot do any more, and shows the new models. Of the requests through the
documented API none fails, and each answer is that of one version: its hashes, its probabilities, its neighbours.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from dermdemo.analysis.analyser import Analyser
from dermdemo.analysis.export import analysis_to_dict
from dermdemo.ui import text
from dermdemo.ui.wording import latent, models
from scripts.survival import ask
from tests.ui.chromium import MARKS, WAIT, chromium, open_tab, upload, visitor
from tests.ui.conftest import jpeg
from tests.ui.live_server import Server, server  # noqa: F401  fixture

REPLACED = "have been replaced since this image was analysed"
SWITCHES, CLIENTS = 6, 4
VARIES = ("timing_ms", "name")


def same(answer: Any, wanted: Any) -> bool:
    """Whether an answer is the wanted one, but for its name and times."""
    if isinstance(wanted, dict):
        return set(answer) == set(wanted) and all(k in VARIES or same(answer[k], wanted[k]) for k in wanted)
    if isinstance(wanted, list):
        return len(answer) == len(wanted) and all(map(same, answer, wanted))
    if isinstance(wanted, float):
        return bool(answer == pytest.approx(wanted, rel=1e-3, abs=1e-5))
    return bool(answer == wanted)


def to_shipped(server: Server) -> None:  # noqa: F811
    """Whatever an earlier test has promoted."""
    if server.registry.switch().live:
        assert server.switch("rollback", 0) == "served 0"


# A page that is open -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


def painted(page: Any) -> str:
    page.wait_for_selector("#dd-map[data-painted]", timeout=WAIT)
    return str(page.get_attribute("#dd-map", "data-painted"))


def version(page: Any, said: str) -> str:
    """Open the Models tab; the whole of it once it names a version."""
    open_tab(page, text.TAB_MODELS)
    page.get_by_text(said).first.wait_for()
    return str(page.inner_text("#dd-models"))


@pytest.mark.slow
@pytest.mark.browser
@MARKS[1]
@pytest.mark.timeout(900)
def test_a_page_that_is_open_goes_on_with_the_new_models(browser: Any, server: Server) -> None:  # noqa: F811
    registry = server.registry
    to_shipped(server)
    with visitor(browser) as page:
        page.goto(server.address)
        upload(page, jpeg("mel", 21))
        before = version(page, models.SERVED_SHIPPED)
        assert registry.version(0).sha256[:12] in before
        open_tab(page, text.TAB_LATENT)
        old = painted(page)
        assert page.locator("#dd-latent-near [data-known]").count() == 8
        # -- the switch
        assert server.switch("promote", 1) == "served 1"
        open_tab(page, text.TAB_RECONSTRUCTION)
        for place in ("#dd-samples", "#dd-walk"):  # they ask once they are on the screen
            page.locator(place).scroll_into_view_if_needed()
            page.locator(place).get_by_text(REPLACED).wait_for()
        assert page.locator("#dd-reconstruction .dd-compare").is_visible(), "what the result holds is still shown"
        open_tab(page, text.TAB_ATTRIBUTION)
        assert page.locator("#dd-maps .dd-cam").count() == 2
        page.click("#dd-faith-run")
        page.locator("#dd-faith").get_by_text(REPLACED).first.wait_for()
        after = version(page, models.SERVED_TITLE.format(number=1))
        new = registry.version(1)
        assert new.sha256[:12] in after and new.models["vae"][:12] in after and models.STUDY_OTHER in after
        assert page.locator(".dd-model-card").count() == 3
        open_tab(page, text.TAB_LATENT)
        page.wait_for_function(f"document.querySelector('#dd-map').dataset.painted !== '{old}'")
        page.get_by_text(latent.NEAR_STALE).wait_for()
        # -- the same page, another image
        open_tab(page, text.TAB_ANALYSE)
        page.get_by_label("Clear").or_(page.get_by_label("Remove Image")).first.click()
        page.get_by_text(text.EMPTY_TITLE).wait_for()
        upload(page, jpeg("nv", 22))
        page.locator(".dd-details summary").click()
        assert new.models["vae"][:12] in page.inner_text(".dd-details")
        open_tab(page, text.TAB_LATENT)
        page.wait_for_function("document.querySelectorAll('#dd-latent-near [data-known]').length === 8")
        page.wait_for_function("[...document.querySelectorAll('.dd-near img')].every((i) => i.naturalWidth > 0)")
        open_tab(page, text.TAB_RECONSTRUCTION)
        page.locator("#dd-walk").scroll_into_view_if_needed()
        page.wait_for_selector("#dd-walk .dd-walk", timeout=WAIT)
    with visitor(browser) as page:
        page.goto(server.address)
        assert new.sha256[:12] in version(page, models.SERVED_TITLE.format(number=1))


# Requests under load ---------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_promotions_fail_no_request_and_mix_no_models(server: Server) -> None:  # noqa: F811
    data, registry = jpeg("mel", 5), server.registry
    to_shipped(server)
    wanted = {number: json.loads(json.dumps(analysis_to_dict(
        Analyser(registry.root(number), device="cpu").analyse_bytes(data)))) for number in (0, 1, 2)}
    by_models = {json.dumps(w["models"], sort_keys=True): number for number, w in wanted.items()}
    assert len(by_models) == 3
    answers: list[tuple[int, dict[str, Any]]] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def visit() -> None:
        with httpx.Client(base_url=server.address, timeout=120) as client:
            while not done.is_set():
                try:
                    answer = ask(client, data)
                    answers.append((by_models[json.dumps(answer["models"], sort_keys=True)], answer))
                except BaseException as error:
                    failures.append(error)
                    return

    clients = [threading.Thread(target=visit, daemon=True) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    for k in range(SWITCHES):
        number, before, end = (1, 2, 0)[k % 3], len(answers), time.monotonic() + 60
        while len(answers) < before + 2 and not failures and time.monotonic() < end:
            time.sleep(0.02)
        assert server.switch("rollback" if number == 0 else "promote", number) == f"served {number}"
        assert registry.switch().live == number
    done.set()
    for client in clients:
        client.join(120)
    assert failures == []
    assert len(answers) >= 2 * SWITCHES and {number for number, _ in answers} == {0, 1, 2}
    assert [k for k, (number, answer) in enumerate(answers) if not same(answer, wanted[number])] == []


def test_a_promotion_in_a_terminal_is_followed_and_a_refused_one_is_not(server: Server) -> None:  # noqa: F811
    registry, data = server.registry, jpeg("nv", 6)
    registry.promote(2, who="somebody in a terminal")
    end = time.monotonic() + 60
    with httpx.Client(base_url=server.address, timeout=120) as client:
        while set(ask(client, data)["models"].values()) != set(registry.version(2).models.values()):
            assert time.monotonic() < end, "the promotion was not followed"
            time.sleep(0.5)
        path = registry.root(1) / "atlas" / "meta.json"
        kept = path.read_bytes()
        path.write_bytes(kept + b" ")
        assert server.switch("promote", 1).startswith("refused Version 1 is not as it was registered")
        assert set(ask(client, data)["models"].values()) == set(registry.version(2).models.values())
        path.write_bytes(kept)
