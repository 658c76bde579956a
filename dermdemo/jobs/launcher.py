"""Launching, stopping and watching jobs; every call may come from another process.

`tick` moves everything on: states are derived, ends are written, and what may run is launched. The web page
calls it while it is open, the commands each time, and a worker when it ends, so that the queue goes on alone.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from dermdemo.config import environment
from dermdemo.errors import JobError
from dermdemo.jobs import cluster
from dermdemo.jobs.audit_log import AuditLog
from dermdemo.jobs.machine import gpus
from dermdemo.jobs.processes import is_locked, kill, kill_marked
from dermdemo.jobs.records import CANCEL, ENDS, STOP, History, JobFolder, JobRecord
from dermdemo.jobs.states import Look
from dermdemo.jobs.store import Store, View, stop_asked
from dermdemo.jobs.submit import job_name
from dermdemo.jobs.worker import DISCARDED, LOCK, LOGS, beat_of, discard, last_words, mark_of, step_environment

SUBMIT_SECONDS = 120
Action = Literal["stop", "cancel", "resume", "retry"]


@dataclass
class WorkerProbe:
    """Sees workers: here by the lock they hold, on a cluster by `squeue`."""

    slurm: bool = False
    queued: Mapping[str, str] | None = None

    def prepare(self) -> None:
        self.queued = cluster.queued_jobs() if self.slurm else None

    def look(self, folder: JobFolder, record: JobRecord, history: History) -> Look:
        seen = replace(stop_asked(folder), beat=beat_of(folder))
        if record.device != "slurm":
            return replace(seen, alive=is_locked(folder.path / LOCK))
        alive = None
        if self.queued is not None:
            alive = bool({history.handle, job_name(record.id, history.attempt)} & set(self.queued))
        return replace(seen, alive=alive, lock_is_proof=False)

    def kill(self, folder: JobFolder, record: JobRecord, history: History) -> None:
        """End whatever of an attempt may still run: its worker, what submitit started, its step, and processes that
        the step started and that outlived it (only the step itself dies with its worker)."""
        if record.device == "slurm":
            if history.handle:
                cluster.cancel(history.handle)
            return
        for event in folder.events():
            if event.get("attempt") == history.attempt and event.get("identity"):
                kill(str(event["identity"]), group=event.get("kind") == "step")
        kill_marked(mark_of(folder, history.attempt))


@dataclass(frozen=True)
class Launcher:
    """Jobs of one state folder.

    Attributes:
        limits: device -> jobs that may run there at once.
        gpus: those of this machine, as CUDA_VISIBLE_DEVICES takes them; each `cuda` job gets one.
    """

    store: Store
    limits: Mapping[str, int]
    slurm: bool = False
    gpus: tuple[str, ...] = ()
    probe: WorkerProbe = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "probe", WorkerProbe(self.slurm))

    def tick(self) -> list[View]:
        """Launch what may run; returns all jobs as they were just before."""
        views, claimed = self.store.schedule(self.probe, self.limits, self.gpus)
        for view in claimed:
            self._launch(view)
        for view in views:
            if view.state == "cancelled" and any((view.folder.path / n).exists() for n in DISCARDED):
                discard(view.folder)
        return views

    def _launch(self, view: View) -> None:
        """Start a claimed attempt in a session of its own; it becomes the end of the attempt if that fails."""
        command = [sys.executable, "-m", "dermdemo.jobs.submit", str(view.folder.path), str(view.history.attempt)]
        env = step_environment() | absolute_settings() | {"DERMDEMO_HOME": str(self.store.home)}
        log = view.folder.path / LOGS / "submit.log"
        try:
            log.parent.mkdir(exist_ok=True)
            with log.open("ab") as stream:  # a file, not a pipe: the worker inherits it and would keep a pipe open
                done = subprocess.run(command, env=env, cwd=view.folder.path, start_new_session=True, check=False,
                                      stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, timeout=SUBMIT_SECONDS)
            problem = last_words(log, done.returncode) if done.returncode else ""
        except (OSError, subprocess.TimeoutExpired) as error:
            problem = str(error)
        if problem:
            reason = f"It could not be started: {problem}"
            with contextlib.suppress(JobError):  # full disk: it counts as lost after a while
                view.folder.write("failed", attempt=view.history.attempt, reason=reason)

    def submit(self, record: JobRecord, note: Callable[[str], object] | None = None) -> str:
        """Queue a job and launch what may run; returns its id, which `note` is told first.

        Raises:
            JobError: no such place to run; it cannot be written.
        """
        if record.device not in self.limits:
            raise JobError(f"Jobs do not run on '{record.device}' here: choose from {', '.join(self.limits)}.")
        job = self.store.add(record, note)
        self.tick()
        return job

    def act(self, job: str, action: Action, *, who: str) -> None:
        """Stop, cancel, resume or retry a job on somebody's behalf: written to the audit log, then done.

        Raises:
            JobError: no such job, or its state does not allow it (the log then says that it was asked).
        """
        self.view(job)
        AuditLog(self.store.home / "audit").append(who=who, action=f"job-{action}", details={"job": job})
        {"stop": self.stop, "cancel": self.cancel, "resume": self.resume, "retry": self.retry}[action](job)

    def stop(self, job: str) -> None:
        """End the running training stage after its epoch and keep it; of a job that broke off, keep what it reached.

        Raises:
            JobError: no such job, or nothing to stop.
        """
        view = self.view(job)
        if view.state in ("running", "stopping"):
            view.folder.ask(STOP)
        elif view.state in ("lost", "failed"):
            self.store.reopen(job, "keep", self.probe)
            self.tick()
        else:
            raise JobError(f"Job {job} is {view.state}: there is nothing to stop.")

    def cancel(self, job: str) -> None:
        """End a job at once and discard what it has made. Raises JobError: no such job, or it has ended."""
        view = self.view(job)
        if view.state in ENDS:
            raise JobError(f"Job {job} is {view.state} already.")
        view.folder.ask(CANCEL)
        self.tick()

    def resume(self, job: str) -> None:
        """Go on where a failed or lost job broke off. Raises JobError: it is neither."""
        state = self.view(job).state
        if state not in ("failed", "lost"):
            raise JobError(f"Job {job} is {state}: only a failed or lost one can go on where it broke off.")
        self.store.reopen(job, "resume", self.probe)
        self.tick()

    def retry(self, job: str) -> None:
        """Begin a job that has ended anew, from its record. Raises JobError: it runs, or it has finished."""
        state = self.view(job).state
        if state == "finished":
            raise JobError(f"Job {job} has finished: repeat it as a new job instead.")
        self.store.reopen(job, "fresh", self.probe)
        self.tick()

    def view(self, job: str) -> View:
        """One job as it is now. Raises JobError: no such job."""
        return self.store.view(job, self.probe)


def launcher(home: Path | None = None) -> Launcher:
    """The launcher that the environment describes: CPU and CUDA here, Slurm where it is set up; the number of jobs
    holds for each GPU."""
    settings = environment()
    devices = ["cpu", "cuda", *(["slurm"] if cluster.SlurmSettings.parse(settings.slurm) else [])]
    slurm, cards = "slurm" in devices, tuple(g.id for g in gpus())
    limits = dict.fromkeys(devices, settings.jobs) | {"cuda": settings.jobs * max(1, len(cards))}
    return Launcher(Store((home or settings.home).resolve()), limits, slurm, cards)


def absolute_settings() -> dict[str, str]:
    """Folders of the environment, for processes that work elsewhere."""
    settings = environment()
    return {"DERMDEMO_CHECKPOINTS": str(settings.checkpoints.resolve()),
            "DERMDEMO_DATA": os.pathsep.join(str(p.resolve()) for p in settings.data)}


def logs(folder: JobFolder) -> list[Path]:
    """Logs of a job's steps, as they are there."""
    return sorted((folder.path / LOGS).glob("*.log"), key=os.path.getmtime)
