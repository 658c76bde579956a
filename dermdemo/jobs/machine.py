"""This machine as jobs see it: processor, memory, GPUs, and whether the installed torch can use them.

torch itself stays out: its version file and `nvidia-smi` say enough, and cost no seconds to import.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

SMI_SECONDS = 10
VISIBLE, KEPT, ALL = "CUDA_VISIBLE_DEVICES", "DERMDEMO_VISIBLE_GPUS", "all"
SMI = ("nvidia-smi", "--query-gpu=index,uuid,name", "--format=csv,noheader")
CPU_INFO, MEMORY_INFO = Path("/proc/cpuinfo"), Path("/proc/meminfo")


@dataclass(frozen=True)
class Gpu:
    """One GPU; `id` is what CUDA_VISIBLE_DEVICES takes (a UUID: numbers depend on the order asked for)."""

    id: str
    name: str


@lru_cache(1)
def gpus() -> tuple[Gpu, ...]:
    """The GPUs that jobs of this process may use; none without a driver, or if torch was built without CUDA."""
    if not torch_has_cuda() or shutil.which(SMI[0]) is None:
        return ()
    try:
        done = subprocess.run(SMI, capture_output=True, text=True, timeout=SMI_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ()
    return visible(done.stdout, os.environ.get(VISIBLE))


def visible(listing: str, chosen: str | None) -> tuple[Gpu, ...]:
    """GPUs of a listing of `index, uuid, name` lines; with CUDA_VISIBLE_DEVICES only those it names, in its order."""
    rows = [[cell.strip() for cell in line.split(",", 2)] for line in listing.splitlines() if line.count(",") >= 2]
    if chosen is None:
        return tuple(Gpu(uuid, name) for _, uuid, name in rows)
    found: list[Gpu] = []
    for entry in (e.strip() for e in chosen.split(",")):
        if not entry or entry == "-1":
            break  # CUDA stops there too
        match = [Gpu(uuid, name) for index, uuid, name in rows if entry == index or uuid.startswith(entry)]
        found += match[:1] or [Gpu(entry, "GPU")]
    return tuple(found)


def keep_visible() -> None:
    """Before submitit starts a worker here: remember which GPUs may be seen; submitit hides the rest."""
    os.environ[KEPT] = os.environ.get(VISIBLE, ALL)


def restore_visible() -> None:
    """In that worker: see again what its launcher saw. Nothing changes where nothing was kept."""
    kept = os.environ.pop(KEPT, None)
    if kept == ALL:
        os.environ.pop(VISIBLE, None)
    elif kept is not None:
        os.environ[VISIBLE] = kept


@lru_cache(1)
def torch_has_cuda() -> bool:
    """Whether the installed torch was built with CUDA, by its version file."""
    spec = find_spec("torch")
    file = Path(spec.origin).with_name("version.py") if spec and spec.origin else None
    text = file.read_text() if file and file.is_file() else ""
    return bool(re.search(r"^cuda\b[^=]*= *'", text, re.MULTILINE))


@lru_cache(1)
def processor() -> str:
    """Model of the processor in words."""
    text = CPU_INFO.read_text(errors="replace") if CPU_INFO.exists() else ""
    found = re.search(r"^model name\s*: *(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory() -> tuple[int, int]:
    """Bytes of memory in all, and those available now; 0 where that is not known."""
    text = MEMORY_INFO.read_text() if MEMORY_INFO.exists() else ""
    found = {k: int(v) * 1024 for k, v in re.findall(r"^(MemTotal|MemAvailable): *(\d+) kB$", text, re.MULTILINE)}
    return found.get("MemTotal", 0), found.get("MemAvailable", 0)


def identity_of(device: str) -> str:
    """What timings on a device of this machine depend on; figures of another identity say nothing here."""
    parts = [processor(), f"{cores()} cores"]
    if device == "cuda":
        parts += sorted({g.name for g in gpus()}) or ["no GPU"]
    return ", ".join([*parts, f"torch {version('torch')}"])


def in_words() -> str:
    """The machine in a line for people."""
    total = memory()[0]
    names = [g.name for g in gpus()]
    cards = ", ".join(f"{names.count(n)} × {n}" for n in dict.fromkeys(names)) or "no GPU"
    return f"{processor()}, {cores()} cores, {total / 2**30:.0f} GB of memory, {cards}"
