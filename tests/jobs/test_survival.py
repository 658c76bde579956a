"""Nothing but the unfinished epoch is lost: kill -9 in rounds, full disks, clocks that jump, two admins at once."""

from __future__ import annotations

import errno
import json
import multiprocessing
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from dermdemo.errors import DermdemoError, JobError
from dermdemo.jobs import audit_log, files, records, states
from dermdemo.jobs import registry as registry_module
from dermdemo.jobs import store as store_module
from dermdemo.jobs.audit_log import AuditLog
from dermdemo.jobs.launcher import Launcher
from dermdemo.jobs.records import CANCEL, JobFolder, Step, create_job
from dermdemo.jobs.registry import Registry
from dermdemo.jobs.store import Store
from dermdemo.jobs.worker import run_job
from scripts.survival import World, settings_of
from scripts.survive import Survival
from tests.jobs.fakes import FakeProbe, record

FULL = OSError(errno.ENOSPC, "No space left on device")
DAY = 86_400.0


# Rounds ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path, make_set: Callable[[int], Path], lesion_folder: Path, monkeypatch: pytest.MonkeyPatch
          ) -> Iterator[World]:
    for key, value in settings_of(tmp_path).items():
        monkeypatch.setenv(key, value)
    monkeypatch.setattr(states, "START_GRACE", 60.0)
    shutil.copytree(lesion_folder, tmp_path / "allowed" / "lesions")
    for k, seed in enumerate((0, 50, 60)):
        shutil.copytree(make_set(seed), tmp_path / "sets" / str(k))
    found = World(tmp_path, 60.0)
    yield found
    found.close()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_kill_9_of_worker_web_process_and_launcher_loses_nothing(world: World) -> None:
    survival = Survival(world, random.Random(4), wait=3.0, unfinished=1)
    for number, harm in enumerate(("kill_both", "kill_launcher"), 1):
        survival.round(number, harm)
    survival.drain()
    assert survival.faults == []
    assert {"web", "launcher"} <= set(survival.kills)
    assert max(world.registry.numbers()) >= 1, "a job came to its end and handed a version in"


# Full disks -----------------------------------------------------------------------------------------------------


def full(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FULL

    monkeypatch.setattr(module, name, refuse)


def test_a_worker_that_cannot_write_ends_its_step_and_is_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                                 ) -> None:
    """The disk is full from the second step on: no step is left behind, the job is lost, then it goes on."""
    monkeypatch.setattr("dermdemo.jobs.launcher.Launcher.tick", lambda _: [])
    job = create_job(tmp_path / "jobs", record("cpu", *(Step(name=n, argv=("--help",)) for n in ("one", "two"))))
    job.write("launching", attempt=1)
    real, written = files.append_line, list[str]()

    def until_full(path: Path, line: bytes) -> None:
        if json.loads(line).get("step") == "two" or "two" in written:
            written.append("two")
            raise FULL
        real(path, line)

    with monkeypatch.context() as patch:
        patch.setattr(records, "append_line", until_full)
        assert run_job(str(job.path), 1) == "failed"
    store, probe = Store(tmp_path), FakeProbe()
    view = store.view("0001", probe)
    assert view.state == "lost" and view.history.done == ("one",)
    store.reopen("0001", "resume", probe)
    job.write("launching", attempt=2)
    assert run_job(str(job.path), 2) == "finished"
    assert [e["step"] for e in job.events() if e["kind"] == "step-done"] == ["one", "two"]


def test_an_end_that_finds_room_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dermdemo.jobs.launcher.Launcher.tick", lambda _: [])
    job = create_job(tmp_path / "jobs", record("cpu"))
    job.write("launching", attempt=1)
    real = files.append_line

    def small(path: Path, line: bytes) -> None:
        if json.loads(line)["kind"] == "step-done":
            raise FULL
        real(path, line)

    monkeypatch.setattr(records, "append_line", small)
    assert run_job(str(job.path), 1) == "failed"
    reason = Store(tmp_path).view("0001", FakeProbe()).history.reason
    assert "No space left" in reason and reason.endswith("make room on the disk. Then resume it.")


def test_a_torn_line_of_a_full_disk_is_no_event(tmp_path: Path) -> None:
    job = create_job(tmp_path / "jobs", record("cpu"))
    with (job.path / "events.jsonl").open("ab") as stream:
        stream.write(b'{"kind":"launching","attem')
    job.write("launching", attempt=1)
    assert [e["kind"] for e in job.events()] == ["queued", "launching"]


@pytest.mark.parametrize("act", ["ask", "create", "audit"])
def test_what_cannot_be_written_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: str) -> None:
    job = create_job(tmp_path / "jobs", record("cpu"))
    log = AuditLog(tmp_path / "audit")
    log.append(who="ada", action="first")
    full(monkeypatch, records, "write_atomic" if act == "ask" else "canonical")
    full(monkeypatch, audit_log.AuditLog, "_write")
    with pytest.raises(JobError, match="room on the disk"):
        if act == "ask":
            job.ask(CANCEL)
        elif act == "create":
            create_job(tmp_path / "jobs", record("cpu"))
        else:
            log.append(who="ada", action="second")
    assert Store(tmp_path).view("0001", FakeProbe()).state == "queued" and len(log.read()) == 1


@pytest.mark.parametrize("when", ["line", "half a line", "head"])
def test_the_audit_log_is_whole_after_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    log = AuditLog(tmp_path)
    log.append(who="ada", action="first")

    def half(self: AuditLog, line: bytes, size: int) -> None:
        if when == "half a line":
            with self.path.open("ab") as stream:
                stream.write(line[: len(line) // 2])
        raise FULL

    with monkeypatch.context() as patch:
        if when == "head":
            full(patch, audit_log, "write_atomic")
        else:
            patch.setattr(AuditLog, "_write", half)
        with pytest.raises(JobError, match="cannot be written"):
            log.append(who="ada", action="second")
    log.append(who="ada", action="third")
    entries = AuditLog(tmp_path).read()
    assert [e.seq for e in entries] == list(range(1, len(entries) + 1))
    assert [e.action for e in entries] == ["first", *(["second"] if when == "head" else []), "third"]


def test_a_set_that_does_not_fit_is_no_version(versions: Registry, make_set: Callable[[int], Path],
                                               monkeypatch: pytest.MonkeyPatch) -> None:
    def copy_some(source: Path, target: Path, **_: object) -> None:
        target.mkdir()
        (target / "half").write_bytes(b"x")
        raise shutil.Error([(str(source), str(target), "[Errno 28] No space left on device")])

    with monkeypatch.context() as patch:
        patch.setattr(registry_module.shutil, "copytree", copy_some)
        with pytest.raises(JobError, match="room on the disk"):
            versions.add(make_set(50), who="ada")
    assert versions.numbers() == (0,) and versions.log.read() == ()
    rest = versions.home / "models" / "versions" / ".new.of-one-who-died"
    rest.mkdir()
    assert versions.add(make_set(50), who="ada").number == 1
    assert not rest.exists(), "what kill -9 left behind goes with the next set"
    assert [p.name for p in (versions.home / "models" / "versions").iterdir()] == ["0001"]


@pytest.mark.parametrize("where", ["log", "state"])
def test_no_room_for_a_switch_changes_nothing(versions: Registry, make_set: Callable[[int], Path],
                                              monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    versions.add(make_set(50), who="ada")
    with monkeypatch.context() as patch:
        if where == "log":
            full(patch, AuditLog, "_write")
        else:
            full(patch, registry_module, "write_atomic")
        for act in (versions.promote, versions.archive):
            with pytest.raises(JobError):
                act(1, who="ada")
    assert versions.serving().number == 0 and versions.switch().archived == ()
    versions.promote(1, who="ada")
    assert versions.serving().number == 1


def test_a_queue_on_a_full_disk_says_so_and_is_not_put_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, probe = Store(tmp_path), FakeProbe()
    store.add(record("cpu"))
    before = [v.state for v in store.views(probe)]

    def connect(*_: object, **__: object) -> sqlite3.Connection:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(store_module.sqlite3, "connect", connect)
        with pytest.raises(JobError, match="disk is full"):
            store.views(probe)
    assert [v.state for v in store.views(probe)] == before
    assert not list(store.jobs.glob("damaged-*"))


def test_an_end_that_cannot_be_noted_is_noted_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, probe = Store(tmp_path), FakeProbe()
    for _ in range(2):
        store.add(record("cpu"))
    job = store.folder("0001")
    for kind in ("launching", "started"):
        job.write(kind, attempt=1)
    with monkeypatch.context() as patch:
        full(patch, records, "append_line")
        views, claimed = store.schedule(probe, {"cpu": 1})
        assert [v.state for v in views] == ["lost", "queued"] and claimed == [], "nothing is launched unnoted"
    assert [v.state for v in store.views(probe)] == ["lost", "queued"]
    assert job.history().end == "lost"


# Several at once ------------------------------------------------------------------------------------------------


def _promote(versions: Registry, number: int, who: str, answers: multiprocessing.Queue[str]) -> None:
    try:
        for _ in range(5):
            versions.promote(number, who=who)
        answers.put("done")
    except DermdemoError as error:
        answers.put(str(error))


def test_two_admins_promoting_from_two_processes(versions: Registry, make_set: Callable[[int], Path]) -> None:
    for seed in (50, 60):
        versions.add(make_set(seed), who="ada")
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.Queue[str] = context.Queue()
    admins = [context.Process(target=_promote, args=(versions, n, f"admin {n}", answers)) for n in (1, 2)]
    for admin in admins:
        admin.start()
    assert [answers.get(timeout=120) for _ in admins] == ["done", "done"]
    for admin in admins:
        admin.join()
    assert [v.standing for v in versions.listed()].count("live") == 1
    switches = [e for e in versions.log.read() if e.action == "promote"]
    assert len(switches) == 10 and int(switches[-1].details["version"]) == versions.switch().live
    befores = [e.details["before"] for e in switches]
    assert befores[1:] == [e.details["version"] for e in switches[:-1]], "each knew what the one before had done"


def test_a_job_is_claimed_once_even_if_the_database_goes(tmp_path: Path) -> None:
    """Somebody deletes the database while a launcher claims: the next one waits, and finds the job claimed."""
    store, second = Store(tmp_path), FakeProbe()
    store.add(record("cpu"))
    taken: list[str] = []

    def remove(_: JobFolder) -> None:
        for path in store.jobs.glob("jobs.sqlite*"):
            path.unlink()

    first = FakeProbe(during=remove)
    taken += [v.id for v in store.schedule(first, {"cpu": 2})[1]]
    taken += [v.id for v in store.schedule(second, {"cpu": 2})[1]]
    assert taken == ["0001"]
    assert store.folder("0001").write("launching", attempt=1) is False


def test_a_queue_that_somebody_holds_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.add(record("cpu"))
    store.views(FakeProbe())
    monkeypatch.setattr(store_module, "BUSY_SECONDS", 0.1)
    with files.locked(store.jobs / ".database.lock"), pytest.raises(JobError, match="busy"):
        store.views(FakeProbe())
    assert [v.state for v in store.views(FakeProbe())] == ["queued"]


def test_a_lost_database_gives_the_same_listing(tmp_path: Path) -> None:
    """All that is shown of every job, after histories of every kind."""
    jobs = Launcher(Store(tmp_path), {"cpu": 0})
    for kinds in ((), ("launching",), ("launching", "started"), ("launching", "started", "finished"),
                  ("launching", "started", "failed"), ("launching", "started", "cancelled")):
        folder = jobs.store.folder(jobs.store.add(record("cpu")))
        for kind in kinds:
            folder.write(kind, attempt=1, reason="so")
    jobs.store.reopen("0005", "resume", jobs.probe)
    before = jobs.tick()
    for path in jobs.store.jobs.glob("jobs.sqlite*"):
        path.unlink()
    assert jobs.tick() == before
    assert [v.state for v in before] == ["queued", "running", "lost", "finished", "queued", "cancelled"]


# Clocks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_clock_that_jumps_changes_no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    store, probe = Store(tmp_path), FakeProbe()
    for _ in range(3):
        store.add(record("cpu"))
    for job, kinds in (("0001", ("launching", "started")), ("0002", ("launching",))):
        for kind in kinds:
            store.folder(job).write(kind, attempt=1)
    probe.alive.add("0001")
    log = AuditLog(tmp_path / "audit")
    log.append(who="ada", action="before")
    before = [v.state for v in store.views(probe)]
    assert before == ["running", "running", "queued"]
    real = time.time

    class Jumped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(seconds=jump)

    monkeypatch.setattr(time, "time", lambda: real() + jump)
    monkeypatch.setattr(files, "datetime", Jumped)
    log.append(who="ada", action="during")
    assert [v.state for v in store.views(probe)] == before
    store.folder("0001").write("step", attempt=1, step="one")
    times = [e["time"] for e in store.folder("0001").events()]
    assert (times[-1] - times[0] > 0) is (jump > 0), "the clock of the events jumped"
    monkeypatch.undo()
    log.append(who="ada", action="after")
    assert [v.state for v in store.views(probe)] == before
    entries = log.read()
    assert [e.action for e in entries] == ["before", "during", "after"] and [e.seq for e in entries] == [1, 2, 3]
    assert [e.time for e in entries] != sorted(e.time for e in entries)
