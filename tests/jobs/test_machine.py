"""GPUs: which there are, and that each running job has one of its own. None is needed here."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dermdemo.jobs import launcher as launching
from dermdemo.jobs import machine, worker
from dermdemo.jobs.launcher import Launcher, launcher
from dermdemo.jobs.machine import Gpu, visible
from dermdemo.jobs.records import JobFolder, Step, create_job
from dermdemo.jobs.store import Store
from dermdemo.jobs.worker import run_job
from tests.jobs.fakes import FakeProbe, record

LISTING = "0, GPU-aa11, NVIDIA H100\n1, GPU-bb22, NVIDIA H100\n2, GPU-cc33, NVIDIA L4\n"


@pytest.fixture
def fresh() -> Iterator[None]:
    """What is asked of the machine once per process is asked again."""
    asked = (machine.gpus, machine.torch_has_cuda)
    for function in asked:
        function.cache_clear()
    yield
    for function in asked:
        function.cache_clear()


@pytest.mark.parametrize(("chosen", "ids"), [
    (None, ["GPU-aa11", "GPU-bb22", "GPU-cc33"]), ("", []), ("-1", []), ("2,0", ["GPU-cc33", "GPU-aa11"]),
    ("GPU-bb", ["GPU-bb22"]), ("1,-1,2", ["GPU-bb22"]), ("MIG-9/1", ["MIG-9/1"]),
])  # fmt: skip
def test_only_gpus_that_may_be_seen_count(chosen: str | None, ids: list[str]) -> None:
    assert [g.id for g in visible(LISTING, chosen)] == ids


def test_a_driver_is_asked_and_one_that_fails_has_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                       fresh: None) -> None:
    smi = tmp_path / "nvidia-smi"
    smi.write_text(f"#!/bin/sh\nprintf '{LISTING}'\n")
    smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(machine, "torch_has_cuda", lambda: True)
    assert machine.gpus()[2] == Gpu("GPU-cc33", "NVIDIA L4")
    assert "2 × NVIDIA H100, 1 × NVIDIA L4" in machine.in_words() and "NVIDIA L4" in machine.identity_of("cuda")
    machine.gpus.cache_clear()
    smi.write_text("#!/bin/sh\nexit 9\n")
    assert machine.gpus() == () and "no GPU" in machine.in_words()


def test_without_cuda_in_torch_no_driver_is_asked(monkeypatch: pytest.MonkeyPatch, fresh: None) -> None:
    monkeypatch.setattr(machine, "torch_has_cuda", lambda: False)
    monkeypatch.setattr(machine.subprocess, "run", None)
    assert machine.gpus() == ()


def test_the_version_file_of_torch_says_what_torch_says(fresh: None) -> None:
    code = "import torch; print(torch.version.cuda is not None)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(machine.torch_has_cuda())


def _claim(store: Store, probe: FakeProbe, limit: int) -> list[tuple[str, str]]:
    claimed = store.schedule(probe, {"cuda": limit, "cpu": 9}, ("GPU-a", "GPU-b"))[1]
    for view in claimed:
        view.folder.write("started", attempt=view.history.attempt, pid=1)
        probe.alive.add(view.id)
    return [(v.id, v.history.gpu) for v in claimed]


def test_each_running_cuda_job_has_a_gpu_of_its_own(tmp_path: Path) -> None:
    store, probe = Store(tmp_path), FakeProbe()
    for device in ("cuda", "cpu", "cuda", "cuda", "cuda"):
        store.add(record(device))
    assert _claim(store, probe, 2) == [("0001", "GPU-a"), ("0003", "GPU-b"), ("0002", "")]
    assert store.folder("0003").events()[-2]["gpu"] == "GPU-b"
    # -- the first ends: the next gets its GPU, not the one in use
    store.folder("0001").write("finished", attempt=1)
    probe.alive.discard("0001")
    assert _claim(store, probe, 2) == [("0004", "GPU-a")]
    # -- two jobs to a GPU are spread
    assert _claim(store, probe, 4) == [("0005", "GPU-a")]
    store.folder("0003").write("failed", attempt=1)
    probe.alive.discard("0003")
    store.reopen("0003", "resume", probe)
    assert _claim(store, probe, 4) == [("0003", "GPU-b")], "another attempt is given a GPU anew"


def test_without_a_known_gpu_none_is_named(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.add(record("cuda"))
    assert [v.history.gpu for v in store.schedule(FakeProbe(), {"cuda": 1})[1]] == [""]


def test_the_number_of_jobs_holds_for_each_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DERMDEMO_JOBS", "2")
    monkeypatch.setattr(launching, "gpus", lambda: (Gpu("GPU-a", "x"), Gpu("GPU-b", "x"), Gpu("GPU-c", "x")))
    found = launcher(tmp_path)
    assert (found.limits, found.gpus) == ({"cpu": 2, "cuda": 6}, ("GPU-a", "GPU-b", "GPU-c"))


@pytest.mark.slow
def test_a_worker_shows_its_steps_the_gpu_it_was_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through submitit, which hides GPUs of its own accord."""
    monkeypatch.setenv("DERMDEMO_HOME", str(tmp_path))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5")
    jobs = Launcher(Store(tmp_path), {"cuda": 1}, gpus=("GPU-a",))
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif 'dermdemo' in sys.orig_argv: print('sees', os.environ.get('CUDA_VISIBLE_DEVICES'))\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    jobs.store.add(record("cuda"))
    view = jobs.store.schedule(jobs.probe, jobs.limits, jobs.gpus)[1][0]
    jobs._launch(view)
    end = time.monotonic() + 60
    while not view.folder.history().end and time.monotonic() < end:
        time.sleep(0.1)
    assert view.folder.history().end == "finished", view.folder.history().reason
    assert "sees GPU-a" in (view.folder.path / "logs" / "one.log").read_text()


def test_a_step_without_a_gpu_of_its_own_sees_what_the_worker_sees(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                                   ) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    monkeypatch.setenv(machine.KEPT, "3")
    monkeypatch.setattr("dermdemo.jobs.launcher.Launcher.tick", lambda _: [])
    say = "import os; print(os.environ['CUDA_VISIBLE_DEVICES'])"
    monkeypatch.setattr(worker._Attempt, "_command", lambda *_: [sys.executable, "-c", say])
    job = _launched(tmp_path)
    assert run_job(str(job.path), 1) == "finished"
    assert (job.path / "logs" / "one.log").read_text() == "3\n"
    assert job.events()[2]["machine"] == machine.identity_of("cuda")


def _launched(folder: Path) -> JobFolder:
    job = create_job(folder / "jobs", record("cuda", Step(name="one", argv=())))
    job.write("launching", attempt=1)
    return job


def test_what_was_kept_is_seen_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine.keep_visible()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    machine.restore_visible()
    assert "CUDA_VISIBLE_DEVICES" not in os.environ and machine.KEPT not in os.environ
