"""The jobs of a state folder and their queue, in SQLite (WAL) beside the job folders.

The folders are the truth and the database their index: it keeps the state last derived, what observers
remember between looks, and it is the lock under which the queue moves, so that two launchers never start the
same job or one too many. Lost or damaged, it is made again from the folders.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from dermdemo.errors import DataError, JobError
from dermdemo.evaluation.records import decode, encode
from dermdemo.jobs.records import (
    ACTIVE,
    CANCEL,
    ENDS,
    EVENTS,
    JOB_ID,
    STOP,
    History,
    JobFolder,
    JobRecord,
    Mode,
    State,
    create_job,
    job_folders,
)
from dermdemo.jobs.states import Clock, Judged, Look, Watch, judge

SCHEMA = """CREATE TABLE IF NOT EXISTS jobs (
    number INTEGER PRIMARY KEY, device TEXT NOT NULL, state TEXT NOT NULL, size INTEGER NOT NULL,
    watch TEXT NOT NULL) STRICT"""
BUSY_SECONDS = 30.0
OTHER_SCHEMA = ("no such column", "no such table", "malformed")


class Probe(Protocol):
    """How an observer sees workers. `look` must not take long: it runs under the queue's lock."""

    def prepare(self) -> None:
        """Called before the lock is taken: the place for slow questions, such as to the cluster."""

    def look(self, folder: JobFolder, record: JobRecord, history: History) -> Look: ...
    def kill(self, folder: JobFolder, record: JobRecord, history: History) -> None: ...


@dataclass(frozen=True, kw_only=True)
class View:
    """A job as it is now."""

    folder: JobFolder
    record: JobRecord
    history: History
    state: State

    @property
    def id(self) -> str:
        return self.record.id


@dataclass(frozen=True)
class Store:
    """Jobs below the state folder `home`."""

    home: Path
    clock: Callable[[], Clock] = field(default=Clock.now)

    @property
    def jobs(self) -> Path:
        return self.home / "jobs"

    @property
    def database(self) -> Path:
        return self.jobs / "jobs.sqlite"

    def add(self, record: JobRecord, note: Callable[[str], object] | None = None) -> str:
        """Queue a job; returns its id. Its number is its place in the queue. `note` as for `create_job`."""
        return create_job(self.jobs, record, note).id

    def folder(self, job: str) -> JobFolder:
        """Folder of a job. Raises JobError: no such job."""
        folder = JobFolder(self.jobs / job)
        if not JOB_ID.fullmatch(job) or not folder.path.is_dir():
            raise JobError(f"There is no job '{job}'; `jobs list` names them.")
        return folder

    def views(self, probe: Probe) -> list[View]:
        """All jobs, oldest first, each with the state derived now."""
        return self.schedule(probe, {})[0]

    def view(self, job: str, probe: Probe) -> View:
        """One job. Raises JobError: no such job, or its folder is damaged."""
        folder = self.folder(job)
        found = next((v for v in self.views(probe) if v.id == job), None)
        if found is None:
            raise JobError(damage(folder) or f"Job {job} is not there any more.")
        return found

    def schedule(self, probe: Probe, limits: Mapping[str, int], gpus: Sequence[str] = ()
                 ) -> tuple[list[View], list[View]]:
        """All jobs, and those that the caller must launch now: the oldest queued ones, up to each device's limit.

        A job handed out is marked as launching before this returns; handed out and never launched, it counts
        as lost after a while.

        Args:
            gpus: GPUs of this machine; each `cuda` job gets the one that the fewest running jobs were given.
        """
        probe.prepare()
        with self._transaction() as db:
            views = [v for v in (self._refreshed(db, folder, probe) for folder in job_folders(self.jobs)) if v]
            claimed: list[View] = []
            for device, limit in limits.items():
                mine = [v for v in views if v.record.device == device]
                free = limit - sum(v.state in ACTIVE for v in mine)
                claimed += [v for v in mine if v.state == "queued"][:max(0, free)]
            given = Counter(v.history.gpu for v in views if v.state in ACTIVE)
            claimed = [v for v in (_claim(v, gpus, given) for v in claimed) if v]
        return views, claimed

    def reopen(self, job: str, mode: Mode, probe: Probe) -> None:
        """Queue another attempt of a job that has ended. Raises JobError: it has not, or has no such job."""
        view = self.view(job, probe)
        opened = view.folder.write("queued", attempt=view.history.attempt + 1, mode=mode)
        if not opened:
            now = self.view(job, probe)
            if now.history.attempt != view.history.attempt:
                raise JobError(f"Job {job} was begun again by somebody else in the meantime: it is {now.state}.")
            raise JobError(f"Job {job} is {now.state}: wait for its end, or cancel it first.")

    def _refreshed(self, db: sqlite3.Connection, folder: JobFolder, probe: Probe) -> View | None:
        """State of one job, written down; None for a folder that is damaged (left as it is)."""
        try:
            record, history = folder.record(), folder.history()
        except JobError:
            return None
        if not history.attempt:  # its events are gone: what was done is not known, so nothing is begun
            return None
        size = _size(folder)
        row = db.execute("SELECT state, size, watch FROM jobs WHERE number = ?", (int(folder.id),)).fetchone()
        if row and row[0] in ENDS and row[1] == size and history.end == row[0]:
            return View(folder=folder, record=record, history=history, state=row[0])
        look = probe.look(folder, record, history)
        history = folder.history()  # after the look: a worker writes its end before it goes
        judged = judge(history, look, _watch(row[2] if row else "{}"), self.clock())
        if judged.write:
            history, judged = self._end(folder, record, history, judged, probe)
        db.execute("INSERT OR REPLACE INTO jobs VALUES (?, ?, ?, ?, ?)", (
            int(folder.id), record.device, judged.state, _size(folder), json.dumps(encode(judged.watch))))
        return View(folder=folder, record=record, history=history, state=judged.state)

    def _end(self, folder: JobFolder, record: JobRecord, history: History, judged: Judged, probe: Probe
             ) -> tuple[History, Judged]:
        """Write an end that nobody else will write, unless somebody did in the meantime."""
        if judged.kill or history.launching:
            probe.kill(folder, record, history)
        _noted(folder, judged.write, history.attempt, reason=judged.reason)
        history = folder.history()
        return history, Judged(state=history.end or judged.state, watch=judged.watch)  # type: ignore[arg-type]

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """The queue's lock: one observer at a time, across threads and processes.

        It is a lock on a file beside the database, so that it holds while somebody deletes the database.

        Raises:
            JobError: others hold it for too long, or the database cannot be written (full disk).
        """
        try:
            self.jobs.mkdir(parents=True, exist_ok=True)
            with _queue_lock(self.jobs / ".database.lock"):
                db = self._open()
                try:
                    yield db
                    db.execute("COMMIT")
                finally:
                    db.close()  # what is not committed is rolled back
        except (sqlite3.Error, OSError) as error:
            raise JobError(f"The job queue cannot be read or written ({error}): make room on the disk, or look at "
                           "the state folder.") from error

    def _open(self) -> sqlite3.Connection:
        """An open transaction; a damaged database, or that of another version, is put aside and begun anew."""
        try:
            return self._connect()
        except sqlite3.OperationalError as error:
            if not any(said in str(error) for said in OTHER_SCHEMA):
                raise  # full, locked, not to be opened: it is not damaged
        except sqlite3.DatabaseError:
            pass
        for path in self.jobs.glob("jobs.sqlite*"):
            os.replace(path, path.with_name(f"damaged-{path.name}"))
        return self._connect()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.database, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=NORMAL")
            db.execute(SCHEMA)
            db.execute("BEGIN IMMEDIATE")
            db.execute("SELECT number, device, state, size, watch FROM jobs").fetchall()
        except BaseException:
            db.close()
            raise
        return db


def damage(folder: JobFolder) -> str:
    """Why a job's folder cannot be used, in a sentence; "" if it can."""
    try:
        folder.record()
        if folder.history().attempt:
            return ""
    except JobError:
        pass
    what = "its events are missing or damaged" if _readable(folder) else "its record is missing or damaged"
    return (f"Job {folder.id} cannot be shown: {what}. Its folder is left as it is and runs no more; launch the job "
            "anew.")


def _readable(folder: JobFolder) -> bool:
    try:
        folder.record()
    except JobError:
        return False
    return True


def _claim(view: View, gpus: Sequence[str], given: Counter[str]) -> View | None:
    """Mark a queued job as launching, with a GPU where it needs one; None if somebody else ended it."""
    mine = {"gpu": min(gpus, key=lambda g: given[g])} if gpus and view.record.device == "cuda" else {}
    if not _noted(view.folder, "launching", view.history.attempt, **mine):
        return None
    given.update(mine.values())
    return replace(view, history=view.folder.history())


@contextlib.contextmanager
def _queue_lock(path: Path) -> Iterator[None]:
    """Hold the lock on a file. Raises JobError where others hold it for `BUSY_SECONDS`."""
    end = time.monotonic() + BUSY_SECONDS
    with path.open("ab") as stream:
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > end:
                    raise JobError("The job queue is busy; try again in a moment.") from error
                time.sleep(0.01)
        yield


def _noted(folder: JobFolder, kind: str, attempt: int, **fields: str) -> bool:
    """Write an event that an observer has to tell; on a full disk the next look tries again."""
    try:
        return folder.write(kind, attempt=attempt, **fields)
    except JobError:
        return False


def stop_asked(folder: JobFolder) -> Look:
    """The part of a look that anyone can take: what was asked of the job."""
    return Look(alive=False, stop=folder.asked(STOP), cancel=folder.asked(CANCEL))


def _size(folder: JobFolder) -> int:
    try:
        return (folder.path / EVENTS).stat().st_size
    except OSError:
        return 0


def _watch(text: str) -> Watch:
    """What was remembered; nothing where it cannot be read."""
    try:
        return decode(Watch, json.loads(text))
    except (ValueError, DataError):
        return Watch()
