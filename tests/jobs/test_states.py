"""A job's state from its events and from whether its worker is alive: total, and never stuck."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dermdemo.jobs.records import ENDS, History, State, fold
from dermdemo.jobs.states import GONE_GRACE, HUNG_AFTER, START_GRACE, Clock, Look, Watch, judge

KINDS = ("queued", "launching", "launched", "started", "step", "step-done", "stopped", *ENDS, "nonsense")
QUEUED: dict[str, Any] = {"kind": "queued", "attempt": 1, "mode": "fresh"}
STARTED = [QUEUED, {"kind": "launching", "attempt": 1}, {"kind": "started", "attempt": 1, "pid": 5}]
ALIVE, DEAD, UNKNOWN = Look(alive=True), Look(alive=False), Look(alive=None)


def _at(seconds: float, boot: str = "a") -> Clock:
    return Clock(seconds=seconds, boot=boot)


def _judge(events: list[dict[str, Any]], look: Look, watch: Watch | None = None, at: float = 0.0) -> Any:
    return judge(fold(events), look, watch or Watch(), _at(at))


@pytest.mark.parametrize(("events", "look", "state"), [
    ([QUEUED], DEAD, "queued"),
    ([QUEUED], Look(alive=False, stop=True), "queued"),
    ([QUEUED], Look(alive=False, cancel=True), "cancelled"),
    (STARTED[:2], DEAD, "running"),
    (STARTED, ALIVE, "running"),
    (STARTED, Look(alive=True, stop=True), "stopping"),
    (STARTED, Look(alive=True, cancel=True), "stopping"),
    ([*STARTED, {"kind": "stopped", "attempt": 1, "step": "x"}], Look(alive=True, stop=True), "running"),
    (STARTED, UNKNOWN, "running"),
    (STARTED, DEAD, "lost"),
    (STARTED, Look(alive=False, cancel=True), "cancelled"),
    ([*STARTED, {"kind": "failed", "attempt": 1, "reason": "r"}], ALIVE, "failed"),
    ([*STARTED, {"kind": "lost", "attempt": 1}, {"kind": "finished", "attempt": 1}], ALIVE, "lost"),
])  # fmt: skip
def test_states(events: list[dict[str, Any]], look: Look, state: str) -> None:
    assert _judge(events, look).state == state


def test_a_worker_that_never_begins_is_lost_after_a_while() -> None:
    first = _judge(STARTED[:2], DEAD)
    assert first.state == "running"
    assert _judge(STARTED[:2], DEAD, first.watch, START_GRACE - 1).state == "running"
    late = _judge(STARTED[:2], DEAD, first.watch, START_GRACE)
    assert (late.state, late.write) == ("lost", "lost") and "never began" in late.reason


def test_a_slurm_job_missing_from_the_queue_gets_time_to_write_its_end() -> None:
    gone = Look(alive=False, lock_is_proof=False)
    first = _judge(STARTED, gone)
    assert first.state == "running"
    back = _judge(STARTED, ALIVE, first.watch, 10)
    assert _judge(STARTED, gone, back.watch, GONE_GRACE + 5).state == "running", "seen in between: counted anew"
    assert _judge(STARTED, gone, first.watch, GONE_GRACE).state == "lost"


def test_a_worker_that_does_not_move_is_ended() -> None:
    watch = _judge(STARTED, Look(alive=True, beat=3)).watch
    moved = _judge(STARTED, Look(alive=True, beat=4), watch, HUNG_AFTER - 1)
    assert moved.state == "running"
    still = _judge(STARTED, Look(alive=True, beat=4), moved.watch, 2 * HUNG_AFTER)
    assert still.kill and still.state == "lost" and "has not moved" in still.reason


def test_nobody_is_lost_while_the_cluster_does_not_answer() -> None:
    watch = _judge(STARTED, ALIVE).watch
    assert _judge(STARTED, UNKNOWN, watch, 10 * HUNG_AFTER).state == "running"


def test_a_cancel_does_not_wait_for_a_cluster_that_does_not_answer() -> None:
    look = Look(alive=None, cancel=True)
    first = _judge(STARTED, look)
    assert first.state == "stopping"
    assert _judge(STARTED, look, first.watch, GONE_GRACE).state == "cancelled"


def test_a_reboot_starts_the_waiting_anew() -> None:
    first = _judge(STARTED[:2], DEAD, at=1e6)
    after = judge(fold(STARTED[:2]), DEAD, first.watch, _at(3, "b"))
    assert after.state == "running"
    assert judge(fold(STARTED[:2]), DEAD, after.watch, _at(3 + START_GRACE, "b")).state == "lost"


def test_a_resumed_attempt_keeps_what_was_done_and_a_retry_does_not() -> None:
    ended = [*STARTED, {"kind": "step", "attempt": 1, "step": "a"}, {"kind": "step-done", "attempt": 1, "step": "a"},
             {"kind": "step", "attempt": 1, "step": "b"}, {"kind": "lost", "attempt": 1}]
    resumed = fold([*ended, {"kind": "queued", "attempt": 2, "mode": "resume"}])
    assert (resumed.attempt, resumed.done, resumed.step, resumed.end) == (2, ("a",), "b", "")
    retried = fold([*ended, {"kind": "queued", "attempt": 2, "mode": "fresh"}])
    assert (retried.attempt, retried.done, retried.step) == (2, (), "")


def test_what_a_dead_attempt_still_says_is_ignored() -> None:
    events = [*STARTED, {"kind": "lost", "attempt": 1}, {"kind": "queued", "attempt": 2, "mode": "fresh"},
              {"kind": "finished", "attempt": 1}, {"kind": "step-done", "attempt": 1, "step": "a"}]
    assert fold(events) == History(attempt=2)


EVENT = st.fixed_dictionaries({"kind": st.sampled_from(KINDS), "attempt": st.integers(0, 3)}, optional={
    "step": st.sampled_from(["a", "b"]), "mode": st.sampled_from(["fresh", "resume", "keep", "?"])})
LOOK = st.builds(Look, alive=st.sampled_from([True, False, None]), beat=st.integers(-1, 2), stop=st.booleans(),
                 cancel=st.booleans(), lock_is_proof=st.booleans())


@given(events=st.lists(EVENT, max_size=30), looks=st.lists(st.tuples(LOOK, st.floats(0, 500)), min_size=1,
                                                           max_size=12))
def test_every_history_has_a_state_and_an_end_stays(events: list[dict[str, Any]],
                                                    looks: list[tuple[Look, float]]) -> None:
    watch, now, ended = Watch(), 0.0, ""
    h = fold(events)
    for look, passed in looks:
        now += passed
        judged = judge(h, look, watch, _at(now))
        assert judged.state in get_args(State)
        watch = judged.watch
        if judged.write:  # as the store does
            h = fold([*events, {"kind": judged.write, "attempt": h.attempt}])
            assert h.end == judged.write or h.attempt == 0
        if ended:
            assert judged.state == ended
        ended = h.end or ended


@given(events=st.lists(EVENT, max_size=20))
def test_without_a_worker_nothing_runs_for_ever(events: list[dict[str, Any]]) -> None:
    h = fold(events)
    watch = judge(h, Look(alive=False, lock_is_proof=False), Watch(), _at(0)).watch
    late = judge(h, Look(alive=False, lock_is_proof=False), watch, _at(START_GRACE))
    assert late.state not in ("running", "stopping")


@given(events=st.lists(EVENT, max_size=20))
def test_a_worker_that_hangs_does_not_run_for_ever(events: list[dict[str, Any]]) -> None:
    h = fold(events)
    watch = judge(h, Look(alive=True, beat=1), Watch(), _at(0)).watch
    late = judge(h, Look(alive=True, beat=1), watch, _at(HUNG_AFTER))
    assert late.state not in ("running", "stopping") or not h.worker
