"""Tasks: in threads, bounded, one of a kind at a time, and every end is a sentence."""

from __future__ import annotations

import contextlib
import errno
import logging
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from dermdemo.errors import DataError, JobError
from dermdemo.ui.admin.tasks import FULL_DISK, UNEXPECTED, Seen, Tasks


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """What the tasks of a test wait for; opened at its end in any case."""
    event = threading.Event()
    yield event
    event.set()


def ended(tasks: Tasks, key: str) -> Seen:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        seen = tasks.get(key)
        assert seen is not None
        if seen.state != "running":
            return seen
        time.sleep(0.01)
    raise AssertionError("the task did not end")


def test_a_task_is_followed_to_its_result(gate: threading.Event) -> None:
    tasks = Tasks()
    key = tasks.start("counting", lambda: gate.wait(10) and {"id": "d0001"})
    running = tasks.get(key)
    assert running is not None and (running.state, running.what, running.result) == ("running", "counting", None)
    gate.set()
    seen = ended(tasks, key)
    assert (seen.state, seen.result, seen.error) == ("done", {"id": "d0001"}, None)


def _raise(error: Exception) -> Callable[[], None]:
    def work() -> None:
        raise error
    return work


def test_errors_of_this_package_are_shown_as_they_are() -> None:
    tasks, error = Tasks(), DataError("The data are gone.")
    seen = ended(tasks, tasks.start("x", _raise(error)))
    assert (seen.state, seen.error, seen.problem) == ("failed", "The data are gone.", error)


@pytest.mark.parametrize(("error", "said"), [
    (ValueError("/secret/path"), UNEXPECTED), (OSError(errno.ENOSPC, "No space"), FULL_DISK),
    (OSError(errno.EACCES, "/secret"), UNEXPECTED),
])  # fmt: skip
def test_other_errors_are_logged_not_shown(caplog: pytest.LogCaptureFixture, error: Exception, said: str) -> None:
    tasks = Tasks()
    with caplog.at_level(logging.ERROR):
        seen = ended(tasks, tasks.start("registering x", _raise(error)))
    assert (seen.state, seen.error, seen.problem) == ("failed", said, None)
    assert "registering x failed" in caplog.text and str(error) in caplog.text


def test_one_of_a_kind_runs_at_a_time(gate: threading.Event) -> None:
    tasks = Tasks()
    first = tasks.start("registering a", lambda: gate.wait(10), alone="register")
    assert tasks.running("register") == first and tasks.running("other") is None
    with pytest.raises(JobError, match="registering a"):
        tasks.start("registering b", lambda: None, alone="register")
    assert ended(tasks, tasks.start("other", lambda: 1, alone="other")).result == 1
    gate.set()
    ended(tasks, first)
    assert tasks.running("register") is None
    assert ended(tasks, tasks.start("registering b", lambda: 2, alone="register")).result == 2


def test_they_are_bounded_in_number(gate: threading.Event) -> None:
    tasks = Tasks(running=2)
    keys = [tasks.start("x", lambda: gate.wait(10)) for _ in range(2)]
    with pytest.raises(JobError, match="2 checks are running"):
        tasks.start("x", lambda: None)
    gate.set()
    assert [ended(tasks, key).state for key in keys] == ["done", "done"]
    assert ended(tasks, tasks.start("x", lambda: 3)).result == 3


def test_results_are_kept_for_a_while_and_not_without_end() -> None:
    now = [0.0]
    tasks = Tasks(kept=2, keep=60, clock=lambda: now[0])
    keys = []
    for _ in range(3):
        now[0] += 1
        keys.append(tasks.start("x", lambda: 1))
        ended(tasks, keys[-1])
    assert [tasks.get(key) is None for key in keys] == [True, False, False]
    now[0] += 60
    assert [tasks.get(key) is None for key in keys] == [True, True, False], "the second ended more than 60 s ago"
    assert tasks.get("x") is None


def test_two_who_click_at_once_start_one() -> None:
    tasks, barrier, gate = Tasks(), threading.Barrier(8), threading.Event()
    started: list[str] = []

    def click() -> None:
        barrier.wait()
        with contextlib.suppress(JobError):
            started.append(tasks.start("registering", lambda: gate.wait(10), alone="register"))

    threads = [threading.Thread(target=click) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gate.set()
    assert len(started) == 1 and ended(tasks, started[0]).state == "done"
