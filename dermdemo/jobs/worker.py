"""The worker: one process per attempt that runs a job's steps one after the other and says what happens.

What is unusual: it holds a lock as long as it lives, which is how others know that it does; each step is a
process of its own that is killed with it; it obeys files (STOP, CANCEL) rather than signals, so that whoever
may write to the state folder can stop a job on any machine; and before each beat it looks whether its attempt
has been declared over, and then ends without a word.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import dermdemo
from dermdemo.errors import JobError
from dermdemo.jobs.machine import VISIBLE, identity_of, restore_visible
from dermdemo.jobs.processes import MARK, die_with_parent, identity, kill_marked, sole_worker
from dermdemo.jobs.records import CANCEL, STOP, History, JobFolder, JobRecord, Step

POLL, BEAT = 0.25, 2.0  # seconds
TERM_PATIENCE = 10.0  # seconds between asking a step to end and ending it
LOCK, HEARTBEAT, LOGS = "worker.lock", "heartbeat.json", "logs"
DISCARDED = ("work", "dry", "set")  # what a cancelled or restarted attempt leaves behind
STOP_FILE = "stop"  # of a training run: ends it after the running epoch (training.loop)
SHOWN = 400
HASHES = ("DERMDEMO_ADMIN_HASH", "DERMDEMO_VISITOR_HASH")
PACKAGE_ROOT = Path(dermdemo.__file__).resolve().parent.parent


def run_job(path: str, attempt: int) -> str:
    """Run one attempt of a job; returns its end, or why it did not begin."""
    restore_visible()
    folder = JobFolder(Path(path))
    with sole_worker(folder.path / LOCK) as alone:
        history = folder.history()
        if not alone or history.attempt != attempt or history.end:
            return "not begun: this attempt is over, or another worker has it"
        record = folder.record()
        work = _Attempt(folder, record, history)
        try:
            end = work.run()
        except (JobError, OSError) as error:
            end = work.give_up(error)
    if record.device != "slurm":  # on a compute node nothing else is launched
        from dermdemo.jobs.launcher import launcher

        launcher(folder.path.parent.parent).tick()
    return end


def mark_of(folder: JobFolder, attempt: int) -> str:
    """What processes of an attempt's steps carry in their environment."""
    return f"{folder.path.resolve()}#{attempt}"


def discard(folder: JobFolder) -> None:
    """Remove what the job has made; record, events and logs stay."""
    for name in DISCARDED:
        shutil.rmtree(folder.path / name, ignore_errors=True)


@dataclass
class _Attempt:
    """One attempt at work."""

    folder: JobFolder
    record: JobRecord
    history: History
    beats: int = 0
    began: float = field(default_factory=time.monotonic)
    beaten: float = 0.0
    kept: str = ""

    def run(self) -> str:
        if self.history.mode == "fresh" and self.history.attempt > 1:
            discard(self.folder)
        (self.folder.path / LOGS).mkdir(exist_ok=True)
        self._write("started", pid=os.getpid(), identity=identity(os.getpid()), host=socket.gethostname(),
                    slurm=os.environ.get("SLURM_JOB_ID", ""), machine=identity_of(self.record.device))
        resumed = self.history.step
        self.kept = resumed if self.history.mode == "keep" else ""
        for step in self.record.steps:
            if step.name in self.history.done:
                continue
            end, reason = self._step(step, again=step.name == resumed)
            if end:
                self._end(end, reason)
                return end
        self._end("finished", "")
        return "finished"

    def give_up(self, error: Exception) -> str:
        """End where nothing can be written down any more; on a disk as full as that the job is found lost."""
        reason = f"The worker had to end: {str(error).rstrip('.')}. Then resume it."
        with contextlib.suppress(JobError):
            self._write("failed", reason=reason)
        print(reason, file=sys.stderr)
        return "failed"

    def _write(self, kind: str, **fields: object) -> bool:
        return self.folder.write(kind, attempt=self.history.attempt, **fields)

    def _end(self, end: str, reason: str) -> None:
        self._write(end, reason=reason, seconds=round(time.monotonic() - self.began, 3))
        if end == "cancelled":
            discard(self.folder)

    def _step(self, step: Step, *, again: bool) -> tuple[str, str]:
        """Run one step. Returns end and reason; ("", "") if the job goes on."""
        if self.folder.asked(CANCEL):
            return "cancelled", "Cancelled."
        log, began = self.folder.path / LOGS / f"{step.name}.log", time.monotonic()
        with log.open("ab") as stream:
            process = subprocess.Popen(self._command(step, again), stdout=stream, stderr=subprocess.STDOUT,
                                       stdin=subprocess.DEVNULL, cwd=self.folder.path, env=self._environment(),
                                       start_new_session=True, preexec_fn=die_with_parent)
            try:
                self._write("step", step=step.name, pid=process.pid, identity=identity(process.pid), beat=self.beats)
                end, reason, stopped = self._watch(step, process)
            except BaseException:
                _terminate(process)
                raise
        if end:
            _terminate(process)
        kill_marked(mark_of(self.folder, self.history.attempt))  # what it started and left behind
        if end:
            return end, reason
        if process.returncode:
            return "failed", f"{step.name}: {last_words(log, process.returncode)}"
        if stopped:
            self._write("stopped", step=step.name)
        self._write("step-done", step=step.name, seconds=round(time.monotonic() - began, 3))
        return "", ""

    def _environment(self) -> dict[str, str]:
        """A step's environment: marked as this attempt's, and with the GPU that the job was given as the only one."""
        env = step_environment() | {MARK: mark_of(self.folder, self.history.attempt)}
        return env | ({VISIBLE: self.history.gpu} if self.history.gpu else {})

    def _watch(self, step: Step, process: subprocess.Popen[bytes]) -> tuple[str, str, bool]:
        """Beat until the step ends or must end. Returns end, reason, and whether it was asked to stop."""
        stopped = False
        while process.poll() is None:
            self._beat(step)
            if self.folder.history().end:
                return "lost", "Declared over by somebody else.", stopped
            if self.folder.asked(CANCEL):
                return "cancelled", "Cancelled.", stopped
            if time.monotonic() - self.began > self.record.hours * 3600:
                return "failed", f"It ran into its limit of {self.record.hours:g} hours. Resume it to go on.", stopped
            stopped = self._pass_on_stop(step) or stopped
            time.sleep(POLL)
        return "", "", stopped

    def _pass_on_stop(self, step: Step) -> bool:
        """Tell a training run to end after its epoch; again and again, as a run that begins clears the file.

        A run that is to be kept as it is, and had not finished an epoch, gets one.
        """
        run = self.folder.path / step.run
        wanted = self.folder.asked(STOP) or step.name == self.kept
        if not step.run or not step.stoppable or not wanted or self.folder.history().stopped:
            return False
        if run.is_dir():
            (run / STOP_FILE).touch()
        return run.is_dir()

    def _beat(self, step: Step) -> None:
        if time.monotonic() - self.beaten < BEAT:
            return
        self.beats, self.beaten = self.beats + 1, time.monotonic()
        text = json.dumps({"beat": self.beats, "attempt": self.history.attempt, "step": step.name})
        temporary = self.folder.path / f".{HEARTBEAT}.tmp"
        with contextlib.suppress(OSError):  # a full disk must not end the training that could still finish
            temporary.write_text(text)
            os.replace(temporary, self.folder.path / HEARTBEAT)

    def _command(self, step: Step, again: bool) -> list[str]:
        """The step's command; a training run that was begun before goes on, or is finished as it is."""
        path = str(self.folder.path)
        argv = [a.replace("{folder}", path).replace("{job}", self.record.id) for a in step.argv]
        run = self.folder.path / step.run
        if step.run and (run / "config.json").exists():
            keep = again and self.history.mode == "keep" and step.stoppable and (run / "last.pt").exists()
            argv.append("--finish" if keep else "--resume")
        return [*_srun(step), sys.executable, "-m", "dermdemo", *argv]


def _srun(step: Step) -> list[str]:
    """On several nodes a training run is started once per device by Slurm."""
    nodes = int(os.environ.get("SLURM_JOB_NUM_NODES", "1"))
    if not step.run or not step.stoppable or nodes == 1:
        return []
    devices = step.argv[step.argv.index("--devices") + 1] if "--devices" in step.argv else "1"
    return ["srun", "--overlap", f"--nodes={nodes}", f"--ntasks-per-node={devices}"]


def step_environment() -> dict[str, str]:
    """Environment of a step: this package first on the path; no password hashes; on one node none of Slurm's
    variables, so that a run starts its own processes for several devices."""
    several = int(os.environ.get("SLURM_JOB_NUM_NODES", "1")) > 1
    dropped = HASHES if several else (*HASHES, "SLURM_", "SUBMITIT_")
    env = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    env["PYTHONPATH"] = os.pathsep.join([str(PACKAGE_ROOT), *filter(None, [env.get("PYTHONPATH")])])
    return env | {"PYTHONUNBUFFERED": "1"}


def _terminate(process: subprocess.Popen[bytes]) -> None:
    """Ask the step's process group to end, then end it."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(TERM_PATIENCE)
    process.wait()


def last_words(log: Path, code: int) -> str:
    """The sentence a failed command ended with, or its last line, or the signal that ended it."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    said = [line.removeprefix("dermdemo: ") for line in lines if line.startswith("dermdemo: ")]
    if code < 0:
        return f"ended by signal {-code} ({signal.Signals(-code).name})."
    return (said or lines or [f"exit code {code}."])[-1][:SHOWN]


def beat_of(folder: JobFolder) -> int:
    """The last heartbeat, one every `BEAT` seconds; -1 if there is none (or it is of another attempt)."""
    try:
        found = json.loads((folder.path / HEARTBEAT).read_bytes())
        return int(found["beat"]) if found["attempt"] == folder.history().attempt else -1
    except (OSError, ValueError, KeyError, TypeError):
        return -1
