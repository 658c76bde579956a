"""The audit log over HTTP: in pages, as files, and honest about damage."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from dermdemo.config import environment
from dermdemo.evaluation.records import decode
from dermdemo.jobs.audit_log import AuditLog, Entry
from dermdemo.jobs.registry import Registry
from dermdemo.ui.admin.audit_routes import router
from dermdemo.ui.admin.site import AdminSite
from tests.ui.admin.api_site import API, serve

EVIL = "=HYPERLINK(\"http://evil\")"


@pytest.fixture
def log(tmp_path: Path) -> AuditLog:
    """Seven entries, one of them by somebody whose name is a formula."""
    found = AuditLog(tmp_path / "audit")
    for number in range(1, 8):
        found.append(who=EVIL if number == 3 else "ada", action="launch", details={"data": f"d{number:04d}"},
                     model_hash="a" * 64, data_hash="b" * 64)
    return found


@pytest.fixture
def client(log: AuditLog, tmp_path: Path) -> TestClient:
    registry: Any = Registry(tmp_path, tmp_path / "none")
    site: Any = AdminSite(settings=environment(), registry=registry, jobs=None, live=None,  # type: ignore[arg-type]
                          door=None, tasks=None)  # type: ignore[arg-type]
    return serve(site, router)


def test_entries_come_newest_first_in_pages(client: TestClient, log: AuditLog) -> None:
    seen, before = [], 99
    while True:
        page = client.get(f"{API}/audit", params={"before": before, "limit": 3}).json()
        assert (page["verified"], page["problem"], page["total"]) == (True, None, 7)
        if not page["entries"]:
            break
        seen += [e["seq"] for e in page["entries"]]
        before = seen[-1]
    assert seen == [7, 6, 5, 4, 3, 2, 1]
    first = client.get(f"{API}/audit").json()["entries"][0]
    last = log.read()[-1]
    assert first == {"seq": 7, "time": last.time, "who": "ada", "action": "launch", "details": {"data": "d0007"},
                     "model_hash": "a" * 64, "data_hash": "b" * 64, "hash": last.hash}


def test_an_empty_log_is_whole(tmp_path: Path) -> None:
    site: Any = AdminSite(settings=environment(), registry=Registry(tmp_path, tmp_path), jobs=None,  # type: ignore[arg-type]
                          live=None, door=None, tasks=None)  # type: ignore[arg-type]
    assert serve(site, router).get(f"{API}/audit").json() == {"verified": True, "problem": None, "total": 0,
                                                             "entries": []}


@pytest.mark.parametrize("query", ["limit=0", "limit=501", "limit=x", "before=0", "before=-1", "before=1e9"])
def test_other_pages_are_refused(client: TestClient, query: str) -> None:
    assert client.get(f"{API}/audit?{query}").status_code == 422


def _changed(log: AuditLog) -> None:
    lines = log.path.read_text().splitlines(keepends=True)
    log.path.write_text("".join([*lines[:4], lines[4].replace("ada", "eve"), *lines[5:]]))


def _cut(log: AuditLog) -> None:
    lines = log.path.read_text().splitlines(keepends=True)
    log.path.write_text("".join(lines[:4]))


def _nonsense(log: AuditLog) -> None:
    lines = log.path.read_text().splitlines(keepends=True)
    log.path.write_text("".join([*lines[:4], "[[[\n"]))


def _headless(log: AuditLog) -> None:
    (log.path.parent / "audit.head").unlink()


@pytest.mark.parametrize(("damage", "total", "said"), [
    (_changed, 4, "Entry 5"), (_cut, 4, "Entries were removed"), (_nonsense, 4, "Entry 5"), (_headless, 7, "head"),
])  # fmt: skip
def test_a_damaged_log_is_shown_as_far_as_it_verifies(client: TestClient, log: AuditLog, total: int, said: str,
                                                      damage: Callable[[AuditLog], None]) -> None:
    damage(log)
    page = client.get(f"{API}/audit").json()
    assert page["verified"] is False and said in page["problem"]
    assert (page["total"], [e["seq"] for e in page["entries"]]) == (total, list(range(total, 0, -1)))
    export = client.get(f"{API}/audit/export")
    assert "audit-log-DAMAGED.jsonl" in export.headers["content-disposition"]
    assert len(export.text.splitlines()) == total


def test_lines_can_be_verified_again(client: TestClient, log: AuditLog) -> None:
    export = client.get(f"{API}/audit/export", params={"form": "jsonl"})
    entries = [decode(Entry, json.loads(line)) for line in export.text.splitlines()]
    assert tuple(entries) == log.read() and all(e.hash == e.digest() for e in entries)
    assert export.headers["content-disposition"] == 'attachment; filename="audit-log.jsonl"'
    assert export.headers["cache-control"] == "no-store"


def test_a_table_holds_no_formula(client: TestClient) -> None:
    export = client.get(f"{API}/audit/export", params={"form": "csv"})
    rows = list(csv.reader(io.StringIO(export.content.decode("utf-8-sig"))))
    assert rows[0][:4] == ["seq", "time", "who", "action"] and len(rows) == 8
    assert rows[3][2] == f"'{EVIL}" and json.loads(rows[3][4]) == {"data": "d0003"}
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]


def test_another_form_is_refused(client: TestClient) -> None:
    assert client.get(f"{API}/audit/export?form=exe").status_code == 422


@pytest.mark.parametrize("path", ["audit", "audit/export"])
def test_nobody_else_is_answered(client: TestClient, path: str) -> None:
    answer = client.get(f"{API}/{path}", headers={"X-Test-Admin": ""})
    assert answer.status_code == 401 and "launch" not in answer.text
