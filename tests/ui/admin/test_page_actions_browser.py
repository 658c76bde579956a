"""What an administrator does on the page in Debian's Chromium, against canned answers."""

# ruff: noqa: F811  fixtures are named as what they give
from __future__ import annotations

from typing import Any

import pytest

from tests.ui.admin import canned_answers as answers
from tests.ui.admin.canned import API, Canned
from tests.ui.admin.page_visitor import admin, browser, canned, until  # noqa: F401  fixtures
from tests.ui.chromium import MARKS

pytestmark = [*MARKS, pytest.mark.timeout(300)]


@pytest.mark.parametrize(("label", "sure", "action", "said"), [
    ("Stop and keep", "Stop and keep", "stop", "ends after its current epoch and keeps its models"),
    ("Cancel and discard", "Discard the job", "cancel", "everything it has trained is deleted"),
])  # fmt: skip
def test_an_action_asks_first_and_brings_the_token(browser: Any, canned: Canned, label: str, sure: str, action: str,
                                                   said: str) -> None:
    with admin(browser, canned, "/jobs/0002") as page:
        page.click(f"button:has-text('{label}')")
        assert said in page.inner_text("dialog")
        page.click("dialog >> text=Back")
        assert canned.posts(f"/jobs/0002/{action}") == []
        page.click(f"button:has-text('{label}')")
        page.click(f"dialog button:has-text('{sure}')")
        page.wait_for_selector("dialog", state="detached")
        [(headers, _)] = canned.posts(f"/jobs/0002/{action}")
        assert headers["x-csrf-token"] == canned.token


def test_a_failed_job_can_go_on_with_what_it_reached(browser: Any, canned: Canned) -> None:
    canned.job |= {"state": "failed", "actions": answers.ACTIONS["failed"], "reason": answers.EVIL}
    with admin(browser, canned, "/jobs/0002") as page:
        page.click("button:has-text('Keep what was reached')")
        page.click("dialog button:has-text('Keep and go on')")
        page.wait_for_selector("dialog", state="detached")
        assert len(canned.posts("/jobs/0002/finish")) == 1


def test_a_refusal_is_said_in_the_dialog(browser: Any, canned: Canned) -> None:
    canned.refuse["/versions/1/promote"] = (409, {"error": f"Two people clicked. {answers.EVIL}", "kind": "JobError"})
    with admin(browser, canned, "/versions/1") as page:
        page.click("text=Promote version 1")
        page.click("dialog button:has-text('Promote Version 1')")
        page.wait_for_selector("dialog >> text=Two people clicked.")
        assert answers.EVIL in page.inner_text("dialog")


def test_promoting_names_both_versions_and_what_is_worse(browser: Any, canned: Canned) -> None:
    with admin(browser, canned, "/versions/1") as page:
        assert "It is worse in single classes or subgroups" in page.inner_text(".headline")
        assert "these may be chance: sex: female (accuracy), better" in page.inner_text(".view")
        assert page.locator(".whiskers").count() == 10
        page.click("text=Promote version 1")
        asked = page.inner_text("dialog")
        assert "Promote Version 1 in place of Version 0 (shipped)?" in asked and "Melanoma (sensitivity)" in asked
        page.click("dialog button:has-text('Promote Version 1')")
        page.wait_for_selector("text=Version 1 is live now.")
        [(headers, body)] = canned.posts("/versions/1/promote")
        assert headers["x-csrf-token"] == canned.token and body == {"live": 0}
        page.wait_for_selector(".lead:has-text('Live')")


def test_a_candidate_says_when_the_live_version_has_changed_since(browser: Any, canned: Canned) -> None:
    canned.overview["serving"] = {"number": 2, "sha256": answers.HASH["two"], "problem": None}
    with admin(browser, canned, "/versions/1") as page:
        page.wait_for_selector("text=The live version has changed since this comparison.")


def test_a_launch_is_checked_at_every_change(browser: Any, canned: Canned) -> None:
    with admin(browser, canned, "/launch?data=d0001") as page:
        page.wait_for_selector("aside >> text=30 min to 1 h")
        assert page.is_disabled("[value=cuda]") and page.is_checked("#dry")
        page.check("[name=stage1][value=true]")
        page.wait_for_selector("aside >> text=1 h to 2 h")
        page.click("text=Settings")
        page.get_by_label("Learning rate").fill("0")
        page.wait_for_selector("aside [role=alert]:has-text('lr must be above 0, not 0.0.')")
        assert page.get_by_label("Learning rate").get_attribute("aria-invalid") == "true"
        assert page.is_disabled("aside button:has-text('Launch')")
        page.click("text=Back to the recipe’s values")
        page.check("[value=paper]")
        until(page, "!document.querySelector('aside button').disabled")
        assert page.get_by_label("Learning rate").input_value() == "0.002"
        page.click("aside button:has-text('Launch')")
        page.click("dialog button:has-text('Launch')")
        page.wait_for_selector("h1:has-text('Job 0002')")
        [(headers, body)] = canned.posts("/launch")
        assert headers["x-csrf-token"] == canned.token
        assert body == {"data": "d0001", "recipe": "paper", "stage1": True, "device": "cpu", "gate": "calib",
                        "seed": 0, "hours": 24, "dry_run": True, "resamples": 1000, "base": None, "knobs": {}}


def test_a_cost_that_is_measured_first_is_waited_for(browser: Any, canned: Canned) -> None:
    canned.cost_task, canned.task = "t1", {"state": "running", "what": "measuring this machine", "seconds": 7}
    with admin(browser, canned, "/launch") as page:
        page.wait_for_selector("aside >> text=The server is measuring what such a job takes here (7 s).")
        assert page.is_enabled("aside button:has-text('Launch')")
        canned.cost_task = None
        canned.task = {"state": "done", "what": "", "seconds": 9, "result": {}, "error": None}
        page.wait_for_selector("aside >> text=30 min to 1 h")


def test_unknown_labels_are_mapped_and_tried_again(browser: Any, canned: Canned) -> None:
    canned.task = {"state": "failed", "what": "", "seconds": 2, "result": None, "classes": answers.CLASSES,
                   "error": "The live models do not know the classes.",
                   "unknown_labels": ["naevus", answers.EVIL, "Melanoma"]}
    with admin(browser, canned, "/data/new") as page:
        page.check("[value='/data/clinic']")
        page.fill("input[maxlength='80']", "Clinic")
        page.click("button:has-text('Check and register')")
        page.wait_for_selector("text=These labels are not known")
        assert page.get_by_label("Melanoma").input_value() == "mel"  # named as the class is
        page.get_by_label("naevus").select_option("nv")
        page.get_by_label(answers.EVIL, exact=True).select_option("")
        canned.task = {"state": "running", "what": "Opening every picture", "seconds": 3}
        page.click("text=Try again with this mapping")
        page.wait_for_selector("text=Opening every picture")
        canned.task = {"state": "done", "what": "", "seconds": 4, "result": {"id": "d0001"}, "error": None}
        page.wait_for_selector("h1:has-text('Clinic 2026')")
        body = canned.posts("/data/register")[-1][1]
        assert body == {"path": "/data/clinic", "name": "Clinic", "split_seed": 0, "names_only": False,
                        "mapping": {"naevus": "nv", answers.EVIL: "", "Melanoma": "mel"}}


def test_a_zip_is_sent_and_registered(browser: Any, canned: Canned) -> None:
    canned.task = {"state": "failed", "what": "", "seconds": 1, "result": None, "error": f"No. {answers.EVIL}",
                   "unknown_labels": [], "classes": []}
    with admin(browser, canned, "/data/new") as page:
        page.wait_for_selector("text=Choose a zip")
        page.set_input_files("#zip", {"name": "été.zip", "mimeType": "application/zip", "buffer": b"PK" * 500})
        page.wait_for_selector("text=1.0 kB: arrived")
        page.click("button:has-text('Check and register')")
        page.wait_for_selector("[role=alert]:has-text('Not registered. No.')")
        assert canned.posts("/data/upload")[0][0]["x-csrf-token"] == canned.token
        assert canned.posts("/data/register")[0][1]["upload"] == "u1"
        page.set_input_files("#zip", {"name": "a.txt", "mimeType": "text/plain", "buffer": b"no"})
        page.wait_for_selector("text=a.txt is no zip.")


def test_the_audit_log_can_be_filtered_paged_and_exported(browser: Any, canned: Canned) -> None:
    with admin(browser, canned, "/audit") as page:
        page.wait_for_selector("text=All 130 entries fit together")
        assert page.locator("tbody tr").count() == 100
        page.click("text=Show older")
        until(page, "document.querySelectorAll('tbody tr').length === 130")
        page.fill("#filter", "onerror")
        until(page, "document.querySelectorAll('tbody tr').length === 1")
        assert answers.EVIL in page.inner_text("tbody")
        links = page.locator("a[download]").evaluate_all("(all) => all.map((a) => a.getAttribute('href'))")
        assert links == [f"{API}/audit/export?form=csv", f"{API}/audit/export?form=jsonl"]
