"""What a job takes: measured on real processes, and on a process table of our own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dermdemo.jobs import resources
from dermdemo.jobs.processes import identity
from dermdemo.jobs.resources import TICKS, Meter, Process, below, free_bytes, gpu_processes, process_table

CHILD = "import time\ndata = bytearray(40_000_000)\nprint('ready', flush=True)\ntime.sleep(600)"
PARENT = (f"import subprocess, sys\np = subprocess.Popen([sys.executable, '-c', {CHILD!r}], stdout=subprocess.PIPE)\n"
          "p.stdout.readline()\nprint(p.pid, flush=True)\np.wait()")


@pytest.fixture
def family() -> Iterator[tuple[int, int]]:
    """A process and its child, which holds 40 MB."""
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    yield parent.pid, child
    os.kill(child, 9)
    parent.wait()
    parent.stdout.close()


def test_a_worker_counts_with_its_children(family: tuple[int, int], tmp_path: Path) -> None:
    parent, child = family
    assert {p.pid for p in below(parent, process_table())} == {parent, child}
    found = Meter().measure("0001", identity(parent), tmp_path)
    assert found is not None and found.memory_bytes > 40_000_000 and found.cpu_percent is None
    assert found.disk_free_bytes == pytest.approx(free_bytes(tmp_path), rel=0.2)


def test_cpu_is_what_was_used_between_two_looks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    now, table = [100.0], [Process(pid=7, parent=1, start=5, ticks=1000, resident=10)]
    monkeypatch.setattr(resources, "process_table", lambda: list(table))
    monkeypatch.setattr(resources, "identity", lambda pid: f"boot/{pid}/5")
    meter = Meter(clock=lambda: now[0])

    def cpu() -> float | None:
        found = meter.measure("0001", "boot/7/5", tmp_path)
        return found.cpu_percent if found else -1

    assert cpu() is None
    now[0] += 2
    table[0] = Process(pid=7, parent=1, start=5, ticks=1000 + TICKS, resident=10)
    table.append(Process(pid=8, parent=7, start=9, ticks=2 * TICKS, resident=10))
    assert cpu() == 150.0, "one second of the worker and two of a new child, in two seconds"
    now[0] += 0.1
    assert cpu() == 150.0, "too soon to tell anything new"
    now[0] += 2
    table.pop()
    assert cpu() == 0.0, "a child that ended takes nothing back"
    now[0] += 2
    table[0] = Process(pid=7, parent=1, start=99, ticks=TICKS, resident=10)
    assert cpu() is not None


def test_who_is_gone_takes_nothing(tmp_path: Path) -> None:
    for worker in ("", "boot", "boot/x/1", "boot/999999999/1", identity(os.getpid()) + "0"):
        assert Meter().measure("0001", worker, tmp_path) is None


def test_no_more_jobs_are_remembered_than_allowed(tmp_path: Path) -> None:
    meter = Meter()
    for k in range(100):
        meter.measure(str(k), identity(os.getpid()), tmp_path)
    assert len(meter._before) == resources.KEPT


def _smi(folder: Path, text: str, code: int = 0) -> None:
    script = folder / "nvidia-smi"
    script.write_text(f"#!/bin/sh\ncat <<'E'\n{text}\nE\nexit {code}\n")
    script.chmod(0o755)


def test_gpu_memory_is_that_of_the_jobs_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    _smi(tmp_path, f"{os.getpid()}, 512\n1, 99\n{os.getpid()}, 8\nnone, [N/A]")
    assert gpu_processes() == {os.getpid(): 520 << 20, 1: 99 << 20}
    worker = identity(os.getpid())
    found = Meter().measure("0001", worker, tmp_path, gpu=True)
    assert found is not None and found.gpu_memory_bytes == 520 << 20
    found = Meter().measure("0001", worker, tmp_path)
    assert found is not None and found.gpu_memory_bytes is None
    _smi(tmp_path, "no devices were found", code=9)
    assert gpu_processes() is None
    _smi(tmp_path, "1, 99")
    found = Meter().measure("0001", worker, tmp_path, gpu=True)
    assert found is not None and found.gpu_memory_bytes is None


def test_without_a_driver_there_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert gpu_processes() is None
    assert free_bytes(tmp_path / "none") is None and process_table(tmp_path) == []
