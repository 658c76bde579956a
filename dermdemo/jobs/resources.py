"""What a running job takes of this machine, read from /proc: no history is kept but the look before.

CPU is measured between two looks of this process, by the kernel's tick counts and a clock that does not jump; the
first look has none. Shared memory counts in every process that maps it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from dermdemo.jobs.processes import identity

PROC = Path("/proc")
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
SHORTEST = 0.5  # seconds between two looks that are compared
KEPT = 32  # jobs
GPU_SECONDS = 5.0
GPU_QUERY = ("nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits")


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Of a worker and everything below it.

    Attributes:
        cpu_percent: 100 is one core; None at the first look.
        memory_bytes: resident. `gpu_memory_bytes`: None without a GPU, or where the driver does not say.
        disk_free_bytes: of the state folder; None where it cannot be read.
    """

    cpu_percent: float | None
    memory_bytes: int
    gpu_memory_bytes: int | None
    disk_free_bytes: int | None


@dataclass(frozen=True, kw_only=True)
class Process:
    """One line of the process table: ticks of CPU and resident bytes; `start` tells a reused number apart."""

    pid: int
    parent: int
    start: int
    ticks: int
    resident: int


@dataclass
class _Before:
    """The look before: when, ticks of each process, and what it came to."""

    at: float
    ticks: dict[tuple[int, int], int]
    percent: float | None = None


@dataclass
class Meter:
    """Measures jobs; remembers the last look at each."""

    clock: Callable[[], float] = time.monotonic
    _before: OrderedDict[str, _Before] = field(default_factory=OrderedDict)
    _gpu: tuple[float, dict[int, int] | None] = (-1e9, None)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def measure(self, job: str, worker: str, home: Path, *, gpu: bool = False) -> Resources | None:
        """What the worker with this identity takes; None if it is not running here."""
        if not worker or identity(_pid(worker)) != worker:
            return None
        tree = below(_pid(worker), process_table())
        if not tree:
            return None
        with self._lock:
            percent = self._percent(job, tree)
            on_gpu = self._gpu_memory({p.pid for p in tree}) if gpu else None
        return Resources(cpu_percent=percent, memory_bytes=sum(p.resident for p in tree), gpu_memory_bytes=on_gpu,
                         disk_free_bytes=free_bytes(home))

    def _percent(self, job: str, tree: Iterable[Process]) -> float | None:
        now, ticks = self.clock(), {(p.pid, p.start): p.ticks for p in tree}
        before = self._before.get(job)
        if before is not None and now - before.at < SHORTEST:
            return before.percent
        percent = None
        if before is not None:
            used = sum(max(0, t - before.ticks.get(key, 0)) for key, t in ticks.items())
            percent = round(100 * used / TICKS / (now - before.at), 1)
        self._before[job] = _Before(now, ticks, percent)
        self._before.move_to_end(job)
        while len(self._before) > KEPT:
            self._before.popitem(last=False)
        return percent

    def _gpu_memory(self, pids: set[int]) -> int | None:
        """Bytes that these processes hold on GPUs; None where the driver does not name them."""
        now = self.clock()
        if now - self._gpu[0] >= GPU_SECONDS:
            self._gpu = now, gpu_processes()
        mine = [used for pid, used in (self._gpu[1] or {}).items() if pid in pids]
        return sum(mine) if mine else None


def _pid(worker: str) -> int:
    try:
        return int(worker.split("/")[1])
    except (IndexError, ValueError):
        return -1


def process_table(proc: Path = PROC) -> list[Process]:
    """All processes that may be read; empty where there is no /proc."""
    found = []
    for folder in proc.glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            found.append(Process(pid=int(folder.name), parent=int(fields[1]), start=int(fields[19]),
                                 ticks=int(fields[11]) + int(fields[12]), resident=int(fields[21]) * PAGE))
        except (OSError, ValueError, IndexError):
            continue  # it ended meanwhile
    return found


def below(root: int, table: Iterable[Process]) -> list[Process]:
    """A process and its descendants."""
    known = {p.pid: p for p in table}
    children: dict[int, list[int]] = {}
    for p in known.values():
        children.setdefault(p.parent, []).append(p.pid)
    found: dict[int, Process] = {}
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        if pid in known and pid not in found:
            found[pid] = known[pid]
            waiting += children.get(pid, [])
    return list(found.values())


def gpu_processes() -> dict[int, int] | None:
    """Process id -> bytes on GPUs, as nvidia-smi names them; None without it."""
    try:
        done = subprocess.run(GPU_QUERY, capture_output=True, text=True, timeout=GPU_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode:
        return None
    found: dict[int, int] = {}
    for line in done.stdout.splitlines():
        pid, _, used = (part.strip() for part in line.partition(","))
        if pid.isdigit() and used.isdigit():
            found[int(pid)] = found.get(int(pid), 0) + int(used) * (1 << 20)
    return found


def free_bytes(folder: Path) -> int | None:
    """Bytes that may still be written where a folder lies."""
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None
