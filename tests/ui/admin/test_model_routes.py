"""Versions over HTTP, on the real registry: whoever clicks, one version is live, and everybody is told which."""


from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from dermdemo.errors import CheckpointError
from dermdemo.jobs.registry import Registry
from tests.ui.admin.watch_site import API, Served, serve


@pytest.fixture(scope="module")
def made(make_set: Callable[[int], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with two candidates; not to be changed."""
    home = tmp_path_factory.mktemp("made") / "home"
    versions = Registry(home, make_set(0))
    for seed in (50, 100):
        versions.add(make_set(seed), who="ada")
    return home


@pytest.fixture
def site(made: Path, make_set: Callable[[int], Path], tmp_path: Path) -> Served:
    return serve(tmp_path, Registry(Path(shutil.copytree(made, tmp_path / "home")), make_set(0)))


def _log(site: Served) -> list[str]:
    return [e.action for e in site.registry.log.read()][2:]


def test_a_version_in_full(site: Served) -> None:
    found = site.get("/versions/1")
    assert (found["number"], found["standing"], found["actions"]) == (1, "candidate", ["promote", "archive"])
    assert found["files"] > 5 and found["bytes"] > 1000 and len(found["classes"]) == 7 and found["gate"] is None
    assert set(found["models"]) == {"vae", "vae arm", "imagenet arm", "atlas"}


@pytest.mark.parametrize("number", ["3", "-1", "x", "1.0", "01x", "٣", "%2e%2e", "9" * 50, " 1", "1e1"])
def test_unknown_versions_are_not_found(site: Served, number: str) -> None:
    assert site.client.get(f"{API}/versions/{number}").status_code == 404
    for action in ("promote", "rollback", "archive"):
        assert site.client.post(f"{API}/versions/{number}/{action}").status_code == 404
    assert site.client.post(f"{API}/versions/1/explode").status_code == 404
    assert _log(site) == []


def test_promote_roll_back_archive(site: Served) -> None:
    assert site.post("/versions/1/promote")[1]["standing"] == "live"
    assert site.post("/versions/1/archive") == (409, {"error": "Version 1 is live: it stays.", "kind": "JobError"})
    assert site.post("/versions/0/rollback")[1]["standing"] == "live"
    assert site.post("/versions/1/archive")[1]["standing"] == "archived"
    assert site.post("/versions/1/archive")[0] == 200, "it is archived already"
    status, said = site.post("/versions/1/promote")
    assert status == 409 and "archived" in said["error"]
    assert site.post("/versions/2/rollback")[0] == 409
    assert _log(site) == ["promote", "rollback", "archive"]


def test_what_is_refused_changes_nothing(site: Served) -> None:
    weights = next(site.registry.root(1).rglob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1])
    status, said = site.post("/versions/1/promote")
    assert status == 400 and said["kind"] == "CheckpointError" and "It is refused" in said["error"]
    assert site.registry.switch().live == 0 and site.live.served == 0 and _log(site) == []


def test_who_saw_another_live_version_decides_again(site: Served) -> None:
    assert site.post("/versions/1/promote", {"live": 0})[0] == 200
    status, said = site.post("/versions/2/promote", {"live": 0})
    assert status == 409 and said["error"].startswith("Version 1 was made live in the meantime")
    assert site.post("/versions/2/promote", {"live": 1})[0] == 200
    for body in ({"live": "1"}, {"live": -1}, {"number": 1}, {"live": 1.5}, {"live": True}, {"live": 10**9}):
        status, said = site.post("/versions/1/promote", body)
        assert status == 400 and "as a number" in said["error"]
    for odd in ([], "x", 3):
        assert site.post("/versions/1/promote", odd)[0] == 422


def test_the_same_click_twice_is_one_switch(site: Served) -> None:
    answers = site.at_once(*["/versions/1/promote"] * 6)
    assert {(status, row["standing"]) for status, row in answers} == {(200, "live")}
    assert _log(site) == ["promote"] and site.live.switched == [(1, "promote", "ada")]


def test_two_who_decide_differently_do_not_overrule_each_other_unseen(site: Served) -> None:
    answers = site.at_once("/versions/1/promote", "/versions/2/promote", body={"live": 0})
    assert sorted(status for status, _ in answers) == [200, 409]
    won = [row["number"] for status, row in answers if status == 200]
    assert [site.registry.switch().live] == won == [site.live.served] and _log(site) == ["promote"]


def test_without_saying_what_was_seen_the_last_wins_and_one_is_live(site: Served) -> None:
    paths = ("/versions/1/promote", "/versions/2/promote", "/versions/0/rollback", "/versions/1/promote")
    answers = site.at_once(*paths)
    assert {status for status, _ in answers} == {200}
    rows = site.get("/overview")["versions"]
    assert sum(row["standing"] == "live" for row in rows) == 1
    assert site.registry.switch().live == site.live.served


def test_archiving_and_promoting_at_once(site: Served) -> None:
    answers = site.at_once("/versions/1/promote", "/versions/1/archive")
    standing = site.get("/versions/1")["standing"]
    first, second = (status for status, _ in answers)
    assert (first, second, standing) in {(200, 409, "live"), (409, 200, "archived")}


def test_a_live_version_that_is_not_served_is_tried_again(site: Served) -> None:
    site.post("/versions/1/promote")
    site.live.problem = "Version 1 is not as it was registered."
    assert site.post("/versions/1/promote")[0] == 200 and _log(site) == ["promote", "promote"]

    def fails() -> None:
        raise CheckpointError("no")

    site.live.during = fails
    assert site.post("/versions/1/promote") == (400, {"error": "no", "kind": "CheckpointError"})


def test_a_lost_switch_is_a_problem_and_can_be_rolled_back(site: Served) -> None:
    (site.registry.home / "models" / "state.json").write_text("{")
    found = site.get("/overview")
    assert "which models are live is not known" in found["problems"][0]
    assert site.post("/versions/1/rollback", {"live": 0})[0] == 200
    assert site.get("/overview")["problems"] == [] and site.registry.switch().live == 1
