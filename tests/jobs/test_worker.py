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
from dermdemo.jobs.processes import identity, is_locked, kill
from dermdemo.jobs.records import CANCEL, STOP, JobFolder, Step, create_job
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
