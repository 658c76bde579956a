"""Pictures that a Stage I run writes as it learns: originals above their reconstructions, one file an epoch."""

from __future__ import annotations

import os
import re
from pathlib import Path

from dermdemo.jobs.records import JobFolder, Step

NAME = re.compile(r"epoch-(\d{4,6})\.png")
END = b"IEND\xaeB`\x82"  # what a whole PNG ends with
MOST = 32 << 20  # bytes


def grid_epochs(folder: JobFolder, step: Step) -> list[int]:
    """Epochs of which a run has a whole picture, in order; none of a run that writes none."""
    where = _where(folder, step)
    if where is None:
        return []
    try:
        found = sorted((int(m[1]), p) for p in where.iterdir() if (m := NAME.fullmatch(p.name)))
    except OSError:
        return []
    if found and not _whole(found[-1][1]):  # it is being written
        found.pop()
    return [epoch for epoch, _ in found]


def read_grid(folder: JobFolder, step: Step, epoch: int) -> bytes | None:
    """The picture of an epoch as PNG; None if there is none, or it is not whole."""
    where = _where(folder, step)
    if where is None or not 0 <= epoch < 10**6:
        return None
    try:
        handle = os.open(where / f"epoch-{epoch:04d}.png", os.O_RDONLY | os.O_NOFOLLOW)
        with os.fdopen(handle, "rb") as stream:
            data = stream.read(MOST)
    except OSError:
        return None
    return data if data.startswith(b"\x89PNG") and data.endswith(END) else None


def _where(folder: JobFolder, step: Step) -> Path | None:
    """Folder of a run's pictures, if it lies below the job's."""
    where = folder.path / step.run / "grids"
    try:
        inside = where.resolve().is_relative_to(folder.path.resolve())
    except (OSError, ValueError):
        return None
    return where if step.run and inside and where.is_dir() else None


def _whole(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            stream.seek(-len(END), os.SEEK_END)
            return stream.read() == END
    except OSError:
        return False
