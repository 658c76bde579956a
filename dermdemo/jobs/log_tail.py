"""The end of a step's log, in pieces that fit together: each answer begins where the last one ended.

Whole lines are handed out, so that no character and no progress bar is cut in two; of a bar that draws over itself
only the last state is left, and escape sequences of terminals are taken out.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from dermdemo.errors import JobError
from dermdemo.jobs.records import JobRecord
from dermdemo.jobs.worker import LOGS

MOST = 64 << 10  # bytes in one answer
SUBMIT = "submit"  # log of the launch itself
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b[@-Z\\-_]")
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


@dataclass(frozen=True, kw_only=True)
class LogPart:
    """Part of a log.

    Attributes:
        start, end: bytes of the file that `text` stands for; ask for what comes after `end` next.
        size: bytes of the whole log. `unfinished`: the line being written, which is not part of `text`.
    """

    step: str
    text: str
    start: int
    end: int
    size: int
    unfinished: str = ""


def log_names(folder: Path, record: JobRecord) -> tuple[str, ...]:
    """Steps that have a log, in their order."""
    names = (SUBMIT, *(step.name for step in record.steps))
    return tuple(name for name in names if _size(_path(folder, name)))


def read_log(folder: Path, record: JobRecord, step: str, *, after: int | None = None, over: bool = False) -> LogPart:
    """What came after a byte of a step's log, at most the last 64 KiB of it.

    Args:
        after: `end` of the last answer; None for the end of the log. Beyond its end, the end of the log again.
        over: nothing more is written: an unfinished last line is handed out too.

    Raises:
        JobError: the job has no such step.
    """
    if step not in (SUBMIT, *(s.name for s in record.steps)):
        raise JobError(f"Job {record.id} has no step '{step[:40]}'.")
    path = _path(folder, step)
    size = _size(path)
    wanted = after if after is not None and 0 <= after <= size else 0
    start = max(wanted, size - MOST)
    data = _read(path, start, size - start)
    if start > wanted:  # begin with a whole line
        cut = data.find(b"\n") + 1
        start, data = start + cut, data[cut:]
    end = len(data) if over else data.rfind(b"\n") + 1
    return LogPart(step=step, text=plain(data[:end]), start=start, end=start + end, size=size,
                   unfinished=plain(data[end:]))


def plain(data: bytes) -> str:
    """Text of a log: lines as a terminal would show them, without colours or control characters."""
    text = data.decode("utf-8", errors="replace").replace("\r\n", "\n")
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n"))
    return CONTROL.sub("", ESCAPES.sub("", "\n".join(lines)))


def _path(folder: Path, step: str) -> Path:
    """Where a step's log lies: always directly in the job's folder of logs."""
    name = f"{step}.log"
    return folder / LOGS / (name if Path(name).name == name else "none")


def _size(path: Path) -> int:
    try:
        found = path.lstat()
    except (OSError, ValueError):
        return 0
    return found.st_size if path.is_file() and not path.is_symlink() else 0


def _read(path: Path, start: int, count: int) -> bytes:
    if count <= 0:
        return b""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(handle, "rb") as stream:
            stream.seek(start)
            return stream.read(count)
    except OSError:
        return b""
