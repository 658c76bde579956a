"""Launching for real: submitit, detached workers, kill -9 of whoever is there, and a queue that goes on alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dermdemo.errors import JobError
from dermdemo.jobs.audit_log import AuditLog
from dermdemo.jobs.launcher import Launcher, absolute_settings, launcher
from dermdemo.jobs.processes import identity
from dermdemo.jobs.records import Step
from dermdemo.jobs.store import Store
from dermdemo.jobs.submit import main as submit_main
from tests.jobs.fakes import record

ROOT = Path(__file__).resolve().parents[2]
QUICK = Step(name="quick", argv=("--help",))
LONG = Step(name="long", argv=("data", "audit", "synthetic:30000"))  # draws lesions for many minutes
PATIENCE = 60.0


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Launcher]:
    monkeypatch.setenv("DERMDEMO_HOME", str(tmp_path / "home"))
    started = launcher()
    yield started
    for view in started.store.views(started.probe):
        started.probe.kill(view.folder, view.record, view.history)


def _until(condition: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.1)


def _in_step(jobs: Launcher, job: str, step: str) -> int:
    """Wait until a step of the current attempt runs; its process id."""
    folder = jobs.store.folder(job)

    def begun() -> list[int]:
        wanted = (folder.history().attempt, "step", step)
        return [e["pid"] for e in folder.events() if (e["attempt"], e["kind"], e.get("step")) == wanted]

    _until(lambda: bool(begun()), f"{step} never began")
    return begun()[-1]


def _pid(jobs: Launcher, job: str, kind: str) -> int:
    identities = [e["identity"] for e in jobs.store.folder(job).events() if e["kind"] == kind]
    return int(identities[-1].split("/")[1])


@pytest.mark.slow
def test_the_queue_goes_on_without_anyone_watching(jobs: Launcher) -> None:
    for _ in range(2):
        jobs.submit(record("cpu", QUICK))
    folders = [jobs.store.folder(j) for j in ("0001", "0002")]
    _until(lambda: folders[1].history().end == "finished", "the first worker did not launch the second")
    first, second = (f.history() for f in folders)
    assert first.end == second.end == "finished"
    assert "usage: python -m dermdemo" in (folders[1].path / "logs" / "quick.log").read_text()


@pytest.mark.slow
def test_a_job_outlives_its_launcher_and_not_its_worker(jobs: Launcher) -> None:
    """kill -9 of the launcher harms nothing; of the worker ends the step, and the job is lost and resumed."""
    code = ("from dermdemo.jobs.launcher import launcher; from tests.jobs.fakes import record;"
            "from tests.jobs.test_launcher import *;"
            "launcher().submit(record('cpu', QUICK, LONG)); print('submitted', flush=True); time.sleep(600)")
    web = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE)
    assert web.stdout is not None and web.stdout.readline() == b"submitted\n"
    os.kill(web.pid, signal.SIGKILL)
    web.wait()
    web.stdout.close()
    step = _in_step(jobs, "0001", "long")
    assert jobs.view("0001").state == "running"
    with pytest.raises(JobError, match="running"):
        jobs.resume("0001")
    worker = _pid(jobs, "0001", "started")
    os.kill(worker, signal.SIGKILL)
    _until(lambda: jobs.view("0001").state == "lost", "the job was not noticed to be lost")
    _until(lambda: not identity(step), "the step outlived its worker")
    jobs.resume("0001")
    again = _in_step(jobs, "0001", "long")
    assert jobs.view("0001").state == "running"
    assert jobs.store.folder("0001").history().done == ("quick",), "what was done is not done again"
    # -- both at once: what submitit started, and the worker
    for kind in ("launched", "started"):
        os.kill(_pid(jobs, "0001", kind), signal.SIGKILL)
    _until(lambda: jobs.view("0001").state == "lost", "lost the second time")
    _until(lambda: not identity(again), "the step outlived both")


@pytest.mark.slow
def test_a_running_job_is_cancelled(jobs: Launcher) -> None:
    jobs.submit(record("cpu", LONG))
    step = _in_step(jobs, "0001", "long")
    jobs.cancel("0001")
    _until(lambda: jobs.view("0001").state == "cancelled", "not cancelled")
    assert not identity(step)
    with pytest.raises(JobError, match="cancelled already"):
        jobs.cancel("0001")
    with pytest.raises(JobError, match="nothing to stop"):
        jobs.stop("0001")
    with pytest.raises(JobError, match="only a failed or lost"):
        jobs.resume("0001")


def test_a_job_in_the_queue_is_cancelled_at_once(tmp_path: Path) -> None:
    jobs = Launcher(Store(tmp_path), {"cpu": 0})
    jobs.submit(record("cpu"))
    (jobs.store.folder("0001").path / "work").mkdir()
    jobs.cancel("0001")
    assert jobs.view("0001").state == "cancelled"
    jobs.tick()
    assert not (jobs.store.folder("0001").path / "work").exists()


def test_a_place_that_is_not_there_is_refused(jobs: Launcher) -> None:
    with pytest.raises(JobError, match="'slurm' here"):
        jobs.submit(record("slurm"))


def test_what_cannot_be_started_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.add(record("slurm"))
    folder = store.folder("0001")
    folder.write("launching", attempt=1)
    monkeypatch.setenv("DERMDEMO_SLURM", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert submit_main([str(folder.path), "1"]) == 1
    assert "could not be started" in folder.history().reason


def test_a_launcher_that_cannot_run_python_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = Launcher(Store(tmp_path), {"cpu": 1})
    monkeypatch.setattr(sys, "executable", str(tmp_path / "no-python"))
    jobs.submit(record("cpu"))
    assert jobs.view("0001").state == "failed"
    assert "could not be started" in jobs.view("0001").history.reason


def test_workers_get_whole_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DERMDEMO_CHECKPOINTS", "models")
    monkeypatch.setenv("DERMDEMO_DATA", f"a{os.pathsep}b")
    assert absolute_settings() == {"DERMDEMO_CHECKPOINTS": str(tmp_path / "models"),
                                   "DERMDEMO_DATA": f"{tmp_path / 'a'}{os.pathsep}{tmp_path / 'b'}"}


def test_acts_are_in_the_audit_log(tmp_path: Path) -> None:
    jobs = Launcher(Store(tmp_path), {"cpu": 0})
    jobs.submit(record("cpu"))
    jobs.act("0001", "cancel", who="ada")
    with pytest.raises(JobError, match="no job '7'"):
        jobs.act("7", "cancel", who="ada")
    entries = AuditLog(tmp_path / "audit").read()
    assert [(e.who, e.action, e.details["job"]) for e in entries] == [("ada", "job-cancel", "0001")]


def test_the_cluster_is_offered_where_it_is_set_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMDEMO_SLURM", "partition=main")
    monkeypatch.setenv("DERMDEMO_JOBS", "3")
    assert launcher(tmp_path).limits == {"cpu": 3, "cuda": 3, "slurm": 3}
