"""Overview and jobs over HTTP: complete, closed to strangers, and never broken by what lies on disk."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from fastapi.routing import APIRoute
from PIL import Image

from dermdemo.evaluation.records import encode
from dermdemo.jobs import machine
from dermdemo.jobs.audit_log import AuditLog
from dermdemo.jobs.records import STOP
from dermdemo.ui.admin import access, job_routes, model_routes, overview_routes
from dermdemo.ui.admin.as_json import as_json
from dermdemo.ui.live import FixedModels
from tests.jobs.runs import STAGE1, epoch, retraining_record, run_of, started
from tests.ui.admin.watch_site import API, Served, serve

ROUTERS = (overview_routes.router, job_routes.router, model_routes.router)


@pytest.fixture
def site(tmp_path: Path) -> Served:
    return serve(tmp_path)


@pytest.fixture
def running(site: Served) -> Served:
    """Job 0001 is in Stage I, with a log and a picture."""
    site.board.add(retraining_record(facts={"data_hash": "d", "base": "0", "torch": "2.0", "code": "c" * 64}))
    folder = site.board.begin("0001", "stage I", done=("prepare",))
    run_of(folder, STAGE1, started(), epoch(0), epoch(1), b'{"kind": "epoch", "train": {"loss": NaN}}\n', b'{"half')
    (folder.path / "logs").mkdir()
    (folder.path / "logs" / "stage I.log").write_bytes(b"one\n 5 %\r 10 %\ntwo\nthr")
    (folder.path / "work" / "I" / "grids").mkdir()
    Image.new("RGB", (64, 16)).save(folder.path / "work" / "I" / "grids" / "epoch-0005.png")
    return site


def test_every_route_names_who_may() -> None:
    """Each handler asks for an administrator itself: reading to GET, acting to POST."""
    routes = [route for router in ROUTERS for route in router.routes if isinstance(route, APIRoute)]
    assert len(routes) == 10
    for route in routes:
        wanted = access.reading if route.methods == {"GET"} else access.acting
        assert [d.call for d in route.dependant.dependencies] == [wanted], route.path


def test_the_overview_has_everything_in_rows(running: Served) -> None:
    running.board.add(retraining_record(device="cuda"))
    found = running.get("/overview")
    assert set(found) == {"jobs", "versions", "data", "serving", "devices", "problems"}
    assert [(j["id"], j["state"], j["actions"]) for j in found["jobs"]] == [
        ("0002", "queued", ["cancel"]), ("0001", "running", ["stop", "cancel"])]
    assert [d.pop("usable") for d in found["devices"]] == [True, bool(machine.gpus())]
    assert found["devices"] == [{"name": "cpu", "limit": 0, "running": 1, "queued": 0},
                                {"name": "cuda", "limit": 0, "running": 0, "queued": 1}]
    assert found["serving"] == {"number": 0, "sha256": "f" * 64, "problem": None}
    assert [v["number"] for v in found["versions"]] == [0] and "no set of models" in found["versions"][0]["problem"]
    assert found["data"] == [] and found["problems"] == []


def test_a_server_without_versions_says_so(site: Served) -> None:
    object.__setattr__(site.app.state.admin, "live", FixedModels(None, "There are no models."))
    assert site.get("/overview")["serving"] == {"number": None, "sha256": "", "problem": "There are no models."}
    status, answer = site.post("/versions/0/rollback")
    assert status == 409 and "the models it was started with" in answer["error"]


def test_a_damaged_job_is_a_problem_in_the_overview(running: Served) -> None:
    (running.board.add().path / "job.json").write_text("{")
    found = running.get("/overview")
    assert [j["id"] for j in found["jobs"]] == ["0001"]
    assert found["problems"][0].startswith("Job 0002 cannot be shown")
    for path in ("/jobs/0002", "/jobs/0002/record", "/jobs/0002/log?step=prepare"):
        answer = running.client.get(API + path)
        assert answer.status_code == 409 and "Job 0002 cannot be shown" in answer.json()["error"]
    for action in ("stop", "cancel", "resume", "retry", "repeat"):
        assert running.post(f"/jobs/0002/{action}")[0] == 409


def test_answers_are_the_fields_of_what_is_shown(running: Served) -> None:
    watcher = overview_routes.Watcher(running.board.jobs)
    view = running.board.view("0001")
    shown = encode(watcher.detail(view, overview_routes.names_of(running.app.state.admin)))
    found = running.get("/jobs/0001")
    assert found | {"resources": None} == shown | {"resources": None}
    answer = running.client.get(API + "/jobs/0001")
    assert answer.headers["cache-control"] == "no-store" and answer.headers["content-type"] == "application/json"
    with pytest.raises(TypeError, match="cannot be answered"):
        as_json({"x": object()})


def test_a_job_in_full(running: Served) -> None:
    found = running.get("/jobs/0001")
    assert (found["state"], found["step"], found["logs"]) == ("running", "stage I", ["stage I"])
    assert found["runs"][0]["grids"] == [5] and found["runs"][0]["epoch"] == 1
    assert found["attempts"][0]["attempt"] == 1 and found["facts"]["torch"] == "2.0"


@pytest.mark.parametrize("job", ["0002", "1", "x", "..", "%2e%2e", "0001%2f..", "٠٠٠١", "0001%00", "9" * 300,
                                 "0001 "])
def test_unknown_jobs_are_not_found(running: Served, job: str) -> None:
    for path in ("", "/record", "/log?step=prepare", "/grid?run=a&epoch=1"):
        assert running.client.get(f"{API}/jobs/{job}{path}").status_code in (404, 405), path
    for action in ("stop", "repeat", "retry"):
        assert running.client.post(f"{API}/jobs/{job}/{action}").status_code in (404, 405)


def test_the_log_comes_in_pieces(running: Served) -> None:
    first = running.get("/jobs/0001/log", step="stage I")
    assert first == {"step": "stage I", "text": "one\n 10 %\ntwo\n", "start": 0, "end": 19, "size": 22,
                     "unfinished": "thr"}
    log = running.board.jobs.store.folder("0001").path / "logs" / "stage I.log"
    with log.open("ab") as stream:
        stream.write(b"ee\n")
    assert running.get("/jobs/0001/log", step="stage I", after=19)["text"] == "three\n"
    assert running.get("/jobs/0001/log", step="gate")["text"] == ""
    for step in ("../../../etc/passwd", "stage I.log", "heartbeat", ""):
        assert running.status("/jobs/0001/log", step=step) == 404
    assert running.status("/jobs/0001/log", step="stage I", after=-2) == 422
    assert running.status("/jobs/0001/log") == 422


def test_pictures_are_not_stored(running: Served) -> None:
    answer = running.client.get(API + "/jobs/0001/grid", params={"run": "stage I", "epoch": 5})
    assert answer.status_code == 200 and answer.content.startswith(b"\x89PNG")
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == ("image/png", "no-store")
    for run, number in (("stage I", 6), ("prepare", 5), ("../stage I", 5), ("work/I", 5)):
        assert running.status("/jobs/0001/grid", run=run, epoch=number) == 404
    assert running.status("/jobs/0001/grid", run="stage I", epoch=-1) == 422


def test_the_record_can_be_kept(running: Served) -> None:
    answer = running.client.get(API + "/jobs/0001/record")
    assert answer.headers["content-disposition"] == 'attachment; filename="dermdemo-job-0001.json"'
    found = json.loads(answer.content)
    assert found["record"]["id"] == "0001" and [e["kind"] for e in found["events"]][:2] == ["queued", "launching"]
    assert found["versions"] == {"torch": "2.0", "code": "c" * 64} and found["gate"] is None
    events = found["runs"]["stage I"]["events"]
    assert len(events) == 4 and events[-1]["train"]["loss"] is None
    assert any(line.startswith("torch 2.0 then") for line in found["differs_now"])


def test_actions_answer_with_the_row(running: Served) -> None:
    status, row = running.post("/jobs/0001/stop")
    assert (status, row["state"], row["actions"]) == (200, "stopping", ["cancel"])
    assert running.board.jobs.store.folder("0001").asked(STOP)
    assert running.post("/jobs/0001/resume")[0] == 409 and running.post("/jobs/0001/finish")[0] == 409
    assert running.post("/jobs/0001/explode")[0] == 404
    running.board.end("0001", "failed", "stage I: no")
    status, row = running.post("/jobs/0001/finish")
    assert (status, row["state"], row["attempt"]) == (200, "queued", 2)
    log = AuditLog(running.board.home / "audit").read()
    assert [(e.who, e.action) for e in log] == [("ada", "job-stop"), ("ada", "job-resume"), ("ada", "job-stop")]


def test_a_repeat_of_something_else_is_refused(running: Served) -> None:
    running.board.add(retraining_record(request={"data": '"d0009"'}))
    status, said = running.post("/jobs/0002/repeat")
    assert status == 400 and "no data set 'd0009'" in said["error"]


@pytest.mark.parametrize("action", ["stop", "cancel"])
def test_two_who_ask_at_once_are_both_told(running: Served, action: str) -> None:
    """Asking twice is asking once: nobody gets an error that is not one, and the state is the same."""
    answers = running.at_once(*[f"/jobs/0001/{action}"] * 4)
    assert Counter(status for status, _ in answers) == {200: 4}
    assert {row["state"] for _, row in answers} == {"stopping"}


def test_two_who_cancel_in_the_queue(site: Served) -> None:
    site.board.add()
    answers = site.at_once(*["/jobs/0001/cancel"] * 4)
    assert {status for status, _ in answers} <= {200, 409} and site.board.view("0001").state == "cancelled"
    assert sum(status == 200 for status, _ in answers) >= 1
    assert all("cancelled already" in said["error"] for status, said in answers if status == 409)


@pytest.mark.parametrize("others", [("resume",) * 4, ("retry",) * 4, ("resume", "retry", "stop", "resume")])
def test_a_job_is_begun_again_once(running: Served, others: tuple[str, ...]) -> None:
    running.board.end("0001", "failed", "stage I: no")
    answers = running.at_once(*(f"/jobs/0001/{action}" for action in others))
    assert sorted(status for status, _ in answers) == [200, 409, 409, 409]
    assert running.board.view("0001").history.attempt == 2
    for status, said in answers:
        if status == 409:
            assert "somebody else in the meantime" in said["error"] or "is queued" in said["error"]


def test_cancel_and_stop_at_once_end_in_cancel(running: Served) -> None:
    answers = running.at_once("/jobs/0001/cancel", "/jobs/0001/stop", "/jobs/0001/cancel", "/jobs/0001/stop")
    assert {status for status, _ in answers} == {200}
    assert running.get("/jobs/0001")["actions"] == []
