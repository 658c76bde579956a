"""The job store: folders are the truth, the queue has limits, and the database can go."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import sqlite3
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from dermdemo.errors import JobError
from dermdemo.jobs.records import CANCEL, ENDS, STOP, JobFolder, JobRecord, Step, create_job
from dermdemo.jobs.states import START_GRACE
from dermdemo.jobs.store import Store
from tests.jobs.fakes import FakeClock, FakeProbe, record


def _states(store: Store, probe: FakeProbe) -> list[str]:
    return [v.state for v in store.views(probe)]


def _run(store: Store, probe: FakeProbe, limit: int = 1) -> list[str]:
    """Launch what may be launched; their workers begin at once."""
    claimed = store.schedule(probe, {"cpu": limit})[1]
    for view in claimed:
        view.folder.write("started", attempt=view.history.attempt, pid=1)
        probe.alive.add(view.id)
    return [v.id for v in claimed]


def _finish(store: Store, probe: FakeProbe, job: str, kind: str = "finished") -> None:
    store.folder(job).write(kind, attempt=store.folder(job).history().attempt)
    probe.alive.discard(job)


def test_jobs_are_numbered_and_queued_in_order(tmp_path: Path) -> None:
    store, probe = Store(tmp_path), FakeProbe()
    assert [store.add(record()) for _ in range(3)] == ["0001", "0002", "0003"]
    assert _states(store, probe) == ["queued"] * 3
    assert store.view("0002", probe).record.steps == (Step(name="one", argv=("--help",)),)


def test_the_queue_keeps_to_the_limit_of_each_device(tmp_path: Path) -> None:
    store, probe = Store(tmp_path), FakeProbe()
    for device in ("cpu", "cuda", "cpu", "cpu"):
        store.add(record(device))
    claimed = store.schedule(probe, {"cpu": 2, "cuda": 1})[1]
    assert sorted(v.id for v in claimed) == ["0001", "0002", "0003"]
    assert store.schedule(probe, {"cpu": 2, "cuda": 1})[1] == []
    _finish(store, probe, "0001")
    assert [v.id for v in store.schedule(probe, {"cpu": 2})[1]] == ["0004"]


def test_a_worker_that_is_gone_is_lost_and_frees_its_place(tmp_path: Path) -> None:
    store, probe = Store(tmp_path), FakeProbe()
    store.add(record())
    store.add(record())
    assert _run(store, probe) == ["0001"]
    probe.alive.clear()
    assert _run(store, probe) == ["0002"]
    assert _states(store, probe) == ["lost", "running"]
    assert "ended without a word" in store.folder("0001").history().reason


def test_a_worker_that_ends_while_it_is_looked_at_is_not_lost(tmp_path: Path) -> None:
    store, probe = Store(tmp_path), FakeProbe()
    store.add(record())
    _run(store, probe)
    probe.alive.clear()
    probe.during = lambda folder: (folder.write("finished", attempt=1), None)[1]
    assert _states(store, probe) == ["finished"]


def test_a_launcher_that_dies_after_claiming_leaves_no_job_stuck(tmp_path: Path) -> None:
    clock, probe = FakeClock(), FakeProbe()
    store = Store(tmp_path, clock)
    store.add(record())
    assert store.schedule(probe, {"cpu": 1})[1]
    assert _states(store, probe) == ["running"]
    clock.seconds = START_GRACE + 1
    assert _states(store, probe) == ["lost"]
    assert probe.killed == ["0001"], "whatever may still begin is ended first"


def test_cancelling_in_the_queue_needs_no_worker(tmp_path: Path) -> None:
    store, probe = Store(tmp_path), FakeProbe()
    store.add(record())
    store.folder("0001").ask(CANCEL)
    assert _states(store, probe) == ["cancelled"]
    store.reopen("0001", "fresh", probe)
    assert _states(store, probe) == ["queued"], "the cancel was for the attempt before"


def test_only_what_has_ended_is_opened_again(tmp_path: Path) -> None:
    store, probe = Store(tmp_path), FakeProbe()
    store.add(record())
    with pytest.raises(JobError, match="is queued"):
        store.reopen("0001", "resume", probe)
    _run(store, probe)
    with pytest.raises(JobError, match="is running"):
        store.reopen("0001", "resume", probe)
    _finish(store, probe, "0001", "failed")
    store.reopen("0001", "resume", probe)
    view = store.view("0001", probe)
    assert (view.state, view.history.attempt, view.history.mode) == ("queued", 2, "resume")


@pytest.mark.parametrize("damage", ["deleted", "garbage", "empty", "other schema", "with its log"])
def test_the_database_is_made_again_from_the_folders(tmp_path: Path, damage: str) -> None:
    store, probe = Store(tmp_path), FakeProbe()
    for _ in range(4):
        store.add(record())
    _run(store, probe, limit=3)
    _finish(store, probe, "0001")
    probe.alive.discard("0002")
    before = _states(store, probe)
    assert before == ["finished", "lost", "running", "queued"]
    if damage == "deleted":
        store.database.unlink()
    elif damage == "garbage":
        store.database.write_bytes(b"not a database at all" * 400)
    elif damage == "empty":
        store.database.write_bytes(b"")
    elif damage == "with its log":
        for path in store.jobs.glob("jobs.sqlite*"):
            path.unlink()
    else:
        store.database.unlink()
        with sqlite3.connect(store.database) as db:
            db.execute("CREATE TABLE jobs (something TEXT)")
    assert _states(store, probe) == before
    assert _run(store, probe, limit=2) == ["0004"]


def test_a_torn_event_and_a_broken_record_harm_nobody_else(tmp_path: Path) -> None:
    store, probe = Store(tmp_path), FakeProbe()
    for _ in range(3):
        store.add(record())
    with (store.folder("0001").path / "events.jsonl").open("ab") as stream:
        stream.write(b'{"kind": "finis')
    (store.folder("0002").path / "job.json").write_text("{")
    assert [v.id for v in store.views(probe)] == ["0001", "0003"]
    store.folder("0001").ask(CANCEL)
    assert store.view("0001", probe).state == "cancelled"


def test_a_job_half_made_does_not_exist(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object, **__: object) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(JobFolder, "write", die)
        with pytest.raises(KeyboardInterrupt):
            create_job(tmp_path / "jobs", record())
    store = Store(tmp_path)
    assert store.views(FakeProbe()) == []

    def refuse(job: str) -> None:
        raise JobError(f"{job} cannot be written down")

    with pytest.raises(JobError, match="0001 cannot be written down"):
        store.add(record(), refuse)
    assert store.views(FakeProbe()) == []
    told: list[str] = []
    assert store.add(record(), told.append) == "0001" and told == ["0001"]
    assert len(store.folder("0001").events()) == 1


@pytest.mark.parametrize("job", ["7", "0007", "../0001", "", "0001/..", "x"])
def test_an_unknown_job_is_an_error(tmp_path: Path, job: str) -> None:
    store = Store(tmp_path)
    store.add(record())
    with pytest.raises(JobError, match="no job"):
        store.folder(job)


@pytest.mark.parametrize(("changes", "message"), [
    ({"device": "tpu"}, "no place to run"), ({"hours": 0.0}, "time limit"), ({"steps": ()}, "needs steps"),
    ({"steps": (Step(name="a", argv=()), Step(name="a", argv=()))}, "name of its own"),
])  # fmt: skip
def test_an_impossible_record_is_refused(changes: dict[str, object], message: str) -> None:
    values = {"id": "", "who": "a", "created": "", "device": "cpu", "hours": 1.0, "steps": record().steps}
    with pytest.raises(JobError, match=message):
        JobRecord(**(values | changes))  # type: ignore[arg-type]


def _claim(home: Path, queue: multiprocessing.Queue[str]) -> None:
    for _ in range(5):
        for view in Store(home).schedule(FakeProbe(), {"cpu": 4})[1]:
            queue.put(view.id)


def test_two_launchers_never_claim_the_same_job(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for _ in range(6):
        store.add(record())
    context = multiprocessing.get_context("fork")
    queue: multiprocessing.Queue[str] = context.Queue()
    launchers = [context.Process(target=_claim, args=(tmp_path, queue)) for _ in range(3)]
    for launcher in launchers:
        launcher.start()
    claimed = [queue.get(timeout=60) for _ in range(4)]
    for launcher in launchers:
        launcher.join()
    assert sorted(claimed) == ["0001", "0002", "0003", "0004"] and queue.empty()


class Machine(RuleBasedStateMachine):
    """Workers, launchers and the database die at any moment."""

    def __init__(self) -> None:
        super().__init__()
        self.home = Path(tempfile.mkdtemp())
        self.clock, self.probe = FakeClock(), FakeProbe()
        self.store = Store(self.home, self.clock)
        self.ended: dict[tuple[str, int], str] = {}

    def teardown(self) -> None:
        shutil.rmtree(self.home)

    def _job(self, number: int) -> JobFolder | None:
        path = self.store.jobs / f"{number:04d}"
        return JobFolder(path) if path.is_dir() else None

    @rule()
    def add(self) -> None:
        if self._job(5) is None:
            self.store.add(record())

    @rule(started=st.booleans())
    def launch(self, started: bool) -> None:
        for view in self.store.schedule(self.probe, {"cpu": 2})[1]:
            if started:
                view.folder.write("started", attempt=view.history.attempt, pid=1)
                self.probe.alive.add(view.id)

    @rule(number=st.integers(1, 5), kind=st.sampled_from(["finished", "failed", "killed"]))
    def end(self, number: int, kind: str) -> None:
        job = self._job(number)
        if job and job.id in self.probe.alive:
            if kind != "killed":
                job.write(kind, attempt=job.history().attempt)
            self.probe.alive.discard(job.id)

    @rule(number=st.integers(1, 5), name=st.sampled_from([STOP, CANCEL]))
    def ask(self, number: int, name: str) -> None:
        if job := self._job(number):
            job.ask(name)

    @rule(number=st.integers(1, 5), mode=st.sampled_from(["fresh", "resume", "keep"]))
    def reopen(self, number: int, mode: str) -> None:
        if job := self._job(number):
            try:
                self.store.reopen(job.id, mode, self.probe)  # type: ignore[arg-type]
            except JobError:
                assert not job.history().end

    @rule(seconds=st.floats(0, 300), silent=st.booleans(), boot=st.sampled_from(["a", "a", "b"]))
    def time_passes(self, seconds: float, silent: bool, boot: str) -> None:
        if boot != self.clock.boot:  # a reboot: nothing survives it
            self.clock.boot, self.clock.seconds = boot, 0.0
            self.probe.alive.clear()
        self.clock.seconds += seconds
        self.probe.silent = silent

    @rule()
    def lose_the_database(self) -> None:
        for path in self.store.jobs.glob("jobs.sqlite*"):
            path.unlink()

    @rule(number=st.integers(1, 5))
    def tear_a_line(self, number: int) -> None:
        if job := self._job(number):
            with (job.path / "events.jsonl").open("ab") as stream:
                stream.write(b'{"kind":')

    @invariant()
    def states_hold(self) -> None:
        views = self.store.views(self.probe)
        running = [v for v in views if v.state in ("running", "stopping")]
        assert len(running) <= 2
        for view in views:
            key = (view.id, view.history.attempt)
            assert view.state == self.ended.get(key, view.state), "an end stays"
            assert (view.state in ENDS) == bool(view.history.end)
            if view.state in ENDS:
                self.ended[key] = view.state
            if view.id in self.probe.alive and not self.probe.silent:
                assert view.state in ("running", "stopping")

    @invariant()
    def nothing_is_stuck(self) -> None:
        """Were all workers dead, every job would end or wait in the queue."""
        copy = Path(shutil.copytree(self.home, self.home.with_name(f"{self.home.name}-copy"), dirs_exist_ok=True))
        try:
            clock, probe = FakeClock(self.clock.seconds, self.clock.boot), FakeProbe()
            store = Store(copy, clock)
            store.views(probe)
            clock.seconds += START_GRACE + 1  # more than what rounding takes away
            assert all(v.state in (*ENDS, "queued") for v in store.views(probe))
        finally:
            shutil.rmtree(copy)


Machine.TestCase.settings = settings(max_examples=12, stateful_step_count=20, deadline=None)
TestStore = Machine.TestCase


def test_events_are_plain_json_lines(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(record())
    line = (store.folder("0001").path / "events.jsonl").read_text().splitlines()[0]
    assert json.loads(line)["kind"] == "queued"
