"""Processes of this machine, told apart from later ones that get the same number."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from dermdemo.jobs.states import BOOT

DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
LOCK_TRIES = 20
MARK = "DERMDEMO_STEP"  # in the environment of a step, and so of whatever it starts
ROUNDS = 10


def identity(pid: int) -> str:
    """Boot, number and start of a running process; "" if there is none (or it has ended and waits to be reaped)."""
    try:
        name_and_rest = Path(f"/proc/{pid}/stat").read_text()
        fields = name_and_rest.rpartition(")")[2].split()
        boot = BOOT.read_text().strip()
    except OSError:
        return ""
    return "" if fields[0] in "ZX" else f"{boot}/{pid}/{fields[19]}"


def kill(known: str, *, group: bool = False) -> bool:
    """Kill the process of an identity (with `group`, its process group too); False if it runs no more."""
    try:
        pid = int(known.split("/")[1])
    except (IndexError, ValueError):
        return False
    if not known or identity(pid) != known:
        return False
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if group:
            os.killpg(pid, signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
    return True


def marked(mark: str) -> list[int]:
    """Running processes of this user that carry a mark in their environment (Linux; elsewhere none are seen)."""
    wanted, found = f"{MARK}={mark}".encode(), []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0") and identity(int(folder.name)):
                found.append(int(folder.name))
    return found


def kill_marked(mark: str) -> int:
    """Kill every process with a mark, and those they start meanwhile; returns how many there were.

    Unlike a process group, a mark outlives the process that led it and is never another's.
    """
    killed: set[int] = set()
    for _ in range(ROUNDS):
        running = marked(mark)
        if not running:
            break
        killed.update(running)
        for pid in running:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)
    return len(killed)


def die_with_parent() -> None:
    """In a child, before exec: be killed when the parent ends, however it ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)


def is_locked(path: Path) -> bool:
    """Whether a living process holds the lock on a file. A glance: it keeps nobody from taking the lock."""
    try:
        with path.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


@contextlib.contextmanager
def sole_worker(path: Path) -> Iterator[bool]:
    """Hold the lock on a file while the block runs; False if another process holds it."""
    with path.open("ab") as stream:
        for _ in range(LOCK_TRIES):  # observers hold it for moments
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.05)
                continue
            yield True
            return
        yield False
