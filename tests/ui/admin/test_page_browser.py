"""The administration page in Debian's Chromium, against canned answers: logging in, looking, watching."""

# ruff: noqa: F811  fixtures are named as what they give
from __future__ import annotations

import re
from typing import Any

import pytest

from tests.ui.admin import canned_answers as answers
from tests.ui.admin.canned import API, PASSWORD, Canned
from tests.ui.admin.page_visitor import LOSS, admin, advance, browser, canned, enter, until  # noqa: F401  fixtures
from tests.ui.chromium import MARKS, visitor

pytestmark = [*MARKS, pytest.mark.timeout(300)]


# Logging in ---------------------------------------------------------------------------------------------------------


def test_a_wrong_password_is_said_and_the_address_is_kept(browser: Any, canned: Canned) -> None:
    canned.logged_in = False
    with visitor(browser) as page:
        page.goto(f"{canned.address}/administration#/jobs/0002")
        enter(page, password="wrong")
        page.wait_for_selector("text=That is not the password.")
        assert page.input_value("#login-password") == "" and page.input_value("#login-name") == "Ada"
        enter(page)
        page.wait_for_selector("h1:has-text('Job 0002')")
        assert "Logged in as Ada" in page.inner_text(".account")
        assert "Research use only" in page.inner_text(".notice")


def test_a_lock_out_says_how_long(browser: Any, canned: Canned) -> None:
    canned.logged_in, canned.locked = False, True
    with visitor(browser) as page:
        page.goto(f"{canned.address}/administration")
        enter(page)
        page.wait_for_selector("text=Possible again in 1 min 3")
        assert page.is_disabled("button[type=submit]")


def test_logging_out(browser: Any, canned: Canned) -> None:
    with admin(browser, canned) as page:
        page.click("#logout")
        page.wait_for_selector("text=You are logged out.")
        assert not canned.logged_in


def test_an_ended_session_is_renewed_without_losing_what_was_typed(browser: Any, canned: Canned) -> None:
    with admin(browser, canned, "/launch") as page:
        page.click("text=Settings")
        page.get_by_label("Learning rate").fill("0.005")
        page.wait_for_selector("text=1 value changed")
        page.click("aside button:has-text('Launch'):not([disabled])")
        canned.logged_in = False
        page.click("dialog button:has-text('Launch')")
        page.wait_for_selector("text=You were logged out")
        page.keyboard.press("Escape")
        page.keyboard.press("Escape")
        assert page.input_value("#login-name") == "Ada"
        enter(page)
        page.wait_for_selector("h1:has-text('Job 0002')")
        headers, body = canned.posts("/launch")[-1]
        assert headers["x-csrf-token"] == canned.token and body["knobs"] == {"train.lr": "0.005"}


def test_somebody_else_who_logs_in_does_not_finish_what_was_begun(browser: Any, canned: Canned) -> None:
    with admin(browser, canned, "/jobs/0002") as page:
        page.click("text=Cancel and discard")
        canned.ends_at = "/jobs/0002/cancel"
        page.click("text=Discard the job")
        page.wait_for_selector("text=You were logged out")
        page.fill("#login-name", "Ben")
        page.fill("#login-password", PASSWORD)
        page.keyboard.press("Enter")
        page.wait_for_selector("text=You are logged in as Ben now. Nothing was done")
        assert "Ben" in page.inner_text("#who")
        assert all(headers["x-csrf-token"] != canned.token for headers, _ in canned.posts("/jobs/0002/cancel"))


def test_the_end_of_a_session_is_announced_and_put_off(browser: Any, canned: Canned) -> None:
    canned.idle = 60
    with admin(browser, canned) as page:
        page.wait_for_selector("text=You will be logged out in")
        canned.idle = 1800
        page.click("text=Stay logged in")
        page.wait_for_selector("#idle", state="hidden")


# Looking ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "title"), [
    ("/overview", "Overview"), ("/data", "Data"), ("/data/new", "Register data"), ("/data/d0001", "Clinic 2026"),
    ("/launch", "Launch a job"), ("/jobs", "Jobs"), ("/jobs/0002", "Job 0002"), ("/versions", "Versions"),
    ("/versions/1", "Version 1"), ("/audit", "Audit log"), ("/nowhere", "There is no such page"),
])  # fmt: skip
def test_every_page_opens_and_fits_a_phone(browser: Any, canned: Canned, path: str, title: str) -> None:
    with admin(browser, canned, path, width=390, height=800, color_scheme="dark") as page:
        page.wait_for_selector(f"h1:has-text('{title}')")
        page.wait_for_selector("text=Loading …", state="detached")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.reload()
        page.wait_for_selector(f"h1:has-text('{title}')")


def test_navigation_by_keyboard_moves_the_focus_to_the_heading(browser: Any, canned: Canned) -> None:
    with admin(browser, canned) as page:
        page.focus("#nav [data-tab=versions]")
        page.keyboard.press("Enter")
        until(page, "document.activeElement.matches('h1') && document.activeElement.textContent === 'Versions'")
        assert page.get_attribute("#nav [data-tab=versions]", "aria-current") == "page"
        assert page.title().startswith("Versions")
        page.go_back()
        page.wait_for_selector("h1:has-text('Overview')")


def test_the_first_day_says_what_to_do(browser: Any, canned: Canned) -> None:
    canned.overview = answers.empty()
    with admin(browser, canned) as page:
        assert page.locator(".steps .is-next").inner_text().startswith("1 Register data")
        page.click(".steps .is-next a")
        page.wait_for_selector("h1:has-text('Register data')")
        page.click("#nav [data-tab=launch]")
        page.wait_for_selector("text=A job needs registered data.")


def test_a_version_that_was_tampered_with_is_shown_as_refused(browser: Any, canned: Canned) -> None:
    with admin(browser, canned, "/versions") as page:
        row = page.locator("tr", has_text="Version 2")
        assert "Refused" in row.inner_text() and "vae/trunk is missing, changed or new" in row.inner_text()


def test_only_a_page_that_is_seen_looks_again_and_says_that_nobody_asked(browser: Any, canned: Canned) -> None:
    with admin(browser, canned) as page:
        until(page, "performance.getEntriesByType('resource').filter((e) => e.name.endsWith('/overview')).length > 2")
        first, *rest = [h for method, path, h, _ in canned.asked if path == API + "/overview"]
        assert "x-background" not in first and all(h.get("x-background") == "1" for h in rest)
        page.evaluate("Object.defineProperty(document, 'hidden', {value: true});"
                      "document.dispatchEvent(new Event('visibilitychange'))")
        page.wait_for_timeout(500)  # a look that was under way
        before = len(canned.asked)
        page.wait_for_timeout(4000)
        assert len(canned.asked) == before


def test_a_server_that_is_away_is_said_and_found_again(browser: Any, canned: Canned) -> None:
    with admin(browser, canned, "/jobs/0002") as page:
        page.wait_for_selector("h2:has-text('Curves')")
        canned.away = True
        page.wait_for_selector("text=Connection lost; jobs go on.")
        assert page.is_visible("h2:has-text('Curves')")
        canned.away = False
        page.wait_for_selector("#away", state="hidden")


# Watching -----------------------------------------------------------------------------------------------------------


def test_curves_change_in_place_and_keep_the_zoom(browser: Any, canned: Canned) -> None:
    with admin(browser, canned, "/jobs/0002") as page:
        page.wait_for_selector("[data-chart=loss] .plot .main-svg")
        assert page.evaluate(f"{LOSS}.layout.xaxis.range[1]") > 20
        assert page.text_content("[data-chart=loss] .ytitle") == "nats per image"
        page.evaluate(f"window.before = {LOSS}.querySelector('.main-svg')")
        box = page.locator("[data-chart=loss] .nsewdrag").first.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + box["height"] / 2)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + box["height"] / 2, steps=8)
        page.mouse.up()
        until(page, f"{LOSS}._fullLayout.xaxis.range[1] < 12")
        zoomed, tall = page.evaluate(f"{LOSS}._fullLayout.xaxis.range"), page.evaluate("document.body.scrollHeight")
        advance(page, canned, 9)
        assert page.evaluate(f"{LOSS}._fullLayout.xaxis.range") == zoomed
        assert page.evaluate(f"{LOSS}.querySelector('.main-svg') === window.before")
        assert page.evaluate("document.body.scrollHeight") == tall
        colours = page.evaluate("[...document.querySelectorAll('.plot')].map((p) => p.data ?? []).filter((d) => "
                                "d[0]?.name === 'Training').map((d) => d.map((t) => t.line.color).join())")
        assert len(colours) == 3 and len(set(colours)) == 1


def test_every_run_has_its_curves(browser: Any, canned: Canned) -> None:
    canned.job["runs"].append(answers.train_run())
    with admin(browser, canned, "/jobs/0002") as page:
        page.wait_for_selector("[data-run='stage II vae'] [data-chart=gap] .main-svg")
        assert page.text_content("[data-run='stage II vae'] [data-chart=gap] .ytitle") == "training − validation"
        page.click(".picks button:has-text('Stage I: VAE without labels')")
        page.wait_for_selector("[data-run='stage I'] [data-chart=dims] .main-svg")
        drawn = page.evaluate("document.querySelector(\"[data-run='stage I'] [data-chart=dims] .plot\")"
                              ".data.at(-1).y")
        assert drawn == sorted(drawn, reverse=True)
        assert page.is_hidden("[data-run='stage II vae']")


def test_before_the_first_epoch_the_page_says_what_is_done(browser: Any, canned: Canned) -> None:
    begun = answers.train_run() | {"epoch": 0, "epochs": 0, "size": 0, "finished": None, "series": {},
                                   "images_per_second": None}
    canned.job["runs"].append(begun)
    with admin(browser, canned, "/jobs/0002") as page:
        page.wait_for_selector("text=The images are being read.")
        begun["prepared"] = [3, 16]
        page.wait_for_selector("text=The frozen layers read the images: view 3 of 16.")
        begun |= {"prepared": [0, 0], "epochs": 12, "size": 64}
        page.wait_for_selector("text=Epoch 0 of 12, pictures of 64 px.")
        page.wait_for_selector("text=Curves begin with the first figures.")
        begun |= {"series": {"accuracy_gap": [[0, -0.00032]]}}
        ticks = "[data-run='stage II vae'] [data-chart={}] .ytick text"
        page.wait_for_selector(ticks.format("gap"))
        labels = page.locator(ticks.format("gap")).all_text_contents()
        assert all(re.fullmatch(r"−?[0-9]+(\.[0-9]+)?", label) for label in labels)
        assert not page.locator(ticks.format("lr")).count()
        assert not page.is_visible("text=Curves begin with the first figures.")


def test_pictures_follow_the_newest_epoch_until_moved(browser: Any, canned: Canned) -> None:
    with admin(browser, canned, "/jobs/0002") as page:
        page.wait_for_selector("text=Epoch 5 (newest)")
        advance(page, canned, 10)
        page.wait_for_selector("text=Epoch 10 (newest)")
        page.focus("#grid-epoch")
        page.keyboard.press("ArrowLeft")
        advance(page, canned, 15)
        assert page.inner_text("label[for=grid-epoch]") == "Epoch 5"
        assert page.get_attribute(".grid", "src").endswith("/jobs/0002/grid?run=stage%20I&epoch=5")


def test_the_log_follows_its_end_unless_scrolled_up(browser: Any, canned: Canned) -> None:
    canned.log = b"".join(b"line %d\n" % n for n in range(200)) + answers.EVIL.encode() + b"\n"
    away = "(log => log.scrollHeight - log.scrollTop - log.clientHeight)(document.querySelector('.log'))"
    with admin(browser, canned, "/jobs/0002") as page:
        until(page, "document.querySelector('.log')?.textContent.includes('line 199')")
        assert page.evaluate(away) < 3 and answers.EVIL in page.inner_text(".log")
        canned.log += b"line 200\n" * 30
        until(page, "document.querySelector('.log').textContent.includes('line 200')")
        assert page.evaluate(away) < 3
        page.evaluate("document.querySelector('.log').scrollTop = 100")
        page.wait_for_selector("text=To the end")
        canned.log += b"line 201\nunfinished 40 %"
        until(page, "document.querySelector('.log').textContent.endsWith('unfinished 40 %')")
        assert page.evaluate("document.querySelector('.log').scrollTop") == 100
        page.click("text=To the end")
        assert page.evaluate(away) < 3
        canned.log += b" 50 %\n"
        until(page, "document.querySelector('.log').textContent.endsWith('line 201\\nunfinished 40 % 50 %\\n')")
        assert page.inner_text(".log").count("line 199\n") == 1


def test_focus_and_folds_stay_while_the_page_looks_again(browser: Any, canned: Canned) -> None:
    with admin(browser, canned, "/jobs/0002") as page:
        page.click("text=Record: settings, seed, versions and hashes")
        page.focus("button:has-text('Stop and keep')")
        advance(page, canned, 8)
        assert page.evaluate("document.activeElement.textContent") == "Stop and keep"
        assert page.evaluate("document.querySelector('details.fold').open")
        assert "pretrain.latent = 32" in page.inner_text("details.fold")
