"""Steps, attempts and what may be done, in every state a job can be in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from dermdemo.errors import JobError
from dermdemo.jobs.records import CANCEL, STOP
from dermdemo.jobs.steps import actions, attempts, moment, running_seconds, runs_of, shown, stopped_steps
from tests.jobs.boards import Board
from tests.jobs.fakes import record
from tests.jobs.runs import STAGE1, epoch, retraining_record, run_of, started


@pytest.fixture
def board(tmp_path: Path) -> Board:
    return Board(tmp_path)


def _states(board: Board, job: str = "0001") -> list[str]:
    view = board.view(job)
    return [s.state for s in shown(view, view.folder.events(), {})]


def _actions(board: Board, job: str = "0001") -> list[str]:
    view = board.view(job)
    return actions(view, view.folder.events())


def test_a_queued_job_waits_and_can_be_cancelled(board: Board) -> None:
    board.add()
    assert _states(board) == ["waiting"] * 5 and _actions(board) == ["cancel"]


def test_a_running_job_can_be_stopped_until_it_has_been(board: Board) -> None:
    board.add()
    folder = board.begin("0001", "stage I", done=("prepare",))
    assert _states(board) == ["done", "running", "waiting", "waiting", "waiting"]
    assert _actions(board) == ["stop", "cancel"]
    folder.ask(STOP)
    assert board.view("0001").state == "stopping" and _actions(board) == ["cancel"]
    board.write("0001", "stopped", step="stage I")
    board.write("0001", "step-done", step="stage I", seconds=30.0)
    assert _states(board)[1] == "stopped" and _actions(board) == ["cancel"]
    folder.ask(CANCEL)
    assert _actions(board) == []


def test_after_training_there_is_nothing_to_stop(board: Board) -> None:
    board.add()
    board.begin("0001", "gate", done=("prepare", "stage I", "stage II vae", "stage II imagenet"))
    assert _actions(board) == ["cancel"]


def test_a_failed_job_is_finished_only_with_an_epoch_to_keep(board: Board) -> None:
    board.add()
    folder = board.begin("0001", "stage I", done=("prepare",))
    board.end("0001", "failed", "stage I: no")
    assert _states(board)[1] == "failed" and _actions(board) == ["resume", "retry", "repeat"]
    run_of(folder, STAGE1, started())
    (folder.path / "work" / "I" / "last.pt").write_bytes(b"x")
    assert _actions(board) == ["resume", "finish", "retry", "repeat"]


@pytest.mark.parametrize(("end", "may"), [("finished", ["repeat"]), ("cancelled", ["retry", "repeat"]),
                                          ("lost", ["resume", "retry", "repeat"])])
def test_ended_jobs(board: Board, end: str, may: list[str]) -> None:
    board.add()
    board.begin("0001", "prepare")
    board.end("0001", end)
    assert _actions(board) == may


@pytest.mark.parametrize("state", ["queued", "running", "failed", "finished", "cancelled", "lost"])
def test_what_is_offered_is_done_and_the_rest_is_refused(tmp_path: Path, state: str) -> None:
    """Every action the page offers succeeds, every other one is refused by the launcher."""
    for action in ("stop", "cancel", "resume", "retry"):
        board = Board(tmp_path / action)
        folder = board.add()
        if state != "queued":
            board.begin("0001", "stage I", done=("prepare",))
            (folder.path / "work" / "I").mkdir(parents=True)
            (folder.path / "work" / "I" / "last.pt").write_bytes(b"x")
        if state not in ("queued", "running"):
            board.end("0001", state)
        offered = {"stop" if name == "finish" else name for name in _actions(board)}
        if action in offered:
            board.jobs.act("0001", action, who="ada")  # type: ignore[arg-type]
            continue
        with pytest.raises(JobError):
            board.jobs.act("0001", action, who="ada")  # type: ignore[arg-type]


def test_attempts_tell_how_each_began_and_ended(board: Board) -> None:
    board.add()
    board.begin("0001", "prepare")
    board.end("0001", "lost", "gone")
    board.jobs.resume("0001")
    folder = board.begin("0001", "prepare")
    (folder.path / "heartbeat.json").write_text(json.dumps({"beat": 7, "attempt": 2, "step": "prepare"}))
    first, second = attempts(board.view("0001"), folder.events())
    assert (first.mode, first.end, first.reason, first.seconds) == ("fresh", "lost", "gone", 60.0)
    assert (second.mode, second.end, second.seconds) == ("resume", "", 14.0)
    assert first.started is not None and first.started.startswith("20")
    assert running_seconds(board.view("0001"), folder.events()) == 14.0


def test_a_job_begun_anew_forgets_what_was_stopped(board: Board) -> None:
    board.add()
    folder = board.begin("0001", "stage I")
    board.write("0001", "stopped", step="stage I")
    board.end("0001", "failed")
    assert stopped_steps(folder.events()) == ["stage I"]
    board.jobs.resume("0001")
    assert stopped_steps(folder.events()) == ["stage I"]
    board.begin("0001")
    board.end("0001", "failed")
    board.jobs.retry("0001")
    assert stopped_steps(folder.events()) == []


def test_dry_runs_are_shown_only_where_there_are_no_others(board: Board) -> None:
    from dermdemo.jobs.records import Step

    dry = Step(name="dry stage I", run="dry/I", argv=("pretrain",), stoppable=False)
    outside = Step(name="x", run="../../etc", argv=("train",))
    folder = board.add(retraining_record(dry, STAGE1, outside))
    run_of(folder, dry, started(), epoch(1))
    assert [s.name for s in runs_of(board.view("0001"))] == ["dry stage I"]
    run_of(folder, STAGE1, started())
    assert [s.name for s in runs_of(board.view("0001"))] == ["stage I"]


def test_a_job_that_is_no_retraining_is_not_repeated(board: Board) -> None:
    board.add(record())
    board.begin("0001", "one")
    board.end("0001", "finished")
    assert _actions(board) == []


def test_moments_that_are_none_are_left_out() -> None:
    assert moment(0) == "1970-01-01T00:00:00+00:00"
    assert [moment(v) for v in (None, "x", float("nan"), 1e30, -1e30)] == [None] * 5
