"""What a job is: its record, written once, and its events, appended by whoever saw something happen.

A job's folder holds `job.json` (the record), `events.jsonl`, `heartbeat.json` and, where asked for, the files
`STOP` and `CANCEL`. Nothing else decides a job's state; the database is an index of these.

Event kinds: queued (opens an attempt), launching, launched, started, step, step-done, stopped, and the ends
finished, failed, cancelled, lost. The first end of an attempt counts; what comes after it is ignored.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from dermdemo.errors import DataError, JobError
from dermdemo.evaluation.records import decode, encode
from dermdemo.jobs.files import append_line, canonical, locked, write_atomic

State = Literal["queued", "running", "stopping", "finished", "failed", "cancelled", "lost"]
Device = Literal["cpu", "cuda", "slurm"]
Mode = Literal["fresh", "resume", "keep"]
ENDS = ("finished", "failed", "cancelled", "lost")
ACTIVE = ("running", "stopping")
EVENTS, RECORD, STOP, CANCEL = "events.jsonl", "job.json", "STOP", "CANCEL"
JOB_ID = re.compile(r"\d{4,}")


@dataclass(frozen=True, kw_only=True)
class Step:
    """One command of a job.

    Attributes:
        argv: arguments after `python -m dermdemo`.
        run: folder of a training run, below the job's; "" where the step is no training run. Only such a
            step can be stopped with what it has reached (if `stoppable`), and resumed.

    In `argv`, ``{folder}`` stands for the job's folder and ``{job}`` for its id.
    """

    name: str
    argv: tuple[str, ...]
    run: str = ""
    stoppable: bool = True


@dataclass(frozen=True, kw_only=True)
class JobRecord:
    """A job as it was asked for.

    Attributes:
        hours: time limit of one attempt.
        request: what was asked, to repeat it. `facts`: seed, data, versions and models it started from.
    """

    id: str
    who: str
    created: str
    device: str
    hours: float
    steps: tuple[Step, ...]
    request: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.device not in get_args(Device):
            raise JobError(f"'{self.device}' is no place to run: choose from {', '.join(get_args(Device))}.")
        if not self.steps or len({s.name for s in self.steps}) != len(self.steps):
            raise JobError("A job needs steps, each with a name of its own.")
        if not 0 < self.hours <= 24 * 30:
            raise JobError(f"A time limit of {self.hours} hours does not work: give more than 0 and at most 720.")


@dataclass(frozen=True, kw_only=True)
class History:
    """The events of a job, folded up to now.

    Attributes:
        attempt: 1 for the first. `mode`: how it began. `since`: its number of events so far.
        handle: process or Slurm id. `gpu`: the GPU it was given, "" for none. `worker`: what it said of itself.
        end, reason: the end of this attempt, "" before it.
        done: steps done, in this attempt or in those it goes on from.
        step: the one running or last run. `stopped`: steps that ended early because they were asked to.
    """

    attempt: int = 0
    mode: Mode = "fresh"
    launching: bool = False
    handle: str = ""
    gpu: str = ""
    worker: Mapping[str, Any] = field(default_factory=dict)
    end: str = ""
    reason: str = ""
    done: tuple[str, ...] = ()
    step: str = ""
    stopped: tuple[str, ...] = ()


def fold(events: Sequence[Mapping[str, Any]]) -> History:
    """History of a job from its events, oldest first; events of other attempts than the running one are ignored."""
    h = History()
    for event in events:
        kind, attempt = event.get("kind"), event.get("attempt")
        if kind == "queued" and attempt == h.attempt + 1:
            mode: Mode = event["mode"] if event.get("mode") in get_args(Mode) else "fresh"
            kept = mode != "fresh"
            h = History(attempt=h.attempt + 1, mode=mode, done=h.done if kept else (), step=h.step if kept else "")
        elif attempt == h.attempt and h.attempt and not h.end:
            h = _fold_one(h, str(kind), event)
    return h


def _fold_one(h: History, kind: str, event: Mapping[str, Any]) -> History:
    name = str(event.get("step", ""))
    if kind in ENDS:
        return replace(h, end=kind, reason=str(event.get("reason", "")))
    if kind == "launching":
        return replace(h, launching=True, gpu=str(event.get("gpu", "")))
    if kind == "launched":
        return replace(h, launching=True, handle=str(event.get("handle", "")))
    if kind == "started":
        return replace(h, launching=True, worker=dict(event))
    if kind == "step":
        return replace(h, step=name)
    if kind == "step-done":
        return replace(h, done=(*(d for d in h.done if d != name), name))
    if kind == "stopped":
        return replace(h, stopped=(*h.stopped, name))
    return h


@dataclass(frozen=True)
class JobFolder:
    """One job's folder: the only writer and reader of its record and events."""

    path: Path

    @property
    def id(self) -> str:
        return self.path.name

    def record(self) -> JobRecord:
        """The record. Raises JobError if there is none or it is damaged."""
        try:
            record = decode(JobRecord, json.loads((self.path / RECORD).read_bytes()))
        except (OSError, ValueError, DataError, RecursionError) as error:
            raise JobError(f"There is no readable job '{self.id}'; `jobs list` names them.") from error
        if record.id != self.id:
            raise JobError(f"The record in '{self.path}' is that of another job.")
        return record

    def events(self) -> list[dict[str, Any]]:
        """All whole events, oldest first; lines cut off by a crash are left out. Raises JobError: cannot be read."""
        path = self.path / EVENTS
        try:
            lines = path.read_bytes().splitlines() if path.exists() else []
        except OSError as error:
            raise JobError(f"The events of job '{self.id}' cannot be read ({error.strerror}).") from error
        found = []
        for line in lines:
            try:
                event = json.loads(line)
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict):
                found.append(event)
        return found

    def history(self) -> History:
        return fold(self.events())

    def write(self, kind: str, *, attempt: int, **fields: Any) -> bool:
        """Append an event of an attempt.

        Returns:
            False, and nothing is written, if that attempt is over, another runs, or it is launched already.

        Raises:
            JobError: it cannot be written (full disk).
        """
        with locked(self.path / ".events.lock"):
            h = self.history()
            opens = kind == "queued" and attempt == h.attempt + 1 and (not h.attempt or bool(h.end))
            if not opens and (attempt != h.attempt or h.end or kind == "queued"):
                return False
            if kind == "launching" and h.launching:
                return False
            event = {"kind": kind, "time": time.time(), "attempt": attempt, **fields}
            try:
                append_line(self.path / EVENTS, canonical(event))
            except OSError as error:
                raise JobError(f"What happened to job {self.id} cannot be written down ({error.strerror}): make room "
                               "on the disk.") from error
        return True

    def asked(self, name: str) -> bool:
        """Whether STOP or CANCEL was asked of the running attempt."""
        try:
            return (self.path / name).read_text() == str(self.history().attempt)
        except OSError:
            return False

    def ask(self, name: str) -> None:
        """Ask the running attempt to stop or cancel; the file names the attempt, so that none after it obeys.

        Raises:
            JobError: it cannot be written, such as on a full disk.
        """
        try:
            with locked(self.path / ".events.lock"):
                write_atomic(self.path / name, str(self.history().attempt).encode())
        except OSError as error:
            raise JobError(f"Job {self.id} cannot be told to {name.lower()} ({error.strerror}): make room on the "
                           "disk.") from error


def create_job(jobs: Path, record: JobRecord, note: Callable[[str], object] | None = None) -> JobFolder:
    """Make a job's folder, whole or not at all, under the next free number (`record.id` is ignored).

    Args:
        note: told the id before there is such a job; what it raises leaves none.

    Raises:
        JobError: it cannot be written (full disk).
    """
    try:
        return _create_job(jobs, record, note)
    except OSError as error:
        raise JobError(f"The job cannot be written down ({error.strerror}): make room on the disk.") from error


def _create_job(jobs: Path, record: JobRecord, note: Callable[[str], object] | None) -> JobFolder:
    jobs.mkdir(parents=True, exist_ok=True)
    with locked(jobs / ".lock"):
        number = max((int(p.name) for p in jobs.iterdir() if JOB_ID.fullmatch(p.name)), default=0) + 1
        record = replace(record, id=f"{number:04d}")
        staging = jobs / f".new.{record.id}"
        staging.mkdir(exist_ok=True)
        (staging / RECORD).write_bytes(canonical(encode(record)))
        (staging / EVENTS).unlink(missing_ok=True)
        JobFolder(staging).write("queued", attempt=1, mode="fresh")
        if note:
            note(record.id)
        staging.rename(jobs / record.id)
    return JobFolder(jobs / record.id)


def job_folders(jobs: Path) -> list[JobFolder]:
    """All jobs, oldest first."""
    found = [p for p in jobs.iterdir() if JOB_ID.fullmatch(p.name)] if jobs.is_dir() else []
    return [JobFolder(p) for p in sorted(found, key=lambda p: int(p.name))]
