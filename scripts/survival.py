"""What `scripts/survive.py` plays with: a state folder with tiny models, a web process, jobs, and what must hold.

The checks do not ask the code under test what is so: processes are read from /proc, epochs from the runs' own
events, and the models being served from an answer of the web process.
"""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import torch

from dermdemo.config import FinetuneConfig
from dermdemo.data.sources import load_source
from dermdemo.data.splits import make_split
from dermdemo.data.synthetic import synthetic_lesion, write_synthetic
from dermdemo.jobs.files import utc_now
from dermdemo.jobs.launcher import Launcher, launcher
from dermdemo.jobs.plan import RetrainRequest, flags
from dermdemo.jobs.processes import identity
from dermdemo.jobs.records import ACTIVE, JobRecord, Step, job_folders
from dermdemo.jobs.registry import Registry, registry
from dermdemo.jobs.retrain import retraining
from dermdemo.jobs.store import View
from tests.sets import Lesions, _store, add_atlas

ROOT = Path(__file__).resolve().parent.parent
SEEDS = (0, 50, 60)  # of the shipped models and of those that jobs hand in
EPOCHS = 6
SETTLE = 30.0  # seconds that a process may take to go after its job has ended
KNOBS = {"train.schedule": "64x3", "train.batch_size": "32", "train.views": "1", "pretrain.schedule": "64x3",
         "pretrain.batch_size": "32", "pretrain.latent": "8"}  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def ask(client: httpx.Client, data: bytes) -> dict[str, Any]:
    """One analysis as docs/api.md has it. Raises httpx.HTTPError, AssertionError."""
    uploaded = client.post("/gradio_api/upload", files={"files": ("lesion.jpg", data)}).raise_for_status().json()
    file = {"path": uploaded[0], "meta": {"_type": "gradio.FileData"}}
    event = client.post("/gradio_api/call/analyse", json={"data": [file]}).raise_for_status().json()["event_id"]
    lines = client.get(f"/gradio_api/call/analyse/{event}").raise_for_status().text.splitlines()
    assert "event: complete" in lines, lines
    answer: dict[str, Any] = json.loads(lines[lines.index("event: complete") + 1].removeprefix("data: "))[0]
    assert "error" not in answer, answer
    return answer


def settings_of(folder: Path) -> dict[str, str]:
    """Environment of everything that is started; the caller puts it in place."""
    return {"DERMDEMO_HOME": str(folder / "home"), "DERMDEMO_CHECKPOINTS": str(folder / "sets" / "0"),
            "DERMDEMO_DATA": str(folder / "allowed"), "DERMDEMO_JOBS": "1", "DERMDEMO_SLURM": "",
            "GRADIO_TEMP_DIR": str(folder / "uploads"), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}  # fmt: skip


@dataclass
class World:
    """A state folder and what runs on it; `settings_of` must be in the environment.

    Lesions and models that are there already (`allowed/lesions`, `sets/0` to `sets/2`) are used.

    Attributes:
        grace: seconds after which a worker that was never heard of counts as lost, as `states.START_GRACE`.
    """

    folder: Path
    grace: float
    web: subprocess.Popen[bytes] | None = None
    port: int = 0
    registry: Registry = field(init=False)
    jobs: Launcher = field(init=False)

    def __post_init__(self) -> None:
        self.lesions = self.folder / "allowed" / "lesions"
        if not self.lesions.exists():
            write_synthetic(self.lesions, n_lesions=90, seed=3)
        table = load_source(self.lesions)
        lesions = Lesions(table, make_split(table, seed=0))
        for k, seed in enumerate(SEEDS):
            root = self.folder / "sets" / str(k)
            if not root.exists():
                add_atlas(_store(root, seed=seed, split_hash=lesions.split.hash), lesions)
        self.registry, self.jobs = registry(), launcher()

    # -- starting and ending -------------------------------------------------------------------------------------

    def start_web(self) -> None:
        """Start the web process on the port it had; returns when it answers. Raises RuntimeError if it does not."""
        self.port = self.port or free_port()
        with (self.folder / "web.log").open("ab") as log:
            self.web = subprocess.Popen([sys.executable, "app.py", "--port", str(self.port), "--device", "cpu"],
                                        cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        end = time.monotonic() + 300
        while time.monotonic() < end and self.web.poll() is None:
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/", timeout=30).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.3)
        raise RuntimeError(f"the web process did not start:\n{(self.folder / 'web.log').read_text()[-2000:]}")

    def kill_web(self) -> None:
        if self.web is not None:
            self.web.kill()
            self.web.wait()
            self.web = None

    def close(self) -> None:
        """End everything that was started."""
        self.kill_web()
        for _ in range(3):
            for pid in self.processes():
                kill(pid)
            time.sleep(0.2)

    def add_candidates(self) -> None:
        """Versions 1 and 2, so that there is something to switch between."""
        for k in range(1, len(SEEDS)):
            self.registry.add(self.folder / "sets" / str(k), who="ada")

    # -- jobs ----------------------------------------------------------------------------------------------------

    def launch(self, who: str, *, whole: bool) -> str:
        """Queue a job: one training run, the gate and the handing in of a ready set; or a whole retraining."""
        if whole:
            parts = retraining()
            if not parts.data.listed():
                from dermdemo.jobs.datasets import Offer

                parts.data.add_folder(str(self.lesions), Offer(who=who))
            request = RetrainRequest(data="d0001", dry_run=False, stage1=True, resamples=20, knobs=KNOBS)
            return parts.launch(request, who=who)
        config = FinetuneConfig(schedule=f"64x{EPOCHS}", batch_size=16, views=1, device="cpu")
        shipped, split = str(self.registry.shipped), ("--split-seed", "0")
        train = ("train", str(self.lesions), "--arm", "vae", "--weights", f"{shipped}/vae", "--encoder",
                 "convnext_atto", "--name", "vae-arm", *flags(config), "--out", "{folder}/" "work/II", "--store",
                 "{folder}/" "work/store", *split)
        gate = ("gate", "{folder}/set", shipped, str(self.lesions), "--resamples", "5", "--device", "cpu", "--out",
                "{folder}/" "work/gate", *split)
        steps = (Step(name="train", argv=train, run="work/II"), Step(name="gate", argv=gate),
                 Step(name="candidate", argv=("models", "add", "{job}")))
        return self.jobs.submit(JobRecord(id="", who=who, created=utc_now(), device="cpu", hours=1.0, steps=steps))

    def hand_over(self) -> None:
        """Put a ready set where a short job's last steps look for it; a link outlives cancel and retry."""
        for folder in job_folders(self.jobs.store.jobs):
            place = folder.path / "set"
            if not folder.record().request and not place.is_symlink():
                place.symlink_to(self.folder / "sets" / str(1 + int(folder.id) % (len(SEEDS) - 1)))

    def submitting(self) -> list[int]:
        """Processes that are about to start a worker."""
        return [pid for pid in self.processes() if "dermdemo.jobs.submit" in _command(pid)]

    def processes(self) -> dict[int, str]:
        """Process id -> job of every process that works in a job's folder."""
        found, jobs = {}, str(self.jobs.store.jobs)
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    where = os.readlink(entry / "cwd")
                    if where.startswith(jobs + "/") and identity(int(entry.name)):
                        found[int(entry.name)] = where[len(jobs) + 1:].split("/")[0]
                except OSError:
                    continue
        return found

    def pid_of(self, view: View, kind: str) -> int | None:
        """A process that an attempt's events tell of, if it still runs."""
        for event in reversed(view.folder.events()):
            known = str(event.get("identity", ""))
            if event.get("kind") == kind and event.get("attempt") == view.history.attempt and known:
                pid = int(known.split("/")[1])
                return pid if identity(pid) == known else None
        return None

    # -- what must hold ------------------------------------------------------------------------------------------

    def settled(self) -> tuple[list[View], list[str]]:
        """All jobs once each is in a true state, and those for which it took too long."""
        end = time.monotonic() + self.grace + SETTLE + 60
        while True:
            self.jobs.tick()
            views = self.jobs.store.views(self.jobs.probe)
            wrong = [said for view in views for said in self._untrue(view, views)]
            if not wrong or time.monotonic() > end:
                return views, wrong
            time.sleep(0.25)

    def _untrue(self, view: View, views: list[View]) -> Iterator[str]:
        """Why a state is not the true one (yet)."""
        if view.state in ACTIVE and self.pid_of(view, "started") is None:
            yield f"{view.id} is {view.state} without a worker"
        if view.state == "queued" and not any(v.state in ACTIVE for v in views):
            yield f"{view.id} is queued while its place is free"
        own = self._own(view)
        for pid, job in self.processes().items():
            if job == view.id and pid not in own:
                yield f"{view.id} is {view.state}, and process {pid} of it still runs: {_command(pid)}"

    def _own(self, view: View) -> set[int]:
        """Processes that an active attempt may have: what it told of, and their descendants; none after its end."""
        if view.state not in ACTIVE:
            return set()
        own = {pid for kind in ("launched", "started", "step") if (pid := self.pid_of(view, kind))}
        own |= {pid for pid, job in self.processes().items() if job == view.id
                and _command(pid).endswith(f"dermdemo.jobs.submit {view.folder.path} {view.history.attempt}")}
        for pid, job in self.processes().items():
            if job == view.id and own & set(_ancestors(pid)):
                own.add(pid)
        return own

    def epochs(self, view: View) -> Iterator[str]:
        """Runs of a job that lost more than the epoch they were in, or whose checkpoint does not load."""
        for log in view.folder.path.glob("work/*/events.jsonl"):
            kept = 0
            for line in log.read_text().splitlines():
                try:
                    event = json.loads(line)
                except ValueError:
                    continue
                if event["kind"] == "checkpoint":
                    if event["epoch"] not in (kept, kept + 1):
                        yield f"{view.id}/{log.parent.name}: epoch {event['epoch']} after epoch {kept}"
                    kept = int(event["epoch"])
                elif event["kind"] == "started" and event["resumed_from"] not in (kept, kept + 1):
                    yield f"{view.id}/{log.parent.name}: resumed from {event['resumed_from']}, {kept} were kept"
            last = log.parent / "last.pt"
            if kept and not last.exists():
                yield f"{view.id}/{log.parent.name}: {kept} epochs and no last.pt"
            elif kept and torch.load(last, map_location="cpu", weights_only=True)["state"]["epoch"] < kept:
                yield f"{view.id}/{log.parent.name}: last.pt is older than epoch {kept}"

    def models(self) -> Iterator[str]:
        """What is wrong with the versions, the audit log, and what the web process serves."""
        self.registry.log.read()
        live, serving = self.registry.switch().live, self.registry.serving()
        if serving.number != live or serving.problem:
            yield f"version {live} is live and {serving.number} would be served: {serving.problem}"
        listed = self.registry.listed()
        if sum(v.standing == "live" for v in listed) != 1:
            yield f"live versions: {[v.number for v in listed if v.standing == 'live']}"
        for found in listed:
            self.registry.verify(found.number)
        by_hand = [v.version.job for v in listed if v.version and v.version.job]
        if len(set(by_hand)) != len(by_hand):
            yield f"a job handed in twice: {by_hand}"
        if self.web is not None:
            yield from self._served()

    def _served(self) -> Iterator[str]:
        """Whether the web process serves the live version, soon."""
        end, data = time.monotonic() + 60, io.BytesIO()
        synthetic_lesion("mel", 5).save(data, format="JPEG")
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=120) as client:
            while True:
                live = self.registry.version(self.registry.switch().live)
                told = set(ask(client, data.getvalue())["models"].values())
                if told == set(live.models.values()):
                    return
                if time.monotonic() > end:
                    yield f"version {live.number} is live, and the web process serves {sorted(told)}"
                    return
                time.sleep(0.5)


def kill(pid: int | None) -> bool:
    """kill -9; False if there is no such process."""
    try:
        os.kill(pid or 0, signal.SIGKILL) if pid else None
    except ProcessLookupError:
        return False
    return pid is not None


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def _ancestors(pid: int) -> Iterator[int]:
    """A process and its parents, as far as they are there."""
    while pid > 1:
        yield pid
        try:
            pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            return


def over(view: View) -> bool:
    """Whether nothing is left to do for a job."""
    return view.state in ("finished", "cancelled")
