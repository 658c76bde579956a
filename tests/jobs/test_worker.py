"""The worker: steps in order, what it says of itself, and what it obeys; steps are real processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dermdemo.jobs import processes, worker
from dermdemo.jobs.launcher import WorkerProbe
from dermdemo.jobs.processes import identity, is_locked, kill
from dermdemo.jobs.records import CANCEL, STOP, JobFolder, Step, create_job
from dermdemo.jobs.store import Store
from dermdemo.jobs.worker import LOCK, beat_of, last_words, run_job
from tests.jobs.fakes import record

FAIL = Step(name="fails", argv=("no-such-command",))
LONG = "import time, sys; print('begun', flush=True); time.sleep(600)"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps are small Python programs; no queue is moved on at the end."""
    def command(self: object, step: Step, again: bool) -> list[str]:
        return [sys.executable, "-c", *step.argv]

    monkeypatch.setattr(worker._Attempt, "_command", command)
    monkeypatch.setattr("dermdemo.jobs.launcher.Launcher.tick", lambda _: [])
    monkeypatch.setattr(worker, "BEAT", 0.05)
    monkeypatch.setattr(worker, "POLL", 0.02)


def _job(folder: Path, *steps: Step, hours: float = 1.0) -> JobFolder:
    job = create_job(folder / "jobs", record("cpu", *steps, hours=hours))
    job.write("launching", attempt=1)
    return job


def _program(name: str, text: str, **more: str) -> Step:
    return Step(name=name, argv=(text,), **more)


def test_steps_run_in_order_and_are_said(tmp_path: Path) -> None:
    job = _job(tmp_path, _program("a", "print(1)"), _program("b", "print(2)"))
    assert run_job(str(job.path), 1) == "finished"
    kinds = [(e["kind"], e.get("step")) for e in job.events()]
    assert kinds == [("queued", None), ("launching", None), ("started", None), ("step", "a"), ("step-done", "a"),
                     ("step", "b"), ("step-done", "b"), ("finished", None)]
    assert (job.path / "logs" / "a.log").read_text() == "1\n"
    assert beat_of(job) >= 1
    assert not is_locked(job.path / LOCK)


def test_a_failing_step_ends_the_job_with_its_sentence(tmp_path: Path) -> None:
    text = "import sys; print('dermdemo: The data are gone.', file=sys.stderr); print('x'); sys.exit(1)"
    job = _job(tmp_path, _program("a", text), _program("b", "print(2)"))
    assert run_job(str(job.path), 1) == "failed"
    assert job.history().reason == "a: The data are gone."


def test_a_resumed_attempt_skips_what_is_done(tmp_path: Path) -> None:
    needs_ok = "import os, sys; sys.exit(not os.path.exists('ok'))"
    job = _job(tmp_path, _program("a", "print(1)"), _program("b", needs_ok))
    assert run_job(str(job.path), 1) == "failed"
    job.write("queued", attempt=2, mode="resume")
    (job.path / "ok").touch()
    assert run_job(str(job.path), 2) == "finished"
    assert (job.path / "logs" / "a.log").read_text() == "1\n"


def test_a_retry_begins_anew(tmp_path: Path) -> None:
    job = _job(tmp_path, _program("a", "import os; os.mkdir('work')"), _program("b", "raise SystemExit(1)"))
    assert run_job(str(job.path), 1) == "failed"
    job.write("queued", attempt=2, mode="fresh")
    assert run_job(str(job.path), 2) == "failed"
    assert job.history().reason.startswith("b:"), "the folder of the first attempt was cleared"


def test_only_the_current_attempt_begins_and_only_once(tmp_path: Path) -> None:
    job = _job(tmp_path, _program("a", "print(1)"))
    assert run_job(str(job.path), 2).startswith("not begun")
    with processes.sole_worker(job.path / LOCK) as alone:
        assert alone and is_locked(job.path / LOCK)
        assert run_job(str(job.path), 1).startswith("not begun")
    job.write("lost", attempt=1)
    assert run_job(str(job.path), 1).startswith("not begun")


def _while_running(job: JobFolder, act: object) -> str:
    """Run attempt 1 here, and `act` from beside as soon as its step has begun."""
    log = job.path / "logs" / "a.log"

    def wait_and_act() -> None:
        while not log.exists() or b"begun" not in log.read_bytes():
            time.sleep(0.02)
        act()  # type: ignore[operator]

    beside = threading.Thread(target=wait_and_act)
    beside.start()
    end = run_job(str(job.path), 1)
    beside.join()
    return end


def _step_pid(job: JobFolder) -> int:
    return next(int(e["pid"]) for e in job.events() if e["kind"] == "step")


def test_cancel_ends_the_step_and_discards(tmp_path: Path) -> None:
    job = _job(tmp_path, _program("a", f"import os; os.mkdir('work'); {LONG}"))
    assert _while_running(job, lambda: job.ask(CANCEL)) == "cancelled"
    assert not identity(_step_pid(job)) and not (job.path / "work").exists()
    assert job.history().end == "cancelled"


def test_a_worker_declared_lost_ends_without_a_word(tmp_path: Path) -> None:
    job = _job(tmp_path, _program("a", LONG))
    assert _while_running(job, lambda: job.write("lost", attempt=1)) == "lost"
    assert job.events()[-1]["kind"] == "lost" and not identity(_step_pid(job))


def test_a_time_limit_is_kept(tmp_path: Path) -> None:
    job = _job(tmp_path, _program("a", LONG), hours=0.5 / 3600)
    assert run_job(str(job.path), 1) == "failed"
    assert "limit of" in job.history().reason


def test_stop_reaches_a_training_run_through_its_file_and_once(tmp_path: Path) -> None:
    text = "import os, time\nos.makedirs('work/x', exist_ok=True); print('begun', flush=True)\n" \
           "while not os.path.exists('work/x/stop'): time.sleep(0.02)"
    train = Step(name="a", argv=(text,), run="work/x")
    after = Step(name="b", argv=("import os; os.makedirs('work/y'); import time; time.sleep(0.3)",), run="work/y")
    job = _job(tmp_path, train, after)
    assert _while_running(job, lambda: job.ask(STOP)) == "finished"
    assert job.history().stopped == ("a",)
    assert not (job.path / "work" / "y" / "stop").exists()


def test_a_run_to_be_kept_that_has_no_epoch_yet_gets_one(tmp_path: Path) -> None:
    text = "import os, sys, time\nos.makedirs('work/x', exist_ok=True); open('tries', 'a').write('x')\n" \
           "if len(open('tries').read()) == 1: sys.exit(1)\n" \
           "while not os.path.exists('work/x/stop'): time.sleep(0.02)"
    job = _job(tmp_path, Step(name="a", argv=(text,), run="work/x"))
    assert run_job(str(job.path), 1) == "failed"
    job.write("queued", attempt=2, mode="keep")
    assert run_job(str(job.path), 2) == "finished"
    assert job.history().stopped == ("a",)


def test_a_full_disk_does_not_end_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = _job(tmp_path, _program("a", "print(1)"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker.os, "replace", full)
    assert run_job(str(job.path), 1) == "finished"


def test_last_words_name_the_signal(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("")
    assert "SIGKILL" in last_words(tmp_path / "log", -9)
    assert last_words(tmp_path / "log", 3) == "exit code 3."


def test_processes_are_known_by_more_than_their_number() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    known = identity(child.pid)
    forged = "/".join([*known.split("/")[:2], "1"])
    assert known and not kill(forged) and not kill("") and not kill("x") and child.poll() is None
    assert kill(known, group=True)
    assert child.wait() == -9
    assert not identity(child.pid) and not kill(known)


WITH_CHILD = ("import subprocess, sys, time; "
              "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
              "open('child', 'w').write(str(child.pid)); print('begun', flush=True); ")


def _child(job: JobFolder) -> str:
    """Identity of the process that the step started."""
    found = identity(int((job.path / "child").read_text()))
    assert found, "it must run before it can be ended"
    return found


@pytest.mark.parametrize("ending", ["sys.exit(3)", "import os; os.kill(os.getpid(), 9)", "pass"])
def test_what_a_step_leaves_behind_ends_with_it(tmp_path: Path, ending: str) -> None:
    job = _job(tmp_path, _program("a", WITH_CHILD + ending))
    run_job(str(job.path), 1)
    assert not identity(int((job.path / "child").read_text()))


def test_processes_of_a_step_end_when_its_killed_worker_is_found_lost(tmp_path: Path) -> None:
    """As in training on several devices: only the first process dies with the worker."""
    job = _job(tmp_path, _program("a", WITH_CHILD + "time.sleep(600)"))
    code = ("import sys; from pathlib import Path; from dermdemo.jobs import worker; "
            "worker._Attempt._command = lambda self, step, again: [sys.executable, '-c', *step.argv]; "
            f"worker.run_job({str(job.path)!r}, 1)")
    process = subprocess.Popen([sys.executable, "-c", code], cwd=processes.__file__.rpartition("/dermdemo/")[0])
    log = job.path / "logs" / "a.log"
    while not log.exists() or b"begun" not in log.read_bytes():
        time.sleep(0.05)
    child = _child(job)
    process.kill()
    process.wait()
    while identity(_step_pid(job)):
        time.sleep(0.02)
    assert identity(int(child.split("/")[1])) == child, "it outlives worker and step, which is what is mended"
    store, probe = Store(tmp_path), WorkerProbe()
    assert store.view("0001", probe).state == "lost"
    assert not identity(int(child.split("/")[1]))


def test_a_mark_is_nobody_elses(tmp_path: Path) -> None:
    sleeping = [sys.executable, "-c", "print('begun', flush=True); import time; time.sleep(600)"]
    marks = [{processes.MARK: f"{tmp_path}#{n}"} for n in (1, 11)]
    started = [subprocess.Popen(sleeping, env=os.environ | mark, stdout=subprocess.PIPE) for mark in marks]
    for process in started:
        assert process.stdout is not None and process.stdout.readline() == b"begun\n"
    assert processes.kill_marked(f"{tmp_path}#1") == 1 and processes.kill_marked(f"{tmp_path}#2") == 0
    assert started[0].wait() == -9 and started[1].poll() is None
    assert processes.kill_marked(f"{tmp_path}#11") == 1
    for process in started:
        process.communicate()


def test_commands_resume_and_finish_training_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    train = Step(name="train", argv=("train", "{folder}/x", "{job}"), run="work/x")
    job = _job(tmp_path, train)
    attempt = worker._Attempt(job, job.record(), job.history())
    assert attempt._command(train, again=False)[1:] == ["-m", "dermdemo", "train", f"{job.path}/x", "0001"]
    (job.path / "work" / "x").mkdir(parents=True)
    (job.path / "work" / "x" / "config.json").touch()
    assert attempt._command(train, again=True)[-1] == "--resume"
    attempt.history = replace(attempt.history, mode="keep")
    assert attempt._command(train, again=True)[-1] == "--resume", "nothing to keep yet"
    (job.path / "work" / "x" / "last.pt").touch()
    assert attempt._command(train, again=True)[-1] == "--finish"
    assert attempt._command(train, again=False)[-1] == "--resume"


def test_steps_of_several_nodes_are_started_by_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    train = Step(name="train", argv=("train", "--devices", "4"), run="work/x")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    assert worker._srun(train) == ["srun", "--overlap", "--nodes=2", "--ntasks-per-node=4"]
    assert worker._srun(replace(train, run="")) == []
    assert "SLURM_JOB_NUM_NODES" in worker.step_environment()
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "1")
    assert worker._srun(train) == [] and "SLURM_JOB_NUM_NODES" not in worker.step_environment()
    assert worker.step_environment()["PYTHONPATH"].split(os.pathsep)[0] == str(worker.PACKAGE_ROOT)


@pytest.mark.parametrize("nodes", ["1", "2"])
def test_steps_do_not_inherit_password_hashes(monkeypatch: pytest.MonkeyPatch, nodes: str) -> None:
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", nodes)
    monkeypatch.setenv("DERMDEMO_ADMIN_HASH", "$argon2id$a")
    monkeypatch.setenv("DERMDEMO_VISITOR_HASH", "$argon2id$b")
    assert not any("$argon2id$" in value for value in worker.step_environment().values())
