"""Rows and details of jobs: what lies there is shown, cheaply asked again, and damage to one takes no other."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dermdemo.errors import JobError
from dermdemo.evaluation.records import encode
from dermdemo.jobs import tailing
from dermdemo.jobs.shown import Names
from dermdemo.jobs.watching import Watcher
from tests.jobs.boards import Board
from tests.jobs.runs import GATE, OTHER_ARM, STAGE1, VAE_ARM, append, epoch, retraining_record, run_of, started

NOBODY = Names()
DONE = ("prepare", "stage I", "stage II vae", "stage II imagenet", "gate")


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


@pytest.fixture
def watcher(board: Board) -> Watcher:
    return Watcher(board.jobs)


def _detail(watcher: Watcher, job: str = "0001") -> dict[str, Any]:
    watcher.look()
    return json.loads(json.dumps(encode(watcher.detail(watcher.jobs.view(job), NOBODY)), allow_nan=False))  # type: ignore[no-any-return]


def _finished(board: Board, job: str, seconds: float = 4.0) -> None:
    """A job that ran as planned, each epoch in so many seconds at 64 px."""
    folder = board.begin(job, done=DONE)
    run_of(folder, STAGE1, started(), *(epoch(k, seconds=seconds / 4) for k in range(1, 5)),
           *(epoch(k, size=64, seconds=seconds) for k in range(5, 9)), {"kind": "finished", "reason": "completed"})
    for step in (VAE_ARM, OTHER_ARM):
        run_of(folder, step, started("train", schedule="64x10"), *(
            epoch(k, epochs=10, size=64, seconds=seconds) for k in range(1, 11)), {"kind": "finished"})
    board.end(job, "finished")


def test_a_running_job_is_told_in_full(board: Board, watcher: Watcher) -> None:
    board.add()
    folder = board.begin("0001", "stage I", done=("prepare",))
    kl = {"loss": 2.0, "kl_per_dim": [0.5, 0.25]}
    run_of(folder, STAGE1, started(), epoch(0, val=kl), epoch(1, val=kl, seconds=3.0),
           {"kind": "warning", "name": "kl-vanishing", "message": "It vanishes.", "epoch": 1, "time": 1.0})
    (folder.path / "logs").mkdir()
    (folder.path / "logs" / "stage I.log").write_text("hello\n")
    found = _detail(watcher)
    assert (found["state"], found["step"], found["steps_done"], found["steps_total"]) == ("running", "stage I", 1, 5)
    assert (found["data"], found["recipe"], found["stage1"]) == ("d0001", "quick", True)
    [run] = found["runs"]
    assert (run["name"], run["stage"], run["epoch"], run["epochs"]) == ("stage I", "pretrain", 1, 8)
    assert run["series"]["val.loss"] == [[0, 2.0], [1, 2.0]]
    assert run["kl_per_dim"] == [[0, [0.5, 0.25]], [1, [0.5, 0.25]]]
    assert run["eta_seconds"] == 3 * 3.0 + 4 * 12.0
    assert found["eta_seconds"] is None, "nothing is known of Stage II yet"
    assert [m["text"] for m in found["messages"]] == ["KL vanishing (epoch 1): It vanishes."]
    assert found["logs"] == ["stage I"] and found["resources"] is None and found["verdict"] is None
    assert found["steps"][0] == {"name": "prepare", "state": "done", "seconds": 10.0}


def test_the_second_arm_is_estimated_from_the_first(board: Board, watcher: Watcher) -> None:
    board.add()
    folder = board.begin("0001", "stage II imagenet", done=("prepare", "stage I", "stage II vae"))
    run_of(folder, VAE_ARM, started("train"), *(epoch(k, size=64, epochs=10, seconds=2.0) for k in range(1, 11)))
    found = _detail(watcher)
    assert found["eta_seconds"] == pytest.approx(20.0)
    assert found["progress"] == pytest.approx(30 / 50)


def test_earlier_jobs_say_what_a_new_one_takes(board: Board, watcher: Watcher) -> None:
    board.add()
    _finished(board, "0001")
    board.add()
    views, problems = watcher.look()
    rows, _ = watcher.rows(views, Names(data={"d0001": "own"}, candidates={"0001": 3}))
    new, old = rows
    assert (old.id, old.progress, old.eta_seconds, old.candidate, old.data_name) == ("0001", 1.0, None, 3, "own")
    assert new.eta_seconds == pytest.approx(2 * 10 + 4 * 1 + 4 * 4 + 2 * 10 * 4) and new.progress == 0.0
    assert problems == []


def test_a_slower_machine_tells_itself(board: Board, watcher: Watcher) -> None:
    board.add()
    _finished(board, "0001")
    board.add()
    folder = board.begin("0002", "stage I", done=("prepare",))
    run_of(folder, STAGE1, started(), epoch(1, seconds=5.0))
    assert _detail(watcher, "0002")["eta_seconds"] == pytest.approx(3 * 5 + 4 * 20 + 80 + 10)


def test_a_retry_forgets_the_attempt_before(board: Board, watcher: Watcher) -> None:
    board.add()
    folder = board.begin("0001", "stage I", done=("prepare",))
    run_of(folder, STAGE1, started(), *(epoch(k) for k in range(1, 6)))
    assert _detail(watcher)["runs"][0]["epoch"] == 5
    board.end("0001", "failed")
    board.jobs.retry("0001")
    assert _detail(watcher)["progress"] is None
    shutil.rmtree(folder.path / "work")
    board.begin("0001", "stage I", done=("prepare",))
    run_of(folder, STAGE1, started(time=2000.0), epoch(1))
    run = _detail(watcher)["runs"][0]
    assert run["epoch"] == 1 and run["series"]["val.loss"] == [[1, 1.0]]


def test_asking_again_reads_only_what_is_new(board: Board, watcher: Watcher, monkeypatch: pytest.MonkeyPatch) -> None:
    """300 epochs with 256 dimensions: what is parsed at a look is what was written since."""
    board.add()
    folder = board.begin("0001", "stage I", done=("prepare",))
    values = {"loss": 1.0, "kl_per_dim": [random.Random(0).random() for _ in range(256)]}
    many = (epoch(k, epochs=300, size=64, val=values) for k in range(300))
    run_of(folder, STAGE1, started(schedule="64x300"), *many)
    first = _detail(watcher)
    assert len(first["runs"][0]["kl_per_dim"]) <= 12 and len(first["runs"][0]["series"]["val.loss"]) == 300
    assert len(json.dumps(first)) < 150_000
    parsed: list[bytes] = []
    original = tailing.parse
    monkeypatch.setattr(tailing, "parse", lambda line: (parsed.append(line), original(line))[1])
    _detail(watcher)
    assert parsed == []
    run_of(folder, STAGE1, epoch(300, epochs=300, size=64, val=values))
    assert _detail(watcher)["runs"][0]["epoch"] == 300 and len(parsed) == 1


DAMAGE = {
    "record": lambda p: (p / "job.json").write_bytes(b"{"),
    "record gone": lambda p: (p / "job.json").unlink(),
    "record of another": lambda p: (p / "job.json").write_text((p / "job.json").read_text().replace("0001", "0009")),
    "record is a folder": lambda p: ((p / "job.json").unlink(), (p / "job.json").mkdir()),
    "record is deep": lambda p: (p / "job.json").write_bytes(b"[" * 200_000),
    "events gone": lambda p: (p / "events.jsonl").unlink(),
    "events are a folder": lambda p: ((p / "events.jsonl").unlink(), (p / "events.jsonl").mkdir()),
    "events are garbage": lambda p: (p / "events.jsonl").write_bytes(os.urandom(3000)),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_job_is_named_and_the_rest_goes_on(board: Board, watcher: Watcher, damage: str) -> None:
    first = board.add()
    board.add()
    DAMAGE[damage](first.path)
    views, problems = watcher.look()
    assert [v.id for v in views] == ["0002"]
    [problem] = problems
    assert problem.startswith("Job 0001 cannot be shown: its ") and "left as it is" in problem
    with pytest.raises(JobError, match="Job 0001 cannot be shown"):
        board.jobs.view("0001")
    with pytest.raises(JobError, match="Job 0001 cannot be shown"):
        board.jobs.act("0001", "cancel", who="ada")


def test_a_job_without_events_is_not_launched_again_and_again(tmp_path: Path) -> None:
    board = Board(tmp_path)
    (board.add().path / "events.jsonl").unlink()
    assert board.jobs.store.schedule(board.probe, {"cpu": 5}) == ([], [])


def _damaged(rng: random.Random, path: Path) -> None:
    """Change a file at random: gone, a folder in its place, cut off, or other bytes here and there."""
    how = rng.choice(("gone", "folder", "cut", "changed", "changed"))
    data = bytearray(path.read_bytes())
    if how in ("gone", "folder"):
        path.unlink()
    if how == "folder":
        path.mkdir()
    if how == "cut":
        path.write_bytes(data[:rng.randrange(len(data) + 1)])
    if how == "changed":
        for _ in range(1 + rng.randrange(20)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(data)


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32))
def test_random_damage_never_breaks_the_list(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    board = Board(tmp_path_factory.mktemp("home"))
    watcher, rng = Watcher(board.jobs), random.Random(seed)
    board.add()
    _finished(board, "0001")
    board.add()
    folder = board.begin("0002", "stage I", done=("prepare",))
    run_of(folder, STAGE1, started(), epoch(0), epoch(1))
    append(folder.path / "logs" / "stage I.log", b"hello\n")
    append(folder.path / "work" / "gate" / "gate.json", b'{"verdict": "better"}')
    board.add()
    files = [p for job in ("0001", "0002") for p in (board.home / "jobs" / job).rglob("*") if p.is_file()]
    for path in rng.sample(files, 3):
        if path.stat().st_size:
            _damaged(rng, path)
    views, problems = watcher.look()
    rows, more = watcher.rows(views, NOBODY)
    assert len(rows) + len(problems) + len(more) == 3 and rows[0].id == "0003"
    for view in views:
        json.dumps(encode(watcher.detail(view, NOBODY)), allow_nan=False)


def test_a_row_that_cannot_be_made_becomes_a_sentence(board: Board, watcher: Watcher, monkeypatch: pytest.MonkeyPatch
                                                      ) -> None:
    board.add()
    views, _ = watcher.look()
    monkeypatch.setattr("dermdemo.jobs.watching.actions", lambda *_: 1 / 0)
    assert watcher.rows(views, NOBODY) == ([], [
        "Job 0001 cannot be shown: its folder is damaged (ZeroDivisionError)."])
    for show in (watcher.row, watcher.detail):
        with pytest.raises(JobError, match="its folder is damaged"):
            show(views[0], NOBODY)


@pytest.mark.parametrize("error", [sqlite3.OperationalError("database or disk is full"), OSError(28, "No space left"),
                                   JobError("The job queue is busy; try again in a moment.")])
def test_without_the_queue_the_jobs_are_as_they_were(board: Board, watcher: Watcher, error: Exception,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    board.add()
    before, _ = watcher.look()

    def fails(_: object) -> None:
        raise error

    monkeypatch.setattr(type(board.jobs), "tick", fails)
    views, problems = watcher.look()
    assert views == before and len(problems) == 1 and "as they were before" in problems[0]


def test_the_gates_verdict_is_shown(board: Board, watcher: Watcher) -> None:
    board.add()
    folder = board.begin("0001", "gate", done=DONE[:-1])
    gate = folder.path / "work" / "gate" / "gate.json"
    gate.parent.mkdir(parents=True)
    damaged = ('{"verdict": 3}', "[", "[]", '{"verdict": "better", "x": NaN}', '{"verdict": "better", "x": 1e999}')
    for text, verdict in (('{"verdict": "better"}', "better"), *((text, None) for text in damaged)):
        gate.write_text(text)
        assert _detail(watcher)["verdict"] == verdict


def test_jobs_of_other_kinds_and_odd_requests_are_shown(board: Board, watcher: Watcher) -> None:
    odd = {"data": "no json", "recipe": "3", "stage1": '"yes"', "lr": "NaN", "hours": "1e999"}
    board.add(retraining_record(GATE, request=odd))
    found = _detail(watcher)
    assert (found["request"]["lr"], found["request"]["hours"]) == ("NaN", "1e999")
    assert (found["data"], found["recipe"], found["stage1"], found["runs"]) == ("no json", "3", False, [])


def test_slurm_jobs_have_no_resources_here(board: Board, watcher: Watcher) -> None:
    board.add(retraining_record(device="slurm"))
    board.begin("0001", "prepare")
    assert _detail(watcher)["resources"] is None


def test_what_differs_since_is_said_of_jobs_with_facts(board: Board, watcher: Watcher) -> None:
    board.add(retraining_record(facts={"code": "0" * 64, "repeats": "0007"}))
    found = _detail(watcher)
    assert any(line.startswith("code 000000000000 then") for line in found["drift"]) and found["repeats"] == "0007"
    assert _detail(watcher)["drift"] == found["drift"]
